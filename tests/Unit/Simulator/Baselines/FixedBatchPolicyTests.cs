using Pipeline.Contracts;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>A fixed size with a timeout. No source gives a figure for it.</summary>
public sealed class FixedBatchPolicyTests
{
    [Fact]
    public void Sends_a_full_batch_at_once_and_the_rest_at_the_timeout()
    {
        var bench = new BaselineBench(s => new FixedBatchPolicy(s, 4), BaselineBench.Affine(1, 0.1), devices: 2).Arrive(0, tasks: 6).Run();
        Assert.Equal([(0.0, 4), (5.0, 2)], bench.Batches.Select(b => (b.Start.TotalMilliseconds, b.Tasks)));
    }

    [Fact]
    public void Its_timeout_knows_no_target()
    {
        var bench = new BaselineBench(s => new FixedBatchPolicy(s, 4), BaselineBench.Affine(1, 0.1), targetMs: 6).Arrive(0).Run();
        Assert.Equal(6.1, bench.Express.LatencyMax.TotalMilliseconds);
        Assert.Equal(0, bench.Express.Attained);
    }

    [Fact]
    public void Bulk_runs_while_no_express_batch_is_ready()
    {
        var bench = new BaselineBench(s => new FixedBatchPolicy(s, 4), BaselineBench.Affine(1, 0.1), bulkBatchMs: 3)
            .Arrive(0)
            .Arrive(0, LatencyClass.Bulk, 512)
            .Run(12);
        Assert.Equal((Lane.Bulk, 20), (bench.Batches[0].Lane, bench.Batches[0].Bulk));
        Assert.Equal((6.0, 1), (bench.Batches[2].Start.TotalMilliseconds, bench.Batches[2].Express));
    }
}
