using Pipeline.Contracts;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>TF Serving's low-priority padding. No source gives a figure for it.</summary>
public sealed class TfServingPolicyTests
{
    [Fact]
    public void A_high_priority_batch_that_times_out_is_padded_with_low_priority_tasks()
    {
        var bench = new BaselineBench(s => new TfServingPolicy(s, 8), BaselineBench.Affine(1, 0.1))
            .Arrive(0, tasks: 3)
            .Arrive(0, LatencyClass.Bulk, 20)
            .Arrive(0, LatencyClass.Standard, 1)
            .Run(10);
        var first = bench.Batches[0];
        Assert.Equal((1.0, 3, 1, 4), (first.Start.TotalMilliseconds, first.Express, first.Standard, first.Bulk));
    }

    [Fact]
    public void A_full_high_priority_batch_goes_at_once_and_alone()
    {
        var bench = new BaselineBench(s => new TfServingPolicy(s, 8), BaselineBench.Affine(1, 0.1))
            .Arrive(0, tasks: 8)
            .Arrive(0, LatencyClass.Bulk, 20)
            .Run(1.5);
        Assert.Equal((8, 0), (bench.Batches.Single().Express, bench.Batches.Single().Bulk));
    }

    [Fact]
    public void Low_priority_tasks_alone_wait_until_they_fill_a_batch_or_time_out()
    {
        var bench = new BaselineBench(s => new TfServingPolicy(s, 8), BaselineBench.Affine(1, 0.1), bulkBatchMs: 3)
            .Arrive(0, LatencyClass.Bulk, 25)
            .Run();
        // 20 tasks take 3 ms; the 5 that are left wait for 100 ms in vain.
        Assert.Equal([(0.0, 20), (100.0, 5)], bench.Batches.Select(b => (b.Start.TotalMilliseconds, b.Bulk)));
    }

    [Fact]
    public void It_knows_no_deadline_so_that_padding_makes_express_late()
    {
        // A batch of 32 takes 33 ms: the lone express task would have made its 20 ms by far, unpadded.
        var bench = new BaselineBench(s => new TfServingPolicy(s, 32), BaselineBench.Affine(1, 1), targetMs: 20)
            .Arrive(0)
            .Arrive(0, LatencyClass.Bulk, 64)
            .Run(50);
        Assert.Equal(0, bench.Express.Attained);
    }
}
