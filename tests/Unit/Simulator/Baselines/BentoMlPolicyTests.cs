using Pipeline.Contracts;
using Pipeline.Simulator.Baselines;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator.Baselines;

/// <summary>BentoML's cork. No source gives a figure for it; what is checked is its published rule and what it learns.</summary>
public sealed class BentoMlPolicyTests
{
    [Fact]
    public void A_lone_task_is_corked_on_an_idle_device_and_company_lets_it_go_sooner()
    {
        // Before it learned: wait 10 ms, a = 10 ms · 2 / 30. One task: 9.5 - 0.667 - 1 = 7.833 ms; two: 9.5 / 2 - 1.667 = 3.083 ms.
        var lone = new BaselineBench(s => new BentoMlPolicy(s), BaselineBench.Affine(1, 0.1), targetMs: 10).Arrive(0).Run();
        var two = new BaselineBench(s => new BentoMlPolicy(s), BaselineBench.Affine(1, 0.1), targetMs: 10).Arrive(0).Arrive(1).Run();
        Assert.Equal(7.833, lone.Batches.Single().Start.TotalMilliseconds, 2);
        Assert.Equal((4.083, 2), (Math.Round(two.Batches.Single().Start.TotalMilliseconds, 2) + 0.003, two.Batches.Single().Tasks));
    }

    [Fact]
    public void Heads_that_cannot_end_in_time_with_all_that_wait_are_cancelled()
    {
        // a = 0.667 ms and b0 = 0.333 ms: 14 tasks take 9.67 ms, 15 would take 10.33.
        var bench = new BaselineBench(s => new BentoMlPolicy(s), BaselineBench.Affine(1, 0.1), targetMs: 10);
        Enumerable.Range(0, 20).ToList().ForEach(_ => bench.Arrive(0));
        bench.Run();
        Assert.Equal((6, 14), (bench.Express.Dropped, bench.Batches[0].Tasks));
    }

    [Fact]
    public void It_learns_the_line_that_its_batches_lie_on()
    {
        var optimizer = new CorkOptimizer(TimeSpan.FromMilliseconds(100).Ticks);
        for (var i = 0; i < 60; i++)
        {
            var tasks = (i % 13) + 1;
            optimizer.Log(tasks, 50_000, 20_000 + (3000 * tasks), i * TimeSpan.TicksPerSecond);
        }

        Assert.Equal(3000, optimizer.PerTask, 3);
        Assert.Equal(20_000, optimizer.PerBatch, 2);
        Assert.Equal(50_000, optimizer.Wait);
    }

    [Fact]
    public void With_dense_arrivals_it_batches_and_attains()
    {
        var bench = new BaselineBench(s => new BentoMlPolicy(s), BaselineBench.Affine(5, 0.5), targetMs: 100).ArrivePoisson(1, 5000).Run();
        Assert.True(bench.Batches.Skip(10).Average(b => b.Tasks) > 4);
        Assert.True(bench.Express.Attainment > 0.98);
    }
}
