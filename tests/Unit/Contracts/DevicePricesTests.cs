using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

/// <summary>A device's price changes while it works. Properties are tried on many worlds, each drawn from a seed that a failure names.</summary>
public sealed class DevicePricesTests
{
    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 25)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Intervals_that_tile_a_life_sum_to_its_cost_wherever_they_are_cut_and_the_price_changes(int seed)
    {
        var random = new Random(seed);
        var steps = new List<PriceStep> { new(0, random.NextInt64(Cost.PicoPerUsd)) };
        for (var i = 0; i < 10; i++)
        {
            steps.Add(new(steps[^1].FromNs + random.NextInt64(1, 1L << random.Next(2, 40)), random.NextInt64(10 * Cost.PicoPerUsd)));
        }

        var prices = new DevicePrices([.. steps]);
        var (at, sum) = (0L, 0L);
        for (var i = 0; i < 200; i++)
        {
            var next = at + random.NextInt64(0, 1L << random.Next(1, 36));
            sum += prices.Interval(at, next);
            at = next;
        }

        var expected = steps.Select((step, i) => PartOf(step, i + 1 < steps.Count ? Math.Min(at, steps[i + 1].FromNs) : at)).Sum();
        Assert.Equal(expected, sum);
        Assert.Equal(expected, prices.Interval(0, at));

        long PartOf(PriceStep step, long end) => end <= step.FromNs ? 0 : Cost.Interval(step.FromNs, end, step.PricePerHourPico);
    }

    [Fact]
    public void A_step_holds_from_its_own_nanosecond_on()
    {
        var prices = new DevicePrices(new PriceStep(0, 1), new PriceStep(10, 2));

        Assert.Equal((1, 1, 2, 2), (prices.At(0), prices.At(9), prices.At(10), prices.At(long.MaxValue)));
        Assert.True(prices.SameAs(new DevicePrices(new PriceStep(0, 1), new PriceStep(10, 2))));
        Assert.False(prices.SameAs(new DevicePrices(new PriceStep(0, 1))));
    }

    [Fact]
    public void Steps_out_of_order_or_none_at_the_beginning_are_a_mistake()
    {
        Assert.Throws<ArgumentException>(() => new DevicePrices());
        Assert.Throws<ArgumentException>(() => new DevicePrices(new PriceStep(5, 1)));
        Assert.Throws<ArgumentException>(() => new DevicePrices(new PriceStep(0, 1), new PriceStep(0, 2)));
    }
}
