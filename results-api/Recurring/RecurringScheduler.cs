using Pipeline.Hosting;
using Quartz;

namespace Pipeline.ResultsApi.Recurring;

/// <summary>
/// The one place that knows Quartz's scheduler. Once the application is up it puts the works into the shared store, each with its schedule,
/// and starts; then it lists, runs, pauses and resumes them. What an operator has paused stays paused, whoever is started.
/// </summary>
internal sealed partial class RecurringScheduler : BackgroundService
{
    private const string Group = "recurring";
    private static readonly TimeSpan AwayPause = TimeSpan.FromSeconds(5);

    private readonly ISchedulerFactory _factory;
    private readonly IReadOnlyList<IRecurringWork> _works;
    private readonly RunHistory _history;
    private readonly RecurringOptions _options;
    private readonly IHostApplicationLifetime _lifetime;
    private readonly ILogger<RecurringScheduler> _log;

    /// <exception cref="OptionsException">The options name a work that does not exist.</exception>
    public RecurringScheduler(
        ISchedulerFactory factory,
        IEnumerable<IRecurringWork> works,
        RunHistory history,
        RecurringOptions options,
        IHostApplicationLifetime lifetime,
        ILogger<RecurringScheduler> log
    )
    {
        (_factory, _works, _history, _options, _lifetime, _log) = (factory, [.. works], history, options, lifetime, log);
        var check = new OptionsCheck(RecurringOptions.Section);
        var names = string.Join(", ", _works.Select(w => w.Name));
        foreach (var name in options.Schedules.Keys)
        {
            check.Expect(Find(name) is not null, nameof(RecurringOptions.Schedules), $"names of recurring work ({names})", name);
        }

        check.ThrowIfAny();
    }

    public IRecurringWork? Find(string name) => _works.FirstOrDefault(w => w.Name == name);

    /// <summary>Every work, in the order of their names.</summary>
    public async Task<List<RecurringView>> ListAsync(CancellationToken stop)
    {
        var scheduler = await _factory.GetScheduler(stop);
        var runs = (await _history.ReadLastAsync(stop)).ToLookup(r => r.Name);
        var triggers = (await scheduler.GetTriggers([.. _works.Select(w => Due(w.Name))], stop)).ToDictionary(t => t.Key);
        var views = new List<RecurringView>();
        foreach (var work in _works.OrderBy(w => w.Name, StringComparer.Ordinal))
        {
            triggers.TryGetValue(Due(work.Name), out var trigger);
            var paused = trigger is not null && await scheduler.GetTriggerState(trigger.Key, stop) == TriggerState.Paused;
            views.Add(
                new RecurringView
                {
                    Name = work.Name,
                    Kind = "work",
                    Purpose = work.Purpose,
                    Schedule = ScheduleOf(work).ToString(),
                    Paused = paused,
                    NextRunAt = paused ? null : trigger?.NextFireTimeUtc,
                    RunningSince = runs[work.Name].FirstOrDefault(r => r.EndedAt is null)?.StartedAt,
                    LastRun = runs[work.Name].FirstOrDefault(r => r.EndedAt is not null),
                }
            );
        }

        return views;
    }

    /// <summary>Has a work run as soon as it can, also while it is paused. Asked again before it has begun, it runs once.</summary>
    public async Task RunAsync(string name, CancellationToken stop)
    {
        var now = TriggerBuilder
            .Create()
            .WithIdentity(name, "asked")
            .ForJob(Key(name))
            .StartNow()
            .WithSchedule(SimpleScheduleBuilder.Create().WithMisfireInstruction(SimpleTriggerMisfireInstruction.FireNow))
            .Build();
        var scheduler = await _factory.GetScheduler(stop);
        await PutJobAsync(scheduler, Find(name)!, stop);
        await scheduler.ScheduleTrigger(now, TriggerConflict.Keep, stop);
    }

    /// <summary>From now on a work runs only when asked to. A run under way goes on.</summary>
    public async Task PauseAsync(string name, CancellationToken stop)
    {
        var scheduler = await _factory.GetScheduler(stop);
        await PutAsync(scheduler, Find(name)!, stop);
        await scheduler.PauseTrigger(Due(name), stop);
    }

    /// <summary>A work runs by its schedule again; at once, if it was due meanwhile.</summary>
    public async Task ResumeAsync(string name, CancellationToken stop)
    {
        var scheduler = await _factory.GetScheduler(stop);
        await PutAsync(scheduler, Find(name)!, stop);
        await scheduler.ResumeTrigger(Due(name), stop);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (!_options.Enabled)
        {
            return;
        }

        try
        {
            await StartedAsync(stoppingToken);
            while (!await TryStartAsync(stoppingToken))
            {
                await Task.Delay(AwayPause, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    /// <summary>Asks the runs under way to stop, and waits for them; another instance, or the next start of this one, repeats them.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        foreach (var scheduler in await _factory.GetAllSchedulers(cancellationToken))
        {
            await scheduler.Shutdown(waitForJobsToComplete: true, cancellationToken);
        }
    }

    private async Task StartedAsync(CancellationToken stop)
    {
        var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var registration = _lifetime.ApplicationStarted.Register(started.SetResult);
        await started.Task.WaitAsync(stop);
    }

    private async Task<bool> TryStartAsync(CancellationToken stop)
    {
        try
        {
            var scheduler = await _factory.GetScheduler(stop);
            foreach (var work in _works)
            {
                await PutAsync(scheduler, work, stop);
            }

            await scheduler.Start(stop);
            LogStarted(_log, _works.Count, scheduler.SchedulerInstanceId);
            return true;
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is SchedulerException or TimeoutException)
        {
            LogAway(_log, e.Message);
            return false;
        }
    }

    /// <summary>Puts a work into the store with its schedule; of one that is there, and paused, it stays so.</summary>
    private async Task PutAsync(IScheduler scheduler, IRecurringWork work, CancellationToken stop)
    {
        await PutJobAsync(scheduler, work, stop);
        var stored = await scheduler.GetTrigger(Due(work.Name), stop);
        if (stored is not null && ScheduleOf(work).IsOf(stored))
        {
            return;
        }

        var trigger = TriggerBuilder
            .Create()
            .WithIdentity(Due(work.Name))
            .ForJob(Key(work.Name))
            .StartNow()
            .WithSchedule(ScheduleOf(work).ForQuartz())
            .Build();
        if (stored is null)
        {
            await scheduler.ScheduleTrigger(trigger, TriggerConflict.Keep, stop);
            return;
        }

        var paused = await scheduler.GetTriggerState(stored.Key, stop) == TriggerState.Paused;
        await scheduler.ScheduleJob(trigger, new ScheduleJobOptions { Replace = true, Paused = paused }, stop);
    }

    private static async Task PutJobAsync(IScheduler scheduler, IRecurringWork work, CancellationToken stop)
    {
        var job = JobBuilder
            .Create<RecurringJob>()
            .WithIdentity(Key(work.Name))
            .WithDescription(work.Purpose)
            .StoreDurably()
            .RequestRecovery()
            .DisallowConcurrentExecution()
            .Build();
        await scheduler.AddJob(job, AddJobOptions.Replacing, stop);
    }

    private Schedule ScheduleOf(IRecurringWork work) =>
        _options.Schedules.TryGetValue(work.Name, out var text) && Schedule.TryParse(text) is { } set ? set : work.Schedule;

    private static JobKey Key(string name) => new(name, Group);

    private static TriggerKey Due(string name) => new(name, "due");

    [LoggerMessage(93, LogLevel.Information, "Takes part in {Works} recurring works as {Instance}")]
    private static partial void LogStarted(ILogger log, int works, string instance);

    [LoggerMessage(94, LogLevel.Warning, "Recurring work could not be taken up, and will be again: {Reason}")]
    private static partial void LogAway(ILogger log, string reason);
}
