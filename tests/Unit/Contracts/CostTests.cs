using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

/// <summary>The arithmetic of promise 3. Properties are tried on many worlds, each drawn from a seed that a failure names.</summary>
public sealed class CostTests
{
    private const long HourNs = 3_600_000_000_000;

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 25)];

    [Fact]
    public void An_hour_costs_the_price_of_an_hour() =>
        Assert.Equal(Cost.PicoPerUsd / 10, Cost.Interval(0, HourNs, pricePerHourPico: Cost.PicoPerUsd / 10));

    [Fact]
    public void A_task_of_20_microseconds_at_10_cents_an_hour_costs_some_hundred_pico_dollars() =>
        Assert.Equal(555, Cost.Interval(0, 20_000, pricePerHourPico: Cost.PicoPerUsd / 10));

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Intervals_that_tile_a_life_sum_to_the_cost_of_that_life(int seed)
    {
        var random = new Random(seed);
        var price = random.NextInt64(1, 100 * Cost.PicoPerUsd);
        long at = 0;
        Int128 sum = 0;
        for (var i = 0; i < 1000; i++)
        {
            var next = at + random.NextInt64(0, 1L << random.Next(1, 40));
            sum += Cost.Interval(at, next, price);
            at = next;
        }

        Assert.Equal((Int128)Cost.RunningTotal(at, price), sum);
    }

    [Fact]
    public void A_year_of_a_dear_device_does_not_overflow()
    {
        const long Year = 366 * 24 * HourNs;

        Assert.Equal(366 * 24 * 100 * Cost.PicoPerUsd, Cost.RunningTotal(Year, 100 * Cost.PicoPerUsd));
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Shares_sum_to_the_amount_and_each_is_within_one_of_its_exact_part(int seed)
    {
        var random = new Random(seed);
        var amount = random.NextInt64(0, 1L << random.Next(1, 62));
        var weights = new long[random.Next(1, 600)];
        for (var i = 0; i < weights.Length; i++)
        {
            weights[i] = random.NextInt64(0, 1L << random.Next(1, 40));
        }

        weights[0]++;
        var shares = new long[weights.Length];
        Cost.Split(amount, weights, shares);

        Assert.Equal((Int128)amount, shares.Aggregate((Int128)0, (sum, share) => sum + share));
        var total = weights.Aggregate((Int128)0, (sum, weight) => sum + weight);
        for (var i = 0; i < weights.Length; i++)
        {
            var floor = (Int128)amount * weights[i] / total;
            Assert.InRange((Int128)shares[i], floor, floor + 1);
            Assert.True(weights[i] > 0 || shares[i] == 0, $"Entry {i} has no weight and was given {shares[i]}.");
        }
    }

    [Fact]
    public void What_is_left_over_goes_to_the_largest_remainders_and_ties_to_the_earlier() =>
        Assert.Multiple(
            () => Assert.Equal([4, 3, 3], Split(10, [1, 1, 1])),
            () => Assert.Equal([1, 1, 0], Split(2, [1, 1, 1])),
            () => Assert.Equal([6, 3, 1], Split(10, [60, 25, 15])), // remainders 0, 0.5, 0.5: the tie goes to the earlier
            () => Assert.Equal([0, 3, 7], Split(10, [0, 33, 67]))
        );

    [Fact]
    public void Without_any_weight_the_first_entry_bears_all() => Assert.Equal([7, 0, 0], Split(7, [0, 0, 0]));

    [Fact]
    public void Nothing_splits_into_nothing() => Assert.Empty(Split(7, []));

    [Fact]
    public void The_greatest_amounts_split_without_overflow() =>
        Assert.Equal([(long.MaxValue / 2) + 1, long.MaxValue / 2], Split(long.MaxValue, [long.MaxValue, long.MaxValue]));

    [Theory]
    [InlineData(0, "$0.00")]
    [InlineData(556, "$0.000000000556")]
    [InlineData(556_000, "$0.000000556")]
    [InlineData(Cost.PicoPerUsd, "$1.00")]
    [InlineData(Cost.PicoPerUsd * 5 / 4, "$1.25")]
    [InlineData(Cost.PicoPerUsd / 10, "$0.10")]
    [InlineData(-Cost.PicoPerUsd / 4, "-$0.25")]
    public void Dollars_show_as_many_digits_as_they_need_and_at_least_two(long pico, string text) => Assert.Equal(text, Cost.Format(pico));

    [Fact]
    public void Accounts_have_one_name_each()
    {
        var names = Enum.GetValues<LedgerAccount>().Select(account => account.Name()).ToArray();

        Assert.Equal(["task", "padding", "idle", "warm_up", "waste"], names);
    }

    private static long[] Split(long amount, long[] weights)
    {
        var shares = new long[weights.Length];
        Cost.Split(amount, weights, shares);
        return shares;
    }
}
