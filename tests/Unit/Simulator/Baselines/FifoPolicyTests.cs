using Pipeline.Contracts;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>First come, first served; and the eager ceilings of SCHEDULER_FACTS section 5.2, which a tuned one reaches.</summary>
public sealed class FifoPolicyTests
{
    [Fact]
    public void Serves_in_order_of_arrival_so_that_express_stands_behind_bulk()
    {
        var bench = new BaselineBench(s => new FifoPolicy(s), BaselineBench.Affine(1, 1), targetMs: 10);
        bench.Arrive(0, LatencyClass.Bulk, 9).Arrive(0.5).Run();
        Assert.All(bench.Batches, b => Assert.Equal(1, b.Tasks));
        Assert.Equal(1, bench.Batches[9].Express);
        Assert.Equal(0, bench.Express.Attained);
    }

    [Fact]
    public void One_at_a_time_it_never_serves_more_than_one_over_l1()
    {
        // 1 / l(1) is 0.5 tasks a millisecond: at 0.6 the queue grows without end, while a batch of 4 costs only 1.25 ms a task.
        var bench = new BaselineBench(s => new FifoPolicy(s), BaselineBench.Affine(1, 1)).ArriveEvenly(0.6, 5000).Run();
        Assert.InRange(bench.Now.TotalMilliseconds, 5990, 6010);
        Assert.True(bench.Express.Attainment < 0.25);
        Assert.True(
            new BaselineBench(s => new FifoPolicy(s, 4), BaselineBench.Affine(1, 1)).ArriveEvenly(0.6, 5000).Run().Express.Attainment == 1
        );
    }

    /// <summary>
    /// Kept share of the offline rate 1 / B with batches of which two fit the target (2 · l(b) ≤ S), one device, evenly spaced arrivals:
    /// the bound is analytic and knows no bursts, and Poisson arrivals keep less.
    /// </summary>
    [Theory]
    [InlineData(5.204, 1.082, 25, 0.555)] // Symphony's "resnet"
    [InlineData(5.204, 1.082, 100, 0.895)]
    [InlineData(0.438, 0.0235, 15, 0.942)] // ResNet-50 INT8 A100
    [InlineData(0.272, 0.0723, 15, 0.963)] // ResNet-50 INT8 L4
    [InlineData(1.126, 0.150, 50, 0.955)] // dist4l s384 ORT A100
    [InlineData(0.507, 0.1066, 10, 0.898)] // BERT-base s128 TensorRT A100
    [InlineData(0.507, 0.1066, 50, 0.980)]
    public void Tuned_by_hand_it_keeps_the_eager_bound(double aMs, double bMs, double targetMs, double bound)
    {
        var rate = BaselineBench.RateMax(
            1 / bMs,
            perMs =>
                new BaselineBench(s => new FifoPolicy(s, null), BaselineBench.Affine(aMs, bMs), targetMs: targetMs).ArriveEvenly(
                    perMs,
                    12 * targetMs + 200
                )
        );
        Assert.InRange(rate * bMs, bound * 0.95, bound * 1.05);
    }
}
