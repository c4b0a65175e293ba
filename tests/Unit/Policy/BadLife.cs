using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Tests.Unit.Policy;

/// <summary>How facts are spoilt on their way to the planner; the defaults spoil nothing.</summary>
internal sealed record Spoiling
{
    /// <summary>Facts overtake each other by up to so many steps.</summary>
    public int StepsLateMax { get; init; }

    /// <summary>Each fact comes so often.</summary>
    public int Times { get; init; } = 1;

    /// <summary>Clocks disagree by up to this, those of facts and those of plans.</summary>
    public TimeSpan ClocksApart { get; init; }

    /// <summary>Facts about workers, jobs and dispatches that nobody knows come in between.</summary>
    public bool Strangers { get; init; }

    public Func<ChunkHeader, ChunkHeader> Chunk { get; init; } = static chunk => chunk;
    public Func<BatchFact, BatchFact> Batch { get; init; } = static batch => batch;
    public Func<WorkerHeartbeat, WorkerHeartbeat> Heartbeat { get; init; } = static heartbeat => heartbeat;

    /// <summary>True when this worker throws at everything.</summary>
    public Func<int, bool> AlwaysFails { get; init; } = static _ => false;

    /// <summary>Told to the planner half-way.</summary>
    public Fact? Midway { get; init; }
}

/// <summary>
/// Three workers and some jobs of every class, whose facts are spoilt on their way. Tasks end in the truth that is kept here; the planner
/// has to get all of them there, whatever it is told. A sweep tells it again what it has lost, as in production.
/// </summary>
internal sealed class BadLife(Spoiling spoiling, int seed)
{
    private const int Busy = 200;
    private const int StepsMax = 40_000;
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(100);

    private readonly Random _random = new(seed);
    private readonly Planner _planner = new(new PolicyOptions { EndingRetryAfter = TimeSpan.FromSeconds(1) }, 1, PolicyWorld.Start);
    private readonly Dictionary<ChunkKey, (ChunkHeader Header, bool[] Ended)> _chunks = [];
    private readonly List<Dispatch>[] _held =
    [
        [],
        [],
        [],
    ];
    private readonly List<(int Step, Fact Fact)> _onTheWay = [];
    private DateTimeOffset _now = PolicyWorld.Start;
    private int _step;

    /// <summary>Every decision that was made.</summary>
    public List<Decision> Decisions { get; } = [];

    /// <summary>Tasks that have not ended.</summary>
    public int Missing => _chunks.Values.Sum(c => c.Ended.Count(ended => !ended));

    /// <summary>Chunks the planner still holds.</summary>
    public int Held => _planner.Backlog.ChunksOpen;

    public BadLife Run()
    {
        Tell(new ModelProfileKnown(PolicyWorld.Model, PolicyWorld.Profile, new LimitSpec { PaddedUnitsMax = 1_000_000 }));
        for (_step = 0; _step < StepsMax && (_step < Busy || Missing > 0 || Held > 0); _step++, _now += Step)
        {
            if (_step < Busy && _step % 4 == 0)
            {
                Submit();
            }

            if (_step == Busy / 2 && spoiling.Midway is { } midway)
            {
                Tell(midway);
            }

            if (spoiling.Strangers && _step < Busy)
            {
                Stranger();
            }

            Work();
            Sweep();
            Deliver();
            CarryOut(_planner.Plan(Skewed()));
        }

        return this;
    }

    private void Submit()
    {
        var job = new JobId(new Guid(_step, 1, 0, new byte[8]));
        var latencyClass = (LatencyClass)_random.Next(3);
        for (var no = 0; no < (latencyClass == LatencyClass.Express ? 1 : 3); no++)
        {
            var tasks = _random.Next(1, 60);
            var header = spoiling.Chunk(
                new ChunkHeader(
                    job,
                    no,
                    PolicyWorld.Tenant,
                    PolicyWorld.Model,
                    latencyClass,
                    _now.AddHours(1),
                    _now,
                    tasks,
                    tasks * 50L,
                    50,
                    tasks,
                    0
                )
            );
            _chunks.Add(header.Key, (header, new bool[tasks]));
            Tell(new ChunkArrived(header));
        }

        if (_random.Next(10) == 0)
        {
            Tell(new JobCancelled(job));
        }
        else if (_random.Next(10) == 0)
        {
            Tell(new JobPaused(job));
            Tell(new JobResumed(job));
        }
        else if (_random.Next(10) == 0)
        {
            Tell(new JobMoved(job, (LatencyClass)_random.Next(3), _now.AddHours(1), _now));
        }
    }

    private void Stranger()
    {
        var (worker, dispatch, job) = (
            Worker(9),
            new DispatchId(new Guid(_step, 9, 9, new byte[8])),
            new JobId(new Guid(_step, 9, 9, new byte[8]))
        );
        var slice = new Slice(_chunks.Keys.ElementAtOrDefault(_random.Next(_chunks.Count)).Job, 0, 0, 5);
        var report = new DispatchFinished
        {
            Id = dispatch,
            Epoch = 99,
            Worker = worker,
            Lane = Lane.Bulk,
            Model = new ModelRef("nobody", "0"),
            Slices = [new SliceReport(job, 3, -5, 100, SliceOutcome.HandedBack)],
            Batches = [],
        };
        Tell(
            _random.Next(8) switch
            {
                0 => new DispatchEnded(report),
                1 => new DispatchReturned(dispatch, WorkerUnreachable: true),
                2 => new DispatchFaulted(dispatch, "a stranger"),
                3 => new WorkerGone(worker, [(new ChunkKey(job, 0), 3)]),
                4 => new ChunksEnded([new ChunkKey(job, 0)]),
                5 => new JobCancelled(job),
                6 => new EndingFailed(new EndChunks([], TaskOutcome.Expired, FailureKind.DeadlinePassed, "", new Why("expire.deadline"))),
                _ => new WorkerSeen(
                    PolicyWorld.Heartbeat(Worker(100 + _step), held: [new HeldDispatch(dispatch, 0, Lane.Bulk, true, [slice])])
                ),
            }
        );
    }

    /// <summary>Each worker tells what it holds, and ends the first of it.</summary>
    private void Work()
    {
        for (var worker = 0; worker < _held.Length; worker++)
        {
            if (_step % 5 == worker)
            {
                var held = _held[worker].Select(d => PolicyWorld.Held(d)).ToList();
                Tell(new WorkerSeen(spoiling.Heartbeat(PolicyWorld.Heartbeat(Worker(worker), held: held))));
            }

            if (_held[worker] is not [var dispatch, ..])
            {
                continue;
            }

            _held[worker].RemoveAt(0);
            if (spoiling.AlwaysFails(worker))
            {
                Tell(new DispatchFaulted(dispatch.Id, "it always fails"));
                continue;
            }

            foreach (var slice in dispatch.Slices)
            {
                _chunks[slice.Chunk].Ended.AsSpan(slice.First, slice.Count).Fill(true);
            }

            Tell(
                new DispatchEnded(PolicyWorld.Report(dispatch, SliceOutcome.Done, spoiling.Batch(new BatchFact(10, 500, 500, 1_500_000))))
            );
        }
    }

    /// <summary>What is open in truth and unknown to the planner is told again, as the service's sweep does.</summary>
    private void Sweep()
    {
        if (_step % 50 == 0)
        {
            foreach (var (header, _) in _chunks.Values.Where(c => c.Ended.Contains(false) && _planner.Backlog.Find(c.Header.Key) is null))
            {
                Tell(new ChunkArrived(header));
            }

            foreach (
                var job in _chunks.Keys.Select(c => _planner.Backlog.Find(c)?.Job).OfType<WaitingJob>().Where(j => j.Paused).Distinct()
            )
            {
                Tell(new JobResumed(job.Id));
            }
        }
    }

    private void Tell(Fact fact)
    {
        for (var time = 0; time < spoiling.Times; time++)
        {
            _onTheWay.Add((_step + _random.Next(spoiling.StepsLateMax + 1), fact));
        }
    }

    private void Deliver()
    {
        foreach (var (_, fact) in _onTheWay.Where(f => f.Step <= _step).ToList())
        {
            _planner.Observe(fact, Skewed());
        }

        _onTheWay.RemoveAll(f => f.Step <= _step);
    }

    private void CarryOut(IReadOnlyList<Decision> decisions)
    {
        Decisions.AddRange(decisions);
        foreach (var decision in decisions)
        {
            switch (decision)
            {
                case SendDispatch { Dispatch: var dispatch }:
                    Send(dispatch);
                    break;
                case EndChunks end:
                    foreach (var chunk in end.Chunks)
                    {
                        _chunks[chunk].Ended.AsSpan().Fill(true);
                    }

                    Tell(new ChunksEnded(end.Chunks));
                    break;
                case FailTasks fail:
                    _chunks[fail.Slice.Chunk].Ended.AsSpan(fail.Slice.First, fail.FirstOnly ? 1 : fail.Slice.Count).Fill(true);
                    Tell(new TasksFailed(fail));
                    break;
                case DeclareLost lost:
                    Tell(new WorkerGone(lost.Worker, []));
                    break;
            }
        }
    }

    private void Send(Dispatch dispatch)
    {
        var worker = Array.FindIndex([0, 1, 2], number => Worker(number) == dispatch.Worker);
        if (worker < 0)
        {
            Tell(new DispatchReturned(dispatch.Id, WorkerUnreachable: true));
        }
        else
        {
            _held[worker].Add(dispatch);
        }
    }

    private DateTimeOffset Skewed() => _now + (spoiling.ClocksApart * ((2 * _random.NextDouble()) - 1));

    /// <summary>A worker that was declared lost never comes back under its name; a new one does, every twenty seconds.</summary>
    private WorkerId Worker(int number) => new(new Guid(number, 7, 0, BitConverter.GetBytes((long)(number < 3 ? _step / 200 : 0))));
}
