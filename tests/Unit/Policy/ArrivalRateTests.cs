using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class ArrivalRateTests
{
    [Fact]
    public void Few_arrivals_make_no_rate()
    {
        var rate = new ArrivalRate();
        rate.Observe(0, 10);
        rate.Observe(1000, 10);

        Assert.Equal(0, rate.PerTick(2000));
    }

    [Fact]
    public void A_steady_stream_is_told_as_it_is()
    {
        var rate = new ArrivalRate();
        for (var i = 0; i < 2000; i++)
        {
            rate.Observe(i * 100, 7);
        }

        Assert.InRange(rate.PerTick(200_000), 0.0099, 0.01);
        Assert.Equal(7, rate.UnitsMean);
    }

    [Fact]
    public void It_follows_a_change_and_falls_when_nothing_comes()
    {
        var rate = new ArrivalRate();
        for (var i = 0; i < 1000; i++)
        {
            rate.Observe(i * 100_000, 10);
        }

        for (var i = 0; i < 1200; i++)
        {
            rate.Observe(100_000_000 + (i * 10_000), 30);
        }

        Assert.InRange(rate.PerTick(112_000_000), 0.00009, 0.0001);
        Assert.Equal(30, rate.UnitsMean);
        Assert.True(rate.PerTick(10_000_000_000) < 1e-6);
    }

    [Fact]
    public void A_stream_that_has_ended_does_not_count_as_long_again_as_it_lasted()
    {
        const long Target = 300 * TimeSpan.TicksPerMillisecond;
        var random = new Random(1);
        var (rate, at) = (new ArrivalRate(), 0.0);
        for (var i = 0; i < 1000; i++)
        {
            at += -Math.Log(1 - random.NextDouble()) * TimeSpan.TicksPerSecond / 45;
            rate.Observe((long)at, 1, Target);
        }

        Assert.InRange(PerSecond(0), 40, 50);
        Assert.InRange(PerSecond(300), 40, 50);
        Assert.InRange(PerSecond(1000), 10, 25);
        Assert.InRange(PerSecond(2500), 1, 8);

        double PerSecond(int silentMs) => rate.PerTick((long)at + (silentMs * TimeSpan.TicksPerMillisecond)) * TimeSpan.TicksPerSecond;
    }

    [Fact]
    public void A_burst_is_not_taken_to_last()
    {
        var rate = new ArrivalRate();
        for (var i = 0; i < 30; i++)
        {
            for (var j = 0; j < 100; j++)
            {
                rate.Observe((i * 1_000_000) + (j * 10), 1); // A hundred within 100 µs, ten times a second.
            }
        }

        Assert.InRange(rate.PerTick(29_001_000), 0.00009, 0.00012);
    }

    [Fact]
    public void A_clock_that_runs_backwards_does_no_harm()
    {
        var rate = new ArrivalRate();
        for (var i = 0; i < 100; i++)
        {
            rate.Observe(1000 - i, 1);
        }

        Assert.Equal(0, rate.PerTick(1000));
        Assert.True(double.IsFinite(rate.PerTick(1001)));
    }

    [Fact]
    public void Even_arrivals_do_not_swing()
    {
        var rate = new ArrivalRate();
        for (var i = 0; i < 4000; i++)
        {
            rate.Observe(i * 100, 1, span: 10_000);
        }

        Assert.InRange(rate.Swing!.Value, 0, 0.01);
    }

    [Fact]
    public void A_load_that_grows_slowly_does_not_count_as_swing()
    {
        var (rate, at) = (new ArrivalRate(), 0.0);
        for (var i = 0; i < 20_000; i++)
        {
            rate.Observe((long)(at += 100 * Math.Exp(-i / 10_000.0)), 1, span: 10_000);
        }

        Assert.InRange(rate.Swing!.Value, 0, 0.05); // It grew to seven times as much.
    }

    [Theory]
    [InlineData(100, 0.07, 0.14)] // Poisson: a tenth, of a hundred in the mean.
    [InlineData(10_000, 0.005, 0.015)]
    public void Arrivals_by_chance_swing_by_the_root_of_their_number(int mean, double least, double most)
    {
        var (rate, chance, at) = (new ArrivalRate(), new Random(5), 0.0);
        for (var i = 0; i < 60 * mean; i++)
        {
            rate.Observe((long)(at -= 1000 * Math.Log(1 - chance.NextDouble())), 1, span: 1000L * mean);
        }

        Assert.InRange(rate.Swing!.Value, least, most);
    }

    [Fact]
    public void Bunches_swing_by_the_root_of_theirs()
    {
        var (rate, chance, at) = (new ArrivalRate(), new Random(5), 0.0);
        for (var i = 0; i < 1000; i++)
        {
            at -= 16_000 * Math.Log(1 - chance.NextDouble());
            for (var j = 0; j < 16; j++)
            {
                rate.Observe((long)at, 1, span: 160_000);
            }
        }

        Assert.InRange(rate.Swing!.Value, 0.22, 0.45); // Ten bunches in the mean: 0.32.
        Assert.InRange(rate.Dispersion(160), 8, 32); // Bunches of sixteen: 16.
    }

    [Fact]
    public void Nobody_knows_the_swing_of_a_few_stretches_and_a_long_pause_is_no_trouble()
    {
        var rate = new ArrivalRate();
        for (var i = 0; i < 500; i++)
        {
            rate.Observe(i * 100, 1, span: 10_000);
        }

        Assert.Null(rate.Swing);
        Assert.Equal(1, rate.Dispersion(100));
        rate.Observe(TimeSpan.TicksPerDay * 365, 1, span: 10_000);
        Assert.True(rate.Swing is null or >= 0);
    }
}
