using Pipeline.Contracts;
using Pipeline.Scheduler.Policy.Index;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// What waits for one model in one latency class: promoted jobs, then the others in fair shares between tenants, and the chunks that
/// travel alone.
/// </summary>
internal sealed class ClassQueue(Backlog index, int number, ModelRef model, LatencyClass latencyClass, Slab<JobRecord> records)
{
    private readonly FairLines _lines = new(records);
    private readonly IntHeap<PromotedOrder> _promoted = new(new PromotedOrder(records));

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

    /// <summary>The queue's number in the index.</summary>
    public int Number { get; } = number;

    /// <summary>Open jobs with waiting chunks.</summary>
    public QueuedJobs Jobs => new(this);

    /// <summary>Jobs whose work had to start, in order of their latest starts.</summary>
    public PromotedQueue PromotedJobs => new(this);

    /// <summary>Suspects and what faulted: each shares its dispatch with nobody.</summary>
    public SortedSet<WaitingChunk> Alone { get; } = new(ByDeadline);

    /// <summary>Suspects of which a task may be convicted: each shares its worker with nobody.</summary>
    public SortedSet<WaitingChunk> Apart { get; } = new(ByDeadline);

    /// <summary>Totals over the open jobs.</summary>
    public long Units { get; set; }
    public long Tasks { get; set; }
    public int Chunks { get; set; }

    /// <summary>The open jobs' waiting work by deadline.</summary>
    public DueBuckets Work { get; } = new();

    /// <summary>True when nothing may be sent to a worker that has other work as well.</summary>
    public bool IsEmpty => JobsCount == 0 && Alone.Count == 0;

    /// <summary>When the most urgent of those that may share a dispatch is due; <see cref="long.MaxValue"/> when none waits.</summary>
    public long DueShared => Math.Min(DueOf(_lines.FirstDue), DueOf(_promoted.Min));

    /// <summary>When the most urgent of those that travel alone is due.</summary>
    public long DueAlone => Alone.Count > 0 ? Alone.Min.Job.TargetAt : long.MaxValue;

    /// <summary>When the most urgent of both is due.</summary>
    public long Due => Math.Min(DueShared, DueAlone);

    /// <summary>
    /// The job that comes next by fair shares: the most urgent one of the tenant that is least far. Promoted jobs are not among them.
    /// </summary>
    public WaitingJob? NextJob() => Handle(_lines.Next);

    /// <summary>The first waiting chunks in order of when they are due, promoted ones before; nothing is taken.</summary>
    public IEnumerable<WaitingChunk> First(int count)
    {
        foreach (var job in PromotedJobs.Select(j => j.Number).Concat(_lines.InOrder()))
        {
            foreach (var chunk in index.StandingOf(job))
            {
                if (count-- <= 0)
                {
                    yield break;
                }

                yield return chunk;
            }

            if (count <= 0)
            {
                yield break;
            }
        }
    }

    /// <summary>The index's side: a job takes its place, moves in it after its key changed, and leaves.</summary>
    internal void Enter(int job, bool promoted)
    {
        if (promoted)
        {
            _promoted.Add(job);
        }
        else
        {
            _lines.Add(job);
        }
    }

    internal void Move(int job, bool promoted)
    {
        if (promoted)
        {
            _promoted.Move(job);
        }
        else
        {
            _lines.Move(job);
        }
    }

    internal void Leave(int job, bool promoted)
    {
        if (promoted)
        {
            _promoted.Remove(job);
        }
        else
        {
            _lines.Remove(job);
        }
    }

    internal void Charge(int tenant, double units) => _lines.Charge(tenant, units);

    private int JobsCount => _lines.Count + _promoted.Count;

    private long DueOf(int job) => job == 0 ? long.MaxValue : records[job].Due;

    private WaitingJob? Handle(int job) => job == 0 ? null : new WaitingJob(index, job);

    /// <summary>The queue's jobs, as one line: promoted ones, then the others by fair shares.</summary>
    internal readonly struct QueuedJobs(ClassQueue queue)
    {
        public int Count => queue.JobsCount;
        public WaitingJob? Min => queue.PromotedJobs.Min ?? queue.NextJob();
    }

    /// <summary>The queue's promoted jobs in order of their latest starts, then of arrival.</summary>
    internal readonly struct PromotedQueue(ClassQueue queue) : IEnumerable<WaitingJob>
    {
        public int Count => queue._promoted.Count;
        public WaitingJob? Min => queue.Handle(queue._promoted.Min);

        public IEnumerator<WaitingJob> GetEnumerator()
        {
            foreach (var job in Ordered.Walk(queue._promoted, queue.LatestStartOf))
            {
                yield return new WaitingJob(queue.Index, job);
            }
        }

        System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();
    }

    private Backlog Index => index;

    private (long, long) LatestStartOf(int job) => (records[job].LatestStart, records[job].Arrival);
}
