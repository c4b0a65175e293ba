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

    /// <summary>The worker knows the epoch, or its books are closed.</summary>
    public void Settled(WorkerId worker) => _awaited.Remove(worker);

    public bool IsOpen(long now) => IsClear || now > OpensAt;

    /// <summary>
    /// True when nobody is awaited, however long that takes. A suspect near conviction waits for it: were it sent while a worker that
    /// has died over it is not buried yet, two deaths over one task would convict its neighbour too.
    /// </summary>
    public bool IsClear => _awaited.Count == 0;
}
