using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>
/// Identical devices and a policy on a virtual clock, without any delay between them: what a policy makes of arrivals, and nothing
/// else. Devices run what they are sent in order, each dispatch as one batch. Times are milliseconds from the start.
/// </summary>
internal sealed class VirtualFleet
{
    public static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly TenantId Tenant = new(new Guid("00000000-0000-7000-8000-000000000001"));

    private readonly IPolicy _policy;
    private readonly Func<ModelRef, int, double> _latencyMs;
    private readonly List<Device> _devices = [];
    private readonly Dictionary<WorkerId, Device> _byWorker = [];
    private readonly List<Arrival> _arrivals = [];
    private readonly Dictionary<JobId, Arrival> _byJob = [];
    private readonly Dictionary<DispatchId, Device> _running = [];
    private readonly Queue<Fact> _answers = new();
    private readonly PriorityQueue<(Device Device, Batch Batch), (long, int)> _ends = new();
    private long _now = Start.UtcTicks;
    private int _batches;

    /// <param name="latencyMs">What a batch of so many tasks really takes.</param>
    /// <param name="profileMs">What the policy is told that it takes.</param>
    public VirtualFleet(
        IPolicy policy,
        int devices,
        Func<ModelRef, int, double> latencyMs,
        Func<ModelRef, int, double>? profileMs = null,
        int models = 1,
        int tasksMax = 1024
    )
    {
        _policy = policy;
        _latencyMs = latencyMs;
        for (var m = 0; m < models; m++)
        {
            Observe(
                new ModelProfileKnown(
                    Model(m),
                    Profile(n => (profileMs ?? latencyMs)(Model(m), n)),
                    new LimitSpec { BatchRowsMax = tasksMax }
                )
            );
        }

        for (var d = 0; d < devices; d++)
        {
            var device = new Device(new WorkerId(new Guid(d + 1, 0, 0, [0, 0, 0, 0, 0, 0, 0, 1])), d);
            _devices.Add(device);
            _byWorker[device.Id] = device;
            Observe(new WorkerSeen(Beat(device, models)));
        }
    }

    /// <summary>Every batch that ran or was killed, in order of its start.</summary>
    public List<Batch> Ran { get; } = [];

    /// <summary>Tasks that ended by their due time, that ended later, and that were dropped.</summary>
    public int Attained { get; private set; }
    public int Late { get; private set; }
    public int Dropped { get; private set; }

    /// <summary>Tasks of bulk chunks that ended.</summary>
    public int BulkDone { get; private set; }

    public int Preempted { get; private set; }

    /// <summary>How long express tasks took, in milliseconds, in order of their ends.</summary>
    public List<double> LatenciesMs { get; } = [];

    /// <summary>When tasks came, each chunk once for each of its tasks, in order.</summary>
    public long[] ArrivalTicks => [.. _arrivals.SelectMany(a => Enumerable.Repeat(a.At, a.Chunk.Tasks)).Order()];

    public double NowMs => Ms(_now);

    public static ModelRef Model(int no = 0) => new($"model-{no}", "1");

    /// <summary>l(b) = a + B·b.</summary>
    public static Func<ModelRef, int, double> Affine(double a, double b) => (_, n) => a + (b * n);

    /// <summary>Options that promise express tasks this target, and bulk tasks theirs.</summary>
    public static PolicyOptions Promise(double targetMs, double bulkTargetMs = 3_600_000) =>
        new()
        {
            Classes = new Dictionary<LatencyClass, LatencyClassOptions>
            {
                [LatencyClass.Express] = new(TimeSpan.FromMilliseconds(targetMs), TimeSpan.FromDays(1), 4),
                [LatencyClass.Standard] = new(TimeSpan.FromMilliseconds(bulkTargetMs), TimeSpan.FromDays(1), 2),
                [LatencyClass.Bulk] = new(TimeSpan.FromMilliseconds(bulkTargetMs), TimeSpan.FromDays(1), 1),
            },
        };

    /// <summary>Tasks that come at this time and are due a target later.</summary>
    public VirtualFleet Arrive(
        double atMs,
        double targetMs,
        int tasks = 1,
        int model = 0,
        LatencyClass latencyClass = LatencyClass.Express,
        int unitsPerTask = 1
    )
    {
        var at = Ticks(atMs);
        var job = new JobId(new Guid(_arrivals.Count + 1, 0, 0, [0, 0, 0, 0, 0, 0, 0, 2]));
        var queuedAt = new DateTimeOffset(at, TimeSpan.Zero);
        var chunk = new ChunkHeader(
            job,
            0,
            Tenant,
            Model(model),
            latencyClass,
            queuedAt + TimeSpan.FromDays(1),
            queuedAt,
            tasks,
            (long)tasks * unitsPerTask,
            unitsPerTask,
            tasks,
            0
        );
        var arrival = new Arrival(chunk, at, Ticks(atMs + targetMs));
        _arrivals.Add(arrival);
        _byJob[job] = arrival;
        return this;
    }

    /// <summary>Single tasks, one after the other at even distances.</summary>
    public VirtualFleet ArriveEvenly(double perMs, int count, double targetMs, double fromMs = 0)
    {
        for (var i = 0; i < count; i++)
        {
            Arrive(fromMs + (i / perMs), targetMs);
        }

        return this;
    }

    /// <summary>Single tasks as a Poisson process.</summary>
    public VirtualFleet ArrivePoisson(double perMs, int count, double targetMs, int seed)
    {
        var chance = new Random(seed);
        var at = 0.0;
        for (var i = 0; i < count; i++)
        {
            at -= Math.Log(1 - chance.NextDouble()) / perMs;
            Arrive(at, targetMs);
        }

        return this;
    }

    /// <summary>Lives until nothing happens any more, or this time has come.</summary>
    public VirtualFleet Run(double untilMs = 1e9)
    {
        _arrivals.Sort(static (a, b) => a.At.CompareTo(b.At));
        var until = Ticks(untilMs);
        var next = 0;
        while (true)
        {
            var wake = _policy.NextWake(Time).UtcTicks;
            var end = _ends.Count > 0 ? _ends.Peek().Batch.EndAt : long.MaxValue;
            var arrive = next < _arrivals.Count ? _arrivals[next].At : long.MaxValue;
            var at = Math.Min(end, Math.Min(arrive, Math.Max(wake, _now)));
            if (at > until || (at == DateTimeOffset.MaxValue.UtcTicks))
            {
                return this;
            }

            _now = at;
            for (; _ends.Count > 0 && _ends.Peek().Batch.EndAt <= _now; )
            {
                End(_ends.Dequeue());
            }

            for (; next < _arrivals.Count && _arrivals[next].At <= _now; next++)
            {
                Observe(new ChunkArrived(_arrivals[next].Chunk));
            }

            do
            {
                while (_answers.TryDequeue(out var answer))
                {
                    Observe(answer);
                }

                foreach (var decision in _policy.Plan(Time))
                {
                    Apply(decision);
                }
            } while (_answers.Count > 0);
        }
    }

    private DateTimeOffset Time => new(_now, TimeSpan.Zero);

    private static double Ms(long ticks) => (ticks - Start.UtcTicks) / (double)TimeSpan.TicksPerMillisecond;

    private static long Ticks(double ms) => Start.UtcTicks + (long)Math.Round(ms * TimeSpan.TicksPerMillisecond);

    private void Observe(Fact fact) => _policy.Observe(fact, Time);

    private void Apply(Decision decision)
    {
        switch (decision)
        {
            case SendDispatch send:
                var device = _byWorker[send.Dispatch.Worker];
                device.Waiting.Enqueue(send.Dispatch);
                Begin(device);
                break;
            case EndChunks end:
                foreach (var chunk in end.Chunks)
                {
                    var arrival = _byJob[chunk.Job];
                    Dropped += arrival.Left;
                    arrival.Left = 0;
                }

                _answers.Enqueue(new ChunksEnded(end.Chunks));
                break;
            case Preempt preempt:
                if (_running.TryGetValue(preempt.Dispatch, out var victim))
                {
                    Kill(victim);
                }

                break;
        }
    }

    private void Begin(Device device)
    {
        if (device.Running is not null || !device.Waiting.TryDequeue(out var dispatch))
        {
            return;
        }

        var tasks = dispatch.Slices.Sum(s => s.Count);
        var took = (long)Math.Round(_latencyMs(dispatch.Model, tasks) * TimeSpan.TicksPerMillisecond);
        device.Running = new Batch(dispatch, device.No, tasks, _now, _now + took);
        _running[dispatch.Id] = device;
        Ran.Add(device.Running);
        _ends.Enqueue((device, device.Running), (device.Running.EndAt, ++_batches));
    }

    private void End((Device Device, Batch Batch) ended)
    {
        var (device, batch) = ended;
        if (batch.Killed)
        {
            return;
        }

        foreach (var slice in batch.Dispatch.Slices)
        {
            Count(_byJob[slice.Job], slice.Count);
        }

        var ran = new BatchFact(batch.Tasks, batch.Tasks, batch.Tasks, (batch.EndAt - batch.StartAt) * TimeSpan.NanosecondsPerTick);
        Leave(device, batch, SliceOutcome.Done, [ran]);
    }

    private void Count(Arrival arrival, int tasks)
    {
        Assert(arrival.Left >= tasks, "a task ran twice");
        arrival.Left -= tasks;
        if (arrival.Chunk.Class == LatencyClass.Bulk)
        {
            BulkDone += tasks;
            return;
        }

        Attained += _now <= arrival.Due ? tasks : 0;
        Late += _now <= arrival.Due ? 0 : tasks;
        LatenciesMs.Add((_now - arrival.At) / (double)TimeSpan.TicksPerMillisecond);
    }

    private void Kill(Device device)
    {
        var batch = device.Running!;
        batch.Killed = true;
        batch.EndAt = _now;
        Preempted++;
        Leave(device, batch, SliceOutcome.HandedBack, []);
    }

    private void Leave(Device device, Batch batch, SliceOutcome outcome, IReadOnlyList<BatchFact> batches)
    {
        device.Running = null;
        var dispatch = batch.Dispatch;
        _running.Remove(dispatch.Id);
        _answers.Enqueue(
            new DispatchEnded(
                new DispatchFinished
                {
                    Id = dispatch.Id,
                    Epoch = dispatch.Epoch,
                    Worker = dispatch.Worker,
                    Lane = dispatch.Lane,
                    Model = dispatch.Model,
                    Slices = [.. dispatch.Slices.Select(s => new SliceReport(s.Job, s.No, s.First, s.Count, outcome))],
                    Batches = batches,
                }
            )
        );
        Begin(device);
    }

    private static void Assert(bool holds, string message)
    {
        if (!holds)
        {
            throw new InvalidOperationException(message);
        }
    }

    private static ModelProfile Profile(Func<int, double> ms) =>
        new()
        {
            Provider = "virtual",
            Device = "virtual",
            Points = [.. Sizes().Select(n => new ProfilePoint(n, n, (long)Math.Round(ms(n) * 1e6)))],
            AlphaNs = 0,
            BetaNs = 1,
            BatchDrift = 0,
            MemoryBytes = 1,
        };

    private static IEnumerable<int> Sizes() => Enumerable.Range(1, 64).Concat([96, 128, 192, 256, 512, 1024, 2048]);

    private static WorkerHeartbeat Beat(Device device, int models) =>
        new()
        {
            Worker = device.Id,
            Name = $"w{device.No}",
            Pool = "pool",
            Provider = "virtual",
            Device = "virtual",
            PricePerHourPico = Cost.PicoPerUsd,
            UptimeNs = 1,
            Models = [.. Enumerable.Range(0, models).Select(m => new LoadedModel(Model(m), "virtual", 1))],
            MemoryBudgetBytes = 1,
            Epoch = 1,
            Held = [],
            Draining = false,
        };

    /// <summary>A batch as it ran. Killed ones end when they were killed.</summary>
    internal sealed class Batch(Dispatch dispatch, int device, int tasks, long startAt, long endAt)
    {
        public Dispatch Dispatch { get; } = dispatch;
        public int Device { get; } = device;
        public int Tasks { get; } = tasks;
        public long StartAt { get; } = startAt;
        public long EndAt { get; set; } = endAt;
        public bool Killed { get; set; }
        public double StartMs => Ms(StartAt);
        public double EndMs => Ms(EndAt);
    }

    private sealed class Device(WorkerId id, int no)
    {
        public WorkerId Id { get; } = id;
        public int No { get; } = no;
        public Queue<Dispatch> Waiting { get; } = new();
        public Batch? Running { get; set; }
    }

    private sealed class Arrival(ChunkHeader chunk, long at, long due)
    {
        public ChunkHeader Chunk { get; } = chunk;
        public long At { get; } = at;
        public long Due { get; } = due;
        public int Left { get; set; } = chunk.Tasks;
    }
}
