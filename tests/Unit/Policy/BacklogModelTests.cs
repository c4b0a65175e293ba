using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

/// <summary>The index against lists that are searched from end to end: the same operations have to give the same answers.</summary>
public class BacklogModelTests
{
    private static readonly ModelRef Model = new("m", "1");
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly EndChunks Cancelled = new([], TaskOutcome.Cancelled, FailureKind.Cancelled, "", new Why(Reasons.JobCancelled));

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public void Answers_as_lists_do(int seed)
    {
        var pair = new Pair(seed);
        for (var step = 0; step < 1000; step++)
        {
            pair.Step();
            pair.Compare();
        }

        pair.Drain();
        pair.Compare();
    }

    private sealed class Chunk(Job job, int no, int tasks, long units)
    {
        public Job Job { get; } = job;
        public int No { get; } = no;
        public int Tasks { get; } = tasks;
        public long Units { get; } = units;
        public SortedSet<int> Waiting { get; } = [.. Enumerable.Range(0, tasks)];
        public int InFlight { get; set; }

        public long UnitsOf(int count) => Units * count / Tasks;
    }

    private sealed class Job(JobId id, int tenant, LatencyClass latencyClass, DateTimeOffset deadline, DateTimeOffset queuedAt, int arrival)
    {
        public JobId Id { get; } = id;
        public int Tenant { get; } = tenant;
        public LatencyClass Class { get; set; } = latencyClass;
        public long Deadline { get; set; } = deadline.UtcTicks;
        public long QueuedAt { get; set; } = queuedAt.UtcTicks;
        public int Arrival { get; } = arrival;
        public List<Chunk> Chunks { get; } = [];
        public bool Paused { get; set; }
        public bool Held { get; set; }
        public bool Ended { get; set; }
        public long UnitsTaken { get; set; }

        public bool IsOpen => !Paused && !Held && !Ended;
        public IEnumerable<Chunk> Standing => Chunks.Where(c => c.Waiting.Count > 0).OrderBy(c => c.No);
        public long UnitsWaiting => Chunks.Sum(c => c.UnitsOf(c.Waiting.Count));

        public long Due()
        {
            var target = Math.Min(QueuedAt + LatencyClasses.Defaults[Class].Target.Ticks, Deadline);
            if (Class == LatencyClass.Express)
            {
                return target;
            }

            var costs = new CostBook();
            var pace = costs.Pace(costs.Reference(Model), Model, new PolicyOptions().BulkBatchTimeMax);
            var spread = (long)(new PolicyOptions().PaceSpread * pace.Ns(UnitsTaken, 0) / 100);
            return Math.Min(target + spread, Deadline - (long)(pace.Ns(UnitsWaiting, Chunks.Sum(c => c.Waiting.Count)) / 100));
        }
    }

    /// <summary>Both indexes, and what was taken from both.</summary>
    private sealed class Pair(int seed)
    {
        private readonly Random _random = new(seed);
        private readonly Backlog _index = new(new CostBook());
        private readonly List<Job> _jobs = [];
        private readonly List<(Chunk Model, WaitingChunk Real, TaskRange Range)> _flights = [];
        private readonly Dictionary<(LatencyClass Class, int Tenant), double> _virtual = [];
        private readonly Dictionary<LatencyClass, double> _time = [];
        private readonly HashSet<int> _held = [];
        private int _ids;

        public void Step()
        {
            switch (_random.Next(14))
            {
                case 0 or 1 or 2:
                    Add();
                    break;
                case 3 or 4 or 5:
                    Take((LatencyClass)_random.Next(3), 1 + _random.Next(12));
                    break;
                case 6 or 7:
                    Land(done: true);
                    break;
                case 8 or 9:
                    Land(done: false);
                    break;
                case 10:
                    Flag();
                    break;
                case 11:
                    Move();
                    break;
                case 12:
                    Hold(_random.Next(4));
                    break;
                default:
                    End();
                    break;
            }
        }

        /// <summary>Runs all that may run, and ends what is paused.</summary>
        public void Drain()
        {
            _held.ToList().ForEach(Hold);
            foreach (var job in _jobs.Where(j => j.Paused).ToList())
            {
                _index.Resume(job.Id);
                Backlogged(job, () => job.Paused = false);
            }

            while (_flights.Count > 0 || Enum.GetValues<LatencyClass>().Any(c => Open(c).Any()))
            {
                Enum.GetValues<LatencyClass>().ToList().ForEach(c => Take(c, 100));
                Land(done: true);
            }
        }

        /// <summary>A job that may be promoted is looked at before its latest start, which the index keeps to within 1 %; any other at its deadline.</summary>
        private long AlarmAt(Job job)
        {
            if (!job.IsOpen || job.Class == LatencyClass.Express || !job.Standing.Any())
            {
                return job.Deadline;
            }

            var latest = _index.Find(job.Id)!.Value.LatestStart;
            var work = (double)(job.Deadline - latest);
            Assert.InRange(work, Work(job) * 0.98 - TimeSpan.TicksPerSecond / 100, Work(job) * 1.02 + TimeSpan.TicksPerSecond / 100);
            return latest - new PolicyOptions().DispatchTimeTarget.Ticks;
        }

        private static double Work(Job job)
        {
            var costs = new CostBook();
            return costs.Pace(costs.Reference(Model), Model, new PolicyOptions().BulkBatchTimeMax).Ns(1, 0)
                * job.UnitsWaiting
                / TimeSpan.NanosecondsPerTick;
        }

        public void Compare()
        {
            Assert.Equal(_jobs.Sum(j => j.Chunks.Count), _index.ChunksOpen);
            Assert.Equal(_jobs.Where(j => !j.Ended).Select(AlarmAt).DefaultIfEmpty(long.MaxValue).Min(), _index.NextAlarmAt);
            var work = _index.WorkByDeadline().ToLookup(w => w.Queue.Class);
            foreach (var latencyClass in Enum.GetValues<LatencyClass>())
            {
                var queue = _index.QueueOf(Model, latencyClass);
                var open = Open(latencyClass).ToList();
                Assert.Equal(open.Sum(j => j.UnitsWaiting), queue.Units);
                Assert.Equal(open.Sum(j => j.Standing.Sum(c => c.Waiting.Count)), queue.Tasks);
                Assert.Equal(open.Sum(j => j.Standing.Count()), queue.Chunks);
                Assert.Equal(queue.Tasks, work[latencyClass].Sum(w => w.Tasks));
                Assert.Equal(queue.Units, work[latencyClass].Sum(w => w.Units));
                Assert.Equal(open.Count, queue.Jobs.Count);
                Assert.Equal(open.Select(j => j.Due()).DefaultIfEmpty(long.MaxValue).Min(), queue.DueShared);
                Assert.Equal(Next(latencyClass)?.Id, queue.NextJob()?.Id);
                var order = open.OrderBy(j => (j.Due(), j.Arrival)).SelectMany(j => j.Standing).Take(7);
                Assert.Equal(order.Select(c => (c.Job.Id, c.No)), queue.First(7).Select(c => (c.Job.Id, c.No)));
            }
        }

        private void Add()
        {
            var job = _jobs.Count > 0 && _random.Next(2) == 0 ? _jobs[_random.Next(_jobs.Count)] : null;
            if (job is null)
            {
                var queuedAt = Start + TimeSpan.FromMilliseconds(_random.Next(1000));
                var id = new JobId(new Guid(++_ids, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1));
                var deadline = queuedAt + TimeSpan.FromSeconds(60 + _random.Next(100_000));
                job = new Job(id, _random.Next(4), (LatencyClass)_random.Next(3), deadline, queuedAt, _ids);
                job.Held = _held.Contains(job.Tenant);
                _jobs.Add(job);
            }

            var no = _random.Next(30);
            var chunk = new Chunk(job, no, 1 + _random.Next(10), 1 + _random.Next(1000));
            var known = job.Chunks.Any(c => c.No == no);
            var header = new ChunkHeader(
                job.Id,
                no,
                TenantOf(job.Tenant),
                Model,
                job.Class,
                new DateTimeOffset(job.Deadline, TimeSpan.Zero),
                new DateTimeOffset(job.QueuedAt, TimeSpan.Zero),
                chunk.Tasks,
                chunk.Units,
                1,
                chunk.Tasks,
                0
            );
            Assert.Equal(known, _index.Add(header) is null);
            if (!known)
            {
                Backlogged(job, () => job.Chunks.Add(chunk));
            }
        }

        private void Take(LatencyClass latencyClass, int count)
        {
            if (Next(latencyClass) is not { } job)
            {
                return;
            }

            var model = job.Standing.First();
            var real = _index.NextOf(_index.QueueOf(Model, latencyClass).NextJob()!.Value)!.Value;
            Assert.Equal(model.No, real.No);
            Assert.Equal(model.Waiting, real.Waiting.ToList().SelectMany(r => Enumerable.Range(r.First, r.Count)));
            var range = Backlog.Take(real, count);
            _index.Stand(real);
            _index.Rank(real.Job);
            var before = model.UnitsOf(model.Waiting.Count);
            model.Waiting.ExceptWith(Enumerable.Range(range.First, range.Count));
            model.InFlight++;
            job.UnitsTaken += model.UnitsOf(range.Count);
            var key = (job.Class, job.Tenant);
            _time[job.Class] = Math.Max(_time.GetValueOrDefault(job.Class), _virtual.GetValueOrDefault(key));
            _virtual[key] = _virtual.GetValueOrDefault(key) + before - model.UnitsOf(model.Waiting.Count);
            _flights.Add((model, real, range));
        }

        private void Land(bool done)
        {
            if (_flights.Count == 0)
            {
                return;
            }

            var (model, real, range) = _flights[_random.Next(_flights.Count)];
            _flights.Remove((model, real, range));
            if (!done)
            {
                real.Job.UnitsTaken -= real.UnitsOf(range.Count);
                _index.Return(real, range);
                var job = model.Job;
                job.UnitsTaken -= model.UnitsOf(range.Count);
                var before = model.UnitsOf(model.Waiting.Count);
                var waited = TenantWaits(job);
                model.Waiting.UnionWith(Enumerable.Range(range.First, range.Count));
                var key = (job.Class, job.Tenant);
                _virtual[key] = Math.Max(0, _virtual.GetValueOrDefault(key) - (model.UnitsOf(model.Waiting.Count) - before));
                Wake(job, waited);
            }

            _index.Land(real);
            model.InFlight--;
            Sweep(model);
        }

        private void Flag()
        {
            if (_jobs.Count == 0)
            {
                return;
            }

            var job = _jobs[_random.Next(_jobs.Count)];
            if (job.Paused)
            {
                _index.Resume(job.Id);
                Backlogged(job, () => job.Paused = false);
            }
            else
            {
                _index.Pause(job.Id);
                job.Paused = true;
            }
        }

        /// <summary>The job leaves its queue, and comes back in another or the same.</summary>
        private void Move()
        {
            if (_jobs.Count == 0)
            {
                return;
            }

            var job = _jobs[_random.Next(_jobs.Count)];
            var (latencyClass, since) = ((LatencyClass)_random.Next(3), Start.UtcTicks + _random.Next(10_000_000));
            var deadline = since + ((60 + _random.Next(100_000)) * TimeSpan.TicksPerSecond);
            _index.Move(job.Id, latencyClass, deadline, since);
            if (!job.Ended)
            {
                var paused = job.Paused;
                job.Paused = true;
                (job.Class, job.Deadline, job.QueuedAt) = (latencyClass, deadline, since);
                Backlogged(job, () => job.Paused = paused);
            }
        }

        /// <summary>A tenant that is held is let go, and one that is not is held.</summary>
        private void Hold(int tenant)
        {
            var held = _held.Add(tenant) || !_held.Remove(tenant);
            _index.Hold(new Holds([.. _held.Order().Select(TenantOf)], [], [], []));
            foreach (var job in _jobs.Where(j => j.Tenant == tenant))
            {
                Backlogged(job, () => job.Held = held);
            }
        }

        private static TenantId TenantOf(int tenant) => new(new Guid(tenant, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2));

        private void End()
        {
            if (_jobs.Count > 0 && _random.Next(4) == 0)
            {
                var job = _jobs[_random.Next(_jobs.Count)];
                _index.Cancel(job.Id, Cancelled);
                job.Ended = true;
            }

            while (_index.FirstToEnd() is { } ending)
            {
                var job = _jobs.Single(j => j.Id == ending.Id);
                while (_index.NextOf(ending) is { } real)
                {
                    if (real.InFlight == 0)
                    {
                        var model = job.Chunks.Single(c => c.No == real.No);
                        Backlog.TakeAll(real);
                        model.Waiting.Clear();
                        _index.Land(real);
                        Sweep(model);
                    }
                }
            }
        }

        /// <summary>A chunk of which nothing is left goes, and with the last one the job.</summary>
        private void Sweep(Chunk chunk)
        {
            if (chunk.InFlight == 0 && chunk.Waiting.Count == 0)
            {
                chunk.Job.Chunks.Remove(chunk);
                if (chunk.Job.Chunks.Count == 0)
                {
                    _jobs.Remove(chunk.Job);
                }
            }
        }

        private IEnumerable<Job> Open(LatencyClass latencyClass) =>
            _jobs.Where(j => j.Class == latencyClass && j.IsOpen && j.Standing.Any());

        private static bool IsWaiting(Job job) => job.IsOpen && job.Standing.Any();

        private bool TenantWaits(Job job) => Open(job.Class).Any(j => j.Tenant == job.Tenant);

        private void Backlogged(Job job, Action change)
        {
            var waited = TenantWaits(job);
            change();
            Wake(job, waited);
        }

        /// <summary>A tenant that comes back starts where the queue is.</summary>
        private void Wake(Job job, bool waited)
        {
            if (!waited && IsWaiting(job))
            {
                var key = (job.Class, job.Tenant);
                _virtual[key] = Math.Max(_virtual.GetValueOrDefault(key), _time.GetValueOrDefault(job.Class));
            }
        }

        private Job? Next(LatencyClass latencyClass) =>
            Open(latencyClass)
                .OrderBy(j => (_virtual.GetValueOrDefault((latencyClass, j.Tenant)), TenantDue(latencyClass, j.Tenant), j.Due(), j.Arrival))
                .FirstOrDefault();

        private (long, int) TenantDue(LatencyClass latencyClass, int tenant) =>
            Open(latencyClass).Where(j => j.Tenant == tenant).Min(j => (j.Due(), j.Arrival));
    }
}
