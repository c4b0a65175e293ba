using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>What waits for one model in one latency class: jobs by when their next chunk is due, and the chunks that travel alone.</summary>
internal sealed class ClassQueue(ModelRef model, LatencyClass latencyClass)
{
    private static readonly Comparer<WaitingJob> ByDue = Comparer<WaitingJob>.Create(
        static (a, b) => a.Due.CompareTo(b.Due) is var due and not 0 ? due : a.Arrival.CompareTo(b.Arrival)
    );

    private static readonly Comparer<WaitingChunk> ByDeadline = Comparer<WaitingChunk>.Create(
        static (a, b) =>
            a.Job.Deadline.CompareTo(b.Job.Deadline) is var deadline and not 0 ? deadline
            : a.Job.Arrival.CompareTo(b.Job.Arrival) is var arrival and not 0 ? arrival
            : a.No.CompareTo(b.No)
    );

    public ModelRef Model { get; } = model;
    public LatencyClass Class { get; } = latencyClass;

    /// <summary>Open jobs with waiting chunks.</summary>
    public SortedSet<WaitingJob> Jobs { get; } = new(ByDue);

    /// <summary>Suspects and what faulted.</summary>
    public SortedSet<WaitingChunk> Alone { get; } = new(ByDeadline);

    /// <summary>Totals over the open jobs.</summary>
    public long Units { get; set; }
    public long Tasks { get; set; }
    public int Chunks { get; set; }

    public bool IsEmpty => Jobs.Count == 0 && Alone.Count == 0;

    /// <summary>When the most urgent of those that may share a dispatch is due; <see cref="long.MaxValue"/> when none waits.</summary>
    public long DueShared => Jobs.Min?.Due ?? long.MaxValue;

    /// <summary>When the most urgent of those that travel alone is due.</summary>
    public long DueAlone => Alone.Min?.Job.TargetAt ?? long.MaxValue;

    /// <summary>When the most urgent of all is due.</summary>
    public long Due => Math.Min(DueShared, DueAlone);
}
