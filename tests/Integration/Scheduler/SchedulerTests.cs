using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Scheduler.Policy;
using Pipeline.Scheduler.Service;
using Pipeline.Tests.Integration.Transport;
using Xunit;

namespace Pipeline.Tests.Integration.Scheduler;

/// <summary>The service over a real broker and a real database, with workers that follow a script.</summary>
public class SchedulerTests
{
    [Theory]
    [InlineData(LatencyClass.Express, Lane.Express)]
    [InlineData(LatencyClass.Standard, Lane.Bulk)]
    [InlineData(LatencyClass.Bulk, Lane.Bulk)]
    public async Task What_is_submitted_is_dispatched_and_completes(LatencyClass latencyClass, Lane lane)
    {
        await using var world = await SchedulerWorld.CreateAsync();
        await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();

        var job = await world.SubmitAsync(latencyClass, chunkTasks: [10, 3]);
        for (var tasks = 0; tasks < 13; )
        {
            var dispatch = await worker.NextAsync();
            Assert.Equal((worker.Id, lane, 1L), (dispatch.Worker, dispatch.Lane, dispatch.Epoch));
            Assert.All(dispatch.Slices, s => Assert.Equal(job, s.Job));
            tasks += dispatch.Slices.Sum(s => s.Count);
            await worker.FinishAsync(dispatch);
        }

        await world.UntilJobIsAsync(job, "completed");
        Assert.False(worker.HasMore);
    }

    [Fact]
    public async Task The_same_over_the_transport_inside_one_process()
    {
        await using var world = await SchedulerWorld.CreateAsync(inMemory: true);
        var worker = await world.PrepareWorkerAsync();
        var scheduler = await world.StartSchedulerAsync(worker);
        await worker.StartAsync(scheduler.Bus);

        var job = await world.StoreJobAsync(chunkTasks: [10]);
        await scheduler.Bus.Publish(
            new ChunkSubmitted
            {
                Job = job,
                No = 0,
                Tenant = TenantId.New(DateTimeOffset.UtcNow),
                Model = new ModelRef("m", "1"),
                Class = LatencyClass.Bulk,
                Deadline = DateTimeOffset.UtcNow.AddHours(1),
                QueuedAt = DateTimeOffset.UtcNow,
                FirstSeq = 0,
                Tasks = 10,
                Units = 10,
                UnitsMax = 1,
            }
        );

        await worker.FinishAsync(await worker.NextAsync());
        await world.UntilJobIsAsync(job, "completed");
    }

    [Fact]
    public async Task What_waited_before_it_started_is_read_from_PostgreSQL()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        var job = await world.StoreJobAsync(chunkTasks: [10, 10, 10]);
        await world.Database.ExecuteAsync("UPDATE chunks SET remaining = 0, succeeded = 10 WHERE no = 1");
        var receiving = await world.StoreJobAsync(chunkTasks: [10]);
        await world.Database.ExecuteAsync(
            "UPDATE jobs SET state = 'receiving', queued_at = NULL, chunks = 0, open_chunks = 0 WHERE id = $1",
            receiving.Value
        );
        await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();

        var dispatch = await worker.NextAsync();
        Assert.Equal([new Slice(job, 0, 0, 10), new Slice(job, 2, 0, 10)], dispatch.Slices);
    }

    [Fact]
    public async Task A_chunk_whose_message_was_lost_is_found_by_the_sweep()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        world.Settings["Scheduler:SweepEvery"] = "00:00:00.2";
        world.Settings["Scheduler:SweepPageRows"] = "2";
        await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();
        await worker.FinishAsync(await FirstOfAsync(world, worker));

        var job = await world.StoreJobAsync(chunkTasks: [1, 1, 1, 1, 1]);
        for (var tasks = 0; tasks < 5; )
        {
            var dispatch = await worker.NextAsync();
            tasks += dispatch.Slices.Count;
            await worker.FinishAsync(dispatch);
        }

        await world.UntilJobIsAsync(job, "completed");
    }

    [Fact]
    public async Task A_workers_clock_is_written_down_and_a_forecast_goes_out()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        var forecasts = Forecasts();
        await world.StartSchedulerAsync(forecasts);
        var worker = await world.StartWorkerAsync();
        await worker.FinishAsync(await FirstOfAsync(world, worker));

        await world.UntilAsync("the clock", "SELECT uptime_ns > 0 FROM workers WHERE id = $1", worker.Id.Value);
        Forecast forecast;
        do
        {
            forecast = await forecasts.NextAsync<Forecast>();
        } while (forecast.Pools.Count == 0);

        Assert.Equal(("default", new ModelRef("m", "1"), 1), (forecast.Pools[0].Pool, forecast.Pools[0].Model, forecast.Pools[0].Workers));
    }

    [Fact]
    public async Task A_forecast_goes_out_as_soon_as_something_happened()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        world.Settings["Scheduler:ChoresEvery"] = "00:01:00";
        var forecasts = Forecasts();
        await world.StartSchedulerAsync(forecasts);
        var worker = await world.StartWorkerAsync();
        await FirstOfAsync(world, worker);

        Forecast forecast;
        do
        {
            forecast = await forecasts.NextAsync<Forecast>();
        } while (forecast.Pools.Count == 0);
    }

    [Fact]
    public async Task A_returned_dispatch_goes_to_another_worker()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        world.Settings["Scheduler:Policy:WorkerLostAfter"] = "00:00:20";
        world.Settings["Scheduler:Policy:DispatchUnlistedAfter"] = "00:00:20";
        await world.StartSchedulerAsync();
        var gone = await world.StartWorkerAsync();
        await gone.FinishAsync(await FirstOfAsync(world, gone));
        await gone.KillAsync();
        var alive = await world.StartWorkerAsync();

        var job = await world.SubmitAsync(LatencyClass.Express, chunkTasks: [1]);
        Assert.Equal(job, (await alive.NextAsync()).Slices[0].Job);
    }

    [Fact]
    public async Task A_dispatch_that_faults_comes_back_smaller_and_its_tasks_fail_with_the_reason()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        world.Settings["Scheduler:Policy:FaultsMax"] = "1";
        world.Settings["Scheduler:Policy:RefusalPauseMax"] = "00:00:00.1";
        await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();
        worker.ThrowsAlways = "the device is on fire";

        var job = await world.SubmitAsync(chunkTasks: [8]);
        Assert.Equal(8, (await worker.NextAsync()).Slices[0].Count);
        Assert.Equal(2, (await worker.NextAsync()).Slices[0].Count);
        await world.UntilJobIsAsync(job, "completed");
        Assert.Equal(
            8,
            await world.Database.ScalarAsync<long>(
                "SELECT count(*) FROM results WHERE job = $1 AND status = 'failed' AND error_code = 'dispatch_failed' AND error_message LIKE '%the device is on fire%'",
                job.Value
            )
        );
    }

    [Fact]
    public async Task A_paused_job_waits_until_it_is_resumed()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        await world.StartSchedulerAsync();
        var job = await world.SubmitAsync(chunkTasks: [5]);
        await world.AskAsync<JobChanged, JobChangeObserved>(new() { Job = job, Change = JobChange.Paused });
        var other = await world.SubmitAsync(chunkTasks: [5]);
        var worker = await world.StartWorkerAsync();

        var first = await worker.NextAsync();
        Assert.Equal(other, Assert.Single(first.Slices).Job);
        await worker.FinishAsync(first);
        await world.UntilJobIsAsync(other, "completed");
        await world.PublishAsync(new JobChanged { Job = job, Change = JobChange.Resumed });
        await worker.FinishAsync(await worker.NextAsync());
        await world.UntilJobIsAsync(job, "completed");
    }

    [Fact]
    public async Task Who_pauses_a_job_is_answered_once_nothing_more_of_it_is_decided()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        await world.StartSchedulerAsync();
        var job = await world.SubmitAsync(chunkTasks: [5]);

        await world.AskAsync<JobChanged, JobChangeObserved>(new() { Job = job, Change = JobChange.Paused });

        var worker = await world.StartWorkerAsync();
        var other = await world.SubmitAsync(chunkTasks: [5]);
        Assert.Equal(other, Assert.Single((await worker.NextAsync()).Slices).Job);
    }

    [Fact]
    public async Task A_job_that_is_moved_to_another_class_goes_before_what_came_earlier()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        world.Settings["Scheduler:Policy:TasksMax"] = "5";
        await world.StartSchedulerAsync();
        await world.SubmitAsync(chunkTasks: [5]);
        var moved = await world.SubmitAsync(chunkTasks: [5]);
        var (now, deadline) = (DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddHours(1));
        await world.AskAsync<JobChanged, JobChangeObserved>(
            new JobChanged
            {
                Job = moved,
                Change = JobChange.Moved,
                Class = LatencyClass.Standard,
                Deadline = deadline,
                Since = now,
            }
        );
        var worker = await world.StartWorkerAsync();

        Assert.Equal(moved, Assert.Single((await worker.NextAsync()).Slices).Job);
    }

    [Fact]
    public async Task A_deadline_that_no_message_told_of_is_found_by_the_sweep()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        world.Settings["Scheduler:SweepEvery"] = "00:00:00.2";
        await world.StartSchedulerAsync();
        var job = await world.SubmitAsync(deadline: TimeSpan.FromHours(1), chunkTasks: [5]);
        await world.Database.ExecuteAsync("UPDATE jobs SET deadline = now() WHERE id = $1", job.Value);

        await world.UntilJobIsAsync(job, "expired");
    }

    [Fact]
    public async Task What_is_held_at_the_start_waits_while_other_work_goes_on_until_it_is_let_go()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        var held = await world.StoreJobAsync(chunkTasks: [5]);
        var other = await world.StoreJobAsync(chunkTasks: [5]);
        await world.Database.ExecuteAsync("INSERT INTO tenants (id, name, created_at) VALUES (gen_random_uuid(), 'u', now())");
        await world.Database.ExecuteAsync("UPDATE jobs SET tenant = (SELECT id FROM tenants WHERE name = 'u') WHERE id = $1", other.Value);
        await world.Database.ExecuteAsync("INSERT INTO holds (kind, name, reason, by, at) VALUES ('tenant', 't', 'why', 'me', now())");
        await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();

        var first = await worker.NextAsync();
        Assert.Equal(other, Assert.Single(first.Slices).Job);
        await worker.FinishAsync(first);
        await world.UntilJobIsAsync(other, "completed");
        await world.Database.ExecuteAsync("DELETE FROM holds");
        await world.PublishAsync(new HoldsChanged());
        var second = await worker.NextAsync();
        Assert.Equal(held, Assert.Single(second.Slices).Job);
    }

    [Fact]
    public async Task What_waits_of_a_cancelled_job_ends_cancelled_and_what_flies_may_finish()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        world.Settings["Scheduler:Policy:TasksMax"] = "10";
        await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();
        var job = await world.SubmitAsync(chunkTasks: [10, 10, 10]);
        var flying = await worker.NextAsync();

        await world.CancelAsync(job);
        await world.UntilAsync("the rest is cancelled", "SELECT sum(cancelled) = 20 FROM chunks WHERE job = $1", job.Value);
        Assert.Equal("cancelling", await world.StateAsync(job));
        await worker.FinishAsync(flying);
        await world.UntilJobIsAsync(job, "cancelled");
        Assert.Equal(10, await world.Database.ScalarAsync<int>("SELECT succeeded FROM jobs WHERE id = $1", job.Value));
        Assert.False(worker.HasMore);
    }

    [Fact]
    public async Task A_job_found_cancelling_at_the_start_is_ended()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        var job = await world.StoreJobAsync(state: "cancelling", chunkTasks: [10, 10]);
        await world.StartSchedulerAsync();

        await world.UntilJobIsAsync(job, "cancelled");
    }

    [Fact]
    public async Task What_nobody_ran_by_its_deadline_ends_expired()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        await world.StartSchedulerAsync();
        var job = await world.SubmitAsync(deadline: TimeSpan.FromSeconds(1), chunkTasks: [10, 7]);

        await world.UntilJobIsAsync(job, "expired");
        Assert.Equal(
            17,
            await world.Database.ScalarAsync<long>(
                "SELECT count(*) FROM results WHERE job = $1 AND status = 'expired' AND error_code = 'deadline_passed'",
                job.Value
            )
        );
    }

    [Fact]
    public async Task While_PostgreSQL_is_away_nothing_is_forgotten()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        // The outage alone is not to end its term; a machine that stands still for seconds would, by right.
        world.Settings["Scheduler:TickFreshFor"] = world.Settings["Scheduler:TickSilenceMax"] = "00:01:00";
        var scheduler = await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();
        await worker.FinishAsync(await FirstOfAsync(world, worker));
        var cancelled = await world.StoreJobAsync(state: "cancelling", chunkTasks: [10]);
        await world.AnnounceAsync(cancelled);

        await using (await DatabaseOutage.BeginAsync(world.Database))
        {
            await world.PublishAsync(new JobChanged { Job = cancelled, Change = JobChange.Cancelled });
            await worker.SilenceAsync();
            await UntilDeclaredLostAsync(scheduler, worker.Id);
            Assert.True(scheduler.Loop.IsActive);
        }

        await world.UntilJobIsAsync(cancelled, "cancelled");
        await world.UntilAsync("the worker is lost", "SELECT state = 'lost' FROM workers WHERE id = $1", worker.Id.Value);
    }

    private static Listener Forecasts() =>
        new(
            "forecasts",
            static (endpoint, l) =>
            {
                endpoint.AsTemporary(prefetch: 1);
                TransportTests.Hear<Forecast>(endpoint, l);
            }
        );

    /// <summary>The decision has fallen, though it cannot be carried out yet; nothing tells of that outside, so it asks the policy.</summary>
    private static async Task UntilDeclaredLostAsync(SchedulerProcess scheduler, WorkerId worker)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while (scheduler.Loop.Planner?.Fleet.Find(worker) is { Declared: false })
        {
            await Task.Delay(20, patience.Token);
        }
    }

    /// <summary>Submits a task and waits for its dispatch: from then on the scheduler is known to be active.</summary>
    internal static async Task<Dispatch> FirstOfAsync(SchedulerWorld world, ScriptedWorker worker)
    {
        await world.SubmitAsync(LatencyClass.Express, chunkTasks: [1]);
        return await worker.NextAsync();
    }
}
