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
    public void A_steady_stream_is_told_a_little_low()
    {
        var rate = new ArrivalRate();
        for (var i = 0; i < 2000; i++)
        {
            rate.Observe(i * 100, 7);
        }

        Assert.InRange(rate.PerTick(200_000), 0.0095, 0.01);
        Assert.Equal(7, rate.UnitsMean);
    }

    [Fact]
    public void It_follows_a_change_and_falls_when_nothing_comes()
    {
        var rate = new ArrivalRate();
        for (var i = 0; i < 1000; i++)
        {
            rate.Observe(i * 1000, 10);
        }

        for (var i = 0; i < 512; i++)
        {
            rate.Observe(1_000_000 + (i * 100), 30);
        }

        Assert.InRange(rate.PerTick(1_051_200), 0.009, 0.01);
        Assert.Equal(30, rate.UnitsMean);
        Assert.True(rate.PerTick(100_000_000) < 1e-5);
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
