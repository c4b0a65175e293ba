using Pipeline.Contracts;

namespace Pipeline.Simulator.Fleet;

/// <summary>What the world knows of a chunk: the truth that policies are told parts of. Kept in a slot of <see cref="ChunkStore"/>.</summary>
internal struct SimChunk
{
    /// <summary>The number of its job; 0 when the slot is free.</summary>
    public uint Job;
    public int No;
    public int FirstSlot;
    public int Tasks;
    public int EndedTasks;
    public int Model;
    public int Tenant;
    public int Attempts;
    public LatencyClass Class;
    public long QueuedAt;
    public long Due;
    public long Deadline;

    /// <summary>Units of each task where all are equal.</summary>
    public int UnitsEach;

    /// <summary>Units of each task where they differ.</summary>
    public int[]? Lengths;

    /// <summary>Tasks that have ended.</summary>
    public Marks Ended;

    /// <summary>Tasks that are in a dispatch that lives.</summary>
    public Marks Live;

    public readonly int UnitsOf(int task) => Lengths is null ? UnitsEach : Lengths[task];
}

/// <summary>One bit a task; a chunk of up to 64 tasks needs no array.</summary>
internal struct Marks
{
    private ulong _word;
    private ulong[]? _more;

    public Marks(int tasks) => _more = tasks > 64 ? new ulong[(tasks + 63) / 64] : null;

    public readonly bool Any => _more is null ? _word != 0 : _more.AsSpan().ContainsAnyExcept(0UL);

    public readonly bool Has(int task) => ((_more is null ? _word : _more[task >> 6]) >> (task & 63) & 1) != 0;

    /// <summary>How many of the range are marked.</summary>
    public readonly int Count(int first, int count)
    {
        var marked = 0;
        for (var at = first; at < first + count; at = (at | 63) + 1)
        {
            marked += System.Numerics.BitOperations.PopCount((_more is null ? _word : _more[at >> 6]) & Mask(at, first + count));
        }

        return marked;
    }

    /// <summary>Marks the range.</summary>
    /// <returns>How many were not marked before.</returns>
    public int Set(int first, int count)
    {
        var added = 0;
        for (var at = first; at < first + count; at = (at | 63) + 1)
        {
            ref var word = ref Word(at);
            var mask = Mask(at, first + count);
            added += System.Numerics.BitOperations.PopCount(mask & ~word);
            word |= mask;
        }

        return added;
    }

    public void Clear(int first, int count)
    {
        for (var at = first; at < first + count; at = (at | 63) + 1)
        {
            Word(at) &= ~Mask(at, first + count);
        }
    }

    [System.Diagnostics.CodeAnalysis.UnscopedRef]
    private ref ulong Word(int task) => ref _more is null ? ref _word : ref _more[task >> 6];

    /// <summary>The bits of one word from <paramref name="at"/> to <paramref name="end"/>.</summary>
    private static ulong Mask(int at, int end)
    {
        var count = Math.Min(end, (at | 63) + 1) - at;
        return (count == 64 ? ulong.MaxValue : (1UL << count) - 1) << (at & 63);
    }
}
