using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>What waits for one model in one latency class: jobs by when their next chunk is due, and the chunks that travel alone.</summary>
internal sealed class ClassQueue(ModelRef model, LatencyClass latencyClass)
{
    private static readonly Comparer<WaitingJob> ByDue = Comparer<WaitingJob>.Create(
        static (a, b) => a.Due.CompareTo(b.Due) is var due and not 0 ? due : a.Arrival.CompareTo(b.Arrival)
    );

    /// <summary>The order of chunks that travel alone.</summary>
    public static Comparer<WaitingChunk> ByDeadline { get; } =
        Comparer<WaitingChunk>.Create(
            static (a, b) =>
                a.Job.Deadline.CompareTo(b.Job.Deadline) is var deadline and not 0 ? deadline
                : a.Job.Arrival.CompareTo(b.Job.Arrival) is var arrival and not 0 ? arrival
                : a.No.CompareTo(b.No)
        );

    public ModelRef Model { get; } = model;
    public LatencyClass Class { get; } = latencyClass;

    /// <summary>Open jobs with waiting chunks.</summary>
    public SortedSet<WaitingJob> Jobs { get; } = new(ByDue);

    /// <summary>Suspects and what faulted: each shares its dispatch with nobody.</summary>
    public SortedSet<WaitingChunk> Alone { get; } = new(ByDeadline);

    /// <summary>Suspects of which a task may be convicted: each shares its worker with nobody.</summary>
    public SortedSet<WaitingChunk> Apart { get; } = new(ByDeadline);

    /// <summary>Totals over the open jobs.</summary>
    public long Units { get; set; }
    public long Tasks { get; set; }
    public int Chunks { get; set; }

    /// <summary>The first waiting chunks in order of when they are due; nothing is taken.</summary>
    public IEnumerable<WaitingChunk> First(int count)
    {
        foreach (var job in Jobs)
        {
            foreach (var (chunk, _) in job.Chunks.UnorderedItems.OrderBy(c => c.Priority))
            {
                if (count-- <= 0)
                {
                    yield break;
                }

                yield return chunk;
            }
        }
    }

    /// <summary>True when nothing may be sent to a worker that has other work as well.</summary>
    public bool IsEmpty => Jobs.Count == 0 && Alone.Count == 0;

    /// <summary>When the most urgent of those that may share a dispatch is due; <see cref="long.MaxValue"/> when none waits.</summary>
    public long DueShared => Jobs.Min?.Due ?? long.MaxValue;

    /// <summary>When the most urgent of those that travel alone is due.</summary>
    public long DueAlone => Alone.Min?.Job.TargetAt ?? long.MaxValue;

    /// <summary>When the most urgent of both is due.</summary>
    public long Due => Math.Min(DueShared, DueAlone);
}
