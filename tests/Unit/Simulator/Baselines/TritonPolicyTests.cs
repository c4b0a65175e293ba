using Pipeline.Contracts;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>
/// Triton's dynamic batcher, and two figures of SCHEDULER_FACTS section 5.1: NVIDIA's targets for it and for the custom harness on H100,
/// and the range of what it keeps of Offline on ResNet-50. Its 0.613 on eight A100 cannot be reproduced: beside it stands 0.728 on the
/// PCIe kind of the same device, so most of it is host work, which no profile holds. Here its settings keep 0.77.
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
                    700
                ),
            6
        );
        Assert.InRange(rate * B / 2, 0.61, 0.80);
    }

    [Fact]
    public void On_H100_it_reaches_its_MLPerf_target_and_the_custom_harness_what_was_measured()
    {
        // Triton's target there is 55,000 queries a second, with batches of 64 and a delay of 1 ms. The custom harness is a fixed size with
        // timeout, 256 and 3 ms, and submitters reached 78,200 (median). H100's line is not published: its slope is taken from the Offline
        // median, 1 / 88,500 s, and its fixed part is A100's 0.438 ms, as launches did not get quicker like arithmetic did. The ratio
        // comes out as 0.71; NVIDIA's targets say 0.75, for its own of 73,000 lies below what was measured.
        var device = BaselineBench.Affine(0.438, 1 / 88.5);
        Assert.InRange(Rate(s => new TritonPolicy(s, 64)), 55 * 0.95, 55 * 1.05);
        Assert.InRange(Rate(s => new FixedBatchPolicy(s, 256, TimeSpan.FromMilliseconds(3))), 78.2 * 0.95, 78.2 * 1.05);

        double Rate(Func<BaselineSetup, Pipeline.Scheduler.Policy.IPolicy> policy) =>
            BaselineBench.RateMax(88.5, perMs => new BaselineBench(policy, device, targetMs: 15).ArrivePoisson(perMs, 1000), 7);
    }
}
