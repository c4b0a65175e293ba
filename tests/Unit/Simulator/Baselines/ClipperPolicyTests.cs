using Pipeline.Contracts;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>
/// Clipper's additive increase, multiplicative decrease. Its 26 times over no batching is quoted from memory and belongs to a model whose
/// profile is not given; what is checked instead is the gain that follows from a profile: l(1) · b / l(b) at the cap it settles at.
/// </summary>
public sealed class ClipperPolicyTests
{
    [Fact]
    public void The_cap_climbs_by_one_and_falls_by_ten_percent_on_a_miss()
    {
        // 3 ms hold 20 tasks: 21 miss the objective, and 21 · 0.9 is 18.
        var bench = new BaselineBench(s => new ClipperPolicy(s), BaselineBench.Affine(1, 0.1), targetMs: 6);
        for (var i = 0; i < 400; i++)
        {
            bench.Arrive(i / 3.0, tasks: 30);
        }

        var sizes = bench.Run(130).Batches.Select(b => b.Express).ToList();
        Assert.Equal(Enumerable.Range(1, 21), sizes.Take(21));
        Assert.Equal([18, 19, 20, 21, 18, 19, 20, 21], sizes.Skip(21).Take(8));
    }

    [Fact]
    public void It_needs_no_profile()
    {
        // Told a device of a hundredth of the cost, it finds the same cap as in truth.
        var bench = new BaselineBench(
            s => new ClipperPolicy(s),
            BaselineBench.Affine(1, 0.1),
            targetMs: 6,
            told: BaselineBench.Affine(0.01, 0.001)
        );
        for (var i = 0; i < 400; i++)
        {
            bench.Arrive(i / 3.0, tasks: 30);
        }

        Assert.InRange(bench.Run(130).Batches.Skip(25).Max(b => b.Express), 20, 21);
    }

    [Fact]
    public void What_is_already_late_is_dropped()
    {
        var bench = new BaselineBench(s => new ClipperPolicy(s), BaselineBench.Affine(4, 1), targetMs: 6);
        bench.Arrive(0).Arrive(0.1).Arrive(0.2).Run();
        Assert.Equal((1, 1), (bench.Express.Dropped, bench.Express.Attained));
    }

    [Fact]
    public void The_gain_over_no_batching_is_that_of_the_cap_it_settles_at()
    {
        // ResNet-50 INT8 on A100, 15 ms: 300 tasks take 7.5 ms, so l(1) · b / l(b) is 18.5. The cap moves between 271 and 301.
        var clipper = Rate(s => new ClipperPolicy(s));
        var alone = Rate(s => new FifoPolicy(s, 1));
        Assert.InRange(clipper / alone, 18.5 * 0.95, 18.5 * 1.05);

        static double Rate(Func<BaselineSetup, Pipeline.Scheduler.Policy.IPolicy> policy)
        {
            // The backlog is endless; tasks by the half millisecond keep it in reach of the deadline. The first second is for learning.
            var bench = new BaselineBench(policy, BaselineBench.Affine(0.438, 0.0235), targetMs: 15);
            for (var at = 0.0; at < 5000; at += 0.5)
            {
                bench.Arrive(at, tasks: 30);
            }

            return bench.Run(5000).Batches.Where(b => b.Start.TotalMilliseconds > 3000).Sum(b => b.Express) / 2000.0;
        }
    }
}
