using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator;

/// <summary>A bulk backlog of one model, and now and then a small standard job of another, on the same two workers.</summary>
public sealed class ModelsSideBySideTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Small_jobs_wait_for_what_lanes_hold_and_not_for_the_other_models_backlog(int seed)
    {
        var (large, small) = (DeviceProfile.Line("large", 2e6, 1e6), DeviceProfile.Line("small", 1e6, 0.2e6));
        var options = new WorldOptions
        {
            Seed = (ulong)seed,
            Pools =
            [
                new PoolSpec
                {
                    Workers = 2,
                    Devices = [large, small],
                    JitterSigma = 0.05,
                },
            ],
            Models = [Scenarios.Model(large), Scenarios.Model(small)],
        };

        var result = new World(options, new Replayed(Load(seed)), new Planner(options.Policy, epoch: 1, World.Start)).Run();

        // A second runs and a second is staged on each lane: that is what a small job finds, and no more.
        Assert.InRange(result.Of(LatencyClass.Standard).Wait.Max / (double)TimeSpan.TicksPerSecond, 0, 2.5);
        Assert.Equal(1, result.Bulk.Attainment);
    }

    private static IEnumerable<Submission> Load(int seed)
    {
        var random = new Random(seed);
        for (var job = 0; job < 80; job++)
        {
            yield return new Submission(0, LatencyClass.Bulk, Tasks: 512); // 41 s of both devices in all.
        }

        for (var at = 1.0; at < 15; at -= 0.7 * Math.Log(1 - random.NextDouble()))
        {
            var tasks = random.Next(5, 60);
            yield return new Submission((long)(at * TimeSpan.TicksPerSecond), LatencyClass.Standard, 1, 1, tasks);
        }
    }
}
