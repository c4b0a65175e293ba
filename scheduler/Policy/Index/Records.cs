using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy.Index;

/// <summary>What is true of a job in the index.</summary>
[Flags]
internal enum JobFlags
{
    None = 0,
    Paused = 1,

    /// <summary>The rest of it is to end; its decision stands beside the slab.</summary>
    Ending = 2,
    Relegated = 4,
    Promoted = 8,

    /// <summary>It stands among the jobs to end, so its record stays until it is met there.</summary>
    ToEnd = 16,
    Forgotten = 32,

    /// <summary>An operator holds its tenant or its model.</summary>
    Held = 64,

    /// <summary>Any of these: nothing of it may be dispatched.</summary>
    Closed = Paused | Ending | Held,
}

/// <summary>A job in the index: 128 bytes. Times are UTC ticks; the accessors of <see cref="WaitingJob"/> say what each field means.</summary>
internal struct JobRecord
{
    public JobId Id;
    public int Tenant;
    public int Queue;
    public long QueuedAt;
    public long UnitsTaken;
    public long UnitsWaiting;

    /// <summary>A task's number in its job is an <see cref="int"/>, so this is one as well.</summary>
    public int TasksWaiting;
    public int ChunksOpen;
    public int ChunksWaiting;

    /// <summary>Its standing chunks in order of number: a list, and a heap of those that came out of order.</summary>
    public int Head;
    public int Tail;
    public int Aside;

    /// <summary>The one chunk that is found by the job itself, or 0; the others stand in an index.</summary>
    public int Own;

    // What the heaps read and write stands together: on a large backlog every other cache line is a wait for memory.

    /// <summary>Its places in its queue and among the alarms; 0 where it does not stand.</summary>
    public int PlaceInQueue;
    public long Deadline;
    public long Arrival;
    public long Due;
    public long LatestStart;

    /// <summary>When it has to be looked at: at its deadline, and before that when it may have to be promoted.</summary>
    public long AlarmAt;
    public int PlaceByAlarm;
    public JobFlags Flags;
}

/// <summary>What is true of a chunk in the index.</summary>
[Flags]
internal enum ChunkFlags : byte
{
    None = 0,

    /// <summary>It stands in its job's line, or among those that travel alone.</summary>
    Queued = 1,

    /// <summary>It stands among those that travel alone.</summary>
    Alone = 2,

    /// <summary>What waits of it is in pieces, which stand beside the slab.</summary>
    Pieces = 4,

    /// <summary>Nothing of it is left; its record stays until its job's line is past it.</summary>
    Gone = 8,

    /// <summary>All that waited of it was taken to be ended, so its tenant was not charged for it.</summary>
    Ends = 16,
}

/// <summary>A chunk in the index: 48 bytes.</summary>
internal struct ChunkRecord
{
    public long Units;
    public int Job;
    public int No;
    public int Tasks;
    public int UnitsMax;

    /// <summary>Waiting tasks, and where their range begins when they are in one.</summary>
    public int First;
    public int Waiting;
    public int InFlight;

    /// <summary>The chunk after it in its job's line (or its sibling in the heap), and its first child in the heap.</summary>
    public int Next;
    public int Child;
    public byte Attempts;
    public byte Faults;
    public ChunkFlags Flags;

    /// <summary>How often the record was freed, modulo 256: tells a handle on what was in it before.</summary>
    public byte Generation;
}

/// <summary>Jobs by id.</summary>
internal readonly struct JobKeys(Slab<JobRecord> jobs) : IKeys<JobId>
{
    public uint Hash(in JobId key) => Bits.Spread((uint)key.GetHashCode());

    public uint HashOf(int id) => Hash(jobs[id].Id);

    public bool Has(int id, in JobId key) => jobs[id].Id == key;
}

/// <summary>Chunks by job and number, told by the job's record.</summary>
internal readonly struct ChunkKeys(Slab<ChunkRecord> chunks) : IKeys<(int Job, int No)>
{
    public uint Hash(in (int Job, int No) key) => Bits.Spread(((uint)key.Job * 0x9e3779b1) + (uint)key.No);

    public uint HashOf(int id) => Hash((chunks[id].Job, chunks[id].No));

    public bool Has(int id, in (int Job, int No) key) => chunks[id].Job == key.Job && chunks[id].No == key.No;
}

/// <summary>Jobs by when their next chunk is due.</summary>
internal readonly struct DueOrder(Slab<JobRecord> jobs) : IHeapOrder
{
    public bool Less(int a, int b)
    {
        ref var x = ref jobs[a];
        ref var y = ref jobs[b];
        return x.Due != y.Due ? x.Due < y.Due : x.Arrival < y.Arrival;
    }

    public ref int Place(int id) => ref jobs[id].PlaceInQueue;
}

/// <summary>Promoted jobs by their latest start.</summary>
internal readonly struct PromotedOrder(Slab<JobRecord> jobs) : IHeapOrder
{
    public bool Less(int a, int b)
    {
        ref var x = ref jobs[a];
        ref var y = ref jobs[b];
        return x.LatestStart != y.LatestStart ? x.LatestStart < y.LatestStart : x.Arrival < y.Arrival;
    }

    public ref int Place(int id) => ref jobs[id].PlaceInQueue;
}

/// <summary>Jobs by when they have to be looked at.</summary>
internal readonly struct AlarmOrder(Slab<JobRecord> jobs) : IHeapOrder
{
    public bool Less(int a, int b)
    {
        ref var x = ref jobs[a];
        ref var y = ref jobs[b];
        return x.AlarmAt != y.AlarmAt ? x.AlarmAt < y.AlarmAt : x.Arrival < y.Arrival;
    }

    public ref int Place(int id) => ref jobs[id].PlaceByAlarm;
}
