using Pipeline.Contracts;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// Whether this instance is the active scheduler.
/// <code>
///          a fresh tick from the shared queue, then a new epoch in PostgreSQL
/// spare ─────────────────────────────────────────────────────────────────────> active
///       <─────────────────────────────────────────────────────────────────────
///          a newer epoch | no turn for TickFreshFor (it slept) | no tick for TickSilenceMax (not served)
/// </code>
/// An active instance that works through a long queue meets old ticks in it; that alone does not end its term, since nobody else is
/// served meanwhile. One that slept finds a gap between its own turns, and is the spare before it reads what its buffers kept.
/// </summary>
internal sealed class Leadership(SchedulerOptions options, TimeProvider time)
{
    private long _turnEndedAt = time.GetTimestamp();
    private long _tickHeardAt;

    /// <summary>The epoch of this instance's term; 0 while it is the spare.</summary>
    public long Epoch { get; private set; }

    public bool IsActive => Epoch > 0;

    /// <summary>Takes note of a tick from the shared queue.</summary>
    /// <returns>True when this instance has to take over.</returns>
    public bool Hear(SchedulerTick tick)
    {
        _tickHeardAt = time.GetTimestamp();
        return !IsActive && (time.GetUtcNow() - tick.SentAt).Duration() <= options.TickFreshFor;
    }

    public void Begin(long epoch)
    {
        Epoch = epoch;
        _tickHeardAt = _turnEndedAt = time.GetTimestamp();
    }

    public void End() => Epoch = 0;

    /// <summary>At the beginning of a turn: the reason why the term is over, or null.</summary>
    public string? ReasonToEnd() =>
        !IsActive ? null
        : time.GetElapsedTime(_turnEndedAt) > options.TickFreshFor ? "it slept"
        : time.GetElapsedTime(_tickHeardAt) > options.TickSilenceMax ? "the shared queue serves it no ticks"
        : null;

    public void TurnEnded() => _turnEndedAt = time.GetTimestamp();
}
