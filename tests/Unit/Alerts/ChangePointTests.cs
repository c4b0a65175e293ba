using Pipeline.ResultsApi.Alerts;
using Xunit;

namespace Pipeline.Tests.Unit.Alerts;

/// <summary>Where a level changed, and where a line leads.</summary>
public class ChangePointTests
{
    [Fact]
    public void A_step_is_found_where_it_is()
    {
        var random = new Random(7);
        double[] values = [.. Enumerable.Range(0, 120).Select(i => (i < 90 ? 100 : 120) + (5 * Normal(random)))];

        var change = ChangePoint.Clearest(values, sideMin: 5)!;

        Assert.InRange(change.At, 88, 92);
        Assert.InRange(change.Shift, 0.17, 0.23);
        Assert.InRange(change.Z, 15, 30);
    }

    [Fact]
    public void Noise_alone_is_rarely_four_and_never_six_errors_away()
    {
        var scores = Enumerable.Range(0, 500).Select(Score).ToList();

        Assert.All(scores, z => Assert.InRange(z, 0, 6));
        Assert.InRange(scores.Count(z => z > 4), 0, 15);

        static double Score(int seed)
        {
            var random = new Random(seed);
            return Math.Abs(ChangePoint.Clearest([.. Enumerable.Range(0, 120).Select(_ => 100 + Normal(random))], sideMin: 5)!.Z);
        }
    }

    [Fact]
    public void A_constant_series_has_no_change()
    {
        var change = ChangePoint.Clearest([3, 3, 3, 3, 3, 3], sideMin: 2)!;

        Assert.Equal((0, 0), (change.Z, change.Shift));
    }

    [Fact]
    public void Too_short_a_series_is_not_judged() => Assert.Null(ChangePoint.Clearest([1, 2, 3, 4, 5], sideMin: 3));

    [Fact]
    public void One_outlier_bends_no_line()
    {
        double[] values = [.. Enumerable.Range(0, 24).Select(i => i == 20 ? 500.0 : 50 + i)];

        var trend = Trend.Of(values)!;

        Assert.Equal((1, 73), (trend.PerStep, trend.Now));
        Assert.Equal(27, trend.StepsUntil(100));
        Assert.Equal(0, trend.StepsUntil(60));
    }

    [Fact]
    public void A_line_that_falls_reaches_nothing_above_it() => Assert.Null(Trend.Of([5, 4, 3, 2])!.StepsUntil(10));

    /// <summary>A standard normal number (Box and Muller).</summary>
    internal static double Normal(Random random) =>
        Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
