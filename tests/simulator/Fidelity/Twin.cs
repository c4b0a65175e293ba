using Pipeline.Contracts;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;

namespace Pipeline.Simulator.Fidelity;

/// <summary>
/// Lives a real system's recorded arrivals again in the simulator, with measured parameters, and says which share of a pair's express
/// tasks is done by its due time. Each life begins where the real one began, so that the policy has learnt as much.
/// </summary>
internal static class Twin
{
    private static readonly long LeadIn = TimeSpan.FromSeconds(2).Ticks;

    /// <summary>
    /// The mean attainment of several lives, which differ in the delays and device times that are drawn, and the deviation of one life
    /// from it: the real system lives once, so even a perfect simulator would be off by about that much.
    /// </summary>
    public static (double Mean, double Deviation) Attainment(Observed seen, Measured measured, int pair, int lives)
    {
        var attained = Enumerable.Range(1, lives).Select(seed => Live(seen, measured, pair, (ulong)seed).Express.Attainment).ToList();
        var mean = attained.Average();
        return (mean, Math.Sqrt(attained.Sum(a => (a - mean) * (a - mean)) / Math.Max(1, lives - 1)));
    }

    /// <summary>What the real system attained in the pair.</summary>
    public static double Attained(Observed seen, int pair)
    {
        var target = seen.Policy.Classes[LatencyClass.Express].Target.Ticks;
        return Express(seen, pair).Average(j => j.Succeeded && j.EndedAt - j.QueuedAt <= target ? 1.0 : 0.0);
    }

    public static IReadOnlyList<SeenJob> Express(Observed seen, int pair) =>
        [.. seen.Jobs.Where(j => j.Mark == pair && j.Class == LatencyClass.Express)];

    /// <summary>How much longer the device took while jobs of this mark were under way than the parameters foretell.</summary>
    public static double DeviceDrift(Observed seen, Measured measured, int mark)
    {
        var jobs = seen.Jobs.Where(j => j.Mark == mark).ToList();
        var (from, to) = (jobs.Min(j => j.QueuedAt), jobs.Max(j => j.EndedAt));
        var batches = seen.Batches.Where(b => b.StartedAt >= from && b.StartedAt <= to).ToList();
        return (batches.Sum(b => (double)b.DeviceNs) / batches.Sum(b => measured.Device.Ns(b.PaddedUnits))) - 1;
    }

    public static SimResult Live(Observed seen, Measured measured, int pair, ulong seed)
    {
        var from = seen.Jobs.Min(j => j.QueuedAt) - LeadIn;
        var express = Express(seen, pair);
        var last = seen.Jobs.Where(j => j.Mark == pair).Max(j => j.QueuedAt);
        var options = new WorldOptions
        {
            Policy = seen.Policy,
            Seed = seed,
            Models = [seen.Model],
            Pools =
            [
                new PoolSpec
                {
                    Workers = 1,
                    Provider = seen.Model.Profile?.Provider ?? "cpu",
                    Devices = [measured.Device],
                    Scatter = measured.Scatter,
                    BeginTime = measured.BeginTime,
                },
            ],
            SubmitToScheduler = measured.SubmitToScheduler,
            SchedulerToWorker = measured.SchedulerToWorker,
            DeviceToResult = measured.DeviceToResult,
            WorkerToScheduler = measured.WorkerToScheduler,
            MeasureFrom = TimeSpan.FromTicks(express.Min(j => j.QueuedAt) - from),
            MeasureUntil = TimeSpan.FromTicks(express.Max(j => j.QueuedAt) - from + 1),
        };
        var jobs = seen.Jobs.Where(j => j.QueuedAt <= last).OrderBy(j => j.QueuedAt);
        return new World(
            options,
            new Replayed(jobs.Select(j => Again(j, from))),
            Policies.Find(Policies.Ours).Create(options.Policy)
        ).Run();
    }

    private static Submission Again(SeenJob job, long from) =>
        new(job.QueuedAt - from, job.Class, Tasks: job.Tasks, UnitsEach: job.UnitsEach);
}
