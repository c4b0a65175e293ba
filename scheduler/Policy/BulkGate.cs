using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// Holds bulk back after a take-over, until every worker that may hold an earlier scheduler's work is accounted for: it said that it
/// knows the new epoch (so its heartbeat lists what it keeps), or its books are closed (so its suspects are marked). One that lives but
/// has not heard of the epoch is waited for only until <see cref="OpensAt"/>. Express does not wait: little of it would run twice.
/// </summary>
internal sealed class BulkGate(long opensAt)
{
    private readonly HashSet<WorkerId> _silent = [];
    private readonly HashSet<WorkerId> _unaware = [];

    /// <summary>When those that live are waited for no longer.</summary>
    public long OpensAt { get; } = opensAt;

    /// <summary>PostgreSQL says that this worker lives.</summary>
    public void Await(WorkerId worker) => _silent.Add(worker);

    /// <summary>It lives, and tells which epoch it knows.</summary>
    public void Heard(WorkerId worker, bool knowsEpoch)
    {
        var awaited = _silent.Remove(worker);
        if (knowsEpoch)
        {
            _unaware.Remove(worker);
        }
        else if (awaited)
        {
            _unaware.Add(worker);
        }
    }

    /// <summary>Its books are closed.</summary>
    public void Buried(WorkerId worker)
    {
        _silent.Remove(worker);
        _unaware.Remove(worker);
    }

    public bool IsOpen(long now) => _silent.Count == 0 && (_unaware.Count == 0 || now > OpensAt);

    /// <summary>
    /// True when nobody is awaited, however long that takes. A suspect near conviction waits for it: were it sent while a worker that
    /// has died over it is not buried yet, two deaths over one task would convict its neighbour too.
    /// </summary>
    public bool IsClear => _silent.Count == 0 && _unaware.Count == 0;
}
