using Pipeline.ResultsApi.Alerts;
using Xunit;

namespace Pipeline.Tests.Unit.Alerts;

/// <summary>The test that one sample is larger, against values worked out by hand and by counting every pair.</summary>
public class RankComparisonTests
{
    [Fact]
    public void U_and_its_score_are_those_of_the_textbook_without_ties()
    {
        // U of {1,2,4} below {3,5,6,7}: 4 + 4 + 3 = 11 of 12 pairs. Its mean is 6, its variance 3 * 4 * 8 / 12 = 8.
        var compared = RankComparison.Of(Bins(1, 2, 4), Bins(3, 5, 6, 7))!;

        Assert.Equal(11.0 / 12, compared.Superiority, 12);
        Assert.Equal((11 - 6) / Math.Sqrt(8), compared.Z, 12);
        Assert.Equal((2, 5), (compared.FirstMedian, compared.SecondMedian));
    }

    [Fact]
    public void Ties_count_half_and_make_the_variance_smaller()
    {
        // {1,2,2} and {2,3}: pairs 1<2, 1<3, 2=2 twice, 2<3 twice: 4 + 2/2 = 5 of 6. Ties: one group of three.
        var compared = RankComparison.Of([new(1, 1), new(2, 2)], [new(2, 1), new(3, 1)])!;

        Assert.Equal(5.0 / 6, compared.Superiority, 12);
        Assert.Equal((5 - 3) / Math.Sqrt(3 * 2 / 12.0 * (6 - (24.0 / 20))), compared.Z, 12);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Bins_give_what_counting_every_pair_gives(int seed)
    {
        var random = new Random(seed);
        double[] first = [.. Enumerable.Range(0, 40).Select(_ => (double)random.Next(12))];
        double[] second = [.. Enumerable.Range(0, 25).Select(_ => (double)random.Next(15))];
        var pairs = first
            .SelectMany(a =>
                second.Select(b =>
                    a < b ? 1
                    : a == b ? 0.5
                    : 0
                )
            )
            .Average();

        Assert.Equal(pairs, RankComparison.Of(Bins(first), Bins(second))!.Superiority, 12);
    }

    [Fact]
    public void Equal_samples_differ_by_nothing()
    {
        var compared = RankComparison.Of(Bins(5, 5, 5), Bins(5, 5))!;

        Assert.Equal((0.5, 0, 0), (compared.Superiority, compared.Z, compared.Shift));
    }

    [Fact]
    public void An_empty_sample_cannot_be_compared() => Assert.Null(RankComparison.Of(Bins(1), []));

    [Fact]
    public void Bins_out_of_order_are_refused() =>
        Assert.Throws<ArgumentException>(() => RankComparison.Of([new(2, 1), new(1, 1)], [new(1, 1), new(3, 1)]));

    private static IReadOnlyList<Weighted> Bins(params double[] values) =>
        [.. values.GroupBy(v => v).OrderBy(g => g.Key).Select(g => new Weighted(g.Key, g.Count()))];
}
