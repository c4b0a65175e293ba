using System.Text.Json;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Recurring;
using Pipeline.ResultsApi.Recurring.Works;
using Pipeline.Tests.Integration.ResultsApi;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Recurring;

/// <summary>Recurring work over the real store, on one or two instances.</summary>
public sealed class RecurringTests
{
    private const string Rarely = "30.00:00:00";

    [Fact]
    public async Task Of_two_instances_one_runs_what_is_due_and_never_two_at_once()
    {
        await using var hosts = await RecurringHosts.CreateAsync();
        var work = new TestWork("00:00:01") { Do = stop => Task.Delay(300, stop) };
        await hosts.StartAsync([work]);
        await hosts.StartAsync([work]);
        for (var run = 0; run < 3; run++)
        {
            await work.BegunAsync();
        }

        await hosts.SendAsync(HttpMethod.Post, "/v1/recurring/test-work/pause");
        await hosts.UntilAsync("test-work", w => Text(w, "running_since") is null);
        Assert.Equal(1, work.AtOnceMax);
        var outcomes = await hosts.OutcomesAsync("test-work");
        Assert.Equal(work.Runs, outcomes.Length);
        Assert.All(outcomes, outcome => Assert.Equal("ok", outcome));

        // Due each second, each time once: from the first run's begin to the last one's no more than there were seconds.
        var runs = (await hosts.SendAsync(HttpMethod.Get, "/v1/recurring/test-work/runs"))
            .GetProperty("data")
            .EnumerateArray()
            .Select(r => r.GetProperty("started_at").GetDateTimeOffset())
            .ToArray();
        Assert.True(runs.Length <= (runs[0] - runs[^1]).TotalSeconds + 1.6, $"{runs.Length} runs in {runs[0] - runs[^1]}");
    }

    [Fact]
    public async Task Paused_work_runs_only_when_it_is_asked_to_and_resumed_makes_up_for_what_it_missed()
    {
        await using var hosts = await RecurringHosts.CreateAsync();
        var work = new TestWork("00:00:01");
        await hosts.StartAsync([work]);
        await work.BegunAsync();
        var paused = await hosts.SendAsync(HttpMethod.Post, "/v1/recurring/test-work/pause");
        Assert.True(paused.GetProperty("paused").GetBoolean());
        Assert.Null(Text(paused, "next_run_at"));
        await hosts.UntilAsync("test-work", w => Text(w, "running_since") is null);

        // Another instance starts, and nothing changes: neither does it resume, nor is it due.
        await hosts.StartAsync([work]);
        var before = work.Runs;
        await hosts.SendAsync(HttpMethod.Post, "/v1/recurring/test-work/run");
        var asked = await hosts.UntilAsync(
            "test-work",
            w => work.Runs == before + 1 && w.GetProperty("last_run").ValueKind == JsonValueKind.Object && Text(w, "running_since") is null
        );
        Assert.True(asked.GetProperty("paused").GetBoolean());
        Assert.Equal("ok", Text(asked.GetProperty("last_run"), "outcome"));
        Assert.Equal(1, asked.GetProperty("last_run").GetProperty("counts").GetProperty("done").GetInt32());

        var resumed = await hosts.SendAsync(HttpMethod.Post, "/v1/recurring/test-work/resume");
        Assert.False(resumed.GetProperty("paused").GetBoolean());
        Assert.NotNull(Text(resumed, "next_run_at"));
        await hosts.UntilAsync("test-work", _ => work.Runs > before + 1);
    }

    [Fact]
    public async Task What_was_asked_for_several_times_before_it_began_runs_once()
    {
        await using var hosts = await RecurringHosts.CreateAsync();
        var gate = new TaskCompletionSource();
        var work = new TestWork(Rarely) { Do = gate.Task.WaitAsync };
        await hosts.StartAsync([work]);
        await work.BegunAsync();
        for (var ask = 0; ask < 3; ask++)
        {
            await hosts.SendAsync(HttpMethod.Post, "/v1/recurring/test-work/run");
        }

        gate.SetResult();
        await hosts.UntilAsync("test-work", w => work.Runs == 2 && Text(w, "running_since") is null);
        Assert.Equal(["ok", "ok"], await hosts.OutcomesAsync("test-work"));
        Assert.Equal(1, work.AtOnceMax);
    }

    [Fact]
    public async Task A_run_that_a_stopping_instance_leaves_is_repeated_by_the_next_one()
    {
        await using var hosts = await RecurringHosts.CreateAsync();
        var work = new TestWork(Rarely) { Do = stop => Task.Delay(Timeout.Infinite, stop) };
        var first = await hosts.StartAsync([work]);
        await work.BegunAsync();
        await first.StopAsync();

        var again = new TestWork(Rarely);
        await hosts.StartAsync([again]);
        await again.BegunAsync();
        Assert.Equal(1, again.Runs);
    }

    [Fact]
    public async Task A_run_whose_process_is_killed_in_the_middle_is_shown_as_interrupted_and_finished_by_another()
    {
        const string Work = "idempotency-keys";
        await using var hosts = await RecurringHosts.CreateAsync();
        var tenant = await Tenants.EnsureAsync(hosts.Database.DataSource, "test");
        await hosts.Database.ExecuteAsync(
            """
            INSERT INTO idempotency_keys (tenant, key, fingerprint, created_at)
            SELECT $1, 'key-' || n, '', now() - interval '9 days' + n * interval '1 hour' FROM generate_series(1, 3) n
            """,
            tenant.Value
        );

        // One key a step: the first is removed, the second is held, so there the run stands when its process is killed.
        await using var held = await hosts.Database.DataSource.OpenConnectionAsync();
        await using var hold = await held.BeginTransactionAsync();
        await using (var second = new NpgsqlCommand("SELECT FROM idempotency_keys WHERE key = 'key-2' FOR UPDATE", held, hold))
        {
            await second.ExecuteNonQueryAsync();
        }

        using var killed = ProgramTests.Start([
            ("PIPELINE__DATABASE", hosts.Database.ConnectionString),
            ("PIPELINE__BROKER", PipelineOptions.InMemoryBroker),
            ("RECURRING__STEPROWSMAX", "1"),
            .. RecurringHosts.HurryEnvironment,
        ]);
        var output = Task.WhenAll(killed.StandardOutput.ReadToEndAsync(), killed.StandardError.ReadToEndAsync());
        while (await KeysAsync() > 2)
        {
            Assert.False(killed.HasExited, "The process ended before it was killed.");
            await Task.Delay(20);
        }

        await hosts.StartAsync([], ("Recurring:StepRowsMax", "1"));
        killed.Kill();
        await killed.WaitForExitAsync();
        await output;
        await hosts.UntilAsync(
            Work,
            w => w.GetProperty("last_run").ValueKind == JsonValueKind.Object && Text(w, "running_since") is not null
        );
        Assert.Equal(["interrupted", "running"], await hosts.OutcomesAsync(Work));

        await hold.RollbackAsync();
        await hosts.UntilAsync(Work, w => Text(w, "running_since") is null);
        Assert.Equal(["interrupted", "ok"], await hosts.OutcomesAsync(Work));
        Assert.Equal(0, await KeysAsync());

        Task<long> KeysAsync() => hosts.Database.ScalarAsync<long>("SELECT count(*) FROM idempotency_keys");
    }

    [Fact]
    public async Task A_loop_is_listed_with_its_last_turn_and_takes_none_while_it_is_paused_but_by_request()
    {
        await using var hosts = await RecurringHosts.CreateAsync();
        using var log = new LoggerFactory();
        var book = new LoopBook(hosts.Database.DataSource, TimeProvider.System, log.CreateLogger<LoopBook>());
        var loop = book.Add("test-loop", "What the test wants.", TimeSpan.FromMinutes(1));
        await hosts.StartAsync([new TestWork(Rarely)]);
        await book.TurnAsync(CancellationToken.None);
        Assert.Equal(JsonValueKind.Null, (await hosts.WorkAsync("test-loop")).GetProperty("last_run").ValueKind);

        Assert.True(loop.TryBegin());
        loop.End();
        Assert.True(loop.TryBegin());
        loop.Fail("The shelf is empty.");
        loop.End();
        await book.TurnAsync(CancellationToken.None);
        var shown = await hosts.WorkAsync("test-loop");
        Assert.Equal(("loop", "00:01:00"), (Text(shown, "kind"), Text(shown, "schedule")));
        Assert.Equal("The shelf is empty.", Text(shown.GetProperty("last_run"), "error"));
        Assert.Equal(2, shown.GetProperty("last_run").GetProperty("counts").GetProperty("turns").GetInt32());

        await hosts.SendAsync(HttpMethod.Post, "/v1/recurring/test-loop/pause");
        await book.TurnAsync(CancellationToken.None);
        Assert.False(loop.TryBegin());
        await hosts.SendAsync(HttpMethod.Post, "/v1/recurring/test-loop/run");
        await book.TurnAsync(CancellationToken.None);
        await book.TurnAsync(CancellationToken.None);
        Assert.True(loop.TryBegin());
        Assert.False(loop.TryBegin());
        loop.End();

        var resumed = await hosts.SendAsync(HttpMethod.Post, "/v1/recurring/test-loop/resume");
        Assert.False(resumed.GetProperty("paused").GetBoolean());
        await book.TurnAsync(CancellationToken.None);
        Assert.True(loop.TryBegin());
        Assert.Equal(["ok"], await hosts.OutcomesAsync("test-loop"));
        await hosts.SendAsync(HttpMethod.Post, "/v1/recurring/no-such-loop/run", 404);
    }

    [Fact]
    public async Task What_came_due_while_nobody_was_there_runs_once()
    {
        await using var hosts = await RecurringHosts.CreateAsync();
        var before = new TestWork("00:00:01");
        var first = await hosts.StartAsync([before]);
        await before.BegunAsync();
        await hosts.UntilAsync("test-work", w => w.GetProperty("last_run").ValueKind == JsonValueKind.Object);
        await first.StopAsync();

        // An hour has passed: 3,600 times were missed.
        await hosts.Database.ExecuteAsync(
            "UPDATE quartz.qrtz_triggers SET next_fire_time = next_fire_time - 36000000000 WHERE trigger_name = 'test-work'"
        );
        var work = new TestWork("00:00:01");
        await hosts.StartAsync([work]);
        await work.BegunAsync();
        await work.BegunAsync();
        var runs = work.Runs;
        Assert.InRange(runs, 2, 4);
    }

    [Fact]
    public async Task What_fails_is_shown_with_its_reason_and_runs_again_when_it_is_due()
    {
        await using var hosts = await RecurringHosts.CreateAsync();
        var work = new TestWork("00:00:01") { Do = _ => throw new InvalidDataException("The shelf is empty.") };
        await hosts.StartAsync([work]);
        var failed = await hosts.UntilAsync("test-work", w => w.GetProperty("last_run").ValueKind == JsonValueKind.Object);
        Assert.Equal("failed", Text(failed.GetProperty("last_run"), "outcome"));
        Assert.Equal("InvalidDataException: The shelf is empty.", Text(failed.GetProperty("last_run"), "error"));
        work.Do = _ => Task.CompletedTask;
        await hosts.UntilAsync("test-work", w => Text(w.GetProperty("last_run"), "outcome") == "ok");
    }

    [Fact]
    public async Task A_schedule_that_the_options_change_holds_from_the_next_start_on_and_leaves_paused_what_is()
    {
        await using var hosts = await RecurringHosts.CreateAsync();
        var work = new TestWork(Rarely);
        var first = await hosts.StartAsync([work]);
        await hosts.UntilAsync("test-work", w => Text(w, "next_run_at") is not null);
        await hosts.SendAsync(HttpMethod.Post, "/v1/recurring/test-work/pause");
        await first.StopAsync();

        await hosts.StartAsync([work], ("Recurring:Schedules:test-work", "0 15 3 * * ?"));
        for (var end = DateTime.UtcNow.AddSeconds(30); await StoredCronAsync() != "0 15 3 * * ?"; await Task.Delay(20))
        {
            Assert.True(DateTime.UtcNow < end, "The schedule in the store stays as it was.");
        }

        var shown = await hosts.WorkAsync("test-work");
        Assert.Equal("0 15 3 * * ?", Text(shown, "schedule"));
        Assert.True(shown.GetProperty("paused").GetBoolean(), "What an operator has paused stays so.");

        Task<string?> StoredCronAsync() =>
            hosts.Database.ScalarAsync<string>(
                "SELECT max(cron_expression) FROM quartz.qrtz_cron_triggers WHERE trigger_name = 'test-work'"
            );
    }

    [Fact]
    public async Task A_schedule_for_work_that_there_is_not_ends_the_start_and_names_what_there_is()
    {
        await using var hosts = await RecurringHosts.CreateAsync();
        var refused = await Assert.ThrowsAsync<OptionsException>(() =>
            hosts.StartAsync([new TestWork(Rarely)], ("Recurring:Schedules:retentoin", "01:00:00"))
        );
        Assert.Contains("Recurring:Schedules expects names of recurring work", refused.Message, StringComparison.Ordinal);
        Assert.Contains("test-work", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Keys_that_another_process_removes_at_the_same_moment_do_not_end_the_removal_early()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        var tenant = await Tenants.EnsureAsync(database.DataSource, "test");
        await database.ExecuteAsync(
            """
            INSERT INTO idempotency_keys (tenant, key, fingerprint, created_at)
            SELECT $1, 'key-' || n, '', now() - interval '9 days' + n * interval '1 hour' FROM generate_series(1, 5) n
            """,
            tenant.Value
        );
        var expiry = new IdempotencyKeyExpiry(database.DataSource, new RecurringOptions { StepRowsMax = 2 }, TimeProvider.System);
        await using var other = await database.DataSource.OpenConnectionAsync();
        await using var removal = await other.BeginTransactionAsync();
        await using (var first = new NpgsqlCommand("DELETE FROM idempotency_keys WHERE key = 'key-1'", other, removal))
        {
            await first.ExecuteNonQueryAsync();
        }

        var run = expiry.RunAsync(CancellationToken.None);
        while (
            !await database.ScalarAsync<bool>(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
            )
        )
        {
            Assert.False(run.IsCompleted, "It does not wait for the other's removal.");
            await Task.Delay(20);
        }

        await removal.CommitAsync();

        Assert.Equal(4, (await run)["keys_removed"]);
        Assert.Equal(0, await database.ScalarAsync<long>("SELECT count(*) FROM idempotency_keys"));
    }

    private static string? Text(JsonElement json, string name) =>
        json.GetProperty(name) is { ValueKind: not JsonValueKind.Null } value ? value.GetString() : null;
}
