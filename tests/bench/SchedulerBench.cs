using System.CommandLine;
using System.Diagnostics;
using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Bench;

internal sealed record SchedulerSettings
{
    /// <summary>Chunks of 512 tasks, in jobs of a thousand: 195,000 of them are 100 million tasks.</summary>
    public int Chunks { get; init; } = 195_000;

    /// <summary>Jobs of a single task.</summary>
    public int SmallJobs { get; init; } = 5_000_000;
    public int Workers { get; init; } = 1000;
    public int Tenants { get; init; } = 100;
    public long TasksToDecide { get; init; } = 20_000_000;

    /// <summary>Express tasks that come in a second of the virtual clock.</summary>
    public int ExpressPerSecond { get; init; } = 200;
}

/// <summary>
/// <c>scheduler</c>: the planner alone, on one core, with a hundred million waiting tasks and a thousand workers that end their
/// dispatches by a virtual clock. A turn is what the service does: the facts that came are observed, then it plans. What is measured is
/// the time inside the planner; making the facts is not in it.
/// </summary>
internal static class SchedulerBench
{
    private const int ChunkTasks = 512;
    private const int ChunksPerJob = 1000;
    private const int UnitsPerTask = 100;
    private const int NsPerUnit = 10_000;
    private static readonly ModelRef Model = new("bench", "1.0.0");
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public static Command Create()
    {
        var chunks = new Option<int>("--chunks")
        {
            Description = "Chunks of 512 tasks",
            DefaultValueFactory = _ => new SchedulerSettings().Chunks,
        };
        var small = new Option<int>("--small-jobs")
        {
            Description = "Jobs of one task",
            DefaultValueFactory = _ => new SchedulerSettings().SmallJobs,
        };
        var tasks = new Option<long>("--tasks")
        {
            Description = "Tasks to decide",
            DefaultValueFactory = _ => new SchedulerSettings().TasksToDecide,
        };
        var command = new Command("scheduler", "The scheduling policy alone: decisions a second, turns, memory.") { chunks, small, tasks };
        command.SetAction(
            (parsed, _) =>
                Task.FromResult(
                    Run(
                        new SchedulerSettings
                        {
                            Chunks = parsed.GetValue(chunks),
                            SmallJobs = parsed.GetValue(small),
                            TasksToDecide = parsed.GetValue(tasks),
                        }
                    )
                )
        );
        return command;
    }

    public static int Run(SchedulerSettings settings)
    {
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var planner = new Planner(new PolicyOptions(), epoch: 1, Start);
        planner.Observe(new ModelProfileKnown(Model, Profile, new LimitSpec { BatchRowsMax = 4096, PaddedUnitsMax = 1_000_000 }), Start);
        var built = Stopwatch.GetTimestamp();
        Fill(planner, settings);
        var buildSeconds = Stopwatch.GetElapsedTime(built).TotalSeconds;
        var bytes = GC.GetTotalMemory(forceFullCollection: true) - before;
        var chunks = planner.Backlog.ChunksOpen;
        Figures.Say($"{chunks:N0} chunks in {buildSeconds:F1} s, {(double)bytes / chunks:F0} bytes each");

        var world = new VirtualFleet(planner, settings.Workers, settings.ExpressPerSecond);
        world.Run(settings.TasksToDecide);
        world.TurnMs.Sort();
        var turns = world.TurnMs;
        var seconds = turns.Sum() / 1000;
        Figures.Say(
            $"{world.TasksDecided:N0} tasks in {world.Dispatches:N0} dispatches and {turns.Count:N0} turns, {world.VirtualSeconds:F1} s of the virtual clock; "
                + $"turn p50 {At(turns, 0.5):F3}, p99 {At(turns, 0.99):F3}, max {turns[^1]:F2} ms"
        );
        Figures.Report(
            new
            {
                benchmark = "scheduler",
                tasks_per_s = Math.Round(world.TasksDecided / seconds),
                dispatches_per_s = Math.Round(world.Dispatches / seconds),
                turn_p50_ms = Math.Round(At(turns, 0.5), 4),
                turn_p99_ms = Math.Round(At(turns, 0.99), 4),
                turn_max_ms = Math.Round(turns[^1], 2),
                turns = turns.Count,
                backlog_mb = Math.Round(bytes / 1e6, 1),
                bytes_per_chunk = Math.Round((double)bytes / chunks),
                build_s = Math.Round(buildSeconds, 1),
            }
        );
        return 0;
    }

    /// <summary>A batch takes 1 ms and 10 µs a unit: a device runs a thousand tasks a second, a thousand devices a million.</summary>
    private static ModelProfile Profile { get; } =
        new()
        {
            Provider = "cpu",
            Device = "bench",
            Points = [],
            AlphaNs = 1_000_000,
            BetaNs = NsPerUnit,
            BatchDrift = 0,
            MemoryBytes = 1,
        };

    /// <summary>Large and small jobs of every tenant, queued over the last hour.</summary>
    private static void Fill(Planner planner, SchedulerSettings settings)
    {
        for (var chunk = 0; chunk < settings.Chunks; chunk++)
        {
            var job = chunk / ChunksPerJob;
            var at = Start - TimeSpan.FromHours(1) + (TimeSpan.FromHours(1) * job * ChunksPerJob / Math.Max(1, settings.Chunks));
            planner.Observe(
                new ChunkArrived(Header(Id(1, job), chunk % ChunksPerJob, job % settings.Tenants, LatencyClass.Bulk, at, ChunkTasks)),
                Start
            );
        }

        for (var job = 0; job < settings.SmallJobs; job++)
        {
            var at = Start - TimeSpan.FromMilliseconds(job % 3_600_000);
            planner.Observe(new ChunkArrived(Header(Id(2, job), 0, job % settings.Tenants, LatencyClass.Bulk, at, 1)), Start);
        }
    }

    private static ChunkHeader Header(Guid job, int no, int tenant, LatencyClass latencyClass, DateTimeOffset queuedAt, int tasks) =>
        new(
            new JobId(job),
            no,
            new TenantId(Id(3, tenant)),
            Model,
            latencyClass,
            queuedAt + LatencyClasses.Defaults[latencyClass].CompletionWindow,
            queuedAt,
            tasks,
            (long)tasks * UnitsPerTask,
            UnitsPerTask,
            tasks,
            0
        );

    private static Guid Id(int kind, int number) => new(number, (short)kind, 0x7000, 0x80, 0, 0, 0, 0, 0, 0, (byte)kind);

    private static double At(List<double> sorted, double share) => sorted[(int)Math.Min(sorted.Count - 1, share * sorted.Count)];

    /// <summary>Workers that end what they were sent after its device time, told to the planner a millisecond's worth at a time.</summary>
    private sealed class VirtualFleet
    {
        private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(1);

        private readonly Planner _planner;
        private readonly int _expressPerSecond;
        private readonly List<WorkerId> _workers = [];
        private readonly Dictionary<WorkerId, Dictionary<DispatchId, HeldDispatch>> _held = [];
        private readonly Dictionary<WorkerId, DateTimeOffset> _freeAt = [];
        private readonly PriorityQueue<Dispatch, (DateTimeOffset At, long No)> _ends = new();
        private DateTimeOffset _now = Start;
        private int _beaten;
        private int _express;
        private long _sent;

        public VirtualFleet(Planner planner, int workers, int expressPerSecond)
        {
            (_planner, _expressPerSecond) = (planner, expressPerSecond);
            for (var i = 0; i < workers; i++)
            {
                var worker = new WorkerId(Id(4, i));
                _workers.Add(worker);
                _held[worker] = [];
                _freeAt[worker] = Start + TimeSpan.FromMilliseconds(i); // Their ends come one by one, not all at once.
                _planner.Observe(Beat(worker, i), Start);
            }
        }

        public List<double> TurnMs { get; } = [];
        public long TasksDecided { get; private set; }
        public long Dispatches { get; private set; }
        public double VirtualSeconds => (_now - Start).TotalSeconds;

        public void Run(long tasks)
        {
            // The first turn sends two dispatches to every worker at once, and everything is cold: it is not one of those measured.
            Turn(measured: false);
            while (TasksDecided < tasks)
            {
                _now += Step;
                Turn(measured: true);
            }
        }

        private void Turn(bool measured)
        {
            var facts = Facts();
            var began = Stopwatch.GetTimestamp();
            foreach (var fact in facts)
            {
                _planner.Observe(fact, _now);
            }

            var decisions = _planner.Plan(_now);
            if (measured)
            {
                TurnMs.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
            }

            foreach (var dispatch in decisions.OfType<SendDispatch>().Select(s => s.Dispatch))
            {
                Send(dispatch);
                Dispatches += measured ? 1 : 0;
                TasksDecided += measured ? dispatch.Slices.Sum(s => s.Count) : 0;
            }
        }

        private List<Fact> Facts()
        {
            var facts = new List<Fact>();
            while (_ends.TryPeek(out var ended, out var end) && end.At <= _now)
            {
                _ends.Dequeue();
                _held[ended.Worker].Remove(ended.Id);
                facts.Add(new DispatchEnded(Report(ended)));
            }

            var elapsed = (_now - Start).TotalSeconds;
            for (; _express < elapsed * _expressPerSecond; _express++)
            {
                facts.Add(new ChunkArrived(Header(Id(5, _express), 0, _express % 100, LatencyClass.Express, _now, 1)));
            }

            for (; _beaten < elapsed * _workers.Count; _beaten++)
            {
                facts.Add(Beat(_workers[_beaten % _workers.Count], _beaten % _workers.Count));
            }

            return facts;
        }

        private void Send(Dispatch dispatch)
        {
            // Between 0.9 and 1.1 of what the profile says, by the golden ratio's multiples: even, and the same in every run.
            var jitter = 0.9 + (0.2 * (++_sent * 0.618033988749895 % 1));
            var time =
                jitter
                * (
                    TimeSpan.FromMilliseconds(1)
                    + TimeSpan.FromMicroseconds(dispatch.Slices.Sum(s => (long)s.Count) * UnitsPerTask * NsPerUnit / 1000)
                );
            var begins = _freeAt[dispatch.Worker] > _now ? _freeAt[dispatch.Worker] : _now;
            _freeAt[dispatch.Worker] = begins + time;
            _held[dispatch.Worker][dispatch.Id] = new HeldDispatch(
                dispatch.Id,
                dispatch.Epoch,
                dispatch.Lane,
                begins <= _now,
                dispatch.Slices
            );
            _ends.Enqueue(dispatch, (begins + time, Dispatches));
        }

        private WorkerSeen Beat(WorkerId worker, int number) =>
            new(
                new WorkerHeartbeat
                {
                    Worker = worker,
                    Name = "w",
                    Pool = number % 2 == 0 ? "a" : "b",
                    Provider = "cpu",
                    Device = "bench",
                    PricePerHourPico = (1 + (number % 2)) * Cost.PicoPerUsd,
                    UptimeNs = 1,
                    Models = [new LoadedModel(Model, "cpu", 1)],
                    MemoryBudgetBytes = 1,
                    Epoch = 1,
                    Held = [.. _held[worker].Values],
                    Draining = false,
                }
            );

        private static DispatchFinished Report(Dispatch dispatch)
        {
            var tasks = dispatch.Slices.Sum(s => s.Count);
            var units = (long)tasks * UnitsPerTask;
            return new()
            {
                Id = dispatch.Id,
                Epoch = dispatch.Epoch,
                Worker = dispatch.Worker,
                Lane = dispatch.Lane,
                Model = dispatch.Model,
                Slices = [.. dispatch.Slices.Select(s => new SliceReport(s.Job, s.No, s.First, s.Count, SliceOutcome.Done))],
                Batches = [new BatchFact(tasks, units, units, 1_000_000 + (units * NsPerUnit))],
            };
        }
    }
}
