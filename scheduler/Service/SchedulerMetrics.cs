using System.Diagnostics.Metrics;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>What the scheduler shows of itself; the README lists the names.</summary>
internal sealed class SchedulerMetrics : IDisposable
{
    private readonly Meter _meter = new("Pipeline.Scheduler");
    private readonly Counter<long> _decisions;
    private readonly Histogram<double> _turns;
    private int _chunksOpen;
    private IReadOnlyList<PoolWish> _wanted = [];
    private int _active;

    public SchedulerMetrics()
    {
        _decisions = _meter.CreateCounter<long>("pipeline.scheduler.decisions", description: "Decisions by reason code");
        _turns = _meter.CreateHistogram<double>("pipeline.scheduler.turn", "ms", "Time of a turn that planned");
        _meter.CreateObservableGauge("pipeline.scheduler.chunks_open", () => _chunksOpen, description: "Chunks that wait or are in flight");
        _meter.CreateObservableGauge(
            "pipeline.scheduler.desired_workers",
            () => _wanted.Select(w => new Measurement<int>(w.Workers, new KeyValuePair<string, object?>("pool", w.Pool))),
            description: "Fewest workers of each pool that keep every deadline"
        );
        _meter.CreateObservableGauge("pipeline.scheduler.active", () => _active, description: "1 for the active scheduler, 0 for a spare");
    }

    public void Decided(Why why) => _decisions.Add(1, new KeyValuePair<string, object?>("reason", why.Code));

    public void Turned(TimeSpan took) => _turns.Record(took.TotalMilliseconds);

    public void Stands(bool active, int chunksOpen, IReadOnlyList<PoolWish> wanted) =>
        (_active, _chunksOpen, _wanted) = (active ? 1 : 0, chunksOpen, wanted);

    public void Dispose() => _meter.Dispose();
}
