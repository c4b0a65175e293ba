using Pipeline.Contracts;
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
        var line = Of([.. Samples(50, x => 20_000 + (1.5 * x))])!.Value;

        Assert.Equal(20_000, line.Fixed, 200.0);
        Assert.Equal(1.5, line.OwnFactor, 0.05);
        Assert.Equal(20_000 + (1.5 * 1e6), line.At(0, 1e6), 20_000.0);
    }

    [Fact]
    public void Waiting_and_work_have_factors_of_their_own()
    {
        // It overtakes half of what is ahead, and twice its own work comes between.
        var plane = Of([
            .. Enumerable
                .Range(1, 100)
                .Select(i => new Sample(i * 37 % 101, i * 53 % 89, 5 + (0.5 * (i * 37 % 101)) + (3 * (i * 53 % 89)))),
        ])!.Value;

        Assert.InRange(plane.Fixed, 4, 6);
        Assert.InRange(plane.WaitFactor, 0.47, 0.53);
        Assert.InRange(plane.OwnFactor, 2.9, 3.1);
    }

    [Fact]
    public void Bands_that_missed_widen_and_bands_that_held_narrow()
    {
        var samples = Enumerable.Range(1, 99).Select(i => new Sample(0, 100, 50 + i)).ToArray();
        var misses = Misses.None;
        var usual = Correction.Of(samples, misses)!.Value;
        var missed = Correction.Of(samples, misses.After(below: false, above: true).After(below: false, above: true))!.Value;
        var held = misses;
        for (var i = 0; i < 60; i++)
        {
            held = held.After(below: false, above: false);
        }

        Assert.True(missed.High > usual.High && missed.Low >= usual.Low, $"{missed} {usual}");
        Assert.InRange(Correction.Of(samples, held)!.Value.High, 1, usual.High - 0.01);
        Assert.Equal(usual.HighOfLast, missed.HighOfLast);

        // One miss in twenty-five leaves the share where it is.
        for (var i = 0; i < 1000; i++)
        {
            misses = misses.After(below: i % 25 == 0, above: i % 25 == 5);
        }

        Assert.InRange(misses.Below, 0, 0.1);
        Assert.InRange(misses.Above, 0, 0.1);
    }

    [Fact]
    public void Single_late_ends_do_not_bend_the_line_and_widen_the_band()
    {
        var line = Of([.. Samples(100, x => 1000 + x, late: 10)])!.Value;

        Assert.Equal(1500, line.At(0, 500), 75.0);
        Assert.InRange(line.High, 5, 100);
        Assert.InRange(line.Low, 0.9, 1);
    }

    [Fact]
    public void A_few_that_cost_next_to_nothing_do_not_stand_for_all()
    {
        // A fifth shared one batch after a stall and cost a hundredth; the others are what the forecast says.
        var samples = Enumerable.Range(0, 200).Select(i => new Sample(0, 55_000, i % 5 == 0 ? 550 : 54_000 + (10 * i))).ToArray();

        Assert.Equal(55_000, Correction.Of(samples, Misses.None, ErrorScale.Larger)!.Value.At(0, 55_000), 1_500.0);
    }

    [Fact]
    public void Nineteen_of_twenty_are_on_the_right_side_of_either_end_of_the_band()
    {
        var random = new Random(4);
        Sample Next()
        {
            var forecast = random.Next(1, 1_000_000);
            return new(0, forecast, (5000 + (1.2 * forecast)) * Math.Exp(0.4 * (random.NextDouble() + random.NextDouble() - 1)));
        }

        var line = Of([.. Enumerable.Range(0, 200).Select(_ => Next())])!.Value;
        var fresh = Enumerable.Range(0, 2000).Select(_ => Next()).Select(s => s.Actual / line.At(s.Wait, s.Own)).ToArray();

        Assert.InRange(fresh.Count(ratio => ratio <= line.High) / 2000.0, 0.92, 0.99);
        Assert.InRange(fresh.Count(ratio => ratio >= line.Low) / 2000.0, 0.92, 0.99);
    }

    [Fact]
    public void Forecasts_that_are_all_alike_tell_what_is_fixed_not_the_factor()
    {
        var line = Of([.. Enumerable.Repeat(new Sample(0, 60, 20_000), 30)])!.Value;
        Assert.Equal(20_000, line.At(0, 60), 1.0);
        Assert.Equal((1, 1), (Math.Round(line.OwnFactor, 2), Math.Round(line.WaitFactor, 6)));

        var nothing = Of([.. Enumerable.Repeat(new Sample(0, 0, 20_000), 30)])!.Value;
        Assert.Equal((20_000.0, 1.0), (Math.Round(nothing.Fixed, 6), Math.Round(nothing.OwnFactor, 6)));
    }

    [Fact]
    public void No_part_of_it_is_less_than_nothing()
    {
        var less = Of([.. Samples(40, x => Math.Max(1, (0.5 * x) - 100))])!.Value;
        var upside = Of([.. Samples(40, x => 2000 - x)])!.Value;

        Assert.True(less is { Fixed: >= 0, OwnFactor: >= 0 } && upside is { Fixed: >= 0, OwnFactor: >= 0 });
    }

    [Fact]
    public void A_few_jobs_tell_nothing_yet()
    {
        Assert.Null(Of([.. Samples(Correction.SamplesMin - 1, x => x)]));
        Assert.NotNull(Of([.. Samples(Correction.SamplesMin, x => x)]));
    }

    [Fact]
    public void A_prediction_is_the_forecast_corrected_and_both_are_kept()
    {
        var estimated = new Estimated("gpu", Now, Now.AddSeconds(10), Now.AddSeconds(8), Now.AddSeconds(12), 500, 600, 400);

        var corrections = new Corrections(new Correction(2_000_000, 1, 1, 0.5, 2), new Correction(0, 1, 0.5, 1, 1));
        var learned = JobPrediction.Of(estimated, _ => corrections, Now)!;
        Assert.Equal(
            (Now.AddSeconds(6), Now.AddSeconds(12), Now.AddSeconds(24), 200),
            (learned.Early, learned.At, learned.Late, learned.CostPico)
        );
        Assert.Equal((new ForecastTime(0, 10_000_000), 400), (learned.Forecast, learned.ForecastCostPico));
        Assert.Null(JobPrediction.Of(estimated with { IsIdle = true }, _ => default, Now)!.Forecast.WaitUs);

        // The wait is corrected as in the whole, of which the start is a part.
        var behind = estimated with
        {
            Start = Now.AddSeconds(6),
        };
        var overtaking = new Corrections(new Correction(1_000_000, 0.5, 1, 1, 1), null);
        var first = JobPrediction.Of(behind, _ => overtaking, Now)!;
        Assert.Equal((Now.AddSeconds(6), Now), (JobPrediction.Of(behind, _ => default, Now)!.Start, learned.Start));
        Assert.Equal((Now.AddSeconds(3), Now.AddSeconds(8)), (first.Start, first.At));

        // An old forecast may place the start before now.
        var aged = JobPrediction.Of(estimated, _ => corrections, Now.AddSeconds(60))!;
        Assert.Equal((Now.AddSeconds(66), Now.AddSeconds(72), Now.AddSeconds(84)), (aged.Early, aged.At, aged.Late));
    }

    [Fact]
    public void Where_nothing_is_known_of_its_kind_others_tell_and_the_band_is_no_narrower_than_the_forecasts()
    {
        var estimated = new Estimated("gpu", Now, Now.AddSeconds(10), Now.AddSeconds(1), Now.AddSeconds(90), 500, 600, 400);
        var others = new Corrections(null, null, OthersTime: new Correction(2_000_000, 1, 1, 0.05, 2));

        var guessed = JobPrediction.Of(estimated, _ => others, Now)!;
        Assert.Equal((Now.AddSeconds(0.6), Now.AddSeconds(12), Now.AddSeconds(90)), (guessed.Early, guessed.At, guessed.Late));
        Assert.Equal(400, guessed.CostPico);
        Assert.Null(JobPrediction.Of(estimated with { Late = DateTimeOffset.MaxValue }, _ => others, Now));

        // And before anything has ended, some milliseconds are added.
        var first = JobPrediction.Of(estimated, _ => default, Now)!;
        Assert.InRange(first.At - Now.AddSeconds(10), TimeSpan.FromMilliseconds(5), TimeSpan.FromMilliseconds(100));
        Assert.Equal((Now.AddSeconds(1), Now.AddSeconds(90)), (first.Early, first.Late));
    }

    [Fact]
    public void Jobs_of_a_sort_go_before_all_of_their_class_and_model_and_these_before_all_others()
    {
        var calibration = new Calibration(200);
        var (brief, lengthy) = (new ForecastTime(0, 1_000), new ForecastTime(5_000_000, 6_000_000));
        for (var i = 0; i < 2 * Correction.SamplesMin; i++)
        {
            calibration.Observe(Ended(lengthy, 12e6));
        }

        calibration.Learn();
        Assert.Equal(12e6, lengthy.By(Known(lengthy)), 1e5);
        Assert.Equal(Known(lengthy), Known(brief));

        for (var i = 0; i < Correction.SamplesMin; i++)
        {
            calibration.Observe(Ended(brief, 15_000));
        }

        calibration.Learn();
        Assert.Equal(15_000, brief.By(Known(brief)), 150.0);
        Assert.Equal(12e6, lengthy.By(Known(lengthy)), 1e5);

        var bulk = calibration.Of(LatencyClass.Bulk, Model, brief);
        Assert.Null(bulk.Time);
        Assert.Equal(15_000, brief.By(bulk.OthersTime!.Value), 150.0);

        Correction Known(ForecastTime forecast) => calibration.Of(LatencyClass.Express, Model, forecast).Time!.Value;
    }

    private static readonly ModelRef Model = new("m", "1");

    private static EndedJob Ended(ForecastTime forecast, double tookUs) =>
        new(LatencyClass.Express, Model, forecast, tookUs, false, false, null, null, Now);

    private static Correction? Of(IReadOnlyCollection<Sample> samples) => Correction.Of(samples, new Misses(0.05, 0.05));

    private static IEnumerable<Sample> Samples(int count, Func<double, double> actual, int late = 0) =>
        Enumerable
            .Range(0, count)
            .Select(i => (Forecast: 10.0 * (i + 1), i))
            .Select(s => new Sample(0, s.Forecast, actual(s.Forecast) * (s.i < late ? 10 : 1)));
}
