using Pipeline.Contracts;
using Pipeline.Scheduler.Policy.Index;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// The index of everything that waits: chunk headers, held by job, jobs by tenant, model and class. Every operation costs the logarithm
/// of the number of jobs, whatever waits; totals are kept, never summed. Records lie in slabs, 48 bytes a chunk and 128 a job, so that
/// 100 million tasks fit into a few hundred megabytes and the garbage collector has nothing to follow in them.
/// <code>
/// waiting ──Take──> in flight ──Land──> waiting again, or gone when nothing of the chunk waits or is in flight
/// </code>
/// A record of a job is of one model, whose queue it stands in. A job whose tasks escalate along a route has one for each model that
/// chunks of it wait for, in a chain from the one that is found by the job's id; what is told of the job is told of all of them.
/// </summary>
internal sealed class Backlog
{
    private const int FlagsOfUnknownMax = 10_000;

    /// <summary>More units than a chunk can have: sums over all chunks stay within a long.</summary>
    private const long UnitsMax = 1L << 40;

    /// <summary>A latest start is moved when it is off by this, and by this share of the work.</summary>
    private const long LaxityStep = 10 * TimeSpan.TicksPerMillisecond;
    private const int LaxityShare = 100;

    /// <summary>How often a queue's pace may be asked before it is looked up again: the look-up costs more than the rest of a step.</summary>
    private const int PaceAsksMax = 32;

    private readonly CostBook _costs;
    private readonly Slab<ChunkRecord> _chunks = new();
    private readonly Slab<JobRecord> _jobs = new();
    private readonly KeyIndex<(int Job, int No), ChunkKeys> _chunksByKey;
    private readonly KeyIndex<JobId, JobKeys> _jobsById;

    /// <summary>Jobs that are not to end, by when they have to be looked at.</summary>
    private readonly IntHeap<AlarmOrder> _alarms;

    /// <summary>What few records have: waiting tasks in pieces, why the rest of a job is to end, and another record of the same job.</summary>
    private readonly Dictionary<int, TaskRanges> _pieces = [];
    private readonly Dictionary<int, Decision> _endings = [];
    private readonly Dictionary<int, int> _siblings = [];
    private readonly Queue<int> _toEnd = new();

    private readonly Dictionary<TenantId, int> _tenants = [];
    private readonly List<TenantId> _tenantIds = [];
    private readonly Dictionary<ModelRef, ClassQueue[]> _queues = [];
    private readonly List<ClassQueue[]> _queuesInOrder = [];
    private readonly List<ClassQueue> _queuesByNumber = [];
    private readonly List<(Pace Pace, int Asked)> _paces = [];

    /// <summary>Jobs that were paused or cancelled before a chunk of them was known: late chunks must not slip through.</summary>
    private readonly Dictionary<JobId, bool> _flagsOfUnknown = [];
    private Holds _holds = Holds.None;
    private readonly long[] _targets = new long[Enum.GetValues<LatencyClass>().Length];
    private PolicyOptions _options = new();
    private long _arrivals;

    public Backlog(CostBook costs)
    {
        _costs = costs;
        _chunksByKey = new(new ChunkKeys(_chunks));
        _jobsById = new(new JobKeys(_jobs));
        _alarms = new(new AlarmOrder(_jobs));
        NsPerUnit = queue => PaceOf(queue).Ns(1, 0);
        Options = _options;
    }

    public PolicyOptions Options
    {
        get => _options;
        set
        {
            _options = value;
            for (var c = 0; c < _targets.Length; c++)
            {
                _targets[c] = value.Classes.TryGetValue((LatencyClass)c, out var options) ? options.Target.Ticks : TimeSpan.TicksPerHour;
            }
        }
    }

    /// <summary>Device time of a unit, for the latest starts.</summary>
    public Func<ClassQueue, double> NsPerUnit { get; set; }

    /// <summary>Chunks that wait or are in flight.</summary>
    public int ChunksOpen { get; private set; }

    /// <summary>
    /// When the next job expires or has to be promoted; <see cref="long.MaxValue"/> when none waits for that. Alarms that jobs left behind in
    /// their queues (<see cref="Leave"/>) are set to the deadline on the way.
    /// </summary>
    public long NextAlarmAt
    {
        get
        {
            while (_alarms.Min is var job and not 0)
            {
                if (_jobs[job].AlarmAt is var at && (at == _jobs[job].Deadline || MayBePromoted(_jobs[job])))
                {
                    return at;
                }

                SetAlarm(job, _jobs[job].Deadline);
            }

            return long.MaxValue;
        }
    }

    /// <summary>Every model's three queues, in order of the models' first chunks.</summary>
    public IReadOnlyList<ClassQueue[]> Queues => _queuesInOrder;

    /// <summary>What waits for a model in a class.</summary>
    public ClassQueue QueueOf(ModelRef model, LatencyClass latencyClass) => QueuesOf(model)[(int)latencyClass];

    public WaitingChunk? Find(ChunkKey key)
    {
        for (var job = _jobsById.Find(key.Job); job != 0; job = SiblingOf(job))
        {
            var own = _jobs[job].Own;
            var chunk = own != 0 && _chunks[own].No == key.No ? own : _chunksByKey.Find((job, key.No));
            if (chunk != 0)
            {
                return Handle(chunk);
            }
        }

        return null;
    }

    /// <summary>The job, or of one that has several records the first.</summary>
    public WaitingJob? Find(JobId id) => _jobsById.Find(id) is var job and not 0 ? new WaitingJob(this, job) : null;

    /// <summary>Puts a chunk into the index; one that is in it already stays as it is (its message came twice).</summary>
    /// <returns>The chunk, or null when it was known or has nothing left.</returns>
    public WaitingChunk? Add(in ChunkHeader header)
    {
        if (header.Remaining <= 0 || header.Tasks <= 0 || Find(header.Key) is not null)
        {
            return null;
        }

        var job = JobOf(header);
        // What has a result already does not run again: the rest of the chunk has its share of the units.
        var units = header.Units > 0 ? Math.Min(header.Units, UnitsMax) : header.Tasks;
        var record = new ChunkRecord
        {
            Job = job,
            No = header.No,
            Tasks = header.Tasks,
            UnitsMax = Math.Max(1, header.UnitsMax),
            Units = Share(units, Math.Min(header.Remaining, header.Tasks), header.Tasks),
            Attempts = (byte)Math.Clamp(header.Attempts, 0, byte.MaxValue),
        };
        var number = _chunks.Add();
        _chunks[number] = record with { Generation = _chunks[number].Generation };
        Enlist(job, number);
        var chunk = Handle(number);
        Return(chunk, new TaskRange(0, header.Tasks));
        return chunk;
    }

    /// <summary>Puts tasks of a chunk back among what waits.</summary>
    public void Return(WaitingChunk chunk, TaskRange range)
    {
        ref var record = ref _chunks[chunk.Number];
        var before = record.Waiting;
        Put(chunk.Number, range);
        Count(chunk.Number, before);
        if (record.InFlight > 0 && !record.Flags.HasFlag(ChunkFlags.Ends))
        {
            Charge(record.Job, -Grown(record, before));
        }

        record.Flags &= ~ChunkFlags.Ends;
        Stand(chunk);
    }

    /// <summary>Tasks of a chunk wait no more, e.g. since they have ended or a worker holds them.</summary>
    public static void Remove(WaitingChunk chunk, TaskRange range)
    {
        var index = chunk.Index;
        var before = index._chunks[chunk.Number].Waiting;
        index.Cut(chunk.Number, range);
        index.Count(chunk.Number, before);
    }

    /// <summary>Takes at most <paramref name="countMax"/> waiting tasks of a chunk into flight.</summary>
    public static TaskRange Take(WaitingChunk chunk, int countMax)
    {
        var index = chunk.Index;
        ref var record = ref index._chunks[chunk.Number];
        var before = record.Waiting;
        var first = chunk.Waiting.First;
        var taken = first with { Count = Math.Min(first.Count, countMax) };
        index.Cut(chunk.Number, taken);
        record.InFlight++;
        index._jobs[record.Job].UnitsTaken += UnitsOf(record, taken.Count);
        index.Count(chunk.Number, before);
        index.Charge(record.Job, -Grown(record, before));
        return taken;
    }

    /// <summary>Takes all that waits of a chunk into flight, to be ended without running.</summary>
    public static void TakeAll(WaitingChunk chunk)
    {
        var index = chunk.Index;
        Withdraw(chunk);
        ref var record = ref index._chunks[chunk.Number];
        var before = record.Waiting;
        index.Cut(chunk.Number, new TaskRange(0, record.Tasks));
        record.Flags |= ChunkFlags.Ends;
        record.InFlight++;
        index.Count(chunk.Number, before);
    }

    /// <summary>A part of a chunk is no longer in flight; call <see cref="Return"/> first for what has to run again.</summary>
    public void Land(WaitingChunk chunk)
    {
        ref var record = ref _chunks[chunk.Number];
        if (record.InFlight <= 0)
        {
            return; // Its end was told twice.
        }

        record.InFlight--;
        if (record.InFlight > 0 || record.Waiting > 0)
        {
            Stand(chunk);
            return;
        }

        var job = record.Job;
        Withdraw(chunk);
        Strike(job, chunk.Number);
        if (record.Flags.HasFlag(ChunkFlags.Queued))
        {
            record.Flags |= ChunkFlags.Gone;
        }
        else
        {
            FreeChunk(chunk.Number);
        }

        if (_jobs[job].ChunksOpen == 0)
        {
            Forget(job);
        }
    }

    /// <summary>The waiting chunk of a job that comes next, or null. It leaves the queue; <see cref="Stand"/> puts it back.</summary>
    public WaitingChunk? NextOf(WaitingJob job)
    {
        ref var record = ref _jobs[job.Number];
        while (ChunkLine.Take(_chunks, ref record) is var number and not 0)
        {
            ref var next = ref _chunks[number];
            next.Flags &= ~ChunkFlags.Queued;
            if (next.Flags.HasFlag(ChunkFlags.Gone))
            {
                FreeChunk(number);
                continue;
            }

            var chunk = Handle(number);
            if (next.Waiting == 0)
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

        Leave(job.Number);
        return null;
    }

    /// <summary>
    /// Lets a chunk with waiting tasks stand where it will be found. A suspect waits until all of it has landed: only when its parts
    /// run one after the other is the first task without a result the culprit.
    /// </summary>
    public void Stand(WaitingChunk chunk)
    {
        ref var record = ref _chunks[chunk.Number];
        if (record.Waiting == 0 || (record.Attempts > 0 && record.InFlight > 0))
        {
            return;
        }

        var job = chunk.Job;
        if (!record.Flags.HasFlag(ChunkFlags.Queued))
        {
            record.Flags |= ChunkFlags.Queued;
            if (job.IsOpen && chunk.TravelsAlone)
            {
                record.Flags |= ChunkFlags.Alone;
                (chunk.NeedsWorkerApart ? job.Queue.Apart : job.Queue.Alone).Add(chunk);
                return;
            }

            ChunkLine.Add(_chunks, ref _jobs[record.Job], chunk.Number);
        }

        Rank(job);
    }

    /// <summary>A chunk leaves the ones that travel alone.</summary>
    public static void Withdraw(WaitingChunk chunk)
    {
        ref var record = ref chunk.Index._chunks[chunk.Number];
        if (record.Flags.HasFlag(ChunkFlags.Alone))
        {
            record.Flags &= ~(ChunkFlags.Alone | ChunkFlags.Queued);
            var queue = chunk.Job.Queue;
            _ = queue.Alone.Remove(chunk) || queue.Apart.Remove(chunk);
        }
    }

    /// <summary>A worker died over the chunk: it stands among the suspects of that step from now on.</summary>
    public void Suspect(WaitingChunk chunk, int attempts)
    {
        Withdraw(chunk);
        chunk.Attempts = attempts;
        Stand(chunk);
    }

    /// <summary>A dispatch of the chunk faulted for the <paramref name="faults"/>-th time.</summary>
    public static void Fault(WaitingChunk chunk, int faults)
    {
        if (chunk.Number != 0)
        {
            chunk.Faults = Math.Max(chunk.Faults, faults);
        }
    }

    /// <summary>The most urgent chunk that needs a worker for itself, or null.</summary>
    public WaitingChunk? NextApart()
    {
        WaitingChunk? best = null;
        foreach (var queue in _queuesByNumber)
        {
            if (queue.Apart.Count > 0 && (best is null || ClassQueue.ByDeadline.Compare(queue.Apart.Min, best.Value) < 0))
            {
                best = queue.Apart.Min;
            }
        }

        return best;
    }

    /// <summary>Lets the job stand in its class queue by when its next chunk is due, and be looked at before its latest start.</summary>
    public void Rank(WaitingJob job)
    {
        ref var record = ref _jobs[job.Number];
        PassOver(ref record);
        if (ChunkLine.IsEmpty(record))
        {
            Leave(job.Number);
        }
        else if (record.Flags.HasFlag(JobFlags.Ending))
        {
            if (!record.Flags.HasFlag(JobFlags.ToEnd))
            {
                record.Flags |= JobFlags.ToEnd;
                _toEnd.Enqueue(job.Number);
            }
        }
        else if ((record.Flags & JobFlags.Closed) == 0)
        {
            Place(job.Number, ref record);
        }
    }

    /// <summary>
    /// The job that has to be looked at by now, if there is one. Either its deadline has passed, and it has to be ended; or its work has to
    /// start, and it was promoted: it stands before its class from then on.
    /// </summary>
    public WaitingJob? NextAlarm(long now)
    {
        if (NextAlarmAt > now)
        {
            return null;
        }

        var job = new WaitingJob(this, _alarms.Min);
        if (job.Deadline > now)
        {
            Leave(job.Number);
            _jobs[job.Number].Flags |= JobFlags.Promoted;
            SetAlarm(job.Number, job.Deadline);
            Rank(job);
        }

        return job;
    }

    /// <summary>What waits by when it is due at the latest, in that order; nothing is looked at but totals.</summary>
    public IEnumerable<(long DueBy, ClassQueue Queue, long Units, long Tasks)> WorkByDeadline()
    {
        var work = new List<(long DueBy, ClassQueue Queue, long Units, long Tasks)>();
        foreach (var queue in _queuesByNumber)
        {
            foreach (var (dueBy, units, tasks) in queue.Work.InOrder())
            {
                work.Add((dueBy, queue, units, tasks));
            }
        }

        work.Sort(static (a, b) => a.DueBy.CompareTo(b.DueBy) is var due and not 0 ? due : a.Queue.Number.CompareTo(b.Queue.Number));
        return work;
    }

    public void Pause(JobId id)
    {
        foreach (var job in Flagged(id, cancelled: false).Where(j => !j.Paused))
        {
            Close(job);
            _jobs[job.Number].Flags |= JobFlags.Paused;
        }
    }

    public void Resume(JobId id)
    {
        _flagsOfUnknown.Remove(id);
        foreach (var job in RecordsOf(id).Where(j => j.Paused))
        {
            _jobs[job.Number].Flags &= ~JobFlags.Paused;
            Open(job);
        }
    }

    /// <summary>
    /// What waits of the job stands by this class and deadline from now on. A job that is not known has them in its chunks when they come.
    /// </summary>
    /// <returns>What was moved: a record for each model that chunks of it wait for.</returns>
    public IReadOnlyList<WaitingJob> Move(JobId id, LatencyClass latencyClass, long deadline, long since)
    {
        var moved = RecordsOf(id).Where(j => j.Ending is null).ToList();
        foreach (var job in moved)
        {
            Close(job);
            ref var record = ref _jobs[job.Number];
            record.Queue = QueueOf(job.Queue.Model, latencyClass).Number;
            (record.Deadline, record.QueuedAt) = (deadline, since);
            record.Flags &= ~(JobFlags.Relegated | JobFlags.Promoted);
            SetAlarm(job.Number, deadline);
            Open(job);
        }

        return moved;
    }

    /// <summary>
    /// Nothing of these tenants and models may be dispatched; what was held and is not among them goes on. All jobs are looked at: that is
    /// asked for by hand, and a look is a few nanoseconds.
    /// </summary>
    public void Hold(Holds holds)
    {
        _holds = holds;
        // Found first: a job that is opened again moves among the alarms.
        var jobs = Enumerable.Range(0, _alarms.Count).Select(_alarms.At);
        foreach (var number in jobs.Where(j => IsHeld(_jobs[j]) != _jobs[j].Flags.HasFlag(JobFlags.Held)).ToList())
        {
            var job = new WaitingJob(this, number);
            Close(job);
            _jobs[number].Flags ^= JobFlags.Held;
            Open(job);
        }
    }

    public void Cancel(JobId id, Decision ending)
    {
        foreach (var job in Flagged(id, cancelled: true))
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
        ref var record = ref _jobs[job.Number];
        record.Queue = QueueOf(job.Queue.Model, LatencyClass.Standard).Number;
        record.Flags |= JobFlags.Relegated;
        Open(job);
    }

    /// <summary>The rest of the job is to end; the decision tells how and why.</summary>
    public void End(WaitingJob job, Decision ending)
    {
        ref var record = ref _jobs[job.Number];
        if (record.Flags.HasFlag(JobFlags.Ending))
        {
            return;
        }

        Close(job);
        record.Flags |= JobFlags.Ending;
        _endings.Add(job.Number, ending);
        _alarms.Remove(job.Number);
        Rank(job);
    }

    /// <summary>A job whose rest is to end and that has chunks to end, in the order they were flagged; or null.</summary>
    public WaitingJob? FirstToEnd()
    {
        while (_toEnd.TryPeek(out var number))
        {
            ref var record = ref _jobs[number];
            if (record.Flags.HasFlag(JobFlags.Forgotten))
            {
                _toEnd.Dequeue();
                Free(number);
                continue;
            }

            PassOver(ref record);
            if (!ChunkLine.IsEmpty(record))
            {
                return new WaitingJob(this, number);
            }

            record.Flags &= ~JobFlags.ToEnd;
            _toEnd.Dequeue();
        }

        return null;
    }

    /// <summary>True when a chunk of this job was told to be cancelled before it was known.</summary>
    public bool WasCancelled(JobId id) => _flagsOfUnknown.TryGetValue(id, out var cancelled) && cancelled;

    // What handles read

    internal ref JobRecord JobAt(int number) => ref _jobs[number];

    internal ref ChunkRecord ChunkAt(int number) => ref _chunks[number];

    internal TenantId TenantOf(int tenant) => _tenantIds[tenant];

    internal ClassQueue QueueAt(int number) => _queuesByNumber[number];

    internal Decision? EndingOf(int job) => _endings.GetValueOrDefault(job);

    internal long TargetOf(in JobRecord job)
    {
        var from = job.Flags.HasFlag(JobFlags.Relegated) ? LatencyClass.Express : _queuesByNumber[job.Queue].Class;
        return Math.Min(Sum(job.QueuedAt, _targets[(int)from]), job.Deadline);
    }

    internal TaskRanges WaitingOf(int chunk)
    {
        ref var record = ref _chunks[chunk];
        return record.Flags.HasFlag(ChunkFlags.Pieces) ? _pieces[chunk] : TaskRanges.Of(new TaskRange(record.First, record.Waiting));
    }

    internal static long UnitsOf(in ChunkRecord chunk, int tasks) => Share(chunk.Units, tasks, chunk.Tasks);

    /// <summary>A job's standing chunks with waiting tasks that may share a dispatch, in order.</summary>
    internal IEnumerable<WaitingChunk> StandingOf(int job)
    {
        foreach (var number in ChunkLine.All(_chunks, job, _jobs))
        {
            if (_chunks[number].Waiting > 0)
            {
                yield return Handle(number);
            }
        }
    }

    // Jobs

    private int JobOf(in ChunkHeader header)
    {
        var first = _jobsById.Find(header.Job);
        for (var of = first; of != 0; of = SiblingOf(of))
        {
            if (_queuesByNumber[_jobs[of].Queue].Model == header.Model)
            {
                return of;
            }
        }

        // A class that is not known any more goes with the least urgent.
        var latencyClass = (uint)header.Class < (uint)_targets.Length ? header.Class : LatencyClass.Bulk;
        var paused =
            first != 0
                ? _jobs[first].Flags.HasFlag(JobFlags.Paused)
                : _flagsOfUnknown.TryGetValue(header.Job, out var cancelled) && !cancelled;
        var record = new JobRecord
        {
            Id = header.Job,
            Tenant = TenantNumber(header.Tenant),
            Queue = QueueOf(header.Model, latencyClass).Number,
            Deadline = header.Deadline.UtcTicks,
            AlarmAt = header.Deadline.UtcTicks,
            QueuedAt = header.QueuedAt.UtcTicks,
            Arrival = _arrivals++,
            Flags = paused ? JobFlags.Paused : JobFlags.None,
        };
        if (first != 0)
        {
            // What was asked of the job since this chunk was made holds for it, too.
            ref var known = ref _jobs[first];
            (record.Deadline, record.AlarmAt, record.QueuedAt) = (known.Deadline, known.Deadline, known.QueuedAt);
        }

        record.Flags |= IsHeld(record) ? JobFlags.Held : JobFlags.None;
        var job = _jobs.Add();
        _jobs[job] = record;
        _alarms.Add(job);
        if (first == 0)
        {
            _jobsById.Add(job);
            return job;
        }

        Link(job, SiblingOf(first));
        Link(first, job);
        if (EndingOf(first) is { } ending)
        {
            End(new WaitingJob(this, job), ending);
        }

        return job;
    }

    /// <summary>The job's records: one, unless its tasks escalate.</summary>
    private List<WaitingJob> RecordsOf(JobId id)
    {
        var records = new List<WaitingJob>();
        for (var job = _jobsById.Find(id); job != 0; job = SiblingOf(job))
        {
            records.Add(new WaitingJob(this, job));
        }

        return records;
    }

    /// <summary>The record is not found any more; the others of its job are.</summary>
    private void Unlink(int job)
    {
        if (_siblings.Count == 0)
        {
            _jobsById.Remove(job);
            return;
        }

        var id = _jobs[job].Id;
        var (first, next) = (_jobsById.Find(id), SiblingOf(job));
        _siblings.Remove(job);
        if (first != job)
        {
            while (SiblingOf(first) != job)
            {
                first = SiblingOf(first);
            }

            Link(first, next);
            return;
        }

        _jobsById.Remove(job);
        if (next != 0)
        {
            _jobsById.Add(next);
        }
    }

    /// <summary>The next record of the same job, whose chunks run on another model: along a route. 0 for the last, and so for nearly all.</summary>
    private int SiblingOf(int job) => _siblings.Count == 0 ? 0 : _siblings.GetValueOrDefault(job);

    private void Link(int job, int next)
    {
        if (next == 0)
        {
            _siblings.Remove(job);
        }
        else
        {
            _siblings[job] = next;
        }
    }

    private int TenantNumber(TenantId tenant)
    {
        if (!_tenants.TryGetValue(tenant, out var number))
        {
            number = _tenantIds.Count;
            _tenants.Add(tenant, number);
            _tenantIds.Add(tenant);
        }

        return number;
    }

    private ClassQueue[] QueuesOf(ModelRef model)
    {
        if (!_queues.TryGetValue(model, out var queues))
        {
            queues = [.. Enum.GetValues<LatencyClass>().Select(c => new ClassQueue(this, _queuesByNumber.Count + (int)c, model, c, _jobs))];
            _queues.Add(model, queues);
            _queuesInOrder.Add(queues);
            _queuesByNumber.AddRange(queues);
            _paces.AddRange(queues.Select(_ => (default(Pace), 0)));
        }

        return queues;
    }

    /// <summary>The job's records; where it is not known the flag is kept for its chunks.</summary>
    private List<WaitingJob> Flagged(JobId id, bool cancelled)
    {
        if (RecordsOf(id) is { Count: > 0 } records)
        {
            return records;
        }

        if (_flagsOfUnknown.Count >= FlagsOfUnknownMax)
        {
            _flagsOfUnknown.Clear(); // The sweep reads the flags from PostgreSQL again.
        }

        _flagsOfUnknown[id] = cancelled || _flagsOfUnknown.GetValueOrDefault(id);
        return [];
    }

    private void Forget(int job)
    {
        ref var record = ref _jobs[job];
        Leave(job);
        if (_alarms.Contains(job))
        {
            _alarms.Remove(job);
        }

        Unlink(job);
        while (ChunkLine.Take(_chunks, ref record) is var gone and not 0)
        {
            FreeChunk(gone);
        }

        if (record.Flags.HasFlag(JobFlags.ToEnd))
        {
            record.Flags |= JobFlags.Forgotten;
        }
        else
        {
            Free(job);
        }
    }

    private void Free(int job)
    {
        _endings.Remove(job);
        _jobs[job] = default;
        _jobs.Free(job);
    }

    private void FreeChunk(int chunk)
    {
        _chunks[chunk] = new ChunkRecord { Generation = (byte)(_chunks[chunk].Generation + 1) };
        _chunks.Free(chunk);
    }

    /// <summary>
    /// The chunk is found by its key from now on: one of a job's chunks by the job itself, so that the many jobs of one chunk need no
    /// place in the index of chunks.
    /// </summary>
    private void Enlist(int job, int chunk)
    {
        ref var record = ref _jobs[job];
        record.ChunksOpen++;
        ChunksOpen++;
        if (record.Own == 0)
        {
            record.Own = chunk;
        }
        else
        {
            _chunksByKey.Add(chunk);
        }
    }

    /// <summary>The chunk is not found any more.</summary>
    private void Strike(int job, int chunk)
    {
        ref var record = ref _jobs[job];
        record.ChunksOpen--;
        ChunksOpen--;
        if (record.Own == chunk)
        {
            record.Own = 0;
        }
        else
        {
            _chunksByKey.Remove(chunk);
        }
    }

    private WaitingChunk Handle(int chunk) => new(this, chunk, _chunks[chunk].Generation);

    // Places

    /// <summary>Chunks at the head of the line that have nothing waiting are passed over.</summary>
    private void PassOver(ref JobRecord job)
    {
        while (ChunkLine.First(_chunks, job) is var first and not 0 && _chunks[first].Waiting == 0)
        {
            ChunkLine.Take(_chunks, ref job);
            _chunks[first].Flags &= ~ChunkFlags.Queued;
            if (_chunks[first].Flags.HasFlag(ChunkFlags.Gone))
            {
                FreeChunk(first);
            }
        }
    }

    private void Place(int job, ref JobRecord record)
    {
        var queue = _queuesByNumber[record.Queue];
        var promoted = record.Flags.HasFlag(JobFlags.Promoted);
        var due = DueOf(record, queue);
        var moved = due != record.Due;
        record.Due = due;
        if (queue.Class != LatencyClass.Express)
        {
            moved |= SetLatestStart(job, ref record, queue) && promoted;
        }

        if (record.PlaceInQueue == 0)
        {
            queue.Enter(job, promoted);
        }
        else if (moved)
        {
            queue.Move(job, promoted);
        }
    }

    /// <returns>True when it was moved.</returns>
    private bool SetLatestStart(int job, ref JobRecord record, ClassQueue queue)
    {
        var work = Ticks(record.UnitsWaiting * NsPerUnit(queue));
        var start = record.Deadline - work;
        var moved = record.PlaceInQueue == 0 || Math.Abs(start - record.LatestStart) > Math.Max(LaxityStep, work / LaxityShare);
        record.LatestStart = moved ? start : record.LatestStart;
        if (moved && !record.Flags.HasFlag(JobFlags.Promoted))
        {
            SetAlarm(job, record.LatestStart - Options.DispatchTimeTarget.Ticks);
        }

        return moved;
    }

    private void SetAlarm(int job, long at)
    {
        _jobs[job].AlarmAt = at;
        _alarms.Move(job);
    }

    /// <summary>It stands in its queue among those that are not promoted.</summary>
    private bool MayBePromoted(in JobRecord job) =>
        job.PlaceInQueue != 0 && !job.Flags.HasFlag(JobFlags.Promoted) && _queuesByNumber[job.Queue].Class != LatencyClass.Express;

    /// <summary>
    /// The job leaves its queue. Its alarm stays as it is: mostly the job ends before it is heard, and on a large backlog moving it would
    /// be a good part of what a job costs.
    /// </summary>
    private void Leave(int job)
    {
        ref var record = ref _jobs[job];
        if (record.PlaceInQueue != 0)
        {
            _queuesByNumber[record.Queue].Leave(job, record.Flags.HasFlag(JobFlags.Promoted));
        }
    }

    private bool IsHeld(in JobRecord job) => !_holds.IsEmpty && _holds.HoldWork(_tenantIds[job.Tenant], _queuesByNumber[job.Queue].Model);

    /// <summary>Lets the job's work be dispatched, unless something else is against it. Before, it was closed.</summary>
    private void Open(WaitingJob job)
    {
        if (job.IsOpen)
        {
            Tally(job.Number, +1);
            Rank(job);
        }
    }

    /// <summary>Takes an open job's work out of what may be dispatched; all its chunks stand in its own line then.</summary>
    private void Close(WaitingJob job)
    {
        if (!job.IsOpen)
        {
            return;
        }

        Tally(job.Number, -1);
        Leave(job.Number);
        var queue = job.Queue;
        if (queue.Alone.Count + queue.Apart.Count == 0)
        {
            return;
        }

        foreach (var chunk in queue.Alone.Concat(queue.Apart).Where(c => c.Job == job).ToList())
        {
            Withdraw(chunk);
            _chunks[chunk.Number].Flags |= ChunkFlags.Queued;
            ChunkLine.Add(_chunks, ref _jobs[job.Number], chunk.Number);
        }
    }

    /// <summary>
    /// A job's next chunk is due when its class's target is used up, counted from the job's own pace: a large job's later chunks fall
    /// due later, so that a small job does not wait for its end. It is never later than what the deadline leaves (least laxity).
    /// </summary>
    private long DueOf(in JobRecord job, ClassQueue queue)
    {
        if (queue.Class == LatencyClass.Express)
        {
            return TargetOf(job);
        }

        var pace = PaceOf(queue);
        var byTarget = TargetOf(job) + Ticks(Options.PaceSpread * pace.Ns(job.UnitsTaken, 0));
        var byDeadline = job.Deadline - Ticks(pace.Ns(job.UnitsWaiting, job.TasksWaiting));
        return Math.Min(byTarget, byDeadline);
    }

    private Pace PaceOf(ClassQueue queue)
    {
        var (pace, asked) = _paces[queue.Number];
        if (asked == 0)
        {
            pace = _costs.Pace(_costs.Reference(queue.Model), queue.Model, Options.BulkBatchTimeMax);
        }

        _paces[queue.Number] = (pace, (asked + 1) % PaceAsksMax);
        return pace;
    }

    private void Charge(int job, long units)
    {
        ref var record = ref _jobs[job];
        var weight = 1.0;
        if (Options.TenantWeights.Count > 0 && Options.TenantWeights.TryGetValue(_tenantIds[record.Tenant], out var given) && given > 0)
        {
            weight = given;
        }

        _queuesByNumber[record.Queue].Charge(record.Tenant, units / weight);
    }

    // Waiting tasks

    private void Put(int chunk, TaskRange range)
    {
        ref var record = ref _chunks[chunk];
        range = Within(range, record.Tasks);
        if (range.Count == 0)
        {
            return;
        }

        if (record.Waiting == 0)
        {
            (record.First, record.Waiting) = (range.First, range.Count);
        }
        else if (!record.Flags.HasFlag(ChunkFlags.Pieces) && range.End == record.First)
        {
            (record.First, record.Waiting) = (range.First, record.Waiting + range.Count);
        }
        else
        {
            var ranges = WaitingOf(chunk);
            ranges.Add(range);
            Set(chunk, ranges);
        }
    }

    private void Cut(int chunk, TaskRange range)
    {
        ref var record = ref _chunks[chunk];
        range = Within(range, record.Tasks);
        if (range.Count == 0 || record.Waiting == 0)
        {
            return;
        }

        var whole = !record.Flags.HasFlag(ChunkFlags.Pieces);
        if (whole && range.First <= record.First)
        {
            var cut = Math.Clamp(range.End - record.First, 0, record.Waiting);
            (record.First, record.Waiting) = (record.First + cut, record.Waiting - cut);
        }
        else
        {
            var ranges = WaitingOf(chunk);
            ranges.Subtract(range);
            Set(chunk, ranges);
        }
    }

    private void Set(int chunk, TaskRanges ranges)
    {
        ref var record = ref _chunks[chunk];
        (record.First, record.Waiting) = (ranges.First.First, ranges.Count);
        if (ranges.First.Count == ranges.Count)
        {
            record.Flags &= ~ChunkFlags.Pieces;
            _pieces.Remove(chunk);
        }
        else
        {
            record.Flags |= ChunkFlags.Pieces;
            _pieces[chunk] = ranges;
        }
    }

    /// <summary>What a report says may lie outside the chunk.</summary>
    private static TaskRange Within(TaskRange range, int tasks)
    {
        var first = Math.Clamp(range.First, 0, tasks);
        var end = Math.Clamp((long)range.First + range.Count, first, tasks);
        return new TaskRange(first, (int)(end - first));
    }

    // Totals

    /// <summary>Keeps the totals: of the chunk's tasks <paramref name="before"/> waited, now those in its record do.</summary>
    private void Count(int chunk, int before)
    {
        ref var record = ref _chunks[chunk];
        var after = record.Waiting;
        if (after == before)
        {
            return;
        }

        ref var job = ref _jobs[record.Job];
        var units = Grown(record, before);
        var chunks = Math.Sign(after) - Math.Sign(before);
        job.UnitsWaiting += units;
        job.TasksWaiting += after - before;
        job.ChunksWaiting += chunks;
        if ((job.Flags & JobFlags.Closed) == 0)
        {
            Add(job, units, after - before, chunks);
        }
    }

    private void Tally(int number, int sign)
    {
        ref var job = ref _jobs[number];
        Add(job, sign * job.UnitsWaiting, sign * job.TasksWaiting, sign * job.ChunksWaiting);
    }

    private void Add(in JobRecord job, long units, int tasks, int chunks)
    {
        var queue = _queuesByNumber[job.Queue];
        queue.Units += units;
        queue.Tasks += tasks;
        queue.Chunks += chunks;
        queue.Work.Add(job, units, tasks);
    }

    /// <summary>Units by which what waits of the chunk has grown since <paramref name="before"/> of its tasks waited.</summary>
    private static long Grown(in ChunkRecord chunk, int before) => UnitsOf(chunk, chunk.Waiting) - UnitsOf(chunk, before);

    /// <summary>Units are at most 2⁴⁰, so the product needs more than a long only for chunks of millions of tasks.</summary>
    private static long Share(long units, int part, int whole) =>
        part == whole ? units
        : part == 0 || whole == 0 ? 0
        : units <= int.MaxValue ? units * part / whole
        : (long)((Int128)units * part / whole);

    /// <summary>Ticks of an estimate, ten years at most: whatever was learned, sums of them stay numbers.</summary>
    internal static long Ticks(double ns)
    {
        const double TicksMax = TimeSpan.TicksPerDay * 3650.0;
        var ticks = ns / TimeSpan.NanosecondsPerTick;
        return ticks < TicksMax ? (long)ticks : (long)TicksMax;
    }

    private static long Sum(long time, long span) => span > long.MaxValue - time ? long.MaxValue : time + span;
}
