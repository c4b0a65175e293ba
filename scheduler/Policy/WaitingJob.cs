using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>A job with chunks in the backlog: what its chunks have in common is held once.</summary>
internal sealed class WaitingJob(
    JobId id,
    TenantId tenant,
    ClassQueue queue,
    DateTimeOffset deadline,
    DateTimeOffset queuedAt,
    long arrival
)
{
    public JobId Id { get; } = id;
    public TenantId Tenant { get; } = tenant;
    public ClassQueue Queue { get; set; } = queue;

    /// <summary>True for an express job that goes on as standard work.</summary>
    public bool Relegated { get; set; }

    /// <summary>When what has not ended expires, in UTC ticks (of 100 ns), and so the times below.</summary>
    public long Deadline { get; } = deadline.UtcTicks;
    public long QueuedAt { get; } = queuedAt.UtcTicks;

    /// <summary>When its class's target is used up.</summary>
    public long TargetAt { get; set; }

    /// <summary>The number of its first chunk's arrival: makes every order total.</summary>
    public long Arrival { get; } = arrival;

    /// <summary>When its next chunk should start; the key it stands in <see cref="ClassQueue.Jobs"/> with.</summary>
    public long Due { get; set; }

    /// <summary>Chunks that wait or are in flight.</summary>
    public int ChunksOpen { get; set; }

    /// <summary>Units, tasks and chunks that wait, and units that were taken.</summary>
    public long UnitsWaiting { get; set; }
    public long TasksWaiting { get; set; }
    public int ChunksWaiting { get; set; }
    public long UnitsTaken { get; set; }

    public bool Paused { get; set; }

    /// <summary>Set when the rest of the job is to end without running.</summary>
    public Decision? Ending { get; set; }

    /// <summary>True while its waiting work may be dispatched.</summary>
    public bool IsOpen => !Paused && Ending is null;

    /// <summary>True while it stands in its class queue.</summary>
    public bool Queued { get; set; }

    /// <summary>Its waiting chunks by number. A chunk stands in it at most once; one with nothing waiting is passed over.</summary>
    public PriorityQueue<WaitingChunk, int> Chunks { get; } = new(1);
}

/// <summary>A chunk that waits, wholly or in part, or is in flight.</summary>
internal sealed class WaitingChunk(WaitingJob job, int no, int tasks, long units, int unitsMax, int attempts)
{
    public WaitingJob Job { get; } = job;
    public int No { get; } = no;
    public int Tasks { get; } = tasks;
    public long Units { get; } = units;
    public int UnitsMax { get; } = unitsMax;

    /// <summary>How often a worker died while it ran, as PostgreSQL counts.</summary>
    public int Attempts { get; set; } = attempts;

    /// <summary>How often a dispatch of it faulted, counted here.</summary>
    public int Faults { get; set; }

    /// <summary>Dispatches and endings that hold a part of it.</summary>
    public int InFlight { get; set; }

    /// <summary>Tasks that wait.</summary>
    public TaskRanges Waiting;

    /// <summary>True while it stands in its job's queue, or among those that travel alone.</summary>
    public bool Queued { get; set; }

    public ChunkKey Key => new(Job.Id, No);

    /// <summary>A suspect, or part of a dispatch that faulted: shares a dispatch with nobody.</summary>
    public bool TravelsAlone => Attempts > 0 || Faults > 0;

    /// <summary>The next death over it convicts a task: nothing else may run in that process.</summary>
    public bool NeedsWorkerApart => Attempts >= SuspectRule.AttemptsApart;

    public long UnitsWaiting => UnitsOf(Waiting.Count);

    public long UnitsOf(int tasks) => (long)((Int128)Units * tasks / Tasks);
}
