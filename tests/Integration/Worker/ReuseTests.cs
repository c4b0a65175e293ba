using System.Text;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.Integration.Worker;

/// <summary>Equal inputs of a job run once; the fake model tells what came to its device.</summary>
public sealed class ReuseTests
{
    [Fact]
    public async Task Copies_end_with_their_original_in_the_same_dispatch_and_cost_nothing()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, ["one", "two", "one", "three", "two", "one"], chunkTasks: 2);
        await world.Database.ExecuteAsync("UPDATE jobs SET per_million_units_pico = 1000000");

        var finished = await world.RunAsync(job);

        Assert.All(finished.Slices, s => Assert.Equal(SliceOutcome.Done, s.Outcome));
        Assert.Equal(3, finished.Batches.Sum(b => b.Rows));
        Assert.Equal(["one", "three", "two"], Ran(world));
        await AssertAnswersAsync(world, job);
        Assert.Equal("-,-,job,-,job,job", await ReusedAsync(world));
        Assert.Equal(
            0,
            await world.Database.ScalarAsync<long>(
                "SELECT count(*) FROM results WHERE (reused IS NULL) <> (turns = 1 AND cost_pico > 0 AND batch IS NOT NULL)"
            )
        );
        Assert.True(
            await world.Database.ScalarAsync<bool>(
                "SELECT bool_and(c.saved_pico = o.cost_pico) FROM results c JOIN results o ON o.output = c.output AND o.reused IS NULL WHERE c.reused = 'job'"
            )
        );

        // Charged as any other: 3 × 3 + 2 × 3 + 5 characters.
        Assert.Equal(20, await world.Database.ScalarAsync<long>("SELECT units_done FROM jobs WHERE state = 'completed'"));
        await AssertBooksCloseAsync(world);
    }

    [Fact]
    public async Task A_copy_in_a_later_dispatch_takes_the_result_of_its_original()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, ["one", "two", "one", "three", "one", "two"], chunkTasks: 2);
        await RunChunkAsync(world, job, 0);

        await RunChunkAsync(world, job, 1);
        var last = await RunChunkAsync(world, job, 2);

        Assert.Empty(last.Batches);
        Assert.Equal(["one", "three", "two"], Ran(world));
        await AssertAnswersAsync(world, job);
        Assert.Equal("-,-,job,-,job,job", await ReusedAsync(world));
        await AssertBooksCloseAsync(world);
    }

    [Fact]
    public async Task A_copy_that_is_staged_while_its_original_runs_waits_for_its_commit()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, ["one", "two", "one", "three"], chunkTasks: 2);
        world.Model.Hold();
        var first = await SendChunkAsync(world, job, 0);
        await world.Model.OnDevice;
        var second = await SendChunkAsync(world, job, 1);
        await world.WaitsForDeviceAsync("three", batches: 1);

        world.Model.LetGo();
        await world.FinishedAsync(first);
        await world.FinishedAsync(second);

        Assert.Equal(["one", "three", "two"], Ran(world));
        await AssertAnswersAsync(world, job);
    }

    [Fact]
    public async Task A_copy_whose_original_has_no_result_runs_itself_and_the_next_copies_follow_it()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, ["one", "two", "one", "one"], chunkTasks: 2);

        await RunChunkAsync(world, job, 1);
        await RunChunkAsync(world, job, 0);

        Assert.Equal(["one", "one", "two"], Ran(world));
        await AssertAnswersAsync(world, job);
        Assert.Equal("-,-,-,job", await ReusedAsync(world));
        await AssertBooksCloseAsync(world);
    }

    [Fact]
    public async Task A_copy_fails_as_its_original_did_without_running()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(
            world,
            [FakeModel.Bad, FakeModel.Fails, FakeModel.Spoils, "good", FakeModel.Bad, FakeModel.Fails, FakeModel.Spoils, "good"],
            chunkTasks: 4
        );
        await RunChunkAsync(world, job, 0);
        var runs = world.Model.Runs.Count;

        await RunChunkAsync(world, job, 1);

        Assert.Equal(runs, world.Model.Runs.Count);
        var ends = "SELECT string_agg(coalesce(error_code || error_message, 'good'), ',' ORDER BY seq) FROM results WHERE seq";
        Assert.Equal(await world.Database.ScalarAsync<string>($"{ends} < 4"), await world.Database.ScalarAsync<string>($"{ends} >= 4"));
        Assert.Equal("-,-,-,-,-,-,-,job", await ReusedAsync(world));
        Assert.True(await world.Database.ScalarAsync<bool>("SELECT bool_and(turns = 0 AND cost_pico = 0) FROM results WHERE seq >= 4"));
        await AssertBooksCloseAsync(world);
    }

    [Fact]
    public async Task Copies_of_one_dispatch_fail_with_the_original_that_fails()
    {
        await using var world = await WorkerWorld.StartAsync(batchRowsMax: 8);
        var job = await SeedAsync(world, ["good", FakeModel.Fails, FakeModel.Bad, FakeModel.Fails, FakeModel.Bad, "good"]);

        var finished = await world.RunAsync(job);

        Assert.All(finished.Slices, s => Assert.Equal(SliceOutcome.Done, s.Outcome));
        Assert.Equal(
            "good,model_failed,invalid_input,model_failed,invalid_input,good",
            await world.Database.ScalarAsync<string>("SELECT string_agg(coalesce(error_code, 'good'), ',' ORDER BY seq) FROM results")
        );
        Assert.Single(world.Model.Runs, run => run is [FakeModel.Fails]);
        await AssertBooksCloseAsync(world);
    }

    [Theory]
    [InlineData(TaskOutcome.Expired)]
    [InlineData(TaskOutcome.Cancelled)]
    public async Task A_copy_of_a_task_that_never_ran_runs_itself_or_ends_as_its_own_chunk_does(TaskOutcome outcome)
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, ["one", "two", "one", "three", "one", "two"], chunkTasks: 2);
        await EndAsync(world, job, outcome, 0, 2);

        await RunChunkAsync(world, job, 1);

        Assert.Equal(["one", "three"], Ran(world));
        Assert.Equal(
            $"{outcome.Name()} {outcome.Name()} succeeded succeeded {outcome.Name()} {outcome.Name()}",
            await world.Database.ScalarAsync<string>("SELECT string_agg(status, ' ' ORDER BY seq) FROM results")
        );
        Assert.Equal(0, await world.Database.ScalarAsync<int>("SELECT open_chunks FROM jobs"));
        await AssertBooksCloseAsync(world);
    }

    [Fact]
    public async Task Dispatched_twice_a_copy_has_one_row_and_what_ran_twice_is_waste()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, ["one", "two", "one", "two", "one", "two"], chunkTasks: 2);
        world.Model.Hold();
        var first = await world.SendAsync(job);
        await world.Model.OnDevice;
        var second = await world.SendAsync(job, d => d with { Lane = Lane.Express });
        await world.WaitsForDeviceAsync("one", batches: 2);

        world.Model.LetGo();
        await world.FinishedAsync(first);
        await world.FinishedAsync(second);

        Assert.Equal(4, Ran(world).Count);
        await AssertAnswersAsync(world, job);
        await world.StopAsync();
        Assert.True((await LedgerCheck.AccountAsync(world.Rows, LedgerAccount.Waste, "duplicate")).Ns > 0);
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }

    [Fact]
    public async Task Of_suspects_what_need_not_run_is_committed_before_anything_runs()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, ["one", "two", "two", "three", "one", "four"], chunkTasks: 2);
        await RunChunkAsync(world, job, 0);
        world.Model.Hold();

        // Should a worker die now, the first task without a result would be blamed: it must be the one on the device.
        var suspects = await world.SendAsync(job, d => d with { Slices = [.. job.Slices.Skip(1)], CommitRowsMax = 1 });
        await world.Model.OnDevice;

        Assert.Equal([0, 1, 2, 4], await world.SeqsAsync());
        world.Model.LetGo();
        await world.FinishedAsync(suspects);
        await AssertAnswersAsync(world, job);
        Assert.Equal(["four", "one", "three", "two"], Ran(world));
    }

    [Fact]
    public async Task Copies_are_charged_against_a_budget_without_running()
    {
        await using var world = await WorkerWorld.StartAsync();
        var job = await SeedAsync(world, [.. Enumerable.Range(0, 24).Select(i => i < 4 ? $"1234{i}" : "12340")], chunkTasks: 8);
        await world.Database.ExecuteAsync("UPDATE jobs SET per_million_units_pico = 1000000, max_cost_pico = 40");
        await RunChunkAsync(world, job, 0);

        var finished = await world.RunAsync(job, d => d with { Slices = [.. job.Slices.Skip(1)] });

        // Eight tasks of five units come to 40. The copies pass that, but as they are one commit, and the last, it stands.
        Assert.All(finished.Slices, s => Assert.Equal(SliceOutcome.Done, s.Outcome));
        Assert.Equal("completed", await world.Database.ScalarAsync<string>("SELECT state FROM jobs"));
        Assert.Equal(120, await world.Database.ScalarAsync<long>("SELECT units_done FROM jobs"));
        Assert.Equal(4, Ran(world).Count);
        await AssertBooksCloseAsync(world);
    }

    [Fact]
    public async Task A_cache_answers_the_tenants_next_job_without_the_device()
    {
        await using var world = await WorkerWorld.StartAsync();
        var first = await SeedAsync(world, ["one", "two", FakeModel.Bad], usesCache: true);
        await TurnOnAsync(world, first);
        await world.RunAsync(first);
        var cost = await world.Database.ScalarAsync<long>("SELECT sum(cost_pico)::bigint FROM results");

        var next = await SeedAsync(world, ["two", "three", "one", "two", FakeModel.Bad], usesCache: true, tenant: first.Tenant);
        var finished = await world.RunAsync(next);

        Assert.Equal(1, finished.Batches.Sum(b => b.Rows));
        Assert.Equal(["one", "three", "two"], Ran(world));
        await AssertAnswersAsync(world, next, someFail: true);
        Assert.Equal("cache,-,cache,cache,-", await ReusedAsync(world, next));
        Assert.True(
            await world.Database.ScalarAsync<bool>(
                $"SELECT sum(saved_pico) FILTER (WHERE seq IN (0, 2)) = {cost} FROM results WHERE job = '{next.Id}'"
            )
        );
        Assert.Equal("3 true", await world.Database.ScalarAsync<string>("SELECT entries || ' ' || (bytes > 1200) FROM tenant_caches"));
        Assert.True(
            await world.Database.ScalarAsync<bool>(
                "SELECT (SELECT bytes FROM tenant_caches) = sum(bytes) AND bool_and(cost_pico > 0) FROM cached_results"
            )
        );
        await AssertBooksCloseAsync(world);
    }

    [Fact]
    public async Task A_cache_is_its_tenants_own_and_serves_only_jobs_that_use_it()
    {
        await using var world = await WorkerWorld.StartAsync();
        var first = await SeedAsync(world, ["one"], usesCache: true);
        await TurnOnAsync(world, first);
        await world.RunAsync(first);
        var other = await SeedAsync(world, ["one"], usesCache: true);
        await TurnOnAsync(world, other);
        await world.RunAsync(other);
        await world.RunAsync(await SeedAsync(world, ["one"], usesCache: false, tenant: first.Tenant));
        Assert.Equal(["one", "one", "one"], Ran(world));

        Assert.True(await TenantCaches.RemoveAsync(world.Rows, first.Tenant.ToString()));
        await world.RunAsync(await SeedAsync(world, ["one"], usesCache: true, tenant: first.Tenant));

        Assert.Equal(4, Ran(world).Count);
        Assert.Equal(1, await world.Database.ScalarAsync<long>("SELECT count(*) FROM cached_results"));
    }

    [Fact]
    public async Task A_cache_serves_nothing_past_its_time_nor_what_another_file_of_the_model_answered()
    {
        await using var world = await WorkerWorld.StartAsync();
        var first = await SeedAsync(world, ["one", "two"], usesCache: true);
        await TurnOnAsync(world, first);
        await world.RunAsync(first);
        await world.Database.ExecuteAsync(
            "UPDATE cached_results SET expires_at = now() - interval '1 s' WHERE convert_from(output, 'UTF8') LIKE '%one%'"
        );
        await world.RunAsync(await SeedAsync(world, ["one", "two"], usesCache: true, tenant: first.Tenant));
        Assert.Equal(["one", "one", "two"], Ran(world));

        world.Model.Manifest = world.Model.Manifest with { Sha256 = new string('1', 64) };
        await world.RunAsync(await SeedAsync(world, ["two"], usesCache: true, tenant: first.Tenant));

        Assert.Equal(["one", "one", "two", "two"], Ran(world));
    }

    [Fact]
    public async Task What_is_too_large_or_finds_no_room_is_not_cached()
    {
        await using var world = await WorkerWorld.StartAsync(settings: ("Worker:CachedOutputBytesMax", "60"));
        var job = await SeedAsync(world, ["short", new string('x', 100)], usesCache: true);
        await TurnOnAsync(world, job);
        await world.RunAsync(job);
        Assert.Equal(1, await world.Database.ScalarAsync<long>("SELECT count(*) FROM cached_results"));

        await world.Database.ExecuteAsync("UPDATE tenant_caches SET entries_max = 1");
        await world.RunAsync(await SeedAsync(world, ["other"], usesCache: true, tenant: job.Tenant));

        Assert.Equal(1, await world.Database.ScalarAsync<long>("SELECT count(*) FROM cached_results"));
        Assert.Equal("completed completed", await world.Database.ScalarAsync<string>("SELECT string_agg(state, ' ') FROM jobs"));
    }

    private static Task<SeededJob> SeedAsync(
        WorkerWorld world,
        IReadOnlyList<string> inputs,
        int chunkTasks = 8,
        bool usesCache = false,
        TenantId? tenant = null
    ) => SeededJob.CreateAsync(world.Rows, inputs, chunkTasks, marksCopies: true, usesCache: usesCache, tenant: tenant);

    private static async Task TurnOnAsync(WorkerWorld world, SeededJob job) =>
        Assert.True(
            await TenantCaches.SetAsync(world.Rows, job.Tenant.ToString(), TimeSpan.FromHours(1), 1 << 30, TenantCaches.EntriesDefault)
        );

    private static Task<Dispatch> SendChunkAsync(WorkerWorld world, SeededJob job, int chunk) =>
        world.SendAsync(job, d => d with { Slices = [job.Slices[chunk]] });

    private static async Task<DispatchFinished> RunChunkAsync(WorkerWorld world, SeededJob job, int chunk)
    {
        var finished = await world.FinishedAsync(await SendChunkAsync(world, job, chunk));
        Assert.All(finished.Slices, s => Assert.Equal(SliceOutcome.Done, s.Outcome));
        return finished;
    }

    private static async Task EndAsync(WorkerWorld world, SeededJob job, TaskOutcome outcome, params int[] chunks)
    {
        await using var connection = await world.Rows.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        ChunkKey[] keys = [.. chunks.Select(no => new ChunkKey(job.Id, no))];
        await TaskEnds.EndRemainingAsync(
            connection,
            transaction,
            keys,
            outcome,
            FailureKind.Cancelled,
            "It never ran.",
            DateTimeOffset.UtcNow
        );
        await transaction.CommitAsync();
    }

    /// <summary>What came to the device, in the order of the alphabet.</summary>
    private static List<string> Ran(WorkerWorld world) => [.. world.Model.Runs.SelectMany(run => run).Order(StringComparer.Ordinal)];

    private static Task<string> ReusedAsync(WorkerWorld world, SeededJob? job = null) =>
        world.Database.ScalarAsync<string>(
            $"SELECT string_agg(coalesce(reused, '-'), ',' ORDER BY seq) FROM results WHERE {(job is null ? "true" : $"job = '{job.Id}'")}"
        )!;

    /// <summary>Each task that succeeded has the answer to its own input, under its own name.</summary>
    internal static async Task AssertAnswersAsync(WorkerWorld world, SeededJob job, bool someFail = false)
    {
        await using var command = world.Rows.CreateCommand("SELECT seq, custom_id, output FROM results WHERE job = $1 ORDER BY seq");
        command.Parameters.Add(new() { Value = job.Id.Value });
        await using var reader = await command.ExecuteReaderAsync();
        for (var seq = 0; seq < job.Inputs.Count; seq++)
        {
            Assert.True(await reader.ReadAsync(), $"Task {seq} has no result.");
            Assert.Equal((seq, $"t-{seq}"), (reader.GetInt32(0), reader.GetString(1)));
            if (!someFail || !await reader.IsDBNullAsync(2))
            {
                Assert.Equal(FakeModel.Answer(job.Inputs[seq]), Encoding.UTF8.GetString(reader.GetFieldValue<byte[]>(2)));
            }
        }

        Assert.False(await reader.ReadAsync());
    }

    private static async Task AssertBooksCloseAsync(WorkerWorld world)
    {
        Assert.Equal(
            0,
            await world.Database.ScalarAsync<long>(
                "SELECT count(*) FROM chunks c WHERE c.cost_pico <> (SELECT sum(r.cost_pico) FROM results r WHERE r.job = c.job AND r.chunk = c.no)"
            )
        );
        await world.StopAsync();
        Assert.Equal(0, world.Models.Lent);
        await LedgerCheck.AssertClosesAsync(world.Rows);
    }
}
