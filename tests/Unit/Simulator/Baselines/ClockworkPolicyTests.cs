using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>
/// The paper's headline, 100 ms met for 99.9999 % of requests, is for production traces over thousands of models on its own cluster;
/// here it is checked that 100 ms are met without exception at a steady load below what sizes up to 16 can carry.
/// </summary>
public sealed class ClockworkPolicyTests
{
    private static ClockworkPolicy Policy(PolicyOptions options) => new(new BaselineSetup { Options = options });

    private static VirtualFleet Fleet(double targetMs, double a, double b, int models = 1) =>
        new(Policy(VirtualFleet.Promise(targetMs)), 1, VirtualFleet.Affine(a, b), models: models);

    [Fact]
    public void Work_is_cut_into_the_sizes_and_handed_over_ten_milliseconds_ahead()
    {
        // l(b) = 1 + b. Of seven tasks 4, 2 and 1 are handed over at 0, since the device is free at 5 and at 8: those that come at 1
        // find them gone, and go when the device is free in 10 ms, at 1.
        var fleet = Fleet(100, 1, 1).Arrive(0, 100, tasks: 7).Arrive(1, 100, tasks: 3).Run();
        Assert.Equal([4, 2, 1, 2, 1], fleet.Ran.Select(b => b.Tasks));
        Assert.Equal([0.0, 5, 8, 10, 13], fleet.Ran.Select(b => b.StartMs));
        Assert.Equal(10, fleet.Attained);
    }

    [Fact]
    public void Nothing_is_handed_over_further_ahead()
    {
        // l(16) = 17: at 7 the device is free in 10 ms, and by then twelve more have come.
        var fleet = Fleet(100, 1, 1).Arrive(0, 100, tasks: 16).Arrive(1, 100, tasks: 4).Arrive(6, 100, tasks: 12).Run();
        Assert.Equal([16, 16], fleet.Ran.Select(b => b.Tasks));
    }

    [Fact]
    public void The_strategy_whose_latest_start_comes_first_wins()
    {
        // Model 0 is busy till 17. Model 1's eight tasks are due at 101 and take 9, so have to start by 92; model 2's task by 98.
        var fleet = Fleet(100, 1, 1, models: 3)
            .Arrive(0, 100, tasks: 16)
            .Arrive(0.5, 100, tasks: 1, model: 2)
            .Arrive(1, 100, tasks: 8, model: 1);
        fleet.Run();
        Assert.Equal(
            [0, 1, 2],
            fleet.Ran.Select(b => int.Parse(b.Dispatch.Model.Name[^1..], System.Globalization.CultureInfo.InvariantCulture))
        );
    }

    [Fact]
    public void A_larger_size_goes_past_a_head_that_it_would_be_late_for()
    {
        // l(b) = 10 + b, margin 1.5 of 30. Device free at 18: the head, due at 30 less the margin, could end alone only by 29, too late for
        // any larger size; it has to give way to the four due at 38, which are then late for nothing.
        var fleet = Fleet(30, 10, 1).Arrive(0, 30, tasks: 8).Arrive(1, 30).Arrive(8, 30, tasks: 4).Run();
        Assert.Equal([8, 4], fleet.Ran.Select(b => b.Tasks));
        Assert.Equal((12, 1), (fleet.Attained, fleet.Dropped));
    }

    [Fact]
    public void What_the_smallest_size_cannot_end_in_time_is_dropped()
    {
        var fleet = Fleet(20, 10, 1).Arrive(0, 20, tasks: 8).Arrive(1, 20).Run();
        Assert.Equal((8, 1), (fleet.Attained, fleet.Dropped));
    }

    [Fact]
    public void Estimates_are_the_slowest_of_the_last_ten_batches()
    {
        // The profile says that 16 take 17 ms; really they take 34, more than the 25 ms that a size may.
        var fleet = new VirtualFleet(Policy(VirtualFleet.Promise(200)), 1, VirtualFleet.Affine(2, 2), VirtualFleet.Affine(1, 1));
        for (var i = 0; i < 10; i++)
        {
            fleet.Arrive(i * 100, 200, tasks: 16);
        }

        fleet.Run();
        Assert.Equal(16, fleet.Ran[0].Tasks);
        Assert.All(fleet.Ran.Skip(1), b => Assert.Equal(8, b.Tasks));
        Assert.Equal(160, fleet.Attained);
    }

    [Fact]
    public void Every_task_of_a_steady_load_meets_100_ms() =>
        Assert.Equal(1, Capacity.Attained(Policy, 2, 5.204, 1.082, 100, share: 0.6, tasks: 20000, poisson: true));

    [Fact]
    public void Bulk_tasks_fill_sizes_behind_express_ones()
    {
        var fleet = Fleet(100, 5.204, 1.082).ArriveEvenly(0.1, 200, 100);
        for (var i = 0; i < 8; i++)
        {
            fleet.Arrive(0, 3_600_000, tasks: 500, latencyClass: LatencyClass.Bulk);
        }

        fleet.Run(untilMs: 2500);
        Assert.Equal((200, 0), (fleet.Attained, fleet.Late + fleet.Dropped));
        Assert.True(fleet.BulkDone > 1400, $"{fleet.BulkDone} bulk tasks");
    }
}
