using Pipeline.Ingest;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public sealed class CorrectionTests
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void What_every_job_takes_beside_the_forecast_is_learned()
    {
        var line = Correction.Of([.. Samples(50, x => 20_000 + (1.5 * x))])!.Value;

        Assert.Equal(20_000, line.Fixed, 200.0);
        Assert.Equal(1.5, line.Factor, 0.05);
        Assert.Equal(20_000 + (1.5 * 1e6), line.At(1e6), 20_000.0);
    }

    [Fact]
    public void Single_late_ends_do_not_bend_the_line_and_widen_the_band()
    {
        var line = Correction.Of([.. Samples(100, x => 1000 + x, late: 10)])!.Value;

        Assert.Equal(1500, line.At(500), 75.0);
        Assert.InRange(line.High, 5, 100);
        Assert.InRange(line.Low, 0.9, 1);
    }

    [Fact]
    public void Nineteen_of_twenty_are_on_the_right_side_of_either_end_of_the_band()
    {
        var random = new Random(4);
        (double Forecast, double Actual) Next()
        {
            var forecast = random.Next(1, 1_000_000);
            return (forecast, (5000 + (1.2 * forecast)) * Math.Exp(0.4 * (random.NextDouble() + random.NextDouble() - 1)));
        }

        var line = Correction.Of([.. Enumerable.Range(0, 200).Select(_ => Next())])!.Value;
        var fresh = Enumerable.Range(0, 2000).Select(_ => Next()).Select(s => s.Actual / line.At(s.Forecast)).ToArray();

        Assert.InRange(fresh.Count(ratio => ratio <= line.High) / 2000.0, 0.92, 0.99);
        Assert.InRange(fresh.Count(ratio => ratio >= line.Low) / 2000.0, 0.92, 0.99);
    }

    [Fact]
    public void Forecasts_that_are_all_alike_tell_what_is_fixed_not_the_factor()
    {
        var line = Correction.Of([.. Enumerable.Repeat((60.0, 20_000.0), 30)])!.Value;
        Assert.Equal(20_000, line.At(60), 1.0);
        Assert.Equal(1, line.Factor, 0.01);

        var nothing = Correction.Of([.. Enumerable.Repeat((0.0, 20_000.0), 30)])!.Value;
        Assert.Equal((20_000.0, 1.0), (Math.Round(nothing.Fixed, 6), nothing.Factor));
    }

    [Fact]
    public void Neither_part_of_the_line_is_less_than_nothing()
    {
        var less = Correction.Of([.. Samples(40, x => Math.Max(1, (0.5 * x) - 100))])!.Value;
        var upside = Correction.Of([.. Samples(40, x => 2000 - x)])!.Value;

        Assert.True(less is { Fixed: >= 0, Factor: >= 0 } && upside is { Fixed: >= 0, Factor: >= 0 });
    }

    [Fact]
    public void A_few_jobs_tell_nothing_yet()
    {
        Assert.Null(Correction.Of([.. Samples(Correction.SamplesMin - 1, x => x)]));
        Assert.NotNull(Correction.Of([.. Samples(Correction.SamplesMin, x => x)]));
    }

    [Fact]
    public void A_prediction_is_the_forecast_corrected_and_both_are_kept()
    {
        var estimated = new Estimated("gpu", Now, Now.AddSeconds(10), Now.AddSeconds(8), Now.AddSeconds(12), 500, 600, 400);

        var plain = JobPrediction.Of(estimated, default, Now)!;
        Assert.Equal((Now.AddSeconds(8), Now.AddSeconds(10), Now.AddSeconds(12), 400), (plain.Early, plain.At, plain.Late, plain.CostPico));

        var corrections = new Corrections(new Correction(2_000_000, 1, 0.5, 2), new Correction(0, 0.5, 1, 1));
        var learned = JobPrediction.Of(estimated, corrections, Now)!;
        Assert.Equal(
            (Now.AddSeconds(6), Now.AddSeconds(12), Now.AddSeconds(24), 200),
            (learned.Early, learned.At, learned.Late, learned.CostPico)
        );
        Assert.Equal((10_000_000, 400), (learned.ForecastUs, learned.ForecastCostPico));

        // An old forecast may place the end before now.
        Assert.Equal(Now, JobPrediction.Of(estimated, default, Now.AddSeconds(60))!.At.AddSeconds(-60));
        Assert.Null(JobPrediction.Of(estimated with { Late = DateTimeOffset.MaxValue }, default, Now));
    }

    private static IEnumerable<(double Forecast, double Actual)> Samples(int count, Func<double, double> actual, int late = 0) =>
        Enumerable
            .Range(0, count)
            .Select(i => (Forecast: 10.0 * (i + 1), i))
            .Select(s => (s.Forecast, actual(s.Forecast) * (s.i < late ? 10 : 1)));
}
