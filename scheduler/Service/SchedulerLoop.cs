using MassTransit;
using Pipeline.Contracts;
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
    Recovery recovery,
    WorkerBooks books,
    DecisionExecutor executor,
    SchedulerOptions options,
    SchedulerMetrics metrics,
    TimeProvider time,
    ILogger<SchedulerLoop> log
) : BackgroundService
{
    private static readonly TimeSpan TurnPauseMax = TimeSpan.FromSeconds(1);

    private readonly Leadership _leadership = new(options, time);
    private readonly Dictionary<WorkerId, (WorkerHeartbeat Heartbeat, DateTimeOffset At)> _heartbeats = [];
    private SweepJudge _sweep = new();
    private Planner? _planner;
    private CancellationTokenSource _term = new();
    private long _choresAt = time.GetTimestamp();
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
            await executor.DrainAsync();
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
            foreach (var decision in planner.Plan(now))
            {
                metrics.Decided(decision.Why);
                executor.CarryOut(decision, _leadership.Epoch, ClockOf, _term.Token);
            }

            if (time.GetElapsedTime(_choresAt) >= options.ChoresEvery)
            {
                _choresAt = time.GetTimestamp();
                DoChores(planner, now);
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
                _planner?.Observe(happened.Fact, time.GetUtcNow());
                break;
            case Swept swept when _planner is { } planner:
                foreach (var fact in _sweep.Judge(swept, planner.Backlog))
                {
                    LogSwept(log, fact);
                    planner.Observe(fact, time.GetUtcNow());
                }

                break;
        }
    }

    private async Task HearWorkerAsync(WorkerSeen seen)
    {
        var heartbeat = seen.Heartbeat;
        _heartbeats[heartbeat.Worker] = (heartbeat, time.GetUtcNow());
        if (IsActive && heartbeat.Epoch > _leadership.Epoch)
        {
            await EndTermAsync($"worker {heartbeat.Worker} knows epoch {heartbeat.Epoch}");
        }

        _epochUnknownToSome |= heartbeat.Epoch < _leadership.Epoch;
        _planner?.Observe(seen, time.GetUtcNow());
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
            var epoch = await recovery.TakeOverAsync(instance.Id, time.GetUtcNow(), stop);
            var planner = new Planner(options.Policy, epoch, time.GetUtcNow());
            await foreach (var fact in recovery.ReadAsync(stop))
            {
                planner.Observe(fact, time.GetUtcNow());
            }

            var now = time.GetUtcNow();
            foreach (var (heartbeat, at) in _heartbeats.Values.Where(h => now - h.At < options.Policy.WorkerLostAfter))
            {
                planner.Observe(new WorkerSeen(heartbeat), at);
            }

            (_planner, _term, _sweep) = (planner, new CancellationTokenSource(), new SweepJudge());
            _leadership.Begin(epoch);
            AnnounceEpoch();
            LogActive(log, epoch, planner.Backlog.ChunksOpen, time.GetElapsedTime(began).TotalMilliseconds);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
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
        _planner = null;
        metrics.Stands(active: false, 0, []);
        await _term.CancelAsync();
    }

    /// <summary>Each second: the forecast goes out, the workers' clocks are written down, and who missed the epoch is told again.</summary>
    private void DoChores(Planner planner, DateTimeOffset now)
    {
        metrics.Stands(active: true, planner.Backlog.ChunksOpen, planner.WantedWorkers);
        var term = _term.Token;
        var forecast = planner.Forecast(now);
        executor.Run(() => PublishAsync(forecast, term));
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
        executor.Run(() => PublishAsync(new SchedulerChanged { Epoch = epoch, Instance = instance.Id }, term));
    }

    private async Task PublishAsync<T>(T message, CancellationToken term)
        where T : class
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(term);
        patience.CancelAfter(options.SendTimeMax);
        await bus.Publish(message, patience.Token);
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
        var wake = _planner.NextWake(now) - now;
        return wake < TurnPauseMax ? wake : TurnPauseMax;
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
