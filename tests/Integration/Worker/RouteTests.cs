using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Scheduler.Policy;
using Pipeline.Scheduler.Service;
using Pipeline.Tests.Integration.Migrations;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.Integration.Worker;

/// <summary>
/// Tasks that go along a route of two variants, written by a real worker into a real PostgreSQL. The small model is unsure of every third
/// text, and the large one has the last word.
/// </summary>
public sealed class RouteTests
{
    private const string Probability = """{"probability_min": 0.5}""";

    [Fact]
    public async Task What_is_not_accepted_runs_on_the_next_variant_and_every_task_ends_once()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, 40, Probability);

        var first = await world.RunAsync(job);
        Assert.Equal(26, await world.Database.ScalarAsync<long>("SELECT count(*) FROM results"));
        Assert.Equal(14, await world.Database.ScalarAsync<long>("SELECT count(*) FROM turns"));
        Assert.All(first.Slices, s => Assert.Equal(SliceOutcome.Done, s.Outcome));
        Assert.Equal(14, first.Escalated!.Sum(c => c.Tasks));
        Assert.All(first.Escalated!, c => Assert.Equal(FakeModels.LargeName, c.Model));
        Assert.Equal("running", await world.Database.ScalarAsync<string>("SELECT state FROM jobs"));

        var second = await RunOnAsync(world, first);

        Assert.Null(second.Escalated);
        Assert.All(world.Models.Large.Runs.SelectMany(r => r), text => Assert.Contains(FakeModel.Unsure, text, StringComparison.Ordinal));
        Assert.Equal("completed 40", await world.Database.ScalarAsync<string>("SELECT state || ' ' || succeeded FROM jobs"));
        Assert.Equal(Enumerable.Range(0, 40), await world.SeqsAsync());
        Assert.Equal(
            "fake-large@1 2 14, fake@1 1 26",
            await world.Database.ScalarAsync<string>(
                "SELECT string_agg(concat_ws(' ', model, turns, n), ', ' ORDER BY model) FROM (SELECT model, turns, count(*) AS n FROM results GROUP BY 1, 2) r"
            )
        );
        Assert.Equal(
            Enumerable.Range(0, 40).Where(i => i % 3 == 0).Select(i => FakeModel.Answer(Text(i))),
            await world.Database.ScalarAsync<string[]>(
                "SELECT array_agg(convert_from(output, 'UTF8') ORDER BY seq) FROM results WHERE turns = 2"
            )
        );
        await world.StopAsync();
        await AssertBooksAsync(world);
    }

    [Fact]
    public async Task A_chunk_that_ran_twice_at_once_escalates_once_and_the_rest_is_waste()
    {
        await using var world = await WorkerWorld.StartAsync(batchRowsMax: 9);
        var job = await SeedAsync(world, 9, Probability, chunkTasks: 9);
        world.Model.Hold();
        var one = await world.SendAsync(job);
        await world.Model.OnDevice;
        var other = await world.SendAsync(job, d => d with { Lane = Lane.Express });
        await world.WaitsForDeviceAsync("", batches: 1);
        await world.HeartbeatAsync(h => h.Held.Count == 2);
        world.Model.LetOneThrough();
        world.Model.LetGo();

        DispatchFinished[] finished = [await world.FinishedAsync(one), await world.FinishedAsync(other)];

        var escalated = Assert.Single(finished, f => f.Escalated is not null);
        Assert.Equal(3, Assert.Single(escalated.Escalated!).Tasks);
        Assert.Equal(3, await world.Database.ScalarAsync<long>("SELECT count(*) FROM turns"));
        Assert.Equal(2, await world.Database.ScalarAsync<long>("SELECT count(*) FROM chunks"));
        await RunOnAsync(world, escalated);
        Assert.Equal("completed 9", await world.Database.ScalarAsync<string>("SELECT state || ' ' || succeeded FROM jobs"));
        await world.StopAsync();
        await AssertBooksAsync(world);
    }

    [Fact]
    public async Task A_chunk_whose_report_was_lost_is_found_in_PostgreSQL_and_runs_only_what_it_lacks()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, 24, Probability, chunkTasks: 24);
        await world.RunAsync(job);

        // Nobody has read the report: who takes over reads the chunks.
        var open = await new Recovery(world.Rows, new SchedulerOptions()).ReadPageAsync(new ChunkKey(default, -1), default);
        Assert.All(open, c => Assert.Equal((FakeModels.LargeName, c.Header.Tasks), (c.Header.Model, c.Header.Remaining)));
        Assert.Equal(8, open.Sum(c => c.Header.Remaining));
        foreach (var chunk in open.Select(c => c.Header))
        {
            await RunAsync(world, [new Slice(chunk.Job, chunk.No, 0, 1)]);
            await RunAsync(world, [new Slice(chunk.Job, chunk.No, 0, chunk.Tasks)]);
        }

        Assert.Equal(8, world.Models.Large.Runs.Sum(r => r.Length));
        Assert.Equal("completed 24", await world.Database.ScalarAsync<string>("SELECT state || ' ' || succeeded FROM jobs"));
        await world.StopAsync();
        await AssertBooksAsync(world);
    }

    [Fact]
    public async Task A_chunk_that_is_planned_again_tells_once_more_of_what_escalated_from_it()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, 9, Probability, chunkTasks: 9);
        var first = await world.RunAsync(job);

        var again = await world.RunAsync(job);
        await RunOnAsync(world, first);
        var done = await world.RunAsync(job);

        Assert.Equal(first.Escalated!.OrderBy(c => c.No), again.Escalated!.OrderBy(c => c.No));
        Assert.Empty(again.Batches);
        Assert.Null(done.Escalated);
    }

    [Fact]
    public async Task What_escalated_and_then_expired_or_was_convicted_keeps_what_its_turn_cost()
    {
        await using var world = await WorkerWorld.StartAsync(batchRowsMax: 9);
        var job = await SeedAsync(world, 9, Probability, chunkTasks: 9);
        var chunk = Assert.Single((await world.RunAsync(job)).Escalated!);
        var reason = new Why("test");
        var slice = new Slice(chunk.Job, chunk.No, 0, chunk.Tasks);

        await new TaskFailures(world.Rows, TimeProvider.System).WriteAsync(
            new FailTasks(slice, FirstOnly: true, FailureKind.WorkerCrashed, "It crashed.", reason),
            default
        );
        await ExpireAsync(world, slice.Chunk);

        Assert.Equal(
            "0 failed 1, 3 expired 1, 6 expired 1",
            await world.Database.ScalarAsync<string>(
                "SELECT string_agg(concat_ws(' ', seq, status, turns), ', ' ORDER BY seq) FROM results WHERE status <> 'succeeded'"
            )
        );
        Assert.Equal(
            0,
            await world.Database.ScalarAsync<long>(
                "SELECT count(*) FROM results r JOIN turns t USING (job, seq) WHERE r.cost_pico <> t.cost_pico OR t.cost_pico = 0"
            )
        );
        Assert.Equal("expired", await world.Database.ScalarAsync<string>("SELECT state FROM jobs"));
        await world.StopAsync();
        await AssertBooksAsync(world);
    }

    [Fact]
    public async Task A_rule_of_length_sends_on_what_is_too_long()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, 6, """{"units_max": 10}""");

        var finished = await world.RunAsync(job);

        // The unsure texts are the long ones.
        Assert.Equal(2, finished.Escalated!.Sum(c => c.Tasks));
    }

    [Fact]
    public async Task A_job_without_a_route_takes_whatever_the_model_says()
    {
        await using var world = await WorkerWorld.StartAsync();

        var finished = await world.RunAsync(await world.SeedAsync([.. Enumerable.Range(0, 9).Select(Text)]));

        Assert.Null(finished.Escalated);
        Assert.Equal("completed", await world.Database.ScalarAsync<string>("SELECT state FROM jobs"));
    }

    private static string Text(int i) => i % 3 == 0 ? $"text {i} {FakeModel.Unsure}" : $"text {i}";

    private static async Task<SeededJob> SeedAsync(WorkerWorld world, int tasks, string accept, int chunkTasks = 8)
    {
        var job = await world.SeedAsync([.. Enumerable.Range(0, tasks).Select(Text)], chunkTasks);
        await world.Database.ExecuteAsync(
            $$"""
            UPDATE jobs SET route = '{"name": "r", "version": 1, "variants":
              [{"model": "{{FakeModels.Name}}", "accept": {{accept}}}, {"model": "{{FakeModels.LargeName}}"}]}'
            WHERE id = $1
            """,
            job.Id.Value
        );
        return job;
    }

    /// <summary>Runs what escalated, as the scheduler does when it has read the report.</summary>
    private static Task<DispatchFinished> RunOnAsync(WorkerWorld world, DispatchFinished report) =>
        RunAsync(world, [.. report.Escalated!.Select(c => new Slice(c.Job, c.No, 0, c.Tasks))]);

    private static async Task<DispatchFinished> RunAsync(WorkerWorld world, IReadOnlyList<Slice> slices) =>
        await world.FinishedAsync(
            await world.SendAsync(new SeededJob(slices[0].Job, [], 1), d => d with { Model = FakeModels.LargeName, Slices = slices })
        );

    private static async Task ExpireAsync(WorkerWorld world, ChunkKey chunk)
    {
        await using var connection = await world.Rows.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await TaskEnds.EndRemainingAsync(
            connection,
            transaction,
            [chunk],
            TaskOutcome.Expired,
            FailureKind.DeadlinePassed,
            "Too late.",
            DateTimeOffset.UtcNow
        );
        await transaction.CommitAsync();
    }

    private static async Task AssertBooksAsync(WorkerWorld world)
    {
        await LedgerCheck.AssertClosesAsync(world.Rows);
        await LedgerScript.AssertClosesAsync(world.Rows);
        await RolledUp.Async(world.Database);
        await Recount.AssertEqualAsync(world.Database);
    }
}
