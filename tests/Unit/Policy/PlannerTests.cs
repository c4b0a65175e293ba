using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class PlannerTests
{
    [Fact]
    public void Sends_a_waiting_chunk_to_a_free_worker()
    {
        var world = new PolicyWorld().Knows();
        var worker = world.Worker();
        var chunk = world.Chunk();

        var sent = Assert.Single(world.Sends());
        Assert.Equal(worker, sent.Worker);
        Assert.Equal(Lane.Bulk, sent.Lane);
        Assert.Equal(1, sent.Epoch);
        Assert.Equal([new Slice(chunk.Job, 0, 0, 512)], sent.Slices);
        Assert.Equal(165_666, sent.PaddedUnitsMax);
        Assert.Null(sent.CommitRowsMax);
        Assert.Equal(Reasons.BulkIdle, sent.Reason);
    }

    [Fact]
    public void Nothing_is_sent_twice()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        var chunk = world.Chunk();

        Assert.Single(world.Sends());
        world.Observe(new ChunkArrived(chunk));
        Assert.Empty(world.Sends());
    }

    [Fact]
    public void Every_decision_tells_its_reason_and_the_numbers_behind()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        world.Chunk(tasks: 512, unitsPerTask: 100);

        var why = Assert.Single(world.Plan()).Why;
        Assert.Equal((Reasons.BulkIdle, 512, 51_200L, 1), (why.Code, why.Tasks, why.Units, why.ChunksWaiting));
        Assert.InRange(why.Estimated.TotalMilliseconds, 50, 55);
        Assert.Equal(TimeSpan.FromHours(1), why.Slack);
    }

    [Fact]
    public void Express_goes_out_before_bulk_and_on_its_own_lane()
    {
        var world = new PolicyWorld().Knows();
        world.Chunk();
        world.Chunk(tasks: 1, latencyClass: LatencyClass.Express);
        world.Worker();

        Assert.Equal([Lane.Express, Lane.Bulk], world.Sends().Select(s => s.Lane));
    }

    [Fact]
    public void Express_that_waits_for_a_lane_travels_merged()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        var first = Express();
        var second = Express();
        Assert.Empty(Enumerable.Range(0, 5).SelectMany(_ => Express()));

        world.Finish(first[0]);
        Assert.Equal(5, Assert.Single(world.Sends()).Slices.Count);
        Assert.Single(second);

        IReadOnlyList<Dispatch> Express()
        {
            world.Chunk(tasks: 1, latencyClass: LatencyClass.Express);
            return world.Sends();
        }
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(0.5, 0)]
    public void Express_beside_bulk_goes_out_at_once_unless_it_may_wait_for_company(double deferShare, int sent)
    {
        var world = new PolicyWorld(new PolicyOptions { ExpressDeferShare = deferShare }).Knows();
        world.Worker();
        world.Chunk();
        Assert.Equal(Lane.Bulk, Assert.Single(world.Sends()).Lane);

        // A batch of 52 ms has just begun.
        world.Wait(TimeSpan.FromMilliseconds(5));
        world.Chunk(tasks: 1, latencyClass: LatencyClass.Express);

        Assert.Equal(sent, world.Sends().Count(dispatch => dispatch.Lane == Lane.Express));
    }

    [Fact]
    public void Standard_travels_on_the_bulk_lane_before_bulk()
    {
        var world = new PolicyWorld(new PolicyOptions { SlicesMax = 1 }).Knows();
        var bulk = world.Chunk();
        var standard = world.Chunk(latencyClass: LatencyClass.Standard);
        world.Worker();

        var sent = world.Sends();
        Assert.Equal([standard.Job, bulk.Job], sent.Select(s => s.Slices[0].Job));
        Assert.All(sent, s => Assert.Equal(Lane.Bulk, s.Lane));
    }

    [Fact]
    public void Earlier_deadlines_go_first()
    {
        var world = new PolicyWorld(new PolicyOptions { SlicesMax = 1 }).Knows();
        var late = world.Chunk(deadline: TimeSpan.FromMinutes(20));
        var early = world.Chunk(deadline: TimeSpan.FromMinutes(5));
        world.Worker();

        Assert.Equal([early.Job, late.Job], world.Sends().Select(s => s.Slices[0].Job));
    }

    [Fact]
    public void A_bulk_job_that_is_running_out_of_time_goes_before_standard()
    {
        var world = new PolicyWorld(new PolicyOptions { SlicesMax = 1 }).Knows();
        world.Chunk(latencyClass: LatencyClass.Standard);
        var urgent = world.Chunk(deadline: TimeSpan.FromSeconds(10));
        world.Worker();

        Assert.Equal(urgent.Job, world.Sends()[0].Slices[0].Job);
    }

    [Fact]
    public void Small_jobs_share_a_dispatch()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        var jobs = Enumerable.Range(0, 100).Select(_ => world.Chunk(tasks: 10).Job).ToList();

        Assert.Equal(jobs, Assert.Single(world.Sends()).Slices.Select(s => s.Job));
    }

    [Fact]
    public void A_small_job_does_not_wait_for_the_end_of_a_large_one()
    {
        var world = new PolicyWorld(new PolicyOptions { DispatchesPerLaneMax = 1 }).Knows();
        var worker = world.Worker();
        var large = world.Job();
        for (var no = 0; no < 2000; no++)
        {
            world.Chunk(large, no);
        }

        // An hour of bulk's target for both; the large one has had its turn.
        for (var turn = 0; turn < 20; turn++)
        {
            world.Finish(Assert.Single(world.Sends()));
            world.Beat(worker);
            world.Wait(TimeSpan.FromMilliseconds(900));
        }

        var small = world.Chunk(tasks: 10);
        Assert.Equal(small.Job, Assert.Single(world.Sends()).Slices[0].Job);
    }

    [Fact]
    public void A_dispatch_aims_at_a_second_of_device_time()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        var job = world.Job();
        for (var no = 0; no < 100; no++)
        {
            world.Chunk(job, no, unitsPerTask: 100);
        }

        var decision = (SendDispatch)world.Plan()[0];
        Assert.InRange(decision.Why.Estimated.TotalMilliseconds, 900, 1010);
        Assert.Equal(Reasons.BulkFull, decision.Why.Code);
    }

    [Fact]
    public void A_chunk_that_takes_longer_is_cut()
    {
        var world = new PolicyWorld(new PolicyOptions { DispatchesPerLaneMax = 1 }).Knows();
        world.Worker();
        world.Chunk(tasks: 500, unitsPerTask: 10_000);

        var first = Assert.Single(world.Sends());
        Assert.InRange(first.Slices[0].Count, 90, 101);
        world.Finish(first);
        Assert.Equal(first.Slices[0].Count, Assert.Single(world.Sends()).Slices[0].First);
    }

    [Fact]
    public void One_task_is_sent_however_long_it_takes()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        world.Chunk(tasks: 1, unitsPerTask: 2_000_000_000);

        var sent = Assert.Single(world.Sends());
        Assert.Equal(2_000_000_000, sent.PaddedUnitsMax);
    }

    [Fact]
    public void A_lane_holds_one_that_runs_and_one_that_is_staged()
    {
        var world = new PolicyWorld(new PolicyOptions { TasksMax = 512 }).Knows();
        var worker = world.Worker();
        for (var i = 0; i < 5; i++)
        {
            world.Chunk();
        }

        var sent = world.Sends();
        Assert.Equal(2, sent.Count);
        Assert.Empty(world.Sends());
        world.Finish(sent[0]);
        Assert.Equal(worker, Assert.Single(world.Sends()).Worker);
    }

    [Fact]
    public void What_is_not_full_is_staged_only_when_the_running_one_is_about_to_end()
    {
        var world = new PolicyWorld().Knows();
        var worker = world.Worker();
        for (var no = 0; no < 15; no++)
        {
            world.Chunk();
        }

        world.Sends(); // about 770 ms
        world.Chunk();
        Assert.Empty(world.Sends());

        var wake = world.Planner.NextWake(world.Now);
        Assert.InRange((wake - world.Now).TotalMilliseconds, 400, 500);
        world.Wait(wake - world.Now);
        Assert.Equal(Reasons.BulkNext, Assert.Single(world.Sends()).Reason);
        Assert.Equal(2, world.Planner.Fleet.Find(worker)!.Lane(Lane.Bulk).Flights.Count);
    }

    [Fact]
    public void A_small_job_takes_the_next_place_though_it_is_not_full_where_another_models_bulk_would()
    {
        var other = new ModelRef("classifier", "1.0.0");
        var world = new PolicyWorld().Knows().Knows(other);
        world.Worker(PolicyWorld.Model, other);
        for (var no = 0; no < 100; no++)
        {
            world.Chunk();
        }

        var sent = world.Sends(); // A second runs, a second is staged.
        world.Chunk(tasks: 10, model: other, latencyClass: LatencyClass.Standard);
        Assert.Empty(world.Sends());
        world.Finish(sent[0]);

        var next = Assert.Single(world.Sends());
        Assert.Equal((other, Reasons.BulkNext), (next.Model, next.Reason));
        world.Finish(sent[1]);
        Assert.Equal(PolicyWorld.Model, Assert.Single(world.Sends()).Model);
    }

    [Fact]
    public void A_small_job_waits_for_company_where_nothing_else_wants_the_place()
    {
        var other = new ModelRef("classifier", "1.0.0");
        var world = new PolicyWorld().Knows().Knows(other);
        world.Worker(PolicyWorld.Model, other);
        for (var no = 0; no < 15; no++)
        {
            world.Chunk();
        }

        world.Sends(); // about 770 ms
        world.Chunk(tasks: 10);
        world.Chunk(tasks: 10, model: other, latencyClass: LatencyClass.Standard);

        Assert.Empty(world.Sends());
    }

    [Fact]
    public void The_last_work_of_a_job_is_shared_by_idle_workers()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        world.Worker();
        world.Chunk(tasks: 500, unitsPerTask: 1000);

        var sent = world.Sends();
        Assert.Equal(2, sent.Select(s => s.Worker).Distinct().Count());
        Assert.Equal(Reasons.BulkTail, sent[0].Reason);
        Assert.Equal(500, sent.Sum(s => s.Slices.Sum(x => x.Count)));
    }

    [Fact]
    public void The_worker_that_has_the_model_is_preferred()
    {
        var world = new PolicyWorld().Knows();
        world.Worker(new ModelRef("other", "1"));
        var has = world.Worker();
        world.Chunk(tasks: 1, latencyClass: LatencyClass.Express);

        Assert.Equal(has, Assert.Single(world.Sends()).Worker);
    }

    [Fact]
    public void The_first_dispatch_to_a_model_nobody_measured_is_small()
    {
        var world = new PolicyWorld(new PolicyOptions { DispatchesPerLaneMax = 1 });
        world.Worker();
        for (var i = 0; i < 20; i++)
        {
            world.Chunk(unitsPerTask: 1);
        }

        var first = Assert.Single(world.Sends());
        Assert.Equal(512, first.Slices.Sum(s => s.Count));
        world.Finish(first, SliceOutcome.Done, new BatchFact(512, 512, 512, 1_000_000), new BatchFact(256, 256, 256, 600_000));
        Assert.InRange(Assert.Single(world.Sends()).Slices.Sum(s => s.Count), 5000, 512 * 19);
    }

    [Fact]
    public void What_was_handed_back_is_planned_again_and_what_is_done_is_not()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        var chunk = world.Chunk(tasks: 100);
        var sent = Assert.Single(world.Sends());

        world.Observe(
            new DispatchEnded(
                PolicyWorld.Report(sent, SliceOutcome.Done, new BatchFact(60, 6000, 6000, 7_000_000)) with
                {
                    Slices =
                    [
                        new SliceReport(chunk.Job, 0, 0, 60, SliceOutcome.Done),
                        new SliceReport(chunk.Job, 0, 60, 40, SliceOutcome.HandedBack),
                    ],
                }
            )
        );

        Assert.Equal([new Slice(chunk.Job, 0, 60, 40)], Assert.Single(world.Sends()).Slices);
    }

    [Fact]
    public void A_lane_that_hands_everything_back_is_left_alone_for_a_while()
    {
        var world = new PolicyWorld().Knows();
        world.Worker();
        world.Chunk();
        world.Finish(Assert.Single(world.Sends()), SliceOutcome.HandedBack);

        Assert.Empty(world.Sends());
        world.Wait(TimeSpan.FromMilliseconds(260));
        world.Finish(Assert.Single(world.Sends()), SliceOutcome.HandedBack);
        world.Wait(TimeSpan.FromMilliseconds(260));
        Assert.Empty(world.Sends());
    }

    [Fact]
    public void A_draining_worker_gets_nothing_more()
    {
        var world = new PolicyWorld().Knows();
        world.Beat(world.Worker(), draining: true);
        world.Chunk();

        Assert.Empty(world.Sends());
    }

    [Fact]
    public void Facts_about_the_unknown_change_nothing()
    {
        var world = new PolicyWorld().Knows();
        var worker = world.Worker();
        world.Chunk();
        var sent = Assert.Single(world.Sends());
        world.Finish(sent);
        world.Finish(sent);
        world.Observe(new DispatchReturned(sent.Id, true));
        world.Observe(new DispatchFaulted(sent.Id, "late"));
        world.Observe(new JobCancelled(world.Job()));
        world.Observe(new JobPaused(world.Job()));
        world.Observe(new JobResumed(world.Job()));
        world.Observe(new WorkerGone(worker, [(new ChunkKey(world.Job(), 3), 1)]));
        world.Observe(new WorkerGone(worker, []));
        world.Observe(new ChunksEnded([new ChunkKey(world.Job(), 0)]));
        world.Chunk(tasks: 0, remaining: 0);

        Assert.Empty(world.Plan());
        Assert.Equal(0, world.Planner.Backlog.ChunksOpen);
    }

    [Fact]
    public void The_same_facts_give_the_same_decisions()
    {
        Assert.Equal(Run(), Run());

        static List<string> Run()
        {
            var world = new PolicyWorld(new PolicyOptions { TasksMax = 1000 }).Knows();
            world.Worker();
            world.Worker();
            for (var i = 0; i < 20; i++)
            {
                world.Chunk(tasks: 100 + i, latencyClass: (LatencyClass)(i % 3));
            }

            return [.. world.Plan().Select(d => $"{d.Why} {((SendDispatch)d).Dispatch.Id}")];
        }
    }
}
