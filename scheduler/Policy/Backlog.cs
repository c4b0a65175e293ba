using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// The index of everything that waits: chunk headers, held by job, jobs by model and class. Every operation costs the logarithm of
/// the number of jobs, whatever waits; totals are kept, never summed.
/// <code>
/// waiting ──Take──> in flight ──Land──> waiting again, or gone when nothing of the chunk waits or is in flight
/// </code>
/// </summary>
internal sealed class Backlog(CostBook costs)
{
    private readonly Dictionary<ChunkKey, WaitingChunk> _chunks = [];
    private readonly Dictionary<JobId, WaitingJob> _jobs = [];
    private readonly Dictionary<ModelRef, ClassQueue[]> _queues = [];
    private readonly List<ClassQueue[]> _queuesInOrder = [];
    private readonly SortedSet<WaitingJob> _deadlines = new(
        Comparer<WaitingJob>.Create(
            static (a, b) => a.Deadline.CompareTo(b.Deadline) is var deadline and not 0 ? deadline : a.Arrival.CompareTo(b.Arrival)
        )
    );

    /// <summary>Jobs that were paused or cancelled before a chunk of them was known: late chunks must not slip through.</summary>
    private readonly Dictionary<JobId, bool> _flagsOfUnknown = [];
    private const int FlagsOfUnknownMax = 10_000;
    private long _arrivals;

    public PolicyOptions Options { get; set; } = new();

    /// <summary>Chunks that wait or are in flight.</summary>
    public int ChunksOpen => _chunks.Count;

    public IReadOnlyCollection<WaitingJob> JobsByDeadline => _deadlines;

    /// <summary>The job whose deadline comes first, or null.</summary>
    public WaitingJob? FirstDeadline => _deadlines.Min;

    /// <summary>Every model's three queues, in order of the models' first chunks.</summary>
    public IReadOnlyList<ClassQueue[]> Queues => _queuesInOrder;

    /// <summary>Jobs whose rest is to end and that have waiting chunks, in the order they were flagged.</summary>
    public Queue<WaitingJob> JobsToEnd { get; } = new();

    public WaitingChunk? Find(ChunkKey key) => _chunks.GetValueOrDefault(key);

    public WaitingJob? Find(JobId job) => _jobs.GetValueOrDefault(job);

    /// <summary>Puts a chunk into the index; one that is in it already stays as it is (its message came twice).</summary>
    /// <returns>The chunk, or null when it was known or has nothing left.</returns>
    public WaitingChunk? Add(in ChunkHeader header)
    {
        if (header.Remaining <= 0 || header.Tasks <= 0 || _chunks.ContainsKey(header.Key))
        {
            return null;
        }

        var job = JobOf(header);
        // What has a result already does not run again: the rest of the chunk has its share of the units. A count that cannot be is cut,
        // or the sums over a backlog would overflow.
        var told = Math.Clamp(header.Units, 0, (long)header.Tasks * int.MaxValue);
        var units = (long)((Int128)told * Math.Min(header.Remaining, header.Tasks) / header.Tasks);
        var chunk = new WaitingChunk(job, header.No, header.Tasks, units, header.UnitsMax, header.Attempts);
        _chunks.Add(header.Key, chunk);
        job.ChunksOpen++;
        Return(chunk, new TaskRange(0, header.Tasks));
        return chunk;
    }

    /// <summary>Puts tasks of a chunk back among what waits.</summary>
    public void Return(WaitingChunk chunk, TaskRange range)
    {
        var before = chunk.Waiting.Count;
        chunk.Waiting.Add(range);
        Count(chunk, before);
        Stand(chunk);
    }

    /// <summary>Tasks of a chunk wait no more, e.g. since they have ended or a worker holds them.</summary>
    public static void Remove(WaitingChunk chunk, TaskRange range)
    {
        var before = chunk.Waiting.Count;
        chunk.Waiting.Subtract(range);
        Count(chunk, before);
    }

    /// <summary>Takes at most <paramref name="countMax"/> waiting tasks of a chunk into flight.</summary>
    public static TaskRange Take(WaitingChunk chunk, int countMax)
    {
        var before = chunk.Waiting.Count;
        var taken = chunk.Waiting.Take(countMax);
        chunk.InFlight++;
        chunk.Job.UnitsTaken += chunk.UnitsOf(taken.Count);
        Count(chunk, before);
        return taken;
    }

    /// <summary>Takes all that waits of a chunk into flight, to be ended without running.</summary>
    public static void TakeAll(WaitingChunk chunk)
    {
        Withdraw(chunk);
        var before = chunk.Waiting.Count;
        chunk.Waiting.Clear();
        chunk.InFlight++;
        Count(chunk, before);
    }

    /// <summary>A part of a chunk is no longer in flight; call <see cref="Return"/> first for what has to run again.</summary>
    public void Land(WaitingChunk chunk)
    {
        chunk.InFlight = Math.Max(0, chunk.InFlight - 1); // What is told twice lands once.
        if (chunk.InFlight == 0 && chunk.Waiting.IsEmpty)
        {
            if (Find(chunk.Key) != chunk)
            {
                return; // It has landed before.
            }

            _chunks.Remove(chunk.Key);
            Withdraw(chunk);
            if (--chunk.Job.ChunksOpen == 0)
            {
                Forget(chunk.Job);
            }
        }
        else if (!chunk.Waiting.IsEmpty)
        {
            Stand(chunk);
        }
    }

    /// <summary>The waiting chunk of a job that comes next, or null. It leaves the queue; <see cref="Stand"/> puts it back.</summary>
    public WaitingChunk? NextOf(WaitingJob job)
    {
        while (job.Chunks.TryDequeue(out var chunk, out _))
        {
            chunk.Queued = false;
            if (chunk.Waiting.IsEmpty)
            {
                continue;
            }

            if (job.IsOpen && chunk.TravelsAlone)
            {
                Stand(chunk);
                continue;
            }

            return chunk;
        }

        Leave(job);
        return null;
    }

    /// <summary>
    /// Lets a chunk with waiting tasks stand where it will be found. A suspect waits until all of it has landed: only when its parts
    /// run one after the other is the first task without a result the culprit.
    /// </summary>
    public void Stand(WaitingChunk chunk)
    {
        if (chunk.Waiting.IsEmpty || (chunk.Attempts > 0 && chunk.InFlight > 0))
        {
            return;
        }

        var job = chunk.Job;
        if (!chunk.Queued)
        {
            chunk.Queued = true;
            if (job.IsOpen && chunk.TravelsAlone)
            {
                (chunk.NeedsWorkerApart ? job.Queue.Apart : job.Queue.Alone).Add(chunk);
                return;
            }

            job.Chunks.Enqueue(chunk, chunk.No);
        }

        Rank(job);
    }

    /// <summary>A chunk leaves the ones that travel alone.</summary>
    public static void Withdraw(WaitingChunk chunk)
    {
        if (chunk.Job.Queue.Alone.Remove(chunk) || chunk.Job.Queue.Apart.Remove(chunk))
        {
            chunk.Queued = false;
        }
    }

    /// <summary>A worker died over the chunk: it stands among the suspects of that step from now on.</summary>
    public void Suspect(WaitingChunk chunk, int attempts)
    {
        Withdraw(chunk);
        chunk.Attempts = attempts;
        Stand(chunk);
    }

    /// <summary>The most urgent chunk that needs a worker for itself, or null.</summary>
    public WaitingChunk? NextApart()
    {
        WaitingChunk? best = null;
        foreach (var queues in _queuesInOrder)
        {
            foreach (var queue in queues)
            {
                if (queue.Apart.Min is { } chunk && (best is null || ClassQueue.ByDeadline.Compare(chunk, best) < 0))
                {
                    best = chunk;
                }
            }
        }

        return best;
    }

    /// <summary>Lets the job stand in its class queue by when its next chunk is due.</summary>
    public void Rank(WaitingJob job)
    {
        if (job.Chunks.Count == 0)
        {
            Leave(job);
            return;
        }

        if (job.Ending is not null)
        {
            if (!job.Queued)
            {
                job.Queued = true;
                JobsToEnd.Enqueue(job);
            }

            return;
        }

        if (job.Paused)
        {
            return;
        }

        var due = DueOf(job);
        if (job.Queued && due == job.Due)
        {
            return;
        }

        Leave(job);
        job.Due = due;
        job.Queued = true;
        job.Queue.Jobs.Add(job);
    }

    public void Pause(JobId id)
    {
        if (Flagged(id, cancelled: false) is { Paused: false } job)
        {
            Close(job);
            job.Paused = true;
        }
    }

    public void Resume(JobId id)
    {
        _flagsOfUnknown.Remove(id);
        if (Find(id) is { Paused: true } job)
        {
            job.Paused = false;
            if (job.Ending is null)
            {
                Tally(job, +1);
                Rank(job);
            }
        }
    }

    public void Cancel(JobId id, Decision ending)
    {
        if (Flagged(id, cancelled: true) is { } job)
        {
            End(job, ending);
        }
    }

    /// <summary>
    /// An express job that will not make its target goes on as standard work, with the due time it had: it is late, so it goes first
    /// there, but takes no more room from those that can still make it.
    /// </summary>
    public void Relegate(WaitingJob job)
    {
        if (!job.IsOpen || job.Queue.Class != LatencyClass.Express)
        {
            return;
        }

        Close(job);
        job.Queue = QueuesOf(job.Queue.Model)[(int)LatencyClass.Standard];
        job.Relegated = true;
        Tally(job, +1);
        Rank(job);
    }

    /// <summary>The rest of the job is to end; the decision tells how and why.</summary>
    public void End(WaitingJob job, Decision ending)
    {
        if (job.Ending is not null)
        {
            return;
        }

        Close(job);
        job.Ending = ending;
        _deadlines.Remove(job);
        Rank(job);
    }

    /// <summary>True when a chunk of this job was told to be cancelled before it was known.</summary>
    public bool WasCancelled(JobId id) => _flagsOfUnknown.TryGetValue(id, out var cancelled) && cancelled;

    private WaitingJob JobOf(in ChunkHeader header)
    {
        if (_jobs.TryGetValue(header.Job, out var job))
        {
            return job;
        }

        var queue = QueuesOf(header.Model)[(int)header.Class];
        job = new WaitingJob(header.Job, header.Tenant, queue, header.Deadline, header.QueuedAt, _arrivals++);
        job.TargetAt = Math.Min(job.QueuedAt + Target(header.Class), job.Deadline);
        job.Paused = _flagsOfUnknown.TryGetValue(header.Job, out var cancelled) && !cancelled;
        _jobs.Add(header.Job, job);
        _deadlines.Add(job);
        return job;
    }

    /// <summary>What waits for a model in a class.</summary>
    public ClassQueue QueueOf(ModelRef model, LatencyClass latencyClass) => QueuesOf(model)[(int)latencyClass];

    private ClassQueue[] QueuesOf(ModelRef model)
    {
        if (!_queues.TryGetValue(model, out var queues))
        {
            queues = [.. Enum.GetValues<LatencyClass>().Select(c => new ClassQueue(model, c))];
            _queues.Add(model, queues);
            _queuesInOrder.Add(queues);
        }

        return queues;
    }

    private WaitingJob? Flagged(JobId id, bool cancelled)
    {
        if (Find(id) is { } job)
        {
            return job;
        }

        if (_flagsOfUnknown.Count >= FlagsOfUnknownMax)
        {
            _flagsOfUnknown.Clear(); // The sweep reads the flags from PostgreSQL again.
        }

        _flagsOfUnknown[id] = cancelled || _flagsOfUnknown.GetValueOrDefault(id);
        return null;
    }

    /// <summary>
    /// A job's next chunk is due when its class's target is used up, counted from the job's own pace: a large job's later chunks fall
    /// due later, so that a small job does not wait for its end. It is never later than what the deadline leaves (least laxity).
    /// </summary>
    private long DueOf(WaitingJob job)
    {
        if (job.Queue.Class == LatencyClass.Express)
        {
            return job.TargetAt;
        }

        var cost = costs.Reference(job.Queue.Model);
        var pace = costs.Pace(cost, job.Queue.Model, Options.BulkBatchTimeMax);
        var byTarget = job.TargetAt + Ticks(Options.PaceSpread * pace.Ns(job.UnitsTaken, 0));
        var byDeadline = job.Deadline - Ticks(pace.Ns(job.UnitsWaiting, job.TasksWaiting));
        return Math.Min(byTarget, byDeadline);
    }

    private long Target(LatencyClass latencyClass) =>
        Options.Classes.TryGetValue(latencyClass, out var options) ? options.Target.Ticks : TimeSpan.TicksPerHour;

    private static long Ticks(double ns) => (long)Math.Min(ns / TimeSpan.NanosecondsPerTick, TimeSpan.TicksPerDay * 3650.0);

    /// <summary>Keeps the totals: of the chunk's tasks <paramref name="before"/> waited, now those in its set do.</summary>
    private static void Count(WaitingChunk chunk, int before)
    {
        var after = chunk.Waiting.Count;
        var job = chunk.Job;
        var units = chunk.UnitsOf(after) - chunk.UnitsOf(before);
        var chunks = Math.Sign(after) - Math.Sign(before);
        job.UnitsWaiting += units;
        job.TasksWaiting += after - before;
        job.ChunksWaiting += chunks;
        if (job.IsOpen)
        {
            job.Queue.Units += units;
            job.Queue.Tasks += after - before;
            job.Queue.Chunks += chunks;
        }
    }

    private static void Tally(WaitingJob job, int sign)
    {
        job.Queue.Units += sign * job.UnitsWaiting;
        job.Queue.Tasks += sign * job.TasksWaiting;
        job.Queue.Chunks += sign * job.ChunksWaiting;
    }

    /// <summary>Takes an open job's work out of what may be dispatched; all its chunks stand in its own queue then.</summary>
    private static void Close(WaitingJob job)
    {
        if (!job.IsOpen)
        {
            return;
        }

        Tally(job, -1);
        Leave(job);
        foreach (var chunk in job.Queue.Alone.Concat(job.Queue.Apart).Where(c => c.Job == job).ToList())
        {
            Withdraw(chunk);
            chunk.Queued = true;
            job.Chunks.Enqueue(chunk, chunk.No);
        }
    }

    private static void Leave(WaitingJob job)
    {
        if (job.Queued && job.Ending is null)
        {
            job.Queue.Jobs.Remove(job);
        }

        job.Queued = false;
    }

    private void Forget(WaitingJob job)
    {
        Leave(job);
        _deadlines.Remove(job);
        _jobs.Remove(job.Id);
    }
}
