using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator;
using Pipeline.Simulator.Workloads;
using Xunit;

namespace Pipeline.Tests.Unit.Simulator;

public sealed class InvariantTests
{
    [Fact]
    public void A_policy_that_sends_a_slice_twice_is_caught()
    {
        var policy = new TinyPolicy(p => p.Waiting.Count == 0 ? [] : [p.Send(p.Waiting[0], p.Idle[0]), p.Send(p.Waiting[0], p.Idle[1])]);
        var broken = Assert.Throws<PromiseBrokenException>(() => Live(policy, new Submission(0)));
        Assert.Contains("one live dispatch", broken.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_policy_that_overfills_a_lane_is_caught()
    {
        var policy = new TinyPolicy(p => p.Waiting.Count < 3 ? [] : [.. p.Waiting.Select(c => p.Send(c, p.Idle[0]))]);
        var broken = Assert.Throws<PromiseBrokenException>(() => Live(policy, new Submission(0), new Submission(0), new Submission(0)));
        Assert.Contains("A lane holds", broken.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_policy_that_sends_what_has_ended_is_caught()
    {
        ChunkHeader? ran = null;
        var policy = new TinyPolicy(p =>
        {
            ran ??= p.Waiting.Count > 0 ? p.Waiting[0] : null;
            return ran is { } chunk && p.Idle.Count > 0 && (p.Facts.OfType<DispatchEnded>().Any() || p.Waiting.Remove(chunk))
                ? [p.Send(chunk, p.Idle[0])]
                : [];
        });
        var broken = Assert.Throws<PromiseBrokenException>(() => Live(policy, new Submission(0), new Submission(Written.Ms(9))));
        Assert.Contains("only what waits", broken.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_policy_that_declares_a_living_worker_lost_is_caught() =>
        Assert.Throws<PromiseBrokenException>(() =>
            Live(new TinyPolicy(p => [new DeclareLost(p.Known.First(), new Why("test"))]), new Submission(0))
        );

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Whoever_dies_every_task_ends_once(ulong seed)
    {
        var result = Scenarios.Find("faults").Run("pipeline", new Parameters { Seed = seed, Tasks = 20_000 });
        Assert.Equal(result.TasksSubmitted, result.TasksEnded);
        Assert.True(result.WastedSeconds > 0, "Somebody died over a batch.");
        Assert.All(result.Classes, c => Assert.Equal(c.Submitted, c.Attained + c.Late + c.Dropped));
    }

    [Fact]
    public void Bulk_that_is_never_run_is_counted_as_starved()
    {
        // Express alone is served; the bulk task's deadline passes, and the policy ends it then.
        var policy = new TinyPolicy(p =>
        {
            p.WakeAt = World.Start + TimeSpan.FromMilliseconds(20);
            var late = p.Waiting.Where(c => c.Deadline <= p.Now).ToList();
            late.ForEach(c => p.Waiting.Remove(c));
            return late.Select(c => new EndChunks([c.Key], TaskOutcome.Expired, FailureKind.DeadlinePassed, "late", new Why("test")));
        });
        var result = Live(policy, new Submission(0, LatencyClass.Bulk, Tasks: 5, Window: Written.Ms(20)));
        Assert.Equal((5L, 5L, 5L), (result.Bulk.Starved, result.Bulk.Dropped, result.TasksEnded));
    }

    [Fact]
    public void The_sums_close_when_a_world_ends_in_the_middle()
    {
        var result = Scenarios.Find("mixed").Run("fifo-max", new Parameters { Tasks = 20_000 });
        Assert.True(result.TasksEnded < result.TasksSubmitted);
        Assert.True(result.Bulk.UnitsDone > 0);
    }

    private static SimResult Live(TinyPolicy policy, params Submission[] submissions) =>
        new World(TinyWorld.Options(workers: 2), new Written(submissions), policy).Run();
}
