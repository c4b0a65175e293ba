using Pipeline.Contracts;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>
/// Triton's dynamic batcher. Of SCHEDULER_FACTS section 5 the range of its retained throughput on ResNet-50 (0.61 to 0.80 of Offline) is
/// checked with its MLPerf settings. Two figures cannot be reproduced to 5 %: 0.613 on eight A100 is a system's, whose custom harness lost
/// 10 % as well, and the difference lies in host work that no profile holds; and its 75 % of the custom batcher on H100 needs an H100
/// profile, which is not published.
/// </summary>
public sealed class TritonPolicyTests
{
    private static readonly Dictionary<LatencyClass, QueueTimeout> BulkWaits5Ms = new()
    {
        [LatencyClass.Bulk] = new(TimeSpan.FromMilliseconds(5), QueueTimeoutAction.Delay),
    };

    [Fact]
    public void Strict_priority_starves_bulk_for_as_long_as_express_fills_the_batches()
    {
        // Eight tasks take 1.8 ms, so 4.5 a millisecond fill every batch.
        var bench = new BaselineBench(s => new TritonPolicy(s, 8), BaselineBench.Affine(1, 0.1))
            .ArriveEvenly(4.5, 1000)
            .Arrive(100, LatencyClass.Bulk, 64)
            .Run();
        Assert.All(bench.Batches.Where(b => b.Start.TotalMilliseconds is > 100 and < 1000), b => Assert.Equal(0, b.Bulk));
        Assert.Equal(64, bench.Batches.Sum(b => b.Bulk));
    }

    [Fact]
    public void What_express_leaves_of_a_batch_goes_to_lower_levels()
    {
        var bench = new BaselineBench(s => new TritonPolicy(s, 8), BaselineBench.Affine(1, 0.1))
            .Arrive(0, LatencyClass.Bulk, 20)
            .Arrive(0, LatencyClass.Standard, 2)
            .Arrive(0, tasks: 3)
            .Run();
        Assert.Equal((3, 2, 3), (bench.Batches[0].Express, bench.Batches[0].Standard, bench.Batches[0].Bulk));
    }

    [Fact]
    public void The_delay_ignores_what_the_batch_takes_so_that_a_lone_task_is_late_on_an_idle_device()
    {
        // It waits 5 ms for company that does not come and then runs 6: a target of 10 ms is missed, with the device idle all the while.
        var bench = new BaselineBench(s => new TritonPolicy(s, 8, TimeSpan.FromMilliseconds(5)), BaselineBench.Affine(5, 1), targetMs: 10)
            .Arrive(0)
            .Run();
        Assert.Equal(11, bench.Express.LatencyMax.TotalMilliseconds);
        Assert.Equal(0, bench.Express.Attained);
    }

    [Fact]
    public void A_preferred_size_goes_at_once_and_the_rest_after_the_delay()
    {
        var bench = new BaselineBench(
            s => new TritonPolicy(s, 16, TimeSpan.FromMilliseconds(5), [4, 8]),
            BaselineBench.Affine(1, 0.1),
            devices: 3
        )
            .Arrive(0, tasks: 13)
            .Run();
        Assert.Equal([(0.0, 8), (0.0, 4), (5.0, 1)], bench.Batches.Select(b => (b.Start.TotalMilliseconds, b.Tasks)));
    }

    [Fact]
    public void A_timed_out_request_is_rejected_even_when_it_could_still_be_served_in_time()
    {
        var timeouts = new Dictionary<LatencyClass, QueueTimeout> { [LatencyClass.Express] = new(TimeSpan.FromMilliseconds(2)) };
        var bench = new BaselineBench(s => new TritonPolicy(s, 1, TimeSpan.Zero, null, timeouts), BaselineBench.Affine(2, 1), targetMs: 100)
            .Arrive(0)
            .Arrive(0.5)
            .Run();
        Assert.Equal((1, 1), (bench.Express.Attained, bench.Express.Dropped));
    }

    [Fact]
    public void A_delayed_request_goes_behind_those_of_its_level_that_are_not_late()
    {
        var bench = new BaselineBench(s => new TritonPolicy(s, 4, TimeSpan.Zero, null, BulkWaits5Ms), BaselineBench.Affine(6, 1))
            .Arrive(0, LatencyClass.Bulk, 4)
            .Arrive(0.5, LatencyClass.Bulk, 3)
            .Arrive(9, LatencyClass.Bulk, 4)
            .Run();
        Assert.Equal([4, 4, 3], bench.Batches.Select(b => b.Bulk));
    }

    [Fact]
    public void On_ResNet50_with_its_MLPerf_settings_it_keeps_between_0_61_and_0_80_of_offline()
    {
        // INT8 on A100, 15 ms at p99, Poisson, batch 64, delay 1 ms. Batches of 64 cost 1.29 times the offline rate, which is most of it.
        const double B = 0.0235;
        var rate = BaselineBench.RateMax(
            2 / B,
            perMs =>
                new BaselineBench(s => new TritonPolicy(s, 64), BaselineBench.Affine(0.438, B), devices: 2, targetMs: 15).ArrivePoisson(
                    perMs,
                    500
                ),
            7
        );
        Assert.InRange(rate * B / 2, 0.61, 0.80);
    }
}
