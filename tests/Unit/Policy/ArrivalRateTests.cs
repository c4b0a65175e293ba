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
}
