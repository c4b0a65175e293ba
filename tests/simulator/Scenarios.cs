using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;

namespace Pipeline.Simulator;

/// <summary>What a scenario can be told; each uses what concerns it.</summary>
internal sealed record Parameters
{
    public ulong Seed { get; init; } = 1;

    /// <summary>0 for the scenario's own number.</summary>
    public long Tasks { get; init; }

    /// <summary>Load over the best rate the devices reach within the target.</summary>
    public double Rho { get; init; } = 0.8;

    /// <summary>Coefficient of variation of the gaps between arrivals.</summary>
    public double Cv { get; init; } = 1;
    public string Profile { get; init; } = "bert-base-s128-a100";

    /// <summary>0 for the scenario's own number.</summary>
    public int Workers { get; init; }

    /// <summary>Express target in milliseconds; 0 for the scenario's own.</summary>
    public double TargetMs { get; init; }
    public double Jitter { get; init; } = 0.01;

    /// <summary>The profile the policy is told is wrong by this factor.</summary>
    public double ProfileError { get; init; } = 1;

    /// <summary>Changes the bounds the policy plans within.</summary>
    public Func<PolicyOptions, PolicyOptions>? Tune { get; init; }
    public bool CheckAll { get; init; } = true;
}

/// <summary>A life to live: a fleet, work, and a policy to be named.</summary>
internal sealed record Scenario(string Name, string About, Func<Parameters, (WorldOptions World, IArrivals Arrivals)> Build)
{
    public SimResult Run(string policy, Parameters parameters) => Run(Policies.Find(policy), parameters);

    public SimResult Run(PolicyEntry policy, Parameters parameters)
    {
        var (world, arrivals) = Build(parameters);
        return new World(world, arrivals, policy.Create(world.Policy), policy.Name).Run();
    }
}

/// <summary>The scenarios by name.</summary>
internal static class Scenarios
{
    public static IReadOnlyList<Scenario> All { get; } =
    [new("poisson", "one-task express requests of one model on equal devices (--cv above 1 for bursts)", Poisson)];

    /// <exception cref="ArgumentException">No scenario has this name.</exception>
    public static Scenario Find(string name) =>
        All.FirstOrDefault(s => s.Name == name)
        ?? throw new ArgumentException($"No scenario is called {name}. Known: {string.Join(", ", All.Select(s => s.Name))}.");

    /// <summary>One model's registry entry: any batch the profile's table knows.</summary>
    public static ModelSpec Model(DeviceProfile device, double error = 1, int rowsMax = 4096) =>
        new(
            new ModelRef(device.Name, "1.0.0"),
            device.Measured("cuda", error),
            new LimitSpec { BatchRowsMax = rowsMax, PaddedUnitsMax = 1 << 20 }
        );

    public static PolicyOptions WithTarget(PolicyOptions options, LatencyClass latencyClass, TimeSpan target, TimeSpan window)
    {
        var classes = new Dictionary<LatencyClass, LatencyClassOptions>(options.Classes)
        {
            [latencyClass] = options.Classes[latencyClass] with { Target = target, CompletionWindow = window },
        };
        return options with { Classes = classes };
    }

    /// <summary>
    /// Largest rate all devices keep with every batch so large that it just fits half the target twice (staggered: (1 + 1/N) · l(b) ≤ S,
    /// SCHEDULER_FACTS 5.2): the analytic ceiling that loads are measured by.
    /// </summary>
    public static double CeilingPerSecond(DeviceProfile device, int workers, TimeSpan target)
    {
        var rate = 0.0;
        for (var rows = 1; rows <= 4096 && (1 + (1.0 / workers)) * device.Ns(rows) <= target.TotalNanoseconds; rows++)
        {
            rate = Math.Max(rate, rows * 1e9 / device.Ns(rows));
        }

        return workers * (rate > 0 ? rate : 1e9 / device.Ns(1));
    }

    private static (WorldOptions, IArrivals) Poisson(Parameters p)
    {
        var device = Profiles.Find(p.Profile);
        var workers = p.Workers > 0 ? p.Workers : 8;
        var target = TimeSpan.FromMilliseconds(p.TargetMs > 0 ? p.TargetMs : 25);
        var tasks = p.Tasks > 0 ? p.Tasks : 300_000;
        var rate = p.Rho * CeilingPerSecond(device, workers, target);
        var options = WithTarget(new PolicyOptions(), LatencyClass.Express, target, TimeSpan.FromMinutes(1));
        var world = new WorldOptions
        {
            Seed = p.Seed,
            Policy = p.Tune?.Invoke(options) ?? options,
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
            MeasureFrom = TimeSpan.FromSeconds(0.1 * tasks / rate),
            CheckAll = p.CheckAll,
        };
        return (world, new GammaArrivals(new Kind(), rate, p.Cv, tasks, p.Seed));
    }
}
