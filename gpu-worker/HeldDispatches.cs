using System.Collections.Concurrent;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Stages;

namespace Pipeline.GpuWorker;

/// <summary>The dispatches this worker has and has not yet reported: what its heartbeats list.</summary>
internal sealed class HeldDispatches
{
    private readonly ConcurrentDictionary<DispatchRun, bool> _runs = new();

    public IReadOnlyList<HeldDispatch> List =>
        [.. _runs.Keys.Select(r => new HeldDispatch(r.Dispatch.Id, r.Dispatch.Epoch, r.Dispatch.Lane, r.Begun, r.Dispatch.Slices))];

    public IEnumerable<DispatchRun> Runs => _runs.Keys;

    public void Add(DispatchRun run) => _runs[run] = true;

    public void Remove(DispatchRun run) => _runs.TryRemove(run, out _);
}
