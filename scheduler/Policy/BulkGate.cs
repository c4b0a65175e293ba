using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// Holds bulk back after a take-over, until every worker that may still hold an earlier scheduler's work has said that it knows the
/// new epoch (so its heartbeat lists what it keeps), or is given up. Express does not wait: little of it would run twice.
/// </summary>
internal sealed class BulkGate(long opensAt)
{
    private readonly HashSet<WorkerId> _awaited = [];

    /// <summary>When it opens whoever has not answered: by then the silent are lost.</summary>
    public long OpensAt { get; } = opensAt;

    public void Await(WorkerId worker) => _awaited.Add(worker);

    public void Echoed(WorkerId worker) => _awaited.Remove(worker);

    public bool IsOpen(long now) => _awaited.Count == 0 || now >= OpensAt;
}
