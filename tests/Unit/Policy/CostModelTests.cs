using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class CostModelTests
{
    [Fact]
    public void Starts_from_the_profile()
    {
        var cost = new CostModel(PolicyWorld.Profile);

        Assert.True(cost.IsKnown);
        Assert.Equal(1_000_000, cost.AlphaNs, 1e-6);
        Assert.Equal(1000, cost.BetaNs, 1e-6);
        Assert.Equal(249_000, cost.PaddedUnitsWithin(TimeSpan.FromMilliseconds(250)));
    }

    [Theory]
    [InlineData(500_000, 100)]
    [InlineData(20_000_000, 3)]
    [InlineData(0, 50_000)]
    public void Learns_a_line_it_was_told_nothing_of(double alpha, double beta)
    {
        var cost = new CostModel();
        Feed(cost, alpha, beta, batches: 200, noise: 0.05);

        Assert.True(cost.IsKnown);
        foreach (var units in new[] { 1000, 10_000, 60_000 })
        {
            Assert.InRange(cost.BatchNs(units) / (alpha + (beta * units)), 0.9, 1.1);
        }
    }

    [Fact]
    public void Knows_beyond_which_size_a_batch_gets_dearer_by_the_unit()
    {
        var profile = PolicyWorld.Profile with
        {
            Points = [new(1, 128, 2_000_000), new(4, 512, 6_000_000), new(8, 1024, 11_800_000), new(16, 2048, 33_000_000)],
        };

        Assert.Equal(1024, new CostModel(profile, onItsDevice: true).PaddedUnitsEfficient);
        Assert.Equal(long.MaxValue, new CostModel(profile, onItsDevice: false).PaddedUnitsEfficient);
    }

    [Fact]
    public void Bounds_no_batch_where_the_largest_measured_is_as_good_as_any()
    {
        var profile = PolicyWorld.Profile with { Points = [new(1, 128, 2_000_000), new(4, 512, 3_000_000), new(8, 1024, 5_000_000)] };

        Assert.Equal(long.MaxValue, new CostModel(profile, onItsDevice: true).PaddedUnitsEfficient);
    }

    [Fact]
    public void Follows_a_device_that_became_slower()
    {
        var cost = new CostModel(PolicyWorld.Profile);
        Feed(cost, 1_000_000, 1000, batches: 200, noise: 0.02);
        Feed(cost, 3_000_000, 3000, batches: 300, noise: 0.02);

        Assert.InRange(cost.BatchNs(30_000) / 93_000_000, 0.9, 1.1);
    }

    [Fact]
    public void One_paused_process_does_not_bend_the_line()
    {
        var cost = new CostModel(PolicyWorld.Profile);
        Feed(cost, 1_000_000, 1000, batches: 200, noise: 0.02);
        cost.Observe(new BatchFact(10, 10_000, 10_000, 10_000L * 1000 * 100));

        Assert.InRange(cost.BatchNs(30_000) / 31_000_000, 0.8, 1.25);
    }

    [Fact]
    public void Its_error_band_holds_most_batches()
    {
        var cost = new CostModel(PolicyWorld.Profile);
        Feed(cost, 1_000_000, 1000, batches: 2000, noise: 0.1);

        Assert.InRange(cost.ErrorBand, 0.05, 0.2);
    }

    [Fact]
    public void Batches_of_one_size_do_not_make_it_wild()
    {
        var cost = new CostModel(PolicyWorld.Profile);
        for (var i = 0; i < 5000; i++)
        {
            cost.Observe(new BatchFact(32, 4096, 4096, 5_096_000));
        }

        cost.Observe(new BatchFact(64, 8192, 8192, 9_192_000));
        Assert.InRange(cost.BatchNs(4096) / 5_096_000, 0.9, 1.1);
        Assert.True(double.IsFinite(cost.AlphaNs) && cost.AlphaNs >= 0);
        Assert.True(double.IsFinite(cost.BetaNs) && cost.BetaNs > 0);
    }

    [Theory]
    [InlineData(0, 100)]
    [InlineData(-5, 100)]
    [InlineData(100, 0)]
    [InlineData(100, -1)]
    public void Impossible_measurements_are_passed_over(long units, long ns)
    {
        var cost = new CostModel(PolicyWorld.Profile);
        cost.Observe(new BatchFact(1, units, units, ns));

        Assert.Equal(0, cost.Batches);
        Assert.Equal(1_000_000, cost.AlphaNs, 1e-6);
    }

    private static void Feed(CostModel cost, double alpha, double beta, int batches, double noise)
    {
        var random = new Random(7);
        for (var i = 0; i < batches; i++)
        {
            var units = random.Next(100, 65_536);
            var ns = (alpha + (beta * units)) * (1 + (noise * ((2 * random.NextDouble()) - 1)));
            cost.Observe(new BatchFact(32, units, units, (long)ns));
        }
    }
}
