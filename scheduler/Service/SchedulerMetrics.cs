using System.Diagnostics.Metrics;
using Pipeline.Contracts;
using Pipeline.Hosting.Telemetry;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// What the scheduler shows of itself; what each metric means is in <see cref="Metrics"/>. Where things stand is noted by the loop once a
/// second, since nobody else may look at the policy.
/// </summary>
internal sealed class SchedulerMetrics : IDisposable
{
    private readonly ModelLabels _models;
    private readonly Meter _meter = new("Pipeline.Scheduler");
    private readonly Counter<long> _decisions;
    private readonly Histogram<double> _turns;
    private readonly Histogram<double> _waits;
    private Standing _stands = Standing.Spare;

    public SchedulerMetrics(ModelLabels models)
    {
        _models = models;
        _decisions = _meter.Counter<long>(Metrics.Decisions);
        _turns = _meter.Histogram<double>(Metrics.TurnDuration);
        _waits = _meter.Histogram<double>(Metrics.QueueWait);
        _meter.Gauge(Metrics.SchedulerActive, () => _stands.Active ? 1 : 0);
        _meter.Gauge(Metrics.ChunksOpen, () => _stands.ChunksOpen);
        _meter.Gauge(Metrics.QueueTasks, () => _stands.Tasks);
        _meter.Gauge(Metrics.QueueUnits, () => _stands.Units);
        _meter.Gauge(Metrics.QueueSlack, () => _stands.Slack);
        _meter.Gauge(Metrics.WorkersAlive, () => _stands.Alive);
        _meter.Gauge(Metrics.WorkersDesired, () => _stands.Desired);
        _meter.Gauge(Metrics.HeartbeatAge, () => _stands.HeartbeatAges);
        _meter.Gauge(Metrics.DispatchesInFlight, () => _stands.InFlight);
    }

    public void Decided(Decision decision, Backlog backlog, DateTimeOffset now)
    {
        _decisions.Add(1, new KeyValuePair<string, object?>(Metrics.Reason, decision.Why.Code));
        if (decision is SendDispatch { Dispatch: var dispatch })
        {
            var model = new KeyValuePair<string, object?>(Metrics.Model, _models.Of(dispatch.Model));
            foreach (var slice in dispatch.Slices)
            {
                if (backlog.Find(slice.Chunk) is { } chunk)
                {
                    _waits.Record(-SecondsTo(now, chunk.Job.QueuedAt), Class(chunk.Job.Queue.Class), model);
                }
            }
        }
    }

    public void Turned(TimeSpan took) => _turns.Record(took.TotalSeconds);

    /// <summary>Notes where things stand; a spare has nothing to tell.</summary>
    public void Stands(Planner? planner, DateTimeOffset now) => _stands = planner is null ? Standing.Spare : StandingOf(planner, now);

    public void Dispose() => _meter.Dispose();

    private Standing StandingOf(Planner planner, DateTimeOffset now)
    {
        var queues = planner.Backlog.Queues.SelectMany(queues => queues).ToList();
        var byModel = queues.GroupBy(queue => (queue.Class, Model: _models.Of(queue.Model))).ToList();
        var pools = planner
            .Fleet.Workers.Where(worker => worker is { Heard: true, Declared: false })
            .GroupBy(worker => worker.Pool)
            .ToList();
        return new Standing
        {
            Active = true,
            ChunksOpen = planner.Backlog.ChunksOpen,
            Tasks = [.. byModel.Select(q => new Measurement<long>(q.Sum(queue => queue.Tasks), Class(q.Key.Class), Model(q.Key.Model)))],
            Units = [.. byModel.Select(q => new Measurement<long>(q.Sum(queue => queue.Units), Class(q.Key.Class), Model(q.Key.Model)))],
            Slack =
            [
                .. queues
                    .Where(queue => queue.Due < long.MaxValue)
                    .GroupBy(queue => queue.Class)
                    .Select(q => new Measurement<double>(SecondsTo(now, q.Min(queue => queue.Due)), Class(q.Key))),
            ],
            Alive = [.. pools.Select(pool => new Measurement<int>(pool.Count(), Pool(pool.Key)))],
            HeartbeatAges = [.. pools.Select(pool => new Measurement<double>(-SecondsTo(now, pool.Min(w => w.SeenAt)), Pool(pool.Key)))],
            Desired = [.. planner.WantedWorkers.Select(wish => new Measurement<int>(wish.Workers, Pool(wish.Pool)))],
            InFlight =
            [
                .. Enum.GetValues<Lane>()
                    .Select(lane => new Measurement<int>(
                        planner.Flights.Count(flight => flight.Lane == lane),
                        new KeyValuePair<string, object?>(Metrics.Lane, lane.Name())
                    )),
            ],
        };
    }

    private static double SecondsTo(DateTimeOffset now, long ticks) => (double)(ticks - now.UtcTicks) / TimeSpan.TicksPerSecond;

    private static KeyValuePair<string, object?> Class(LatencyClass latencyClass) => new(Metrics.Class, latencyClass.Name());

    private static KeyValuePair<string, object?> Pool(string pool) => new(Metrics.Pool, pool);

    private static KeyValuePair<string, object?> Model(string label) => new(Metrics.Model, label);

    /// <summary>Where things stood at the last look.</summary>
    private sealed record Standing
    {
        public static readonly Standing Spare = new();

        public bool Active { get; init; }
        public int ChunksOpen { get; init; }
        public IReadOnlyList<Measurement<long>> Tasks { get; init; } = [];
        public IReadOnlyList<Measurement<long>> Units { get; init; } = [];
        public IReadOnlyList<Measurement<double>> Slack { get; init; } = [];
        public IReadOnlyList<Measurement<int>> Alive { get; init; } = [];
        public IReadOnlyList<Measurement<int>> Desired { get; init; } = [];
        public IReadOnlyList<Measurement<double>> HeartbeatAges { get; init; } = [];
        public IReadOnlyList<Measurement<int>> InFlight { get; init; } = [];
    }
}
