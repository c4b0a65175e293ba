using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Baselines;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>A batch that ran: when it started, how long it took, and its tasks by class.</summary>
internal sealed record BenchBatch(TimeSpan Start, TimeSpan Took, Lane Lane, int Express, int Standard, int Bulk, string Reason, int Device)
{
    public int Tasks => Express + Standard + Bulk;
}

/// <summary>How a class's tasks fared.</summary>
internal sealed class BenchScore
{
    public int Tasks { get; set; }
    public int Attained { get; set; }
    public int Dropped { get; set; }
    public List<TimeSpan> Latencies { get; } = [];
    public double Attainment => (double)Attained / Tasks;
    public TimeSpan LatencyMax => Latencies.Max();
}

/// <summary>
/// A policy on a virtual clock with devices that follow l(b) exactly, and nothing else: no delays, no jitter, no faults. It is small so
/// that a test of one idea reads in one screen; the simulator's world is for scenarios.
/// </summary>
internal sealed class BaselineBench
{
    public static readonly ModelRef Model = new("bench", "1.0.0");
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly IPolicy _policy;
    private readonly LatencyTable _truth;
    private readonly BaselineSetup _setup;
    private readonly Dictionary<ChunkKey, ChunkHeader> _chunks = [];
    private readonly PriorityQueue<ChunkHeader, (long, int)> _arrivals = new();
    private readonly PriorityQueue<(Dispatch Dispatch, long DeviceNs), (long, int)> _ends = new();
    private readonly long[] _busyUntil;
    private readonly Dictionary<WorkerId, int> _devices = [];
    private long _now = Start.UtcTicks;
    private int _ids;

    public BaselineBench(
        Func<BaselineSetup, IPolicy> policy,
        ModelProfile profile,
        int devices = 1,
        double targetMs = 100,
        ModelProfile? told = null,
        int rowsMax = 4096,
        double bulkBatchMs = 100
    )
    {
        _setup = new BaselineSetup
        {
            BulkBatchTimeMax = TimeSpan.FromMilliseconds(bulkBatchMs),
            Options = new PolicyOptions
            {
                Classes = new Dictionary<LatencyClass, LatencyClassOptions>
                {
                    [LatencyClass.Express] = new(TimeSpan.FromMilliseconds(targetMs), TimeSpan.FromMinutes(1), 4),
                    [LatencyClass.Standard] = new(TimeSpan.FromSeconds(30), TimeSpan.FromHours(1), 2),
                    [LatencyClass.Bulk] = new(TimeSpan.FromHours(1), TimeSpan.FromHours(24), 1),
                },
            },
        };
        _policy = policy(_setup);
        _truth = new LatencyTable(profile);
        _busyUntil = new long[devices];
        _policy.Observe(new ModelProfileKnown(Model, told ?? profile, new LimitSpec { BatchRowsMax = rowsMax }), Start);
        for (var i = 0; i < devices; i++)
        {
            var id = new WorkerId(new Guid($"00000000-0000-7000-9000-{i + 1:d12}"));
            _devices[id] = i;
            _policy.Observe(new WorkerSeen(Beat(id)), Start);
        }
    }

    public List<BenchBatch> Batches { get; } = [];
    public List<Decision> Decisions { get; } = [];
    public BenchScore Express { get; } = new();
    public BenchScore Standard { get; } = new();
    public BenchScore Bulk { get; } = new();
    public TimeSpan Now => new(_now - Start.UtcTicks);

    /// <summary>l(b) = a + B · b, in milliseconds.</summary>
    public static ModelProfile Affine(double aMs, double bMs) => Table((1, aMs + bMs), (4096, aMs + (bMs * 4096)));

    public static ModelProfile Table(params (int Rows, double Ms)[] points) =>
        new()
        {
            Provider = "cpu",
            Device = "bench",
            Points = [.. points.Select(p => new ProfilePoint(p.Rows, p.Rows, (long)(p.Ms * 1e6)))],
            AlphaNs = 0,
            BetaNs = 1,
            BatchDrift = 0,
            MemoryBytes = 1,
        };

    public BaselineBench Arrive(double atMs, LatencyClass latencyClass = LatencyClass.Express, int tasks = 1, double? deadlineMs = null)
    {
        var at = Start + TimeSpan.FromMilliseconds(atMs);
        var window = deadlineMs is { } ms ? TimeSpan.FromMilliseconds(ms) : _setup.Options.Classes[latencyClass].CompletionWindow;
        var job = new JobId(new Guid($"00000000-0000-7000-8000-{++_ids:d12}"));
        var header = new ChunkHeader(job, 0, default, Model, latencyClass, at + window, at, tasks, tasks, 1, tasks, 0);
        _arrivals.Enqueue(header, (at.UtcTicks, _ids));
        return this;
    }

    /// <summary>Express tasks one by one, evenly spaced.</summary>
    public BaselineBench ArriveEvenly(double perMs, double forMs)
    {
        for (var i = 0; i / perMs < forMs; i++)
        {
            Arrive(i / perMs);
        }

        return this;
    }

    /// <summary>Express tasks one by one, as a Poisson process.</summary>
    public BaselineBench ArrivePoisson(double perMs, double forMs, int seed = 1)
    {
        var prng = new Prng(seed);
        for (var at = prng.Exponential(perMs); at < forMs; at += prng.Exponential(perMs))
        {
            Arrive(at);
        }

        return this;
    }

    /// <summary>Lives until nothing happens any more, or until a time.</summary>
    public BaselineBench Run(double? untilMs = null)
    {
        var until = untilMs is { } ms ? Start.UtcTicks + (long)(ms * TimeSpan.TicksPerMillisecond) : long.MaxValue;
        Plan();
        while (Next() is var next && next <= until && next < DateTimeOffset.MaxValue.UtcTicks)
        {
            _now = Math.Max(_now, next);
            while (_ends.TryPeek(out _, out var end) && end.Item1 <= _now)
            {
                Finish(_ends.Dequeue());
            }

            while (_arrivals.TryPeek(out var chunk, out var at) && at.Item1 <= _now)
            {
                _arrivals.Dequeue();
                _chunks[chunk.Key] = chunk;
                Score(chunk.Class).Tasks += chunk.Tasks;
                _policy.Observe(new ChunkArrived(chunk), Time);
            }

            Plan();
        }

        return this;
    }

    /// <summary>
    /// The highest rate, in tasks a millisecond, at which 99 % of the express tasks attain, by bisection over the offline rate 1 / B.
    /// </summary>
    public static double RateMax(double offlinePerMs, Func<double, BaselineBench> load, int steps = 9)
    {
        var (low, high) = (0.0, offlinePerMs * 1.05);
        for (var step = 0; step < steps; step++)
        {
            var rate = (low + high) / 2;
            (low, high) = load(rate).Run().Express.Attainment >= 0.99 ? (rate, high) : (low, rate);
        }

        return low;
    }

    private DateTimeOffset Time => new(_now, TimeSpan.Zero);

    private long Next()
    {
        var next = _policy.NextWake(Time).UtcTicks;
        next = _arrivals.TryPeek(out _, out var at) ? Math.Min(next, at.Item1) : next;
        return _ends.TryPeek(out _, out var end) ? Math.Min(next, end.Item1) : next;
    }

    private void Plan()
    {
        foreach (var decision in _policy.Plan(Time))
        {
            Decisions.Add(decision);
            switch (decision)
            {
                case SendDispatch send:
                    Begin(send.Dispatch);
                    break;
                case EndChunks end:
                    end.Chunks.ToList().ForEach(key => Score(_chunks[key].Class).Dropped += end.Why.Tasks);
                    _policy.Observe(new ChunksEnded(end.Chunks), Time);
                    break;
            }
        }
    }

    private void Begin(Dispatch dispatch)
    {
        var device = _devices[dispatch.Worker];
        var tasks = dispatch.Slices.Sum(s => s.Count);
        var start = Math.Max(_now, _busyUntil[device]);
        var took = (long)Math.Round(_truth.Ticks(tasks));
        _busyUntil[device] = start + took;
        _ends.Enqueue((dispatch, took * TimeSpan.NanosecondsPerTick), (start + took, ++_ids));
        Batches.Add(
            new BenchBatch(
                new TimeSpan(start - Start.UtcTicks),
                new TimeSpan(took),
                dispatch.Lane,
                Of(LatencyClass.Express),
                Of(LatencyClass.Standard),
                Of(LatencyClass.Bulk),
                dispatch.Reason,
                device
            )
        );

        int Of(LatencyClass latencyClass) => dispatch.Slices.Where(s => _chunks[s.Chunk].Class == latencyClass).Sum(s => s.Count);
    }

    private void Finish((Dispatch Dispatch, long DeviceNs) end)
    {
        var dispatch = end.Dispatch;
        var tasks = dispatch.Slices.Sum(s => s.Count);
        foreach (var slice in dispatch.Slices)
        {
            var chunk = _chunks[slice.Chunk];
            var score = Score(chunk.Class);
            score.Latencies.Add(Time - chunk.QueuedAt);
            score.Attained += _now <= _setup.Due(chunk) ? slice.Count : 0;
        }

        var report = new DispatchFinished
        {
            Id = dispatch.Id,
            Epoch = dispatch.Epoch,
            Worker = dispatch.Worker,
            Lane = dispatch.Lane,
            Model = dispatch.Model,
            Slices = [.. dispatch.Slices.Select(s => new SliceReport(s.Job, s.No, s.First, s.Count, SliceOutcome.Done))],
            Batches = [new BatchFact(tasks, tasks, tasks, end.DeviceNs)],
        };
        _policy.Observe(new DispatchEnded(report), Time);
    }

    private BenchScore Score(LatencyClass latencyClass) =>
        latencyClass switch
        {
            LatencyClass.Express => Express,
            LatencyClass.Standard => Standard,
            _ => Bulk,
        };

    public static WorkerHeartbeat Beat(WorkerId id) =>
        new()
        {
            Worker = id,
            Name = "w",
            Pool = "default",
            Provider = "cpu",
            Device = "bench",
            PricePerHourPico = Cost.PicoPerUsd,
            UptimeNs = 1,
            Models = [new LoadedModel(Model, "cpu", 1)],
            MemoryBudgetBytes = 1,
            Epoch = 1,
            Held = [],
            Draining = false,
        };

    /// <summary>SplitMix64 (Steele et al., 2014): the same numbers on every machine.</summary>
    private sealed class Prng(int seed)
    {
        private ulong _state = (ulong)seed * 0x9E3779B97F4A7C15;

        public double Exponential(double rate) => -Math.Log(1 - Uniform()) / rate;

        private double Uniform()
        {
            var z = _state += 0x9E3779B97F4A7C15;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return ((z ^ (z >> 31)) >> 11) * (1.0 / (1UL << 53));
        }
    }
}
