using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator;
using Pipeline.Simulator.Baselines;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>Every baseline in the simulator's world, whose promises are checked from outside, with all its mischief.</summary>
public sealed class BaselineWorldTests
{
    /// <summary>All but Shepherd: it stops batches that are still on their way, which the world does not take yet.</summary>
    public static TheoryData<string> Names => [.. BaselineEntries.All.Select(e => e.Name).Where(name => name != "shepherd")];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_fleet_that_dies_and_lags_loses_nothing_and_lives_the_same_twice(string name)
    {
        var first = Live(name, 7);
        Assert.Equal(first.TasksSubmitted, first.TasksEnded);
        Assert.Equal((3000, 200, 8192), (first.Express.Submitted, first.Standard.Submitted, first.Bulk.Submitted));
        Assert.Equal(8192, first.Bulk.Attained);
        Assert.Equal(first.TraceHash, Live(name, 7).TraceHash);
        Assert.NotEqual(first.TraceHash, Live(name, 8).TraceHash);
    }

    private static SimResult Live(string name, ulong seed)
    {
        var device = Profiles.Find("dist4l-s384-a100");
        var express = new LatencyClassOptions(TimeSpan.FromMilliseconds(50), TimeSpan.FromSeconds(20), 4);
        var options = new PolicyOptions
        {
            DispatchesPerLaneMax = 64, // Clockwork plans 10 ms ahead, in as many batches as fit.
            Classes = new Dictionary<LatencyClass, LatencyClassOptions>(LatencyClasses.Defaults) { [LatencyClass.Express] = express },
        };
        var world = new WorldOptions
        {
            Seed = seed,
            Policy = options,
            Pools =
            [
                new PoolSpec
                {
                    Workers = 4,
                    Devices = [device],
                    JitterSigma = 0.03,
                    StragglerShare = 0.001,
                    LoadTime = TimeSpan.FromMilliseconds(300),
                    Warm = false,
                    MeanLife = TimeSpan.FromSeconds(3),
                    RestartAfter = TimeSpan.FromSeconds(1),
                },
            ],
            Models = [new ModelSpec(new ModelRef("model", "1.0.0"), device.Measured("cuda"), new LimitSpec { BatchRowsMax = 4096 })],
            SubmitToScheduler = new Delay(TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(0.5)),
            SchedulerToWorker = new Delay(TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(0.5)),
            WorkerToScheduler = new Delay(TimeSpan.FromMilliseconds(1)),
            EndingTime = TimeSpan.FromMilliseconds(3),
        };
        var arrivals = new Superposition(
            new GammaArrivals(new Kind(), 200, 2, 3000, seed),
            new GammaArrivals(new Kind { Class = LatencyClass.Standard, Tasks = 10 }, 2, 1, 20, seed),
            new GammaArrivals(new Kind { Class = LatencyClass.Bulk, Tasks = 512 }, 2, 1, 16, seed)
        );
        return new World(world, arrivals, BaselineEntries.All.Single(e => e.Name == name).Create(options)).Run();
    }
}
