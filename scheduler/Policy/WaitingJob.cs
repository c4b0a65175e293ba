using Pipeline.Contracts;
using Pipeline.Scheduler.Policy.Index;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// A job with chunks in the backlog: what its chunks have in common is held once. A handle on a record of the index; good until the
/// last chunk of the job is gone.
/// </summary>
internal readonly record struct WaitingJob(Backlog Index, int Number)
{
    public JobId Id => Record.Id;
    public TenantId Tenant => Index.TenantOf(Record.Tenant);
    public ClassQueue Queue => Index.QueueAt(Record.Queue);

    /// <summary>True for an express job that goes on as standard work.</summary>
    public bool Relegated => Record.Flags.HasFlag(JobFlags.Relegated);

    /// <summary>True once its work had to start lest its deadline pass; it stands before its class then, and stays there.</summary>
    public bool Promoted => Record.Flags.HasFlag(JobFlags.Promoted);

    /// <summary>When what has not ended expires, in UTC ticks (of 100 ns), and so the times below.</summary>
    public long Deadline => Record.Deadline;
    public long QueuedAt => Record.QueuedAt;

    /// <summary>When its class's target is used up, or its deadline if that is sooner.</summary>
    public long TargetAt => Index.TargetOf(Record);

    /// <summary>The number of its first chunk's arrival: makes every order total.</summary>
    public long Arrival => Record.Arrival;

    /// <summary>When its next chunk should start; the key it stands in <see cref="ClassQueue.Jobs"/> with.</summary>
    public long Due => Record.Due;

    /// <summary>When its waiting work has to start to end by the deadline on one device; within 1 % of that work, or 10 ms.</summary>
    public long LatestStart => Record.LatestStart;

    /// <summary>Chunks that wait or are in flight.</summary>
    public int ChunksOpen => Record.ChunksOpen;

    /// <summary>Units, tasks and chunks that wait, and units that were taken.</summary>
    public long UnitsWaiting => Record.UnitsWaiting;
    public long TasksWaiting => Record.TasksWaiting;
    public int ChunksWaiting => Record.ChunksWaiting;
    public ref long UnitsTaken => ref Record.UnitsTaken;

    public bool Paused => Record.Flags.HasFlag(JobFlags.Paused);

    /// <summary>Set when the rest of the job is to end without running.</summary>
    public Decision? Ending => Index.EndingOf(Number);

    /// <summary>True while its waiting work may be dispatched.</summary>
    public bool IsOpen => (Record.Flags & JobFlags.Closed) == 0;

    private ref JobRecord Record => ref Index.JobAt(Number);
}

/// <summary>
/// A chunk that waits, wholly or in part, or is in flight. A handle on a record of the index. When nothing of the chunk is left, e.g.
/// since its end was told before a dispatch of it came back, the handle is on a record of nothing: no tasks, no units.
/// </summary>
internal readonly record struct WaitingChunk(Backlog Index, int Place, byte Generation)
{
    /// <summary>The record's number; 0 when nothing of the chunk is left.</summary>
    public int Number => Index.ChunkAt(Place).Generation == Generation ? Place : 0;

    public WaitingJob Job => new(Index, Record.Job);
    public int No => Record.No;
    public int Tasks => Record.Tasks;
    public long Units => Record.Units;
    public int UnitsMax => Record.UnitsMax;

    /// <summary>How often a worker died while it ran, as PostgreSQL counts; more than 255 is as good as 255.</summary>
    public int Attempts
    {
        get => Record.Attempts;
        set => Record.Attempts = (byte)Math.Clamp(value, 0, byte.MaxValue);
    }

    /// <summary>How often a dispatch of it faulted, counted here.</summary>
    public int Faults
    {
        get => Record.Faults;
        set => Record.Faults = (byte)Math.Clamp(value, 0, byte.MaxValue);
    }

    /// <summary>Dispatches and endings that hold a part of it.</summary>
    public ref int InFlight => ref Record.InFlight;

    /// <summary>Tasks that wait.</summary>
    public TaskRanges Waiting => Index.WaitingOf(Number);

    /// <summary>Units of the tasks that wait.</summary>
    public long UnitsWaiting => UnitsOf(Record.Waiting);

    public ChunkKey Key => new(Job.Id, No);

    /// <summary>A suspect, or part of a dispatch that faulted: shares a dispatch with nobody.</summary>
    public bool TravelsAlone => Attempts > 0 || Faults > 0;

    /// <summary>The next death over it convicts a task: nothing else may run in that process.</summary>
    public bool NeedsWorkerApart => Attempts >= SuspectRule.AttemptsApart;

    public long UnitsOf(int tasks) => Backlog.UnitsOf(Record, tasks);

    private ref ChunkRecord Record => ref Index.ChunkAt(Number);
}
