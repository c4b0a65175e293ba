namespace Pipeline.Scheduler.Policy.Index;

/// <summary>
/// Waiting work by deadline: in steps of a second where the deadline was set at most ten minutes ahead, of a minute up to two
/// days, of a day beyond, so that what has to be done by when can be told without looking at a job. A step is told by its earliest moment: rather too soon than too late.
/// </summary>
internal sealed class DueBuckets
{
    private const long Soon = 10 * TimeSpan.TicksPerMinute;
    private const long Near = 2 * TimeSpan.TicksPerDay;
    private readonly SortedList<long, Bucket> _buckets = [];
    private Bucket? _last;

    public IEnumerable<(long DueBy, long Units, long Tasks)> InOrder()
    {
        foreach (var bucket in _buckets.Values)
        {
            yield return (bucket.DueBy, bucket.Units, bucket.Tasks);
        }
    }

    public void Add(in JobRecord job, long units, long tasks)
    {
        var dueBy = StepOf(job);
        var bucket = _last?.DueBy == dueBy ? _last : BucketAt(dueBy);
        bucket.Units += units;
        bucket.Tasks += tasks;
        _last = bucket;
        if (bucket is { Tasks: 0, Units: 0 })
        {
            _buckets.Remove(dueBy);
            _last = null;
        }
    }

    private Bucket BucketAt(long dueBy)
    {
        if (!_buckets.TryGetValue(dueBy, out var bucket))
        {
            bucket = new Bucket(dueBy);
            _buckets.Add(dueBy, bucket);
        }

        return bucket;
    }

    private static long StepOf(in JobRecord job)
    {
        var step = (job.Deadline - job.QueuedAt) switch
        {
            <= Soon => TimeSpan.TicksPerSecond,
            <= Near => TimeSpan.TicksPerMinute,
            _ => TimeSpan.TicksPerDay,
        };
        return job.Deadline - (job.Deadline % step);
    }

    private sealed class Bucket(long dueBy)
    {
        public long DueBy { get; } = dueBy;
        public long Units { get; set; }
        public long Tasks { get; set; }
    }
}
