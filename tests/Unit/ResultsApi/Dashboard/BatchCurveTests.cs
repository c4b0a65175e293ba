using Pipeline.Contracts;
using Pipeline.ResultsApi.Dashboard.TradeOff;
using Xunit;

namespace Pipeline.Tests.Unit.ResultsApi.Dashboard;

public sealed class BatchCurveTests
{
    /// <summary>A batch takes 1 ms, and 10 µs more for each task.</summary>
    private static readonly BatchCurve Curve = new(Pool(1_000_000, 1_000), 10);

    [Fact]
    public void The_largest_batch_fills_the_time_and_does_not_pass_it()
    {
        Assert.Equal(400, Curve.RowsWithin(TimeSpan.FromMilliseconds(5)));
        Assert.Equal(TimeSpan.FromMilliseconds(5), Curve.BatchTime(400));
        Assert.Equal(1, Curve.RowsWithin(TimeSpan.Zero));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(900, 1)]
    [InlineData(50_000, 1)]
    [InlineData(150_000, 2)]
    public void The_smallest_batch_that_keeps_up_does_and_one_smaller_does_not(double arrivals, int workers)
    {
        var rows = Curve.RowsFor(arrivals, workers)!.Value;

        Assert.True(workers * Curve.Throughput(rows) >= arrivals * (1 - 1e-9));
        Assert.True(rows == 1 || workers * Curve.Throughput(rows - 1) < arrivals);
    }

    [Fact]
    public void A_model_that_takes_less_than_a_clocks_tick_has_a_throughput_that_can_be_written_down()
    {
        var instant = new BatchCurve(Pool(0, 0.1), 1);

        Assert.Equal(TimeSpan.Zero, instant.BatchTime(1));
        Assert.Equal(1e10, instant.Throughput(1), 1e-3);
        Assert.True(double.IsFinite(new BatchCurve(Pool(0, 0), 0).Throughput(1)));
        Assert.Null(WhatIf.Of(instant, TimeSpan.FromMilliseconds(5), 1, 3.6e12, 1e-300).PicoPerThousand);
    }

    [Fact]
    public void What_no_batch_can_keep_up_with_has_none() => Assert.Null(Curve.RowsFor(100_000, 1));

    [Fact]
    public void What_if_says_what_is_busy_how_many_are_needed_and_what_idle_time_costs()
    {
        // 400 tasks in 5 ms: 80,000 a second; $3.60 an hour is $0.001 a second.
        var half = WhatIf.Of(Curve, TimeSpan.FromMilliseconds(5), 1, 3.6e12, 40_000);
        Assert.Equal((400, 0.5, 1), (half.RowsMax, half.Busy, half.WorkersNeeded));
        Assert.Equal(1e9 / 40_000 * 1000, half.PicoPerThousand!.Value, 3);
        Assert.InRange(half.Rows!.Value, 1, 399);

        var tooMuch = WhatIf.Of(Curve, TimeSpan.FromMilliseconds(5), 1, 3.6e12, 200_000);
        Assert.Equal((2.5, 3), (tooMuch.Busy, tooMuch.WorkersNeeded));
        Assert.Null(tooMuch.Rows);

        Assert.Null(WhatIf.Of(Curve, TimeSpan.FromMilliseconds(5), 1, 3.6e12, 0).PicoPerThousand);
    }

    [Fact]
    public void Small_batches_take_what_the_scheduler_learned_of_them_and_no_batch_is_larger_than_the_model_takes()
    {
        // A foot: up to 4 units take 3 ms, whatever the line of full batches says.
        var curve = new BatchCurve(
            Pool(1_000_000, 1_000_000) with
            {
                BatchNs = [3_000_000, 3_000_000, 3_000_000, 6_000_000],
                UnitsPerBatch = 8,
                RowsPerBatch = 6,
            },
            1
        );

        Assert.Equal([3, 3, 4.5, 6, 7], new double[] { 1, 4, 6, 8, 9 }.Select(rows => curve.BatchTime(rows).TotalMilliseconds));
        Assert.Equal(4, curve.RowsWithin(TimeSpan.FromMilliseconds(3)));
        Assert.Equal(6, curve.RowsWithin(TimeSpan.FromSeconds(1)));
        Assert.Equal(4, curve.RowsFor(1200, 1));
        Assert.Null(curve.RowsFor(2000, 1));
    }

    private static PoolForecast Pool(double alphaNs, double betaNs) =>
        new("default", new ModelRef("words", "1"), 1, [0, 0, 0], alphaNs, betaNs, 65_536);
}
