using System.Text.Json;
using Pipeline.Hosting;
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
    public async Task A_run_whose_instance_dies_is_shown_as_interrupted_and_repeated()
    {
        await using var hosts = await RecurringHosts.CreateAsync();
        var work = new TestWork(Rarely);
        await hosts.StartAsync([work]);
        await hosts.UntilAsync("test-work", w => w.GetProperty("last_run").ValueKind == JsonValueKind.Object);

        // As an instance that was killed leaves it: it has fired, has begun, and does not check in any more.
        await hosts.Database.ExecuteAsync(
            """
            INSERT INTO quartz.qrtz_scheduler_state (sched_name, instance_name, last_checkin_time, checkin_interval)
            VALUES ('pipeline', 'dead', (SELECT max(last_checkin_time) FROM quartz.qrtz_scheduler_state) - 600000000, 200);
            """
        );
        await hosts.Database.ExecuteAsync(
            """
            INSERT INTO quartz.qrtz_fired_triggers (sched_name, entry_id, trigger_name, trigger_group, instance_name, fired_time, sched_time,
              priority, state, job_name, job_group, is_nonconcurrent, requests_recovery)
            SELECT sched_name, 'dead-1', trigger_name, trigger_group, 'dead', prev_fire_time, prev_fire_time, 5, 'EXECUTING', job_name, job_group,
              true, true
            FROM quartz.qrtz_triggers WHERE trigger_name = 'test-work' AND trigger_group = 'due'
            """
        );
        await hosts.Database.ExecuteAsync(
            "INSERT INTO recurring_runs (name, started_at, instance) VALUES ('test-work', now() - interval '1 minute', 'dead')"
        );

        await hosts.UntilAsync("test-work", w => work.Runs == 2 && Text(w, "running_since") is null);
        Assert.Equal(["ok", "interrupted", "ok"], await hosts.OutcomesAsync("test-work"));
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

    private static string? Text(JsonElement json, string name) =>
        json.GetProperty(name) is { ValueKind: not JsonValueKind.Null } value ? value.GetString() : null;
}
