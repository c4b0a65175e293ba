using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>
/// Figures: the staggered ceiling of the authors' "resnet" profile (5.204 + 1.082·b ms) with 8 devices, 0.757 of the offline rate at
/// 25 ms and 0.941 at 100 ms, and the gain over eager, +36 % and +5 %. The ceiling is for arrivals without chance, so arrivals are even.
/// The authors' 5x goodput and their millions of schedulings a second are for their cluster and models, which are not published with them.
/// </summary>
public sealed class SymphonyPolicyTests
{
    private const double A = 5.204;
    private const double B = 1.082;

    private static SymphonyPolicy Policy(PolicyOptions options) => new(new BaselineSetup { Options = options });

    private static NexusPolicy Eager(PolicyOptions options) => new(new BaselineSetup { Options = options });

    private static VirtualFleet Fleet(double targetMs, int devices = 1, int models = 1) =>
        new(Policy(VirtualFleet.Promise(targetMs)), devices, VirtualFleet.Affine(A, B), models: models);

    [Fact]
    public void A_task_alone_waits_until_no_other_could_join()
    {
        var fleet = Fleet(25).Arrive(0, 25).Run();
        var batch = Assert.Single(fleet.Ran);
        Assert.Equal(25 - (A + (2 * B)), batch.StartMs, 1e-3);
        Assert.Equal(1, fleet.Attained);
    }

    [Fact]
    public void A_task_that_comes_inside_the_window_joins()
    {
        var fleet = Fleet(25).Arrive(0, 25).Arrive(17, 25).Run();
        var batch = Assert.Single(fleet.Ran);
        Assert.Equal(2, batch.Tasks);
        Assert.Equal(17, batch.StartMs, 1.0);
        Assert.Equal(2, fleet.Attained);
    }

    [Fact]
    public void A_batch_that_cannot_grow_goes_at_once_and_the_rest_waits_on()
    {
        // l(18) = 24.68 ms is the largest batch within 25 ms; of 20 tasks at once two are left.
        var fleet = Fleet(25, devices: 2).Arrive(0, 25, tasks: 20).Run();
        Assert.Equal([18, 2], fleet.Ran.Select(b => b.Tasks));
        Assert.Equal(0, fleet.Ran[0].StartMs);
        Assert.Equal(25 - (A + (3 * B)), fleet.Ran[1].StartMs, 1e-3);
        Assert.Equal(20, fleet.Attained);
    }

    [Fact]
    public void A_freed_device_takes_the_candidate_whose_latest_start_comes_first()
    {
        // Both windows are open when the device is free at 24.68: model 1's task is due at 36, its latest start 29.7; model 2's five
        // tasks are due at 37, and have to start by 26.4.
        var fleet = Fleet(25, models: 3).Arrive(0, 25, tasks: 18);
        fleet.Arrive(9, 25, model: 1);
        for (var i = 0; i < 5; i++)
        {
            fleet.Arrive(10.5, 25, model: 2);
        }

        fleet.Run();
        Assert.Equal([VirtualFleet.Model(0), VirtualFleet.Model(2)], fleet.Ran.Take(2).Select(b => b.Dispatch.Model));
        Assert.Equal(24.68, fleet.Ran[1].StartMs, 1e-3);
        Assert.Equal((23, 1), (fleet.Attained, fleet.Dropped));
    }

    [Fact]
    public void After_a_jam_heads_are_dropped_for_a_full_batch_behind_them()
    {
        // Free at 24.68, and 31 wait. Until a rate is known the target is 6 tasks, l(6) = 11.7 ms. The single task due at 34 could end
        // alone (6.3 ms) but not with five others, so it gives way to those due at 45.
        var fleet = Fleet(25).Arrive(0, 25, tasks: 18).Arrive(9, 25);
        for (var i = 0; i < 30; i++)
        {
            fleet.Arrive(20, 25);
        }

        fleet.Run();
        Assert.Equal(24.68, fleet.Ran[1].StartMs, 1e-3);
        Assert.Equal(13, fleet.Ran[1].Tasks); // 24.68 + l(13) = 43.95 ≤ 45
        Assert.Equal(18 + 13, fleet.Attained);
    }

    [Theory]
    [InlineData(25, 0.757, 8000)]
    [InlineData(100, 0.941, 40000)]
    public void Eight_devices_keep_the_staggered_ceiling(double targetMs, double ceiling, int tasks)
    {
        Assert.True(Capacity.Attained(Policy, 8, A, B, targetMs, 0.95 * ceiling, tasks) >= 0.99);
        Assert.True(Capacity.Attained(Policy, 8, A, B, targetMs, 1.05 * ceiling, tasks) < 0.99);
    }

    [Fact]
    public void Deferring_gains_a_third_on_eager_at_a_tight_target()
    {
        var gain = Capacity.Kept(Policy, 8, A, B, 25) / Capacity.Kept(Eager, 8, A, B, 25);
        Assert.InRange(gain, 0.95 * 1.36, 1.05 * 1.36);
    }

    [Fact]
    public void At_a_loose_target_it_gains_a_few_per_cent()
    {
        // Between the ceilings of eager, 0.895, and of staggered, 0.941.
        Assert.True(Capacity.Attained(Policy, 8, A, B, 100, share: 0.925, tasks: 40000) >= 0.99);
        Assert.True(Capacity.Attained(Eager, 8, A, B, 100, share: 0.925, tasks: 40000) < 0.99);
    }

    [Fact]
    public void Devices_in_use_follow_the_load()
    {
        // A quarter of the offline rate of 8 devices: batches of 18 tasks at most, two devices' worth at the offline rate.
        static double BusyShare(IPolicy policy)
        {
            var fleet = new VirtualFleet(policy, 8, VirtualFleet.Affine(A, B)).ArriveEvenly(0.25 * 8 / B, 4000, 25).Run();
            Assert.Equal(4000, fleet.Attained);
            return fleet.Ran.Sum(b => b.EndMs - b.StartMs) / fleet.NowMs / 8;
        }

        var deferred = BusyShare(Policy(VirtualFleet.Promise(25)));
        var eager = BusyShare(Eager(VirtualFleet.Promise(25)));
        Assert.True(deferred < 0.5 && eager > 0.9, $"deferred {deferred:0.00}, eager {eager:0.00}");
    }

    [Fact]
    public void Bulk_tasks_fill_express_batches_and_every_device_while_express_is_in_time()
    {
        var options = VirtualFleet.Promise(100);
        var setup = new BaselineSetup { Options = options, BulkBatchTimeMax = TimeSpan.FromMilliseconds(40) };
        var fleet = new VirtualFleet(new SymphonyPolicy(setup), 2, VirtualFleet.Affine(A, B));
        fleet.ArriveEvenly(0.1, 300, 100);
        for (var i = 0; i < 10; i++)
        {
            fleet.Arrive(0, 3_600_000, tasks: 500, latencyClass: LatencyClass.Bulk);
        }

        fleet.Run(untilMs: 3200);
        Assert.Equal((300, 0), (fleet.Attained, fleet.Late + fleet.Dropped));
        Assert.True(fleet.BulkDone > 4000, $"{fleet.BulkDone} bulk tasks");
        Assert.All(fleet.Ran, b => Assert.True(b.EndMs - b.StartMs <= 40));
    }
}
