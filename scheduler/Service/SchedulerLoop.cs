using MassTransit;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// The scheduler's one loop. A turn gathers what has come, lets the policy observe it, plans, and has the decisions carried out. The
/// spare turns too: it listens for a tick, and remembers the workers' last heartbeats for the moment it takes over.
/// </summary>
internal sealed partial class SchedulerLoop(
    IBus bus,
    SchedulerInstance instance,
    Inbox inbox,
    SliceNotes notes,
    Recovery recovery,
    WorkerBooks books,
    DecisionExecutor executor,
    SchedulerOptions options,
    SchedulerMetrics metrics,
    Journal journal,
    TimeProvider time,
    ILogger<SchedulerLoop> log
) : BackgroundService
{
    private static readonly TimeSpan TurnPauseMax = TimeSpan.FromSeconds(1);
    private const int DecisionsPerAnswerMax = 64;

    private readonly Leadership _leadership = new(options, time);
    private readonly Dictionary<WorkerId, (WorkerHeartbeat Heartbeat, DateTimeOffset At)> _heartbeats = [];
    private SweepJudge _sweep = new();
    private Planner? _planner;
    private DecisionLog? _decisions;
    private CancellationTokenSource _term = new();
    private long _choresAt = time.GetTimestamp();
    private long _forecastAt = time.GetTimestamp();

    /// <summary>True when something has happened that the last forecast does not know.</summary>
    private bool _forecastIsOld;
    private Task _clocks = Task.CompletedTask;
    private bool _epochUnknownToSome;

    /// <summary>True while this instance plans.</summary>
    public bool IsActive => _planner is not null;

    /// <summary>The policy of the current term; null for the spare. Only the loop may touch it.</summary>
    internal Planner? Planner => _planner;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (!stoppingToken.IsCancellationRequested)
            {
                await inbox.WaitAsync(Pause(), time, stoppingToken);
                await TurnAsync(stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // An orderly stop; what runs beside the loop is waited for below.
        }
        finally
        {
            await EndTermAsync("it stops");
            journal.End(time.GetUtcNow(), "it stopped while it took over");
            await executor.DrainAsync();
            await journal.DrainAsync();
        }
    }

    /// <summary>One turn: gather, observe, plan, carry out.</summary>
    public async Task TurnAsync(CancellationToken stop)
    {
        var began = time.GetTimestamp();
        if (_leadership.ReasonToEnd() is { } reason)
        {
            await EndTermAsync(reason);
        }

        for (var taken = 0; taken < options.SignalsPerTurnMax && inbox.TryTake(out var signal); taken++)
        {
            await TakeInAsync(signal, stop);
        }

        if (_planner is { } planner)
        {
            var now = time.GetUtcNow();
            var decisions = planner.Plan(now);
            journal.Planned(decisions, now);
            foreach (var decision in decisions)
            {
                metrics.Decided(decision, planner.Backlog, now);
                _decisions!.Add(decision, now);
                executor.CarryOut(decision, _leadership.Epoch, ClockOf, _term.Token);
            }

            _forecastIsOld |= decisions.Count > 0;
            if (time.GetElapsedTime(_choresAt) >= options.ChoresEvery)
            {
                _choresAt = time.GetTimestamp();
                _forecastIsOld = true;
                DoChores(planner, now);
            }

            if (_forecastIsOld && ForecastIn() <= TimeSpan.Zero)
            {
                TellForecast(planner, now);
            }

            metrics.Turned(time.GetElapsedTime(began));
        }

        _leadership.TurnEnded();
    }

    private async Task TakeInAsync(Signal signal, CancellationToken stop)
    {
        switch (signal)
        {
            case Ticked ticked when _leadership.Hear(ticked.Tick):
                await TakeOverAsync(stop);
                break;
            case EpochHeard heard when heard.Epoch > _leadership.Epoch && IsActive:
                await EndTermAsync($"epoch {heard.Epoch} has begun");
                break;
            case Happened { Fact: WorkerSeen seen }:
                await HearWorkerAsync(seen);
                break;
            case Happened happened when happened.Epoch == 0 || happened.Epoch == _leadership.Epoch:
                Observe(_planner, happened.Fact, time.GetUtcNow());
                if (IsActive && happened.Tell is { } tell)
                {
                    executor.Run(tell);
                }

                break;
            case Asked asked when _decisions is { } decisions:
                Answer(asked, decisions);
                break;
            case Swept swept when _planner is { } planner:
                foreach (var fact in _sweep.Judge(swept, planner.Backlog))
                {
                    LogSwept(log, fact);
                    Observe(planner, fact, time.GetUtcNow());
                }

                break;
        }
    }

    private async Task HearWorkerAsync(WorkerSeen seen)
    {
        var heartbeat = seen.Heartbeat;
        var now = time.GetUtcNow();
        _heartbeats[heartbeat.Worker] = (heartbeat, now);
        if (IsActive && heartbeat.Epoch > _leadership.Epoch)
        {
            await EndTermAsync($"worker {heartbeat.Worker} knows epoch {heartbeat.Epoch}");
        }

        _epochUnknownToSome |= heartbeat.Epoch < _leadership.Epoch;
        Observe(_planner, seen, now);
    }

    /// <summary>The journal has the same time as the planner, or a replay would be of another term.</summary>
    private void Observe(Planner? planner, Fact fact, DateTimeOffset at)
    {
        if (planner is not null)
        {
            journal.Observed(fact, at);
            planner.Observe(fact, at);
            _forecastIsOld |= fact is not WorkerSeen;
        }
    }

    private void Answer(Asked asked, DecisionLog decisions)
    {
        var answer = new JobDecisions
        {
            Job = asked.Question.Job,
            Epoch = _leadership.Epoch,
            Since = decisions.Since,
            Decisions = decisions.Find(asked.Question.Job, Math.Clamp(asked.Question.Most, 0, DecisionsPerAnswerMax)),
        };
        executor.Run(() => asked.Answer(answer));
    }

    /// <summary>
    /// Raises the epoch, tells everybody, and rebuilds the index from PostgreSQL. Facts that came before are in what is read; those
    /// that come meanwhile wait in the inbox. While PostgreSQL is away the next tick tries again.
    /// </summary>
    private async Task TakeOverAsync(CancellationToken stop)
    {
        try
        {
            var began = time.GetTimestamp();
            notes.Open();
            var epoch = await recovery.TakeOverAsync(instance.Id, time.GetUtcNow(), stop);
            var started = time.GetUtcNow();
            var planner = new Planner(options.Policy, epoch, started);
            journal.Begin(epoch, started);
            await foreach (var fact in recovery.ReadAsync(stop))
            {
                Observe(planner, fact, time.GetUtcNow());
            }

            var now = time.GetUtcNow();
            foreach (var (heartbeat, at) in _heartbeats.Values.Where(h => now - h.At < options.Policy.WorkerLostAfter))
            {
                Observe(planner, new WorkerSeen(heartbeat), at);
            }

            (_planner, _term, _sweep) = (planner, new CancellationTokenSource(), new SweepJudge());
            _decisions = new DecisionLog(options.DecisionsRemembered, started);
            _leadership.Begin(epoch);
            AnnounceEpoch();
            LogActive(log, epoch, planner.Backlog.ChunksOpen, time.GetElapsedTime(began).TotalMilliseconds);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            notes.Close();
            journal.End(time.GetUtcNow(), $"the take-over failed: {e.Message}");
            LogTakeOverFailed(log, e.Message);
        }
    }

    private async Task EndTermAsync(string reason)
    {
        if (_planner is null)
        {
            return;
        }

        LogSpare(log, _leadership.Epoch, reason);
        _leadership.End();
        notes.Close();
        (_planner, _decisions) = (null, null);
        journal.End(time.GetUtcNow(), $"the term is over: {reason}");
        metrics.Stands(null, time.GetUtcNow());
        await _term.CancelAsync();
    }

    private void TellForecast(Planner planner, DateTimeOffset now)
    {
        (_forecastAt, _forecastIsOld) = (time.GetTimestamp(), false);
        var (forecast, term) = (planner.Forecast(now), _term.Token);
        executor.Run(() => bus.PublishAsync(forecast, options.SendTimeMax, term));
    }

    /// <summary>How long until the next forecast may go out.</summary>
    private TimeSpan ForecastIn() => options.ForecastEvery - time.GetElapsedTime(_forecastAt);

    /// <summary>Each second: the workers' clocks are written down, and who missed the epoch is told again.</summary>
    private void DoChores(Planner planner, DateTimeOffset now)
    {
        metrics.Stands(planner, now);
        var term = _term.Token;
        if (_epochUnknownToSome)
        {
            _epochUnknownToSome = false;
            AnnounceEpoch();
        }

        foreach (var (worker, (_, at)) in _heartbeats)
        {
            if (now - at > 10 * options.Policy.WorkerLostAfter)
            {
                _heartbeats.Remove(worker);
            }
        }

        if (_clocks.IsCompleted)
        {
            var clocks = _heartbeats.Keys.Select(ClockOf).OfType<WorkerClock>().ToList();
            _clocks = WriteClocksAsync(clocks, term);
        }
    }

    private async Task WriteClocksAsync(List<WorkerClock> clocks, CancellationToken term)
    {
        try
        {
            var newest = await books.WriteClocksAsync(clocks, term);
            await inbox.PutAsync(new EpochHeard(newest), term);
        }
        catch (Exception e) when (!term.IsCancellationRequested)
        {
            LogClocksFailed(log, e.Message);
        }
        catch (OperationCanceledException)
        {
            // The term is over.
        }
    }

    private void AnnounceEpoch()
    {
        var (epoch, term) = (_leadership.Epoch, _term.Token);
        executor.Run(() => bus.PublishAsync(new SchedulerChanged { Epoch = epoch, Instance = instance.Id }, options.SendTimeMax, term));
    }

    private WorkerClock? ClockOf(WorkerId worker) =>
        _heartbeats.TryGetValue(worker, out var last) ? new WorkerClock(worker, last.Heartbeat.UptimeNs, last.At) : null;

    private TimeSpan Pause()
    {
        if (_planner is null)
        {
            return TurnPauseMax;
        }

        var now = time.GetUtcNow();
        var wake = Shorter(_planner.NextWake(now) - now, TurnPauseMax);
        // A millisecond more: waits are rounded down to one, and what woke too early would turn until it is time.
        return _forecastIsOld ? Shorter(wake, ForecastIn() + TimeSpan.FromMilliseconds(1)) : wake;

        static TimeSpan Shorter(TimeSpan a, TimeSpan b) => a < b ? a : b;
    }

    public override void Dispose()
    {
        _term.Dispose();
        base.Dispose();
    }

    [LoggerMessage(1, LogLevel.Information, "Active under epoch {Epoch}: {Chunks} open chunks read in {Milliseconds:0} ms")]
    private static partial void LogActive(ILogger log, long epoch, int chunks, double milliseconds);

    [LoggerMessage(2, LogLevel.Information, "The term of epoch {Epoch} is over: {Reason}")]
    private static partial void LogSpare(ILogger log, long epoch, string reason);

    [LoggerMessage(3, LogLevel.Warning, "Could not take over, will try again with the next tick: {Reason}")]
    private static partial void LogTakeOverFailed(ILogger log, string reason);

    [LoggerMessage(4, LogLevel.Warning, "Could not write down the workers' clocks: {Reason}")]
    private static partial void LogClocksFailed(ILogger log, string reason);

    [LoggerMessage(5, LogLevel.Warning, "The sweep found what no message told: {Fact}")]
    private static partial void LogSwept(ILogger log, Fact fact);
}
