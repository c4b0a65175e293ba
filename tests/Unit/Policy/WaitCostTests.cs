using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class WaitCostTests
{
    private const long Ms = TimeSpan.TicksPerMillisecond;
    private const long Target = 40 * Ms;

    /// <summary>A batch takes 2 ms and 1 ms a task: one device serves less than one task a millisecond, 10/12 in batches of ten.</summary>
    private sealed class Line : IBatchTime
    {
        public long Ticks(double units) => (long)((2 + units) * Ms);

        public double UnitsWithin(long ticks) => Math.Max(0, ((double)ticks / Ms) - 2);
    }

    private static WaitCost Of(double perMs, int devices = 1, double dispersion = 1)
    {
        var cost = new WaitCost();
        cost.Set(new ExpressFlow(new Line(), devices, perMs / Ms, 1, double.PositiveInfinity, Target, dispersion));
        return cost;
    }

    [Fact]
    public void A_wait_of_less_than_half_a_target_costs_nothing()
    {
        Assert.Equal(0, Of(2).Of(Target / 2));
        Assert.Equal(0, Of(2).Of(-Ms));
    }

    [Fact]
    public void Beyond_capacity_every_task_that_waits_longer_costs_one()
    {
        // Two come in a millisecond, and no batch serves one: whoever comes meanwhile is late in the end.
        var cost = Of(2);

        Assert.Equal(10, cost.Of(30 * Ms) - cost.Of(25 * Ms), 1);
        Assert.Equal(20, cost.Of(60 * Ms) - cost.Of(50 * Ms), 6);
    }

    [Fact]
    public void What_the_shortest_batches_still_serve_is_worked_off()
    {
        // A batch of one, the shortest that is left with a wait of 37 ms, serves a third of a task a millisecond.
        Assert.InRange(Of(0.1).Of(30 * Ms), 0, 0.01);
    }

    [Fact]
    public void Where_short_batches_do_not_keep_up_a_wait_costs_more_the_longer_it_is()
    {
        // 0.83 in a millisecond take batches of ten: with a wait of 28 ms the backlog begins to grow by itself.
        var cost = Of(0.83);
        var steps = Enumerable.Range(20, 18).Select(ms => cost.Of((ms + 1) * Ms) - cost.Of(ms * Ms)).ToList();

        Assert.True(steps[2] < 0.2 * 0.83, $"{steps[2]}");
        Assert.InRange(steps[^1], 0.8 * 0.83, 0.83 + 1e-6);
        Assert.All(steps.Zip(steps.Skip(1)), pair => Assert.True(pair.Second >= pair.First - 1e-9));
    }

    [Fact]
    public void More_devices_that_share_the_load_are_no_worse_off()
    {
        Assert.True(Of(8 * 0.83, devices: 8).Of(30 * Ms) < 8 * Of(0.83).Of(30 * Ms));
        Assert.Equal(0, Of(1, devices: 0).Of(30 * Ms));
    }

    [Fact]
    public void No_load_costs_more_than_what_comes_meanwhile()
    {
        foreach (var dispersion in (double[])[1, 4, 100])
        {
            foreach (var perMs in (double[])[0.01, 0.5, 0.8, 0.9, 1, 3, 1000])
            {
                Assert.InRange(Of(perMs, dispersion: dispersion).Of(Target), 0, perMs * 40);
            }
        }
    }

    [Fact]
    public void A_target_that_no_batch_meets_costs_nothing()
    {
        var cost = new WaitCost();
        cost.Set(new ExpressFlow(new Line(), 1, 1.0 / Ms, 1, double.PositiveInfinity, Target: 2 * Ms, Dispersion: 1));

        Assert.Equal(0, cost.Of(Ms));
    }

    /// <summary>A batch takes 2 ms, whatever it holds.</summary>
    private sealed class Flat : IBatchTime
    {
        public long Ticks(double units) => 2 * Ms;

        public double UnitsWithin(long ticks) => ticks >= 2 * Ms ? double.PositiveInfinity : 0;
    }

    [Fact]
    public void Where_a_batch_holds_any_number_no_wait_costs()
    {
        var cost = new WaitCost();
        cost.Set(new ExpressFlow(new Flat(), 1, 5.0 / Ms, 1, double.PositiveInfinity, Target, Dispersion: 1));

        Assert.Equal(0, cost.Of(Target));
    }

    [Fact]
    public void It_forgets_the_last_load()
    {
        var cost = Of(2);
        cost.Clear();

        Assert.Equal(0, cost.Of(Target));
    }
}
