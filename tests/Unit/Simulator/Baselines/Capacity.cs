using Pipeline.Scheduler.Policy;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>
/// The largest rate at which a policy keeps a promise, as a share of the rate of endless batches, 1/B: what the tables of ceilings
/// call kept. Arrivals are even, since ceilings are for that, or Poisson.
/// </summary>
internal static class Capacity
{
    public static double Kept(
        Func<PolicyOptions, IPolicy> policy,
        int devices,
        double a,
        double b,
        double targetMs,
        int tasks = 6000,
        bool poisson = false,
        double attained = 0.99
    )
    {
        var (low, high) = (0.2, 1.0);
        while (high - low > 0.004)
        {
            var share = (low + high) / 2;
            (low, high) = Attained(policy, devices, a, b, targetMs, share, tasks, poisson) >= attained ? (share, high) : (low, share);
        }

        return low;
    }

    /// <summary>The share of tasks attained at this share of the rate of endless batches.</summary>
    public static double Attained(
        Func<PolicyOptions, IPolicy> policy,
        int devices,
        double a,
        double b,
        double targetMs,
        double share,
        int tasks = 6000,
        bool poisson = false
    )
    {
        var fleet = new VirtualFleet(policy(VirtualFleet.Promise(targetMs)), devices, VirtualFleet.Affine(a, b));
        var perMs = share * devices / b;
        fleet = poisson ? fleet.ArrivePoisson(perMs, tasks, targetMs, seed: 7) : fleet.ArriveEvenly(perMs, tasks, targetMs);
        return fleet.Run().Attained / (double)tasks;
    }
}
