using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

/// <summary>What is asked of work that waits: another class or deadline, and to be held and let go.</summary>
public class MovesAndHoldsTests
{
    private static readonly PolicyOptions OneAtATime = new() { TasksMax = 512, DispatchesPerLaneMax = 1 };

    [Fact]
    public void A_bulk_job_that_becomes_standard_goes_before_bulk_that_came_earlier()
    {
        var world = new PolicyWorld(OneAtATime).Knows();
        var first = world.Chunk();
        var moved = world.Chunk();
        world.Observe(new JobMoved(moved.Job, LatencyClass.Standard, moved.Deadline, world.Now));
        world.Worker();

        Assert.Equal(moved.Job, Assert.Single(world.Sends()).Slices[0].Job);
        Assert.Equal(0, world.Planner.Backlog.QueueOf(PolicyWorld.Model, LatencyClass.Standard).Tasks);
        Assert.Equal(first.Tasks, world.Planner.Backlog.QueueOf(PolicyWorld.Model, LatencyClass.Bulk).Tasks);
    }

    [Fact]
    public void A_job_that_becomes_express_travels_on_the_express_lane_and_has_its_target_from_then_on()
    {
        var world = new PolicyWorld().Knows();
        var chunk = world.Chunk(tasks: 4);
        world.Wait(TimeSpan.FromMinutes(5));
        world.Observe(new JobMoved(chunk.Job, LatencyClass.Express, chunk.Deadline, world.Now));
        var job = world.Planner.Backlog.Find(chunk.Job)!.Value;
        Assert.Equal((world.Now + LatencyClasses.Defaults[LatencyClass.Express].Target).UtcTicks, job.TargetAt);
        world.Worker();

        Assert.Equal(Lane.Express, Assert.Single(world.Sends()).Lane);
    }

    [Fact]
    public void A_move_is_among_the_decisions_with_what_it_moved()
    {
        var world = new PolicyWorld().Knows();
        var chunk = world.Chunk();
        world.Observe(new JobMoved(chunk.Job, LatencyClass.Standard, chunk.Deadline, world.Now));

        var move = Assert.Single(world.Plan().OfType<MoveJob>());
        Assert.Equal((chunk.Job, Reasons.Moved, chunk.Tasks), (move.Job, move.Why.Code, move.Why.Tasks));
        Assert.Empty(world.Plan().OfType<MoveJob>());
    }

    [Fact]
    public void A_later_deadline_lets_a_job_live_and_an_earlier_one_ends_it()
    {
        var world = new PolicyWorld().Knows();
        var kept = world.Chunk(deadline: TimeSpan.FromSeconds(5));
        var ended = world.Chunk(deadline: TimeSpan.FromHours(1));
        world.Observe(new JobMoved(kept.Job, kept.Class, world.Now + TimeSpan.FromHours(1), world.Now));
        world.Observe(new JobMoved(ended.Job, ended.Class, world.Now + TimeSpan.FromSeconds(5), world.Now));
        world.Wait(TimeSpan.FromSeconds(6));

        var end = Assert.Single(world.Unplanned.Concat(world.Plan()).OfType<EndChunks>());
        Assert.Equal((ended.Key, TaskOutcome.Expired), (Assert.Single(end.Chunks), end.Outcome));
    }

    [Fact]
    public void A_promoted_job_with_a_later_deadline_stands_in_line_again()
    {
        var world = new PolicyWorld(OneAtATime).Knows();
        var chunk = world.Chunk(deadline: TimeSpan.FromMilliseconds(100));
        world.Plan();
        Assert.True(world.Planner.Backlog.Find(chunk.Job)!.Value.Promoted);
        world.Observe(new JobMoved(chunk.Job, chunk.Class, world.Now + TimeSpan.FromHours(1), world.Now));
        world.Worker();

        Assert.False(world.Planner.Backlog.Find(chunk.Job)!.Value.Promoted);
        Assert.Equal(Lane.Bulk, Assert.Single(world.Sends()).Lane);
    }

    [Fact]
    public void A_paused_job_that_is_moved_stays_paused_and_a_cancelled_one_stays_as_it_is()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        var (paused, cancelled) = (world.Job(), world.Job());
        world.Observe(new JobPaused(paused));
        world.Chunk(paused);
        world.Chunk(cancelled);
        world.Observe(new JobCancelled(cancelled));
        world.Observe(new JobMoved(paused, LatencyClass.Express, world.Now + TimeSpan.FromHours(1), world.Now));
        world.Observe(new JobMoved(cancelled, LatencyClass.Express, world.Now + TimeSpan.FromHours(1), world.Now));
        world.Observe(new JobMoved(world.Job(), LatencyClass.Express, world.Now, world.Now));

        Assert.Empty(world.Sends());
        world.Observe(new JobResumed(paused));
        Assert.Equal((Lane.Express, paused), Assert.Single(world.Sends().Select(d => (d.Lane, d.Slices[0].Job))));
    }

    [Fact]
    public void Chunks_that_come_for_another_model_later_have_what_the_job_was_moved_to()
    {
        var world = new PolicyWorld().Knows();
        var chunk = world.Chunk(deadline: TimeSpan.FromSeconds(5));
        var later = new ModelRef("larger", "1.0.0");
        var deadline = world.Now + TimeSpan.FromHours(1);
        world.Observe(new JobMoved(chunk.Job, chunk.Class, deadline, world.Now));
        var second = world.Chunk(chunk.Job, no: 1, deadline: TimeSpan.FromSeconds(5), model: later);

        Assert.Equal(
            [deadline.UtcTicks, deadline.UtcTicks],
            ((ChunkKey[])[chunk.Key, second.Key]).Select(key => world.Planner.Backlog.Find(key)!.Value.Job.Deadline)
        );
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Nothing_of_a_held_model_or_tenant_is_sent_until_it_is_let_go(bool tenant)
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        world.Chunk();
        Hold(world, tenant ? [PolicyWorld.Tenant] : [], tenant ? [] : [PolicyWorld.Model.Name]);
        world.Chunk();
        world.Chunk(latencyClass: LatencyClass.Express);
        world.Chunk(attempts: 3);

        Assert.Empty(world.Sends());
        Assert.All(world.Planner.Backlog.Queues.SelectMany(q => q), queue => Assert.Equal((0, 0), (queue.Tasks, queue.Alone.Count)));
        Hold(world);
        Assert.NotEmpty(world.Sends());
    }

    [Fact]
    public void A_hold_leaves_other_tenants_and_models_alone()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        Hold(world, [new TenantId(Guid.Empty)], ["another"]);
        var chunk = world.Chunk();

        Assert.Equal(chunk.Job, Assert.Single(world.Sends()).Slices[0].Job);
    }

    [Fact]
    public void A_held_job_can_be_cancelled_and_expires()
    {
        var world = new PolicyWorld().Knows();
        var (cancelled, late) = (world.Chunk(), world.Chunk(deadline: TimeSpan.FromSeconds(2)));
        Hold(world, [PolicyWorld.Tenant]);
        world.Observe(new JobCancelled(cancelled.Job));
        Assert.Equal(cancelled.Key, Assert.Single(Assert.Single(world.Plan().OfType<EndChunks>()).Chunks));
        world.Wait(TimeSpan.FromSeconds(3));

        Assert.Equal(late.Key, Assert.Single(Assert.Single(world.Unplanned.Concat(world.Plan()).OfType<EndChunks>()).Chunks));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_held_worker_or_pool_keeps_what_it_has_and_gets_no_more_until_it_is_let_go(bool pool)
    {
        var world = new PolicyWorld(OneAtATime).Knows();
        var worker = world.Worker();
        world.Chunk();
        var sent = Assert.Single(world.Sends());
        world.Chunk();
        Hold(world, pools: pool ? ["default"] : [], workers: pool ? [] : [worker]);
        world.Beat(worker, held: [PolicyWorld.Held(sent)]);
        Assert.Empty(world.Sends());
        Assert.Single(world.Planner.Flights);
        world.Finish(sent);
        world.Beat(worker);
        Assert.Empty(world.Sends());

        Hold(world);
        Assert.Single(world.Sends());
    }

    [Fact]
    public void A_worker_that_joins_a_held_pool_gets_nothing()
    {
        var world = new PolicyWorld().Knows();
        Hold(world, pools: ["default"]);
        world.Worker();
        world.Chunk();

        Assert.Empty(world.Sends());
    }

    private static void Hold(
        PolicyWorld world,
        IReadOnlyList<TenantId>? tenants = null,
        IReadOnlyList<string>? models = null,
        IReadOnlyList<string>? pools = null,
        IReadOnlyList<WorkerId>? workers = null
    ) => world.Observe(new HoldsKnown(new Holds(tenants ?? [], models ?? [], pools ?? [], workers ?? [])));
}
