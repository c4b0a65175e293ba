using System.Text;
using Pipeline.Contracts;
using Pipeline.Tests.Support.Servers;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.Integration.Worker;

public sealed class WorkerTests
{
    [Fact]
    public async Task Runs_every_task_of_many_chunks_and_ends_the_job()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await world.SeedAsync(Texts(100));

        var finished = await world.RunAsync(job);

        Assert.All(finished.Slices, s => Assert.Equal(SliceOutcome.Done, s.Outcome));
        Assert.Equal(job.Slices.Count, finished.Slices.Count);
        Assert.Equal(100, finished.Batches.Sum(b => b.Rows));
        Assert.Equal("completed", await world.Database.ScalarAsync<string>("SELECT state FROM jobs"));
        await AssertAnswersAsync(world, job);
        await world.StopAsync();
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    [Fact]
    public async Task Runs_over_RabbitMQ_as_in_memory()
    {
        await using var vhost = await TestRabbitMq.CreateVhostAsync();
        await using var world = await WorkerWorld.StartAsync(vhost.Uri);
        var job = await world.SeedAsync(Texts(50));

        var finished = await world.RunAsync(job);

        Assert.All(finished.Slices, s => Assert.Equal(SliceOutcome.Done, s.Outcome));
        await AssertAnswersAsync(world, job);
        await world.StopAsync();
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    [Fact]
    public async Task A_broken_connection_to_the_broker_costs_no_work_and_the_lanes_come_back()
    {
        await using var vhost = await TestRabbitMq.CreateVhostAsync();
        await using var world = await WorkerWorld.StartAsync(vhost.Uri);
        world.Model.Hold();
        var before = await world.SeedAsync(Texts(8));
        await world.SendAsync(before);
        await world.Model.OnDevice;

        await vhost.CloseConnectionsAsync();
        world.Model.LetGo();
        var after = await world.SeedAsync(Texts(8, "later"));
        await world.FinishedAsync(await world.SendUntilTakenAsync(after));

        // The dispatch that was under way is committed; who sent it has perhaps not heard so, and asks again.
        await world.FinishedAsync(await world.SendUntilTakenAsync(before));
        await AssertAnswersAsync(world, before);
        await AssertAnswersAsync(world, after);
        Assert.Equal(16, world.Model.Runs.Sum(r => r.Length));
    }

    [Fact]
    public async Task Stacks_tasks_of_like_length_within_the_padded_units_of_the_dispatch()
    {
        await using var world = await WorkerWorld.StartAsync(batchRowsMax: 100);
        var job = await world.SeedAsync([.. Enumerable.Range(0, 40).Select(i => new string('x', i % 2 == 0 ? 1 : 50))]);

        var finished = await world.RunAsync(job, d => d with { PaddedUnitsMax = 500 });

        Assert.All(finished.Batches, b => Assert.True(b.PaddedUnits <= 500));
        Assert.Equal(finished.Batches.Sum(b => b.Units), finished.Batches.Sum(b => b.PaddedUnits));
    }

    [Fact]
    public async Task Express_overtakes_bulk_at_the_next_batch()
    {
        await using var world = await WorkerWorld.StartAsync();
        world.Model.Hold();
        var bulk = await world.SendAsync(await world.SeedAsync(Texts(40)));
        await world.Model.OnDevice;

        var express = await world.SendAsync(await world.SeedAsync(Texts(8, "urgent")), d => d with { Lane = Lane.Express });
        await world.WaitsForDeviceAsync("urgent");
        world.Model.LetGo();
        await world.FinishedAsync(express);
        await world.FinishedAsync(bulk);

        Assert.All(world.Model.Runs.Take(1..3), r => Assert.StartsWith("urgent", r[0], StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_slice_planned_again_runs_only_what_has_no_result()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await world.SeedAsync(Texts(8));
        await world.RunAsync(job, d => d with { Slices = [new Slice(job.Id, 0, 2, 3)] });

        var again = await world.RunAsync(job);

        Assert.All(again.Slices, s => Assert.Equal(SliceOutcome.Done, s.Outcome));
        Assert.Equal(5, again.Batches.Sum(b => b.Rows));
        Assert.Equal(8, world.Model.Runs.Sum(r => r.Length));
        await AssertAnswersAsync(world, job);
    }

    [Fact]
    public async Task A_chunk_that_is_done_is_answered_without_running()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await world.SeedAsync(Texts(8));
        await world.RunAsync(job);

        var again = await world.RunAsync(job);

        Assert.Equal([SliceOutcome.Done], again.Slices.Select(s => s.Outcome));
        Assert.Empty(again.Batches);
    }

    [Fact]
    public async Task What_was_dispatched_twice_has_one_row_and_the_rest_is_waste()
    {
        await using var world = await WorkerWorld.StartAsync();
        world.Model.Hold();
        var job = await world.SeedAsync(Texts(8));
        var first = await world.SendAsync(job);
        await world.Model.OnDevice;
        var second = await world.SendAsync(job, d => d with { Lane = Lane.Express });
        await world.WaitsForDeviceAsync("text", batches: 4);

        world.Model.LetGo();
        await world.FinishedAsync(first);
        await world.FinishedAsync(second);
        await world.StopAsync();

        Assert.Equal(16, world.Model.Runs.Sum(r => r.Length));
        await AssertAnswersAsync(world, job);
        Assert.True((await LedgerCheck.AccountAsync(world.Rows, LedgerAccount.Waste, "duplicate")).Ns > 0);
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    [Fact]
    public async Task A_batch_that_fails_is_halved_until_the_culprit_fails_alone()
    {
        await using var world = await WorkerWorld.StartAsync(batchRowsMax: 16);
        var texts = Texts(16);
        texts[11] = FakeModel.Fails;
        var job = await world.SeedAsync(texts, chunkTasks: 16);

        await world.RunAsync(job);
        await world.StopAsync();

        Assert.Equal(["model_failed"], await ErrorsAsync(world));
        Assert.Equal([11], await world.SeqsAsync("status = 'failed'"));
        Assert.Equal("completed", await world.Database.ScalarAsync<string>("SELECT state FROM jobs"));
        // The culprit has no batch that would tell where it ran.
        Assert.Equal(
            0L,
            await world.Database.ScalarAsync<long>("SELECT count(*) FROM endings WHERE worker IS DISTINCT FROM (SELECT id FROM workers)")
        );
        // 16, 8 8, 4 4, 2 2, 1 1: of the nine runs those with the culprit are for nothing.
        Assert.Equal(9, world.Model.Runs.Count);
        Assert.True((await LedgerCheck.AccountAsync(world.Rows, LedgerAccount.Waste, "bisected")).Ns > 0);
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    [Fact]
    public async Task An_input_that_does_not_suit_the_model_fails_alone()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await world.SeedAsync(["fine", FakeModel.Bad, "fine too"]);

        await world.RunAsync(job);

        Assert.Equal(["invalid_input"], await ErrorsAsync(world));
        Assert.Equal([0, 2], await world.SeqsAsync("status = 'succeeded'"));
    }

    [Fact]
    public async Task An_output_that_cannot_be_read_fails_alone()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await world.SeedAsync(["fine", FakeModel.Spoils, "fine too"]);

        await world.RunAsync(job);
        await world.StopAsync();

        Assert.Equal(["model_failed"], await ErrorsAsync(world));
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    [Fact]
    public async Task A_dispatch_of_a_model_that_cannot_be_loaded_is_handed_back_with_the_reason()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await world.SeedAsync(Texts(1));

        var finished = await world.RunAsync(job, d => d with { Model = new ModelRef("nobody", "1") });

        Assert.Contains("nobody@1", finished.NotLoaded, StringComparison.Ordinal);
        Assert.Equal([SliceOutcome.HandedBack], finished.Slices.Select(s => s.Outcome));
        Assert.Equal(0, world.Models.Lent);
        Assert.Null((await world.RunAsync(job)).NotLoaded);
    }

    [Fact]
    public async Task A_cancelled_jobs_work_is_handed_back()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await world.SeedAsync(Texts(8));
        await world.Database.ExecuteAsync("UPDATE jobs SET state = 'cancelling'");

        var finished = await world.RunAsync(job);

        Assert.Equal([SliceOutcome.HandedBack], finished.Slices.Select(s => s.Outcome));
        Assert.Empty(world.Model.Runs);
    }

    [Fact]
    public async Task Suspects_run_in_order_and_each_is_committed_before_the_next_runs()
    {
        await using var world = await WorkerWorld.StartAsync();
        world.Model.Hold();
        var job = await world.SeedAsync([.. Enumerable.Range(0, 5).Select(i => new string('x', 9 - i))]);
        var dispatch = await world.SendAsync(job, d => d with { CommitRowsMax = 1 });

        for (var done = 0; done < 5; done++)
        {
            await world.Model.OnDevice;
            Assert.Equal(Enumerable.Range(0, done), await world.SeqsAsync());
            world.Model.LetOneThrough();
        }

        await world.FinishedAsync(dispatch);
        Assert.Equal(job.Inputs.Select(i => new[] { i }), world.Model.Runs);
    }

    [Fact]
    public async Task The_workers_row_lists_what_is_on_the_device_and_nothing_staged()
    {
        await using var world = await WorkerWorld.StartAsync();
        world.Model.Hold();
        var first = await world.SendAsync(await world.SeedAsync(Texts(8)));
        await world.Model.OnDevice;
        var second = await world.SendAsync(await world.SeedAsync(Texts(8, "later")));
        await world.WaitsForDeviceAsync("later");

        var beat = await world.HeartbeatAsync(h => h.Held.Count == 2);
        Assert.Equal([first.Id], beat.Held.Where(h => h.Begun).Select(h => h.Id));
        Assert.Equal([first.Id.ToString()], await world.BegunAsync());

        world.Model.LetGo();
        await world.FinishedAsync(first);
        await world.FinishedAsync(second);
        Assert.Empty(await world.BegunAsync());
    }

    [Fact]
    public async Task While_PostgreSQL_breaks_connections_nothing_is_lost_or_written_twice()
    {
        await using var world = await WorkerWorld.StartAsync(settings: ("Worker:WriteRowsMax", "8"));
        world.Model.Hold();
        var job = await world.SeedAsync(Texts(400), chunkTasks: 40);
        var finished = world.FinishedAsync(await world.SendAsync(job));
        for (var broken = 0; broken < 50; broken++)
        {
            await world.Model.OnDevice;
            world.Model.LetOneThrough();
            await world.BreakConnectionsAsync();
        }

        world.Model.LetGo();
        await finished;
        await world.StopAsync();
        await AssertAnswersAsync(world, job);
        Assert.Equal("completed", await world.Database.ScalarAsync<string>("SELECT state FROM jobs"));
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    [Fact]
    public async Task Results_PostgreSQL_refuses_fault_their_dispatch_and_no_other()
    {
        await using var world = await WorkerWorld.StartAsync(batchRowsMax: 100);
        world.Model.Hold();
        var (good, refused) = (await world.SeedAsync(Texts(4)), await world.SeedAsync(Texts(4)));
        await world.Database.ExecuteAsync($"ALTER TABLE results ADD CONSTRAINT refused CHECK (job <> '{refused.Id}') NOT VALID");
        var first = await world.SendAsync(refused);
        var second = await world.SendAsync(good);

        world.Model.LetGo();
        await world.FinishedAsync(second);
        Assert.Contains("refused", await world.FaultAsync(first), StringComparison.Ordinal);
        await world.StopAsync();

        Assert.Equal(4, await world.Database.ScalarAsync<long>("SELECT count(*) FROM results"));
        Assert.True((await LedgerCheck.AccountAsync(world.Rows, LedgerAccount.Waste, "refused")).Ns > 0);
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    [Fact]
    public async Task Stopping_finishes_the_batch_on_the_device_and_hands_back_the_rest()
    {
        await using var world = await WorkerWorld.StartAsync();
        world.Model.Hold();
        var running = await world.SendAsync(await world.SeedAsync([.. Enumerable.Repeat("as long", 8)], chunkTasks: 4));
        await world.Model.OnDevice;
        var staged = await world.SendAsync(await world.SeedAsync(Texts(8)));
        await world.HeartbeatAsync(h => h.Held.Count == 2);

        var stop = world.BeginStop();
        await world.HeartbeatAsync(h => h.Draining);
        world.Model.LetGo();
        var (ranPartly, handedBack) = (await world.FinishedAsync(running), await world.FinishedAsync(staged));
        await stop;

        Assert.Single(world.Model.Runs);
        Assert.Equal(4, await world.Database.ScalarAsync<long>("SELECT count(*) FROM results"));
        Assert.Equal([SliceOutcome.Done, SliceOutcome.HandedBack], ranPartly.Slices.Select(s => s.Outcome));
        Assert.Equal([SliceOutcome.HandedBack], handedBack.Slices.Select(s => s.Outcome));
        Assert.Equal("stopped", await world.Database.ScalarAsync<string>("SELECT state FROM workers"));
        Assert.Equal(0, world.Models.Lent);
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    [Fact]
    public async Task A_dispatch_of_an_older_epoch_is_handed_back()
    {
        await using var world = await WorkerWorld.StartAsync();
        await world.PublishAsync(new SchedulerChanged { Epoch = 7, Instance = Guid.NewGuid() });
        await world.HeartbeatAsync(h => h.Epoch == 7);

        var finished = await world.RunAsync(await world.SeedAsync(Texts(8)), d => d with { Epoch = 6 });

        Assert.Equal([SliceOutcome.HandedBack], finished.Slices.Select(s => s.Outcome));
        Assert.Empty(world.Model.Runs);
    }

    [Fact]
    public async Task A_new_scheduler_gets_back_what_is_staged_and_not_what_has_begun()
    {
        await using var world = await WorkerWorld.StartAsync();
        world.Model.Hold();
        var begun = await world.SendAsync(await world.SeedAsync(Texts(8)));
        await world.Model.OnDevice;
        var staged = await world.SendAsync(await world.SeedAsync(Texts(8, "later")));
        await world.WaitsForDeviceAsync("later");

        await world.PublishAsync(new SchedulerChanged { Epoch = 2, Instance = Guid.NewGuid() });
        var handedBack = await world.FinishedAsync(staged);
        world.Model.LetGo();
        var done = await world.FinishedAsync(begun);

        Assert.All(handedBack.Slices, s => Assert.Equal(SliceOutcome.HandedBack, s.Outcome));
        Assert.All(done.Slices, s => Assert.Equal(SliceOutcome.Done, s.Outcome));
        Assert.Equal(8, world.Model.Runs.Sum(r => r.Length));
        Assert.Equal(0, world.Models.Lent);
    }

    [Fact]
    public async Task A_worker_that_was_declared_lost_drops_its_work_and_registers_anew()
    {
        await using var world = await WorkerWorld.StartAsync();
        world.Model.Hold();
        var job = await world.SeedAsync(Texts(8));
        _ = await world.SendAsync(job);
        await world.Model.OnDevice;
        var lost = world.Worker;

        await world.DeclareLostAsync();
        world.Model.LetGo();
        await world.NextLifeAsync();

        Assert.NotEqual(lost, world.Worker);
        Assert.Equal(0, await world.Database.ScalarAsync<long>("SELECT count(*) FROM results"));
        await world.RunAsync(job);
        await AssertAnswersAsync(world, job);
        await world.StopAsync();
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    [Fact]
    public async Task An_idle_worker_keeps_its_books_open_to_the_present()
    {
        await using var world = await WorkerWorld.StartAsync();
        await world.HeartbeatAsync(h => h.UptimeNs > 500_000_000);

        Assert.True(await world.Database.ScalarAsync<long>("SELECT accounted_ns FROM workers") > 0);
        await world.StopAsync();
        Assert.True((await LedgerCheck.AccountAsync(world.Rows, LedgerAccount.Idle)).Ns > 400_000_000);
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    private static string[] Texts(int count, string word = "text") =>
        [.. Enumerable.Range(0, count).Select(i => $"{word} number {i}{new string('.', i % 7)}")];

    private static async Task<IReadOnlyList<string>> ErrorsAsync(WorkerWorld world) =>
        await world.Database.ScalarAsync<string[]>("SELECT array_agg(error_code ORDER BY seq) FROM results WHERE error_code IS NOT NULL")
        ?? [];

    private static Task AssertAnswersAsync(WorkerWorld world, SeededJob job) => ReuseTests.AssertAnswersAsync(world, job);
}
