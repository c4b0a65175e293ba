using Pipeline.Contracts;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>
/// The three that say how express and bulk share a fleet: static split, llm-d's gate, HyGen's budget. HyGen's 3.87 and 5.84 times are
/// those of a language model's engine over one that serves online work alone, by traces and lengths that are not those of a stateless
/// model: what is checked instead is that the budget found by search keeps the online target and fills what online leaves.
/// </summary>
public sealed class SharedFleetPolicyTests
{
    [Fact]
    public void A_split_never_lets_one_side_help_the_other()
    {
        var bench = new BaselineBench(s => new StaticSplitPolicy(s, 1), BaselineBench.Affine(1, 1), devices: 4, targetMs: 10);
        bench.Arrive(0, LatencyClass.Bulk, 2048);
        for (var i = 0; i < 200; i++)
        {
            bench.Arrive(i, tasks: 2);
        }

        bench.Run();
        Assert.All(bench.Batches, b => Assert.Equal(b.Express > 0, b.Device == 0));
        Assert.Equal(1, new BaselineBench(s => new StaticSplitPolicy(s, 9), BaselineBench.Affine(1, 1)).Arrive(0).Run().Express.Attained);
        // Two tasks a millisecond are twice what one device serves, while three others would have stood idle after the bulk.
        Assert.True(bench.Express.Attainment < 0.5);
    }

    [Fact]
    public void The_gate_keeps_bulk_off_the_last_devices_and_express_takes_them()
    {
        var bench = new BaselineBench(s => new LlmdPolicy(s, 0.5), BaselineBench.Affine(1, 0.1), devices: 4, targetMs: 10)
            .Arrive(0, LatencyClass.Bulk, 8192)
            .Arrive(5)
            .Run(90);
        Assert.Equal([0, 1, 2], bench.Batches.Select(b => b.Device));
        Assert.Equal((5.0, 1), (bench.Batches[2].Start.TotalMilliseconds, bench.Batches[2].Express));
    }

    [Fact]
    public void Within_a_band_the_earliest_deadline_goes_first()
    {
        var bench = new BaselineBench(s => new LlmdPolicy(s), BaselineBench.Affine(7, 1), targetMs: 16)
            .Arrive(0)
            .Arrive(1)
            .Arrive(2, deadlineMs: 14.5)
            .Run();
        // Two tasks take 9 ms and fit the target once, not twice: each runs alone. Due at 16, 17 and 16.5.
        Assert.Equal([8.0, 16, 24], bench.Express.Latencies.Zip([0.0, 2, 1], (l, at) => l.TotalMilliseconds + at));
    }

    [Fact]
    public void A_strict_band_starves_bulk_while_express_fills_the_fleet()
    {
        // Six tasks take 1.6 ms, so 4 a millisecond keep one device busy for good.
        var bench = new BaselineBench(s => new LlmdPolicy(s), BaselineBench.Affine(1, 0.1), targetMs: 3.2)
            .ArriveEvenly(4, 500)
            .Arrive(50, LatencyClass.Bulk, 64)
            .Run();
        Assert.All(bench.Batches.Where(b => b.Start.TotalMilliseconds is > 50 and < 500), b => Assert.Equal(0, b.Bulk));
        Assert.Equal(64, bench.Batches.Sum(b => b.Bulk));
    }

    [Fact]
    public void A_step_takes_online_work_first_and_is_filled_to_the_budget()
    {
        var bench = new BaselineBench(s => new HyGenPolicy(s, TimeSpan.FromMilliseconds(3)), BaselineBench.Affine(1, 0.1))
            .Arrive(0, tasks: 5)
            .Arrive(0, LatencyClass.Bulk, 10)
            .Arrive(0, LatencyClass.Standard, 100)
            .Run();
        // 3 ms hold 20 tasks; bulk came before standard, and age is all that counts offline.
        Assert.Equal((5, 5, 10), (bench.Batches[0].Express, bench.Batches[0].Standard, bench.Batches[0].Bulk));
        Assert.All(bench.Batches, b => Assert.True(b.Took <= TimeSpan.FromMilliseconds(3)));
    }

    [Fact]
    public void The_budget_found_by_search_keeps_the_online_target_and_a_larger_one_does_not()
    {
        // Analytic: a task waits for one step at worst and runs in the next, so half the target is safe and the whole is not.
        var budget = HyGenPolicy.Search(b => Life(b).Express.Attainment >= 0.99, TimeSpan.Zero, TimeSpan.FromMilliseconds(40));
        Assert.InRange(budget.TotalMilliseconds, 10 * 0.95, 12);
        Assert.True(Life(budget).Express.Attainment >= 0.99);
        Assert.True(Life(budget * 1.3).Express.Attainment < 0.99);
    }

    [Fact]
    public void What_online_leaves_goes_to_offline_work()
    {
        // At the budget of 10 ms a step holds 90 tasks: 9 a millisecond, of which express needs 2.
        var bench = Life(TimeSpan.FromMilliseconds(10));
        Assert.InRange(bench.Batches.Sum(b => b.Bulk) / bench.Now.TotalMilliseconds, 7 * 0.95, 7 * 1.05);
    }

    private static BaselineBench Life(TimeSpan budget)
    {
        var bench = new BaselineBench(s => new HyGenPolicy(s, budget), BaselineBench.Affine(1, 0.1), targetMs: 20).ArrivePoisson(2, 1000);
        for (var i = 0; i < 20; i++)
        {
            bench.Arrive(0, LatencyClass.Bulk, 512);
        }

        // A little longer than the arrivals, so that the last of them can end.
        return bench.Run(1050);
    }
}
