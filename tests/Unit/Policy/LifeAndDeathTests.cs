using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

/// <summary>What the planner does when workers, dispatches, schedulers and jobs end early.</summary>
public class LifeAndDeathTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact]
    public void A_silent_worker_is_declared_lost_once_and_its_work_is_free_when_its_books_are_closed()
    {
        var world = new PolicyWorld().Knows();
        var lost = world.Worker();
        world.Chunk();
        world.Sends();
        world.Wait(3 * Second);
        Assert.Empty(world.Unplanned.OfType<DeclareLost>());
        world.Wait(TimeSpan.FromMilliseconds(1));
        Assert.Equal(lost, Assert.Single(world.Plan().OfType<DeclareLost>()).Worker);
        Assert.Empty(world.Plan());

        var other = world.Worker();
        Assert.Empty(world.Sends());
        world.Observe(new WorkerGone(lost, []));
        Assert.Equal(other, Assert.Single(world.Sends()).Worker);
    }

    [Fact]
    public void A_worker_whose_books_are_closed_does_not_come_back_under_the_same_id()
    {
        var world = new PolicyWorld().Knows();
        var worker = world.Worker();
        world.Observe(new WorkerGone(worker, []));
        world.Beat(worker);
        world.Chunk();

        Assert.Empty(world.Sends());
    }

    [Fact]
    public void A_scheduler_that_slept_does_not_take_it_for_the_workers_death()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        world.Plan();
        var later = world.Now + TimeSpan.FromMinutes(1);

        Assert.Empty(world.Planner.Plan(later).OfType<DeclareLost>());
        Assert.Single(
            world
                .Planner.Plan(later + (3 * Second / 2))
                .Concat(world.Planner.Plan(later + (3 * Second) - TimeSpan.FromMilliseconds(1)))
                .OfType<DeclareLost>()
        );
    }

    [Fact]
    public void A_returned_dispatch_goes_to_another_worker_at_once()
    {
        var world = new PolicyWorld().Knows();
        var (one, two) = (world.Worker(), world.Worker());
        world.Chunk(tasks: 1, latencyClass: LatencyClass.Express);
        var first = Assert.Single(world.Sends());
        Assert.Equal(one, first.Worker);

        world.Observe(new DispatchReturned(first.Id, WorkerUnreachable: true));
        Assert.Equal(two, Assert.Single(world.Sends()).Worker);
    }

    [Fact]
    public void A_dispatch_that_heartbeats_no_longer_list_is_planned_again()
    {
        var world = new PolicyWorld().Knows();
        var worker = world.Worker();
        world.Chunk();
        var sent = Assert.Single(world.Sends());
        for (var i = 0; i < 3; i++)
        {
            world.Wait(Second);
            world.Beat(worker, held: [PolicyWorld.Held(sent)]);
            Assert.Empty(world.Plan());
        }

        for (var i = 0; i < 5; i++)
        {
            world.Wait(Second);
            world.Beat(worker);
            Assert.Empty(world.Plan());
        }

        world.Wait(Second);
        world.Beat(worker);
        Assert.Equal(sent.Slices, Assert.Single(world.Sends()).Slices);
    }

    [Fact]
    public void What_was_given_up_and_ended_after_all_does_not_run_again()
    {
        var world = new PolicyWorld(new PolicyOptions { DispatchesPerLaneMax = 1 }).Knows();
        world.Worker();
        world.Chunk();
        var sent = Assert.Single(world.Sends());
        world.Observe(new DispatchReturned(sent.Id, WorkerUnreachable: true));
        world.Finish(sent);

        world.Wait(3 * Second);
        Assert.Empty(world.Sends());
        Assert.Equal(0, world.Planner.Backlog.ChunksOpen);
    }

    [Fact]
    public void A_faulted_dispatch_comes_back_smaller_and_in_the_end_its_tasks_fail_with_the_reason()
    {
        var world = new PolicyWorld(new PolicyOptions { DispatchesPerLaneMax = 1 }).Knows();
        var worker = world.Worker();
        world.Chunk(tasks: 512);
        var sizes = new List<int>();
        FailTasks? failed = null;
        for (var i = 0; i < 1000 && failed is null; i++)
        {
            foreach (var decision in world.Plan())
            {
                if (decision is SendDispatch { Dispatch: var sent })
                {
                    sizes.Add(sent.Slices.Sum(s => s.Count));
                    world.Observe(new DispatchFaulted(sent.Id, "the disk is full"));
                }

                failed = decision as FailTasks ?? failed;
            }

            world.Wait(Second);
            world.Beat(worker);
        }

        Assert.Equal([512, 128, 32, 8], sizes);
        Assert.NotNull(failed);
        Assert.Equal((FailureKind.DispatchFailed, 8), (failed.Kind, failed.Slice.Count));
        Assert.Contains("the disk is full", failed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_that_a_worker_cannot_load_runs_elsewhere_and_holds_no_other_model_up()
    {
        var other = new ModelRef("other", "1.0.0");
        var world = new PolicyWorld(new PolicyOptions { DispatchesPerLaneMax = 1 }).Knows().Knows(other);
        var broken = world.Worker(other);
        world.Chunk(deadline: TimeSpan.FromMinutes(1));
        world.NotLoaded(Assert.Single(world.Sends()));
        world.Chunk(model: other);
        Assert.Equal((broken, other), Assert.Single(world.Sends()) is var sent ? (sent.Worker, sent.Model) : default);

        var whole = world.Worker();
        sent = Assert.Single(world.Sends());
        Assert.Equal((whole, PolicyWorld.Model, 512), (sent.Worker, sent.Model, sent.Slices.Sum(s => s.Count)));
    }

    [Fact]
    public void A_model_that_no_worker_can_load_is_tried_ever_later_and_then_its_tasks_fail_with_the_reason()
    {
        var world = new PolicyWorld(new PolicyOptions { DispatchesPerLaneMax = 1 }).Knows();
        var worker = world.Worker();
        world.Chunk(tasks: 512);
        Assert.Contains(world.Planner.Forecast(world.Now).Pools, p => p.Model == PolicyWorld.Model);
        var tries = new List<double>();
        FailTasks? failed = null;
        while (failed is null)
        {
            foreach (var decision in world.Plan())
            {
                if (decision is SendDispatch { Dispatch: var sent })
                {
                    tries.Add((world.Now - PolicyWorld.Start).TotalSeconds);
                    world.NotLoaded(sent);
                    Assert.DoesNotContain(world.Planner.Forecast(world.Now).Pools, p => p.Model == PolicyWorld.Model);
                }

                failed = decision as FailTasks ?? failed;
            }

            Assert.True(failed is not null || world.Planner.NextWake(world.Now) - world.Now <= Second);
            world.Wait(TimeSpan.FromSeconds(0.5));
            world.Beat(worker, loaded: []);
        }

        Assert.Equal([0, 1, 3, 7], tries);
        Assert.Equal((FailureKind.DispatchFailed, 512, Reasons.LoadsSpent), (failed.Kind, failed.Slice.Count, failed.Why.Code));
        Assert.Equal($"No worker can load {PolicyWorld.Model}; the input is not at fault.", failed.Message);
    }

    [Fact]
    public void A_model_that_was_loaded_after_all_starts_with_no_failures()
    {
        var world = new PolicyWorld(new PolicyOptions { DispatchesPerLaneMax = 1 }).Knows();
        var worker = world.Worker();
        world.Chunk();
        for (var i = 0; i < 3; i++)
        {
            world.NotLoaded(Assert.Single(world.Sends()));
            world.Beat(worker, loaded: []);
            Assert.Empty(world.Sends());
            world.Beat(worker);
        }

        world.NotLoaded(Assert.Single(world.Sends()));
        Assert.Empty(world.Plan().OfType<FailTasks>());
    }

    [Theory]
    [InlineData(1, 64, Reasons.SuspectAlone)]
    [InlineData(2, 8, Reasons.SuspectAlone)]
    [InlineData(3, 1, Reasons.SuspectApart)]
    public void Suspects_run_alone_in_ever_smaller_commits(int attempts, int commitRows, string reason)
    {
        var world = new PolicyWorld().Knows();
        var lost = world.Worker();
        var suspect = world.Chunk(tasks: 100);
        world.Chunk(tasks: 100);
        Assert.Equal(2, Assert.Single(world.Sends()).Slices.Count);

        world.Observe(new WorkerGone(lost, [(suspect.Key, attempts)]));
        world.Worker();
        world.Worker();
        var alone = Assert.Single(world.Sends(), s => s.Slices[0].Job == suspect.Job);
        Assert.Equal([new Slice(suspect.Job, 0, 0, 100)], alone.Slices);
        Assert.Equal((commitRows, reason), (alone.CommitRowsMax, alone.Reason));
    }

    [Fact]
    public void A_suspect_near_conviction_shares_its_worker_with_nobody()
    {
        var world = new PolicyWorld(new PolicyOptions { TasksMax = 512 }).Knows();
        world.Worker();
        world.Chunk();
        world.Chunk();
        var busy = world.Sends();
        Assert.Equal(2, busy.Count);
        var suspect = world.Chunk(attempts: 3);
        world.Chunk(tasks: 1, latencyClass: LatencyClass.Express);

        world.Finish(busy[0]);
        Assert.Empty(world.Sends());
        world.Finish(busy[1]);
        var apart = Assert.Single(world.Sends());
        Assert.Equal((suspect.Job, 1), (apart.Slices[0].Job, apart.CommitRowsMax));
        Assert.Empty(world.Sends());
        world.Finish(apart);
        Assert.Equal(Lane.Express, Assert.Single(world.Sends()).Lane);
    }

    [Fact]
    public void Two_deaths_over_one_step_are_one_step()
    {
        Assert.Equal(1, SuspectRule.AttemptsAfter(0, null));
        Assert.Equal(1, SuspectRule.AttemptsAfter(1, null));
        Assert.Equal(2, SuspectRule.AttemptsAfter(1, 64));
        Assert.Equal(3, SuspectRule.AttemptsAfter(2, 8));
        Assert.Equal(3, SuspectRule.AttemptsAfter(3, 8));
        Assert.Equal(4, SuspectRule.AttemptsAfter(3, 1));
    }

    [Fact]
    public void The_task_a_worker_died_over_alone_fails_and_the_rest_goes_on()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        var chunk = world.Chunk(tasks: 100, attempts: 4);

        var decision = Assert.IsType<FailTasks>(Assert.Single(world.Plan()));
        Assert.True(decision.FirstOnly);
        Assert.Equal((FailureKind.WorkerCrashed, chunk.Key), (decision.Kind, decision.Slice.Chunk));
        world.Observe(new TasksFailed(decision));
        Assert.Equal(1, Assert.Single(world.Sends()).CommitRowsMax);
    }

    [Fact]
    public void Bulk_waits_for_the_echo_of_the_epoch_and_express_does_not()
    {
        var world = new PolicyWorld(epoch: 2).Knows();
        var worker = new WorkerId(Guid.NewGuid());
        world.Observe(new WorkerExpected(worker));
        world.Beat(worker, epoch: 1);
        world.Chunk();
        world.Chunk(tasks: 1, latencyClass: LatencyClass.Express);
        Assert.Equal(Lane.Express, Assert.Single(world.Sends()).Lane);

        world.Beat(worker, epoch: 2);
        Assert.Equal(Lane.Bulk, Assert.Single(world.Sends()).Lane);
    }

    [Fact]
    public void Bulk_waits_for_the_living_only_as_long_as_a_worker_takes_to_be_lost()
    {
        var world = new PolicyWorld(epoch: 2).Knows();
        var unaware = new WorkerId(Guid.NewGuid());
        world.Observe(new WorkerExpected(unaware));
        world.Chunk();
        for (var i = 0; i < 3; i++)
        {
            world.Beat(unaware, epoch: 1);
            Assert.Empty(world.Sends());
            world.Wait(Second);
        }

        world.Beat(unaware, epoch: 1);
        world.Wait(TimeSpan.FromTicks(1));
        Assert.Equal(unaware, Assert.Single(world.Sends()).Worker);
    }

    [Fact]
    public void Bulk_waits_until_the_dead_are_buried_so_that_their_suspects_are_marked()
    {
        var world = new PolicyWorld(epoch: 2).Knows();
        var (dead, alive) = (new WorkerId(Guid.NewGuid()), new WorkerId(Guid.NewGuid()));
        world.Observe(new WorkerExpected(dead));
        var chunk = world.Chunk();
        for (var i = 0; i < 5; i++)
        {
            world.Beat(alive, epoch: 2);
            Assert.Empty(world.Sends());
            world.Wait(Second);
        }

        world.Beat(alive, epoch: 2);
        world.Observe(new WorkerGone(dead, [(chunk.Key, 1)]));
        Assert.Equal(64, Assert.Single(world.Sends()).CommitRowsMax);
    }

    [Fact]
    public void What_a_worker_holds_of_an_earlier_scheduler_is_in_flight_until_it_ends()
    {
        var before = new PolicyWorld(epoch: 1).Knows();
        var worker = before.Worker();
        var chunk = before.Chunk(tasks: 100);
        var held = Assert.Single(before.Sends());

        var world = new PolicyWorld(epoch: 2).Knows();
        world.Observe(new ChunkArrived(chunk));
        world.Observe(new WorkerExpected(worker));
        world.Beat(worker, epoch: 2, held: [PolicyWorld.Held(held)]);
        Assert.Empty(world.Sends());

        world.Finish(held, SliceOutcome.HandedBack);
        Assert.Equal(held.Slices, Assert.Single(world.Sends()).Slices);
    }

    [Fact]
    public void What_a_worker_holds_of_work_nobody_knows_any_more_counts_as_held_and_teaches_no_model()
    {
        var world = new PolicyWorld().Knows();
        var gone = new HeldDispatch(DispatchId.New(world.Now), 1, Lane.Bulk, true, [new Slice(world.Job(), 0, 0, 512)]);
        var worker = world.Worker();
        world.Beat(worker, held: [gone]);
        world.Plan();

        Assert.All(world.Planner.Forecast(world.Now).Pools, p => Assert.Equal(PolicyWorld.Model, p.Model));
    }

    [Fact]
    public void A_heartbeat_older_than_the_end_of_a_dispatch_does_not_bring_it_back()
    {
        var world = new PolicyWorld().Knows();
        var worker = world.Worker();
        world.Chunk();
        var sent = Assert.Single(world.Sends());
        world.Finish(sent);
        world.Beat(worker, held: [PolicyWorld.Held(sent)]);

        Assert.Empty(world.Planner.Flights);
        Assert.Equal(0, world.Planner.Backlog.ChunksOpen);
    }

    [Fact]
    public void A_paused_job_waits_and_a_resumed_one_goes_on()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        var chunk = world.Chunk();
        world.Observe(new JobPaused(chunk.Job));
        Assert.Empty(world.Sends());
        world.Observe(new JobPaused(chunk.Job));
        world.Observe(new JobResumed(chunk.Job));
        Assert.Single(world.Sends());
    }

    [Fact]
    public void A_job_paused_before_its_chunks_are_known_stays_paused()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        var job = world.Job();
        world.Observe(new JobPaused(job));
        world.Chunk(job);
        Assert.Empty(world.Sends());
        world.Observe(new JobResumed(job));
        Assert.Single(world.Sends());
    }

    [Fact]
    public void What_waits_of_a_cancelled_job_is_ended_in_bounded_parts_and_what_flies_lands_first()
    {
        var world = new PolicyWorld(
            new PolicyOptions
            {
                TasksMax = 512,
                EndingChunksMax = 10,
                EndingsOpenMax = 2,
                DispatchesPerLaneMax = 1,
            }
        ).Knows();
        world.Worker();
        var job = world.Job();
        for (var no = 0; no < 31; no++)
        {
            world.Chunk(job, no);
        }

        var flying = Assert.Single(world.Sends());
        world.Observe(new JobCancelled(job));
        var ended = new List<ChunkKey>();
        var plan = world.Plan();
        Assert.Equal(2, plan.Count);
        while (plan.Count > 0)
        {
            foreach (var end in plan.Cast<EndChunks>())
            {
                Assert.Equal((TaskOutcome.Cancelled, Reasons.JobCancelled), (end.Outcome, end.Why.Code));
                Assert.True(end.Chunks.Count <= 10);
                ended.AddRange(end.Chunks);
                world.Observe(new ChunksEnded(end.Chunks));
            }

            plan = world.Plan();
        }

        Assert.Equal(Enumerable.Range(1, 30), ended.Select(c => c.No).Order());
        world.Finish(flying, SliceOutcome.HandedBack);
        Assert.Equal([0], Assert.IsType<EndChunks>(Assert.Single(world.Plan())).Chunks.Select(c => c.No));
    }

    [Fact]
    public void An_ending_that_failed_is_tried_again_later()
    {
        var world = new PolicyWorld().Knows();
        var chunk = world.Chunk();
        world.Observe(new JobCancelled(chunk.Job));
        var end = Assert.Single(world.Plan());
        world.Observe(new EndingFailed(end));
        Assert.Empty(world.Plan());
        Assert.True(world.Planner.NextWake(world.Now) <= world.Now + (5 * Second));
        world.Wait(5 * Second);
        Assert.Equal(end, Assert.Single(world.Plan()));
    }

    [Fact]
    public void Late_chunks_expire_unless_they_fly()
    {
        var world = new PolicyWorld(new PolicyOptions { TasksMax = 512, DispatchesPerLaneMax = 1 }).Knows();
        var worker = world.Worker();
        var flying = world.Chunk(deadline: Second);
        var flyingToo = world.Chunk(deadline: Second);
        var late = world.Chunk(deadline: Second);
        var sent = world.Sends(); // One on each lane: the first is promoted, since its deadline is near.
        Assert.Equal([flying.Job, flyingToo.Job], sent.Select(s => s.Slices[0].Job));
        Assert.True(world.Planner.NextWake(world.Now) <= world.Now + Second);

        world.Wait(Second);
        world.Beat(worker, held: [.. sent.Select(s => PolicyWorld.Held(s))]);
        var end = Assert.IsType<EndChunks>(Assert.Single(world.Plan()));
        Assert.Equal((TaskOutcome.Expired, late.Key), (end.Outcome, Assert.Single(end.Chunks)));
        world.Observe(new ChunksEnded(end.Chunks));
        sent.ToList().ForEach(s => world.Finish(s));
        Assert.Empty(world.Plan());
        Assert.Equal(0, world.Planner.Backlog.ChunksOpen);
    }

    [Fact]
    public void A_forecast_counts_what_is_ahead_of_each_class()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        world.Plan();
        for (var i = 0; i < 10; i++)
        {
            world.Chunk(unitsPerTask: 1000);
        }

        var forecast = world.Planner.Forecast(world.Now);
        var pool = Assert.Single(forecast.Pools);
        Assert.Equal((PolicyWorld.Model, 1), (pool.Model, pool.Workers));
        Assert.Equal([0L, 0L], pool.UnitsAhead.Take(2));
        Assert.InRange(pool.UnitsAhead[2], 5_100_000, 5_130_000);

        var done = Prediction.Of(forecast, PolicyWorld.Model, LatencyClass.Bulk, default)?.Completion;
        Assert.InRange((done!.Value - world.Now).TotalSeconds, 5, 5.3);
        Assert.InRange(
            (
                Prediction.Of(forecast, PolicyWorld.Model, LatencyClass.Express, new(1000, 1))!.Value.Completion - world.Now
            ).TotalMilliseconds,
            1,
            5
        );
    }

    [Fact]
    public void Desired_workers_are_the_fewest_that_keep_every_deadline()
    {
        var world = new PolicyWorld().Knows();
        Assert.Equal(0, world.Planner.DesiredWorkers(world.Now));
        for (var i = 0; i < 20; i++)
        {
            world.Chunk(tasks: 100, unitsPerTask: 10_000, deadline: TimeSpan.FromSeconds(8));
        }

        Assert.Equal(3, world.Planner.DesiredWorkers(world.Now));
    }
}
