using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;

namespace Pipeline.Simulator;

/// <summary>A world to live in, its work, and what the work is measured by.</summary>
/// <param name="BulkUnitsPerSecond">What express leaves of the devices' best rate: bulk done is compared to it. 0 where there is no bulk.</param>
internal sealed record Setting(WorldOptions World, IArrivals Arrivals, double BulkUnitsPerSecond = 0);

/// <summary>A life to live under a policy that is named.</summary>
internal sealed record Scenario(string Name, string About, Func<Parameters, Setting> Build)
{
    public SimResult Run(string policy, Parameters parameters) => Run(Policies.Find(policy), parameters);

    public SimResult Run(PolicyEntry policy, Parameters parameters)
    {
        var setting = Build(parameters);
        var options = setting.World with
        {
            Seed = parameters.Seed,
            Policy = parameters.Tune?.Invoke(setting.World.Policy) ?? setting.World.Policy,
            TimePolicy = parameters.TimePolicy,
            Progress = parameters.Progress,
            // It looks at every worker at every time stamp.
            CheckAll = setting.World.CheckAll && setting.World.Pools.Sum(p => p.Workers) <= 64,
        };
        options = parameters.Shape?.Invoke(options) ?? options;
        var result = new World(options, setting.Arrivals, policy.Create(options.Policy), policy.Name).Run();
        return result with { BulkUnitsPerSecondMax = setting.BulkUnitsPerSecond };
    }
}

/// <summary>The scenarios by name.</summary>
internal static class Scenarios
{
    public static IReadOnlyList<Scenario> All { get; } =
    [
        new("poisson", "one-task express requests of one model on equal devices (--cv above 1 for bursts)", Poisson),
        new("mixed", "express on a real trace, and a bulk backlog that never ends", Mixed),
        new("two-pools", "express on a real trace and bulk with a deadline, on fast dear and slow cheap devices", TwoPools),
        new("starvation", "express close to capacity, and bulk jobs with short deadlines", Starvation),
        new("faults", "workers that die and come back, stragglers, slow messages", Faults),
        new("untuned", "two models, two pools, three tenants, a day's curve, faults: no rule was tuned in it", UntunedWorld.Build),
        new("day", "1,000 workers, ten million tasks, a day with its curve", Day),
    ];

    /// <exception cref="ArgumentException">No scenario has this name.</exception>
    public static Scenario Find(string name) =>
        All.FirstOrDefault(s => s.Name == name)
        ?? throw new ArgumentException($"No scenario is called {name}. Known: {string.Join(", ", All.Select(s => s.Name))}.");

    // The scenarios

    private static Setting Poisson(Parameters p)
    {
        var device = Profiles.Find(p.Profile ?? "bert-base-s128-a100");
        var (workers, target) = (Or(p.Workers, 8), Ms(Or(p.TargetMs, 25)));
        var tasks = Or(p.Tasks, 300_000);
        var units = TokensEach(device);
        var rate = Or(p.Rho, 0.8) * Ceiling.UnitsPerSecond(device, workers, target, units) / units;
        var world = new WorldOptions
        {
            Policy = WithTarget(NoDelay(target), LatencyClass.Express, target, target),
            Pools =
            [
                new PoolSpec
                {
                    Workers = workers,
                    Devices = [device],
                    JitterSigma = p.Jitter,
                },
            ],
            Models = [Model(device, p.ProfileError)],
            // The first tenth fills the world up and is not counted.
            MeasureFrom = TimeSpan.FromSeconds(0.1 * tasks / rate),
        };
        return new Setting(world, new GammaArrivals(new Kind { Units = units, Tenants = p.Tenants }, rate, p.Cv, tasks, p.Seed));
    }

    private static Setting Mixed(Parameters p)
    {
        var device = Profiles.Find(p.Profile ?? "bert-base-s128-a100");
        var (workers, target) = (Or(p.Workers, 8), Ms(Or(p.TargetMs, 100)));
        var tasks = Or(p.Tasks, 200_000);
        var (express, seconds, rho) = TraceExpress(p, device, workers, target, tasks, rhoOwn: 0.3);
        var best = workers * device.UnitsPerSecond(BestBatch(device));
        var unitsMean = IsTokens(device) ? 2500 : 1;
        // A fifth more than the devices could do were there no express at all, so that it lasts.
        var bulk = new BulkDrops(
            new Kind { Class = LatencyClass.Bulk, Tenant = 1 },
            TimeSpan.Zero,
            TimeSpan.Zero,
            jobs: 4,
            (long)(0.3 * best * seconds / unitsMean) + 1,
            IsTokens(device) ? Lengths.FromFile(Trace.ArxivLengths, TokensMax) : null
        );
        var world = new WorldOptions
        {
            Policy = WithTarget(NoDelay(target), LatencyClass.Express, target, TimeSpan.FromMinutes(1)),
            Pools =
            [
                new PoolSpec
                {
                    Workers = workers,
                    Devices = [device],
                    JitterSigma = p.Jitter,
                },
            ],
            Models = [Model(device, p.ProfileError)],
            MeasureFrom = TimeSpan.FromSeconds(0.1 * seconds),
            MeasureUntil = TimeSpan.FromSeconds(0.95 * seconds),
            // What came last still has its time.
            EndAt = TimeSpan.FromSeconds(seconds) + (2 * target),
        };
        return new Setting(world, new Superposition(express, bulk), best * (1 - rho));
    }

    private static Setting TwoPools(Parameters p)
    {
        // The same network on both; prices are round figures of cloud rent, paid by use.
        var (fast, slow) = (Profiles.Find("resnet50-int8-a100"), Profiles.Find("resnet50-int8-l4"));
        var (fastWorkers, slowWorkers) = (Or(p.Workers, 2), 4 * Or(p.Workers, 2));
        var target = Ms(Or(p.TargetMs, 15));
        var (express, seconds, rho) = TraceExpress(p, fast, fastWorkers, target, Or(p.Tasks, 200_000), rhoOwn: 0.4);
        var cheap = slowWorkers * slow.UnitsPerSecond(BestBatch(slow));
        var dear = fastWorkers * fast.UnitsPerSecond(BestBatch(fast)) * (1 - rho);
        var drops = 10;
        var bulk = new BulkDrops(
            new Kind { Class = LatencyClass.Bulk, Tenant = 1 },
            TimeSpan.Zero,
            TimeSpan.FromSeconds(seconds / drops),
            drops,
            (long)(Or(p.BulkRho, 0.5) * (cheap + dear) * seconds / drops)
        );
        var options = WithTarget(NoDelay(target), LatencyClass.Express, target, TimeSpan.FromMinutes(1));
        var window = TimeSpan.FromSeconds(seconds);
        var world = new WorldOptions
        {
            Policy = WithTarget(options with { DeviceTimePaidByUse = true }, LatencyClass.Bulk, window, window),
            Pools =
            [
                new PoolSpec
                {
                    Name = "fast",
                    Workers = fastWorkers,
                    Devices = [fast],
                    JitterSigma = p.Jitter,
                    PricePerHourPico = Usd(4),
                },
                new PoolSpec
                {
                    Name = "cheap",
                    Workers = slowWorkers,
                    Devices = [slow],
                    JitterSigma = p.Jitter,
                    PricePerHourPico = Usd(0.8),
                },
            ],
            Models = [Model(fast, p.ProfileError)],
        };
        return new Setting(world, new Superposition(express, bulk), dear + cheap);
    }

    private static Setting Starvation(Parameters p)
    {
        var device = Profiles.Find(p.Profile ?? "bert-base-s128-a100");
        var (workers, target) = (Or(p.Workers, 4), Ms(Or(p.TargetMs, 100)));
        var tasks = Or(p.Tasks, 500_000);
        var rho = Or(p.Rho, 0.9);
        var units = TokensEach(device);
        var rate = rho * Ceiling.UnitsPerSecond(device, workers, target, units) / units;
        var seconds = tasks / rate;
        var left = workers * device.UnitsPerSecond(BestBatch(device)) * (1 - rho);
        var jobs = 10;
        var window = TimeSpan.FromSeconds(seconds / 2);
        var bulk = new BulkDrops(
            new Kind
            {
                Class = LatencyClass.Bulk,
                Tenant = 1,
                Units = units,
            },
            TimeSpan.Zero,
            TimeSpan.FromSeconds(seconds / jobs),
            jobs,
            (long)(Or(p.BulkRho, 0.5) * left * seconds / jobs / units)
        );
        var options = WithTarget(NoDelay(target), LatencyClass.Express, target, TimeSpan.FromMinutes(1));
        var world = new WorldOptions
        {
            Policy = WithTarget(options, LatencyClass.Bulk, window, window),
            Pools =
            [
                new PoolSpec
                {
                    Workers = workers,
                    Devices = [device],
                    JitterSigma = p.Jitter,
                },
            ],
            Models = [Model(device, p.ProfileError)],
        };
        var express = new GammaArrivals(new Kind { Units = units }, rate, p.Cv, tasks, p.Seed);
        return new Setting(world, new Superposition(express, bulk), left);
    }

    private static Setting Faults(Parameters p)
    {
        var device = Profiles.Find(p.Profile ?? "symphony-resnet");
        var (workers, target) = (Or(p.Workers, 16), Ms(Or(p.TargetMs, 500)));
        var tasks = Or(p.Tasks, 200_000);
        var rho = Or(p.Rho, 0.4);
        var rate = rho * Ceiling.UnitsPerSecond(device, workers, target);
        var seconds = tasks / rate;
        var pool = new PoolSpec
        {
            Workers = workers,
            Devices = [device],
            JitterSigma = Math.Max(p.Jitter, 0.05),
            StragglerShare = 0.001,
            StragglerFactor = 10,
            LoadTime = TimeSpan.FromSeconds(1),
            // Each place sees about one death.
            MeanLife = TimeSpan.FromSeconds(seconds),
            RestartAfter = TimeSpan.FromSeconds(5),
        };
        var bulk = new BulkDrops(
            new Kind { Class = LatencyClass.Bulk, Tenant = 1 },
            TimeSpan.FromSeconds(1),
            TimeSpan.FromSeconds(seconds / 20),
            jobs: 15,
            (long)(0.02 * workers * device.UnitsPerSecond(BestBatch(device)) * seconds)
        );
        var world = new WorldOptions
        {
            Policy = WithTarget(NoDelay(target), LatencyClass.Express, target, TimeSpan.FromMinutes(1)),
            Pools = [pool],
            Models = [Model(device, p.ProfileError)],
            // Two to three times the hops that were measured on the running system (DESIGN.md, transport rules).
            SubmitToScheduler = new Delay(TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(1)),
            SchedulerToWorker = new Delay(TimeSpan.FromMilliseconds(2), TimeSpan.FromMilliseconds(2)),
            WorkerToScheduler = new Delay(TimeSpan.FromMilliseconds(2), TimeSpan.FromMilliseconds(2)),
            DeviceToResult = new Delay(TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(1)),
            EndingTime = TimeSpan.FromMilliseconds(20),
        };
        return new Setting(world, new Superposition(new GammaArrivals(new Kind(), rate, p.Cv, tasks, p.Seed), bulk));
    }

    private static Setting Day(Parameters p)
    {
        // Ten million tasks keep 1,000 devices busy for a day only if a task takes seconds (86.4 million device seconds): long documents,
        // 3 s each and 2 s a batch.
        var device = DeviceProfile.Line("long-documents", 2e9, 3e9);
        var workers = Or(p.Workers, 1000);
        var tasks = Or(p.Tasks, 10_000_000);
        var day = TimeSpan.FromDays(1);
        var express = (long)(0.4 * tasks);
        var bulkTasks = (tasks - express) / 24;
        var classes = WithTarget(new PolicyOptions(), LatencyClass.Express, TimeSpan.FromSeconds(60), TimeSpan.FromMinutes(10));
        var world = new WorldOptions
        {
            // Times as long as such tasks need, and signs of life as rare as a day of a thousand workers allows.
            Policy = WithTarget(classes, LatencyClass.Bulk, TimeSpan.FromHours(6), TimeSpan.FromHours(24)) with
            {
                WorkerLostAfter = TimeSpan.FromSeconds(45),
                DispatchUnlistedAfter = TimeSpan.FromSeconds(60),
                BulkBatchTimeMax = TimeSpan.FromSeconds(20),
                ExpressBatchTimeMax = TimeSpan.FromSeconds(20),
                DispatchTimeTarget = TimeSpan.FromSeconds(120),
                ExpressDispatchTimeMax = TimeSpan.FromSeconds(20),
                StageLead = TimeSpan.FromSeconds(20),
            },
            HeartbeatEvery = TimeSpan.FromSeconds(10),
            Pools =
            [
                new PoolSpec
                {
                    Workers = workers,
                    Devices = [device],
                    JitterSigma = p.Jitter,
                },
            ],
            Models = [Model(device, p.ProfileError)],
            CheckAll = false,
        };
        var curve = new DiurnalArrivals(
            new Kind { Tenants = Math.Max(p.Tenants, 10) },
            express / day.TotalSeconds,
            swing: 0.6,
            day,
            express,
            p.Seed
        );
        var bulk = new BulkDrops(
            new Kind
            {
                Class = LatencyClass.Bulk,
                Tenant = 10,
                Tenants = 3,
            },
            TimeSpan.FromMinutes(7),
            TimeSpan.FromHours(1),
            24,
            bulkTasks
        );
        return new Setting(world, new Superposition(curve, bulk));
    }

    // What they are made of

    /// <summary>Lengths are cut here where profiles count tokens: what their tables reach to.</summary>
    public const int TokensMax = 4096;

    /// <summary>Tokens of each task where all are to be equal: about the median of the traces.</summary>
    private const int TokensTypical = 1024;

    /// <summary>Express requests on a recorded trace, whose lengths count where the profile is by tokens.</summary>
    private static (IArrivals Stream, double Seconds, double Rho) TraceExpress(
        Parameters p,
        DeviceProfile device,
        int workers,
        TimeSpan target,
        long tasks,
        double rhoOwn
    )
    {
        var trace = p.Trace ?? Trace.Azure;
        var rho = Or(p.Rho, rhoOwn);
        if (!Trace.Exists(trace))
        {
            // Without the files: bursts as AlpaServe (OSDI'23) has them.
            var rate = rho * Ceiling.UnitsPerSecond(device, workers, target);
            return (new GammaArrivals(new Kind { Tenants = p.Tenants }, rate, Math.Max(p.Cv, 2), tasks, p.Seed), tasks / rate, rho);
        }

        var recorded = Trace.ReadUsual(trace, p.Seed);
        var unitsMax = IsTokens(device) ? TokensMax : 1;
        var mean = recorded.Tokens.Average(t => Math.Clamp(t, 1, unitsMax));
        var perSecond = rho * Ceiling.UnitsPerSecond(device, workers, target, IsTokens(device) ? TokensTypical : 1) / mean;
        return (new TraceArrivals(new Kind { Tenants = p.Tenants }, recorded, perSecond, tasks, unitsMax), tasks / perSecond, rho);
    }

    /// <summary>One model's registry entry.</summary>
    public static ModelSpec Model(DeviceProfile device, double error = 1) =>
        new(
            new ModelRef(device.Name, "1.0.0"),
            device.Measured("cuda", error, TokensEach(device)),
            IsTokens(device)
                ? new LimitSpec { BatchRowsMax = 256, PaddedUnitsMax = 65_536 }
                : new LimitSpec { BatchRowsMax = RowsMax, PaddedUnitsMax = RowsMax }
        );

    private const int RowsMax = 4096;

    /// <summary>The largest batch its model takes.</summary>
    private static long BestBatch(DeviceProfile device) => IsTokens(device) ? 65_536 : RowsMax;

    private static bool IsTokens(DeviceProfile device) => device.Points[^1].Units > 2048;

    private static int TokensEach(DeviceProfile device) => IsTokens(device) ? TokensTypical : 1;

    /// <summary>The bounds of a world where messages take no time: nothing is sent ahead, and a batch may use its whole target.</summary>
    public static PolicyOptions NoDelay(TimeSpan target) =>
        new()
        {
            ExpressLead = TimeSpan.Zero,
            ExpressBatchTimeMax = target,
            ExpressDispatchTimeMax = target,
            SlicesMax = 4096,
        };

    public static PolicyOptions WithTarget(PolicyOptions options, LatencyClass latencyClass, TimeSpan target, TimeSpan window)
    {
        var classes = new Dictionary<LatencyClass, LatencyClassOptions>(options.Classes)
        {
            [latencyClass] = options.Classes[latencyClass] with { Target = target, CompletionWindow = window },
        };
        return options with { Classes = classes };
    }

    private static TimeSpan Ms(double milliseconds) => TimeSpan.FromMilliseconds(milliseconds);

    private static long Usd(double perHour) => (long)(perHour * Cost.PicoPerUsd);

    public static int Or(int given, int own) => given > 0 ? given : own;

    public static long Or(long given, long own) => given > 0 ? given : own;

    public static double Or(double given, double own) => given > 0 ? given : own;
}
