using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Tests.Unit.Policy;

/// <summary>
/// A small world around the planner, drawn from a seed: jobs come, are paused and cancelled; workers run, crash over poisonous tasks,
/// are killed, hand back, throw; schedulers are replaced. It keeps the truth as PostgreSQL would, and checks the promises from outside.
/// </summary>
internal sealed class RandomLife
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(50);
    private const double NsPerUnit = 2000;

    private readonly Random _random;
    private readonly PolicyOptions _options = new() { EndingRetryAfter = TimeSpan.FromSeconds(1) };
    private readonly Dictionary<ChunkKey, TrueChunk> _chunks = [];
    private readonly Dictionary<JobId, (bool Paused, bool Cancelled)> _jobs = [];
    private readonly List<SimWorker> _workers = [];
    private readonly List<Decision> _endings = [];
    private readonly HashSet<WorkerId> _aliveRows = [];
    private readonly Dictionary<WorkerId, List<(ChunkKey Chunk, int? CommitRows)>> _begunAtDeath = [];
    private readonly bool _disasters;
    private Planner _planner;
    private long _epoch = 1;
    private int _ids;
    private DateTimeOffset _now = PolicyWorld.Start;

    public RandomLife(int seed, bool disasters)
    {
        (_random, _disasters) = (new Random(seed), disasters);
        _planner = new Planner(_options, _epoch, _now);
        for (var i = 0; i < 3; i++)
        {
            Hire();
        }
    }

    public int Crashes { get; private set; }
    public int Poisonous { get; private set; }
    public int Kills { get; private set; }
    public IEnumerable<TrueChunk> Chunks => _chunks.Values;
    public bool IsOver => _chunks.Values.All(c => c.Remaining == 0);

    public void Run(TimeSpan busy, TimeSpan atMost)
    {
        var (end, last) = (_now + busy, _now + atMost);
        for (var step = 0; _now < last && (_now < end || !IsOver); step++)
        {
            if (_now < end)
            {
                Happen();
            }
            else
            {
                ResumeAll();
            }

            _now += Step;
            Live(step);
            CarryOut(_planner.Plan(_now));
            Check();
        }
    }

    private void Happen()
    {
        if (_random.Next(4) == 0)
        {
            Submit();
        }

        if (_random.Next(40) == 0 && _jobs.Count > 0)
        {
            Command(_jobs.Keys.ElementAt(_random.Next(_jobs.Count)));
        }

        if (_disasters && _random.Next(200) == 0 && _workers.Count > 0)
        {
            Kills++;
            var killed = _workers[_random.Next(_workers.Count)];
            Die(killed);
            foreach (var (chunk, _) in _begunAtDeath[killed.Id].Where(b => b.CommitRows == 1))
            {
                _chunks[chunk].Unlucky = true;
            }
        }

        if (_disasters && _random.Next(300) == 0)
        {
            Replace();
        }
    }

    private void Submit()
    {
        var job = new JobId(new Guid(0, 0, 0x7000, BitConverter.GetBytes((long)++_ids)));
        var latencyClass = (LatencyClass)_random.Next(3);
        var chunks = latencyClass == LatencyClass.Express ? 1 : _random.Next(1, 6);
        _jobs[job] = default;
        for (var no = 0; no < chunks; no++)
        {
            var tasks = latencyClass == LatencyClass.Express ? _random.Next(1, 4) : _random.Next(1, 200);
            var chunk = new TrueChunk(
                job,
                no,
                tasks,
                _random.Next(1, 500),
                latencyClass,
                _now,
                _now + TimeSpan.FromMinutes(_random.Next(2, 60))
            );
            if (_random.Next(40) == 0)
            {
                Poisonous++;
                chunk.Poison = _random.Next(tasks);
            }

            _chunks.Add(chunk.Key, chunk);
            if (_random.Next(50) > 0 || !_disasters)
            {
                _planner.Observe(new ChunkArrived(chunk.Header), _now);
            }
        }
    }

    private void Command(JobId job)
    {
        var (paused, cancelled) = _jobs[job];
        if (_random.Next(3) == 0)
        {
            _jobs[job] = (paused, true);
            _planner.Observe(new JobCancelled(job), _now);
        }
        else
        {
            _jobs[job] = (!paused, cancelled);
            _planner.Observe(paused ? new JobResumed(job) : new JobPaused(job), _now);
        }
    }

    private void ResumeAll()
    {
        foreach (var (job, flags) in _jobs.Where(j => j.Value.Paused).ToList())
        {
            _jobs[job] = (false, flags.Cancelled);
            _planner.Observe(new JobResumed(job), _now);
        }

        // The sweep finds what no message told.
        foreach (var chunk in _chunks.Values.Where(c => c.Remaining > 0 && _planner.Backlog.Find(c.Key) is null))
        {
            _planner.Observe(new ChunkArrived(chunk.Header), _now);
            if (_jobs[chunk.Key.Job].Cancelled)
            {
                _planner.Observe(new JobCancelled(chunk.Key.Job), _now);
            }
        }
    }

    private void Live(int step)
    {
        while (_workers.Count < 3)
        {
            Hire();
        }

        foreach (var worker in _workers.ToList())
        {
            worker.Work(Step, this);
            if (step % 20 == worker.Phase && _workers.Contains(worker))
            {
                worker.Epoch = Math.Max(worker.Epoch, _epoch);
                worker.HandBackOld(this);
                _planner.Observe(new WorkerSeen(worker.Heartbeat()), _now);
            }
        }

        foreach (var ending in _endings.ToList())
        {
            if (_random.Next(3) == 0)
            {
                _endings.Remove(ending);
                End(ending);
            }
        }
    }

    private void CarryOut(IReadOnlyList<Decision> decisions)
    {
        foreach (var decision in decisions)
        {
            switch (decision)
            {
                case SendDispatch { Dispatch: var dispatch }:
                    Deliver(dispatch);
                    break;
                case DeclareLost { Worker: var lost }:
                    Close(lost);
                    break;
                default:
                    _endings.Add(decision);
                    break;
            }
        }
    }

    private void Deliver(Dispatch dispatch)
    {
        Require(dispatch.Slices.Count > 0 && dispatch.Slices.Count <= _options.SlicesMax, "a dispatch has slices, and not too many");
        Require(dispatch.Slices.Sum(s => s.Count) <= _options.TasksMax, "a dispatch has not too many tasks");
        if (_workers.Find(w => w.Id == dispatch.Worker) is not { } worker)
        {
            _planner.Observe(new DispatchReturned(dispatch.Id, WorkerUnreachable: true), _now);
            return;
        }

        if (dispatch.Lane == Lane.Bulk)
        {
            var flying = _workers.SelectMany(w => w.Lane(Lane.Bulk)).SelectMany(r => r.Dispatch.Slices).ToLookup(s => s.Chunk);
            foreach (var slice in dispatch.Slices)
            {
                Require(
                    flying[slice.Chunk].All(f => f.First + f.Count <= slice.First || slice.First + slice.Count <= f.First),
                    $"a slice is in one live dispatch: {slice}"
                );
            }
        }

        worker.Lane(dispatch.Lane).Add(new Running(dispatch));
        Require(worker.Lane(dispatch.Lane).Count <= _options.DispatchesPerLaneMax, "a lane holds one running and one staged");
    }

    private void End(Decision decision)
    {
        if (_disasters && _random.Next(10) == 0)
        {
            _planner.Observe(new EndingFailed(decision), _now);
            return;
        }

        switch (decision)
        {
            case EndChunks end:
                foreach (var key in end.Chunks)
                {
                    _chunks[key].EndAll(end.Outcome);
                }

                _planner.Observe(new ChunksEnded(end.Chunks), _now);
                break;
            case FailTasks fail:
                var chunk = _chunks[fail.Slice.Chunk];
                var missing = Enumerable.Range(fail.Slice.First, fail.Slice.Count).Where(t => chunk.Results[t] is null).ToList();
                foreach (var task in fail.FirstOnly ? missing.Take(1) : missing)
                {
                    chunk.End(task, TaskOutcome.Failed);
                    Require(
                        !fail.FirstOnly || task == chunk.Poison || chunk.Unlucky,
                        $"only the culprit fails: task {task} of {chunk.Key}, poison {chunk.Poison}"
                    );
                }

                chunk.Attempts = fail.FirstOnly ? SuspectRule.AttemptsAfterwards : chunk.Attempts;
                _planner.Observe(new TasksFailed(fail), _now);
                break;
        }
    }

    private void Close(WorkerId lost)
    {
        var suspects = new List<(ChunkKey, int)>();
        if (_aliveRows.Remove(lost))
        {
            foreach (var (key, rows) in _begunAtDeath.GetValueOrDefault(lost, []).Where(b => _chunks[b.Chunk].Remaining > 0))
            {
                _chunks[key].Attempts = SuspectRule.AttemptsAfter(_chunks[key].Attempts, rows);
                suspects.Add((key, _chunks[key].Attempts));
            }
        }

        _planner.Observe(new WorkerGone(lost, suspects), _now);
    }

    private void Replace()
    {
        _epoch++;
        _planner = new Planner(_options, _epoch, _now);
        _endings.Clear();
        foreach (var chunk in _chunks.Values.Where(c => c.Remaining > 0))
        {
            _planner.Observe(new ChunkArrived(chunk.Header), _now);
        }

        foreach (var (job, (paused, cancelled)) in _jobs)
        {
            if (paused)
            {
                _planner.Observe(new JobPaused(job), _now);
            }

            if (cancelled)
            {
                _planner.Observe(new JobCancelled(job), _now);
            }
        }

        foreach (var worker in _aliveRows)
        {
            _planner.Observe(new WorkerExpected(worker), _now);
        }
    }

    private void Hire()
    {
        var worker = new SimWorker(new WorkerId(new Guid(1, 0, 0x7000, BitConverter.GetBytes((long)++_ids))))
        {
            Phase = _random.Next(20),
            Epoch = _epoch,
        };
        _workers.Add(worker);
        _aliveRows.Add(worker.Id);
        _planner.Observe(new WorkerSeen(worker.Heartbeat()), _now);
    }

    private void Die(SimWorker worker)
    {
        _workers.Remove(worker);
        _begunAtDeath[worker.Id] =
        [
            .. from lane in Enum.GetValues<Lane>()
            from running in worker.Lane(lane)
            where running.Begun
            from slice in running.Dispatch.Slices
            select (slice.Chunk, running.Dispatch.CommitRowsMax),
        ];
    }

    private void Check()
    {
        Require(
            _planner.Backlog.Queues.SelectMany(q => q).All(q => q is { Units: >= 0, Tasks: >= 0, Chunks: >= 0 }),
            "totals are not negative"
        );
        if (_planner.Backlog.ChunksOpen == 0)
        {
            Require(
                _planner.Backlog.Queues.SelectMany(q => q).All(q => q is { Units: 0, Tasks: 0, Chunks: 0, IsEmpty: true }),
                "totals close"
            );
        }
    }

    private static void Require(bool holds, string promise)
    {
        if (!holds)
        {
            throw new InvalidOperationException($"Broken: {promise}");
        }
    }

    /// <summary>A chunk as PostgreSQL has it.</summary>
    internal sealed class TrueChunk(
        JobId job,
        int no,
        int tasks,
        int unitsPerTask,
        LatencyClass latencyClass,
        DateTimeOffset queuedAt,
        DateTimeOffset deadline
    )
    {
        public ChunkKey Key { get; } = new(job, no);
        public TaskOutcome?[] Results { get; } = new TaskOutcome?[tasks];
        public int Remaining { get; private set; } = tasks;
        public int Attempts { get; set; }
        public int UnitsPerTask => unitsPerTask;

        /// <summary>The task that ends a worker; −1 for none.</summary>
        public int Poison { get; set; } = -1;

        /// <summary>A worker was killed from outside while it ran this chunk row by row: nobody can tell that from a culprit.</summary>
        public bool Unlucky { get; set; }

        public ChunkHeader Header =>
            new(
                job,
                no,
                PolicyWorld.Tenant,
                PolicyWorld.Model,
                latencyClass,
                deadline,
                queuedAt,
                Results.Length,
                (long)Results.Length * unitsPerTask,
                unitsPerTask,
                Remaining,
                Attempts
            );

        public void End(int task, TaskOutcome outcome)
        {
            if (Results[task] is null)
            {
                Results[task] = outcome;
                Remaining--;
            }
        }

        public void EndAll(TaskOutcome outcome)
        {
            for (var task = 0; task < Results.Length; task++)
            {
                End(task, outcome);
            }
        }
    }

    private sealed class Running(Dispatch dispatch)
    {
        public Dispatch Dispatch { get; } = dispatch;
        public bool Begun { get; set; }
        public Queue<(ChunkKey Chunk, int Task)> Left { get; } =
            new(dispatch.Slices.SelectMany(s => Enumerable.Range(s.First, s.Count).Select(t => (s.Chunk, t))));
    }

    private sealed class SimWorker(WorkerId id)
    {
        private readonly List<Running>[] _lanes =
        [
            [],
            [],
        ];
        private double _budgetNs;

        public WorkerId Id { get; } = id;
        public int Phase { get; init; }
        public long Epoch { get; set; }

        public List<Running> Lane(Lane lane) => _lanes[(int)lane];

        public void Work(TimeSpan time, RandomLife life)
        {
            _budgetNs += time.TotalNanoseconds;
            while (_budgetNs > 0 && (_lanes[0].Count > 0 || _lanes[1].Count > 0))
            {
                var lane = _lanes[0].Count > 0 ? _lanes[0] : _lanes[1];
                var running = lane[0];
                running.Begun = true;
                if (!CommitNext(running, life))
                {
                    return;
                }

                if (running.Left.Count == 0)
                {
                    lane.RemoveAt(0);
                    life._planner.Observe(Report(running, SliceOutcome.Done), life._now);
                }
            }

            _budgetNs = Math.Min(_budgetNs, 0);
        }

        public void HandBackOld(RandomLife life)
        {
            foreach (var lane in _lanes)
            {
                foreach (var old in lane.Where(r => !r.Begun && r.Dispatch.Epoch < Epoch).ToList())
                {
                    lane.Remove(old);
                    life._planner.Observe(Report(old, SliceOutcome.HandedBack), life._now);
                }
            }
        }

        public WorkerHeartbeat Heartbeat() =>
            new()
            {
                Worker = Id,
                Name = "sim",
                Pool = "default",
                Provider = "cpu",
                Device = "sim",
                PricePerHourPico = 1,
                UptimeNs = 1,
                Models = [new LoadedModel(PolicyWorld.Model, "cpu", 1)],
                MemoryBudgetBytes = 1,
                Epoch = Epoch,
                Held = [.. _lanes.SelectMany(l => l).Select(r => PolicyWorld.Held(r.Dispatch, r.Begun))],
                Draining = false,
            };

        /// <summary>Runs and commits one group; false when the process died over it.</summary>
        private bool CommitNext(Running running, RandomLife life)
        {
            var group = new List<(ChunkKey, int)>();
            while (group.Count < (running.Dispatch.CommitRowsMax ?? 200) && running.Left.TryDequeue(out var next))
            {
                if (life._chunks[next.Chunk].Results[next.Task] is null)
                {
                    group.Add(next);
                }
            }

            if (group.Any(t => life._chunks[t.Item1].Poison == t.Item2))
            {
                life.Crashes++;
                life.Die(this);
                return false;
            }

            foreach (var (key, task) in group)
            {
                life._chunks[key].End(task, TaskOutcome.Succeeded);
                _budgetNs -= life._chunks[key].UnitsPerTask * NsPerUnit;
            }

            return true;
        }

        private static DispatchEnded Report(Running running, SliceOutcome outcome) =>
            new(
                PolicyWorld.Report(
                    running.Dispatch,
                    outcome,
                    outcome == SliceOutcome.Done ? [new BatchFact(10, 1000, 1000, (long)(1000 * NsPerUnit))] : []
                )
            );
    }
}
