using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Scheduler.Service;
using Xunit;

namespace Pipeline.Tests.Integration.Scheduler;

/// <summary>Workers and schedulers that die, over a real broker and a real database.</summary>
public class LossAndTakeOverTests
{
    [Fact]
    public async Task A_lost_workers_books_are_closed_and_what_it_had_begun_is_suspected()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        await world.StartSchedulerAsync();
        var lost = await world.StartWorkerAsync();
        var job = await world.SubmitAsync(chunkTasks: [10]);
        await lost.BeginAsync(await lost.NextAsync());
        await lost.KillAsync();
        var other = await world.StartWorkerAsync();

        var again = await other.NextAsync();
        Assert.Equal([new Slice(job, 0, 0, 10)], again.Slices);
        Assert.Equal((64, Reasons.SuspectAlone), (again.CommitRowsMax, again.Reason));
        Assert.Equal(1, await world.Database.ScalarAsync<int>("SELECT attempts FROM chunks WHERE job = $1", job.Value));
        await AssertBooksCloseAsync(world, lost);
        await other.FinishAsync(again);
        await world.UntilJobIsAsync(job, "completed");
    }

    [Fact]
    public async Task What_was_only_staged_is_no_suspect()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        await world.StartSchedulerAsync();
        var lost = await world.StartWorkerAsync();
        await world.SubmitAsync(chunkTasks: [10]);
        await lost.NextAsync();
        await lost.KillAsync();
        var other = await world.StartWorkerAsync();

        Assert.Null((await other.NextAsync()).CommitRowsMax);
        await AssertBooksCloseAsync(world, lost);
    }

    [Fact]
    public async Task A_task_that_kills_every_worker_fails_alone()
    {
        const int Culprit = 77;
        await using var world = await SchedulerWorld.CreateAsync();
        await world.StartSchedulerAsync();
        var job = await world.SubmitAsync(chunkTasks: [100]);
        var deaths = 0;
        while (true)
        {
            var worker = await world.StartWorkerAsync();
            var dispatch = await worker.NextAsync();
            await worker.BeginAsync(dispatch);
            if (await RunAsync(world, worker, dispatch, Culprit))
            {
                break;
            }

            deaths++;
            await worker.KillAsync();
        }

        await world.UntilJobIsAsync(job, "completed");
        Assert.Equal(4, deaths);
        Assert.Equal(99, await world.Database.ScalarAsync<int>("SELECT succeeded FROM jobs WHERE id = $1", job.Value));
        Assert.Equal(
            "worker_crashed",
            await world.Database.ScalarAsync<string>("SELECT error_code FROM results WHERE job = $1 AND seq = $2", job.Value, Culprit)
        );
    }

    [Fact]
    public async Task A_worker_that_died_with_the_scheduler_is_closed_by_the_next_one()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        var job = await world.StoreJobAsync(chunkTasks: [10]);
        var dead = await world.PrepareWorkerAsync();
        await world.Database.ExecuteAsync(
            "UPDATE workers SET begun = jsonb_build_array(jsonb_build_object('job', $2::text, 'no', 0)), uptime_ns = 5000000000, accounted_ns = 2000000000 WHERE id = $1",
            dead.Id.Value,
            job.Value.ToString()
        );
        await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();

        Assert.Equal(64, (await worker.NextAsync()).CommitRowsMax);
        Assert.Equal(
            Cost.Interval(2_000_000_000, 5_000_000_000, ScriptedWorker.PricePerHour),
            await world.Database.ScalarAsync<long>(
                "SELECT sum(pico)::bigint FROM ledger WHERE worker = $1 AND account = 'waste'",
                dead.Id.Value
            )
        );
    }

    [Fact]
    public async Task A_worker_that_lives_is_not_closed_by_a_scheduler_that_has_not_heard_it_yet()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        var worker = await world.StartWorkerAsync();
        await world.Database.ExecuteAsync("UPDATE workers SET last_seen = now() - interval '1 hour'");
        var job = await world.StoreJobAsync(chunkTasks: [10]);
        await world.StartSchedulerAsync();

        await worker.FinishAsync(await worker.NextAsync());
        await world.UntilJobIsAsync(job, "completed");
        Assert.Equal("alive", await world.Database.ScalarAsync<string>("SELECT state FROM workers"));
    }

    [Fact]
    public async Task The_spare_takes_over_under_a_new_epoch_and_sends_nothing_twice()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        var first = await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();
        var held = await worker.NextAfterAsync(() => world.SubmitAsync(chunkTasks: [10]));
        await worker.BeginAsync(held);
        var second = await world.StartSchedulerAsync();
        Assert.Equal((true, false), (first.Loop.IsActive, second.Loop.IsActive));

        await first.DisposeAsync();
        var express = await worker.NextAfterAsync(() => world.SubmitAsync(LatencyClass.Express, chunkTasks: [1]));
        Assert.Equal(2, express.Epoch);
        await worker.FinishAsync(express);
        Assert.True(second.Loop.IsActive);
        await world.UntilAsync("the epoch", "SELECT epoch = 2 FROM scheduler_epoch");

        await worker.FinishAsync(held);
        var next = await worker.NextAfterAsync(() => world.SubmitAsync(chunkTasks: [10]));
        Assert.NotEqual(held.Slices, next.Slices);
        Assert.Equal(2, next.Epoch);
    }

    [Fact]
    public async Task An_instance_that_meets_a_newer_epoch_lets_go_and_takes_over_anew_when_it_is_served()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();
        await worker.FinishAsync(await SchedulerTests.FirstOfAsync(world, worker));

        await world.Database.ExecuteAsync("UPDATE scheduler_epoch SET epoch = 41");
        await world.UntilAsync("a term above it", "SELECT epoch = 42 FROM scheduler_epoch");
        var next = await SchedulerTests.FirstOfAsync(world, worker);
        Assert.Equal(42, next.Epoch);
    }

    /// <summary>Runs as a real worker would: row by row or in groups, each committed before the next; false when it died.</summary>
    private static async Task<bool> RunAsync(SchedulerWorld world, ScriptedWorker worker, Dispatch dispatch, int culprit)
    {
        var slice = Assert.Single(dispatch.Slices);
        var rows = dispatch.CommitRowsMax ?? slice.Count;
        for (var first = slice.First; first < slice.First + slice.Count; first += rows)
        {
            var group = new Slice(slice.Job, slice.No, first, Math.Min(rows, slice.First + slice.Count - first));
            var ended = await world.Database.ScalarAsync<bool>(
                "SELECT EXISTS (SELECT FROM results WHERE job = $1 AND seq = $2)",
                slice.Job.Value,
                culprit
            );
            if (!ended && group.First <= culprit && culprit < group.First + group.Count)
            {
                return false;
            }

            await worker.CommitAsync(dispatch with { Slices = [group] });
        }

        await worker.FinishAsync(dispatch);
        return true;
    }

    private static async Task AssertBooksCloseAsync(SchedulerWorld world, ScriptedWorker worker)
    {
        await world.UntilAsync(
            "the worker is lost",
            "SELECT state = 'lost' AND ended_at IS NOT NULL FROM workers WHERE id = $1",
            worker.Id.Value
        );
        var uptime = await world.Database.ScalarAsync<long>("SELECT accounted_ns FROM workers WHERE id = $1", worker.Id.Value);
        Assert.True(uptime > 0);
        Assert.Equal(
            uptime,
            await world.Database.ScalarAsync<long>("SELECT sum(ns)::bigint FROM ledger WHERE worker = $1", worker.Id.Value)
        );
        Assert.Equal(
            Cost.RunningTotal(uptime, ScriptedWorker.PricePerHour),
            await world.Database.ScalarAsync<long>("SELECT sum(pico)::bigint FROM ledger WHERE worker = $1", worker.Id.Value)
        );
    }
}
