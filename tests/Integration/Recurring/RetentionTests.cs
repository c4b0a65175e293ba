using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Recurring;
using Pipeline.ResultsApi.Recurring.Works;
using Pipeline.ResultsApi.Sla;
using Pipeline.Tests.Integration.Migrations;
using Pipeline.Tests.Integration.ResultsApi;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Recurring;

/// <summary>What is removed when it has been kept long enough, and what never is.</summary>
public sealed class RetentionTests
{
    private static readonly CancellationToken Stop = TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_is_past_its_age_goes_by_tenant_and_class_and_every_sum_stays()
    {
        await using var db = await TestPostgres.CreateDatabaseAsync();
        var work = new BookedWork(db, seed: 7);
        var worker = await work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        var now = DateTimeOffset.UtcNow;
        async Task<JobId> EndedAsync(string tenant, LatencyClass of)
        {
            var job = await work.AddJobAsync(tenant, of, "m@1", tasks: 20);
            await work.EndAsync(worker, job, [.. Enumerable.Range(0, 12)], now);
            await work.EndAsync(worker, job, [.. Enumerable.Range(10, 10)], now);
            return job.Id;
        }

        var kept = await EndedAsync("a", LatencyClass.Bulk);
        var ownClass = await EndedAsync("a", LatencyClass.Express);
        var byDefault = await EndedAsync("b", LatencyClass.Bulk);
        var running = await work.AddJobAsync("b", LatencyClass.Bulk, "m@1", tasks: 20);
        await work.EndAsync(worker, running, [0, 1, 2], now);
        await RolledUp.Async(db);
        await db.ExecuteAsync("UPDATE events SET fanned_out = true");
        await db.ExecuteAsync("UPDATE jobs SET finished_at = now() - interval '10 days' WHERE finished_at IS NOT NULL");
        await RetentionAges.SetAsync(db.DataSource, "a", "all", new(null, TimeSpan.FromDays(20), null), Stop);
        await RetentionAges.SetAsync(db.DataSource, "a", "express", new(TimeSpan.FromDays(9), TimeSpan.FromDays(5), null), Stop);
        var before = await SumsAsync(db);

        var counts = await RetentionOf(db, inputs: 30, outputs: 7, logs: 8).RunAsync(Stop);

        Assert.Equal((1, 2, 3), (counts["jobs_inputs"], counts["jobs_outputs"], counts["jobs_logs"]));
        Assert.Equal("20 3", await LeftAsync(kept));
        Assert.Equal("0 0", await LeftAsync(ownClass));
        Assert.Equal("0 3", await LeftAsync(byDefault));
        Assert.Equal("3 3", await LeftAsync(running.Id));
        Assert.Equal(0, await db.ScalarAsync<long>("SELECT count(*) FROM events WHERE job <> $1", running.Id.Value));
        Assert.Equal(0, await db.ScalarAsync<long>("SELECT count(*) FROM job_removals"));
        Assert.Equal(before, await SumsAsync(db));

        // It has done its work, and does it again without harm.
        Assert.All((await RetentionOf(db, inputs: 30, outputs: 7, logs: 8).RunAsync(Stop)).Values, count => Assert.Equal(0, count));

        Task<string?> LeftAsync(JobId job) =>
            db.ScalarAsync<string>(
                """
                SELECT (SELECT count(*) FROM results WHERE job = $1) || ' ' || (SELECT count(payload) FROM chunks WHERE job = $1)
                """,
                job.Value
            );
    }

    [Fact]
    public async Task What_the_rollups_or_a_delivery_still_need_stays_until_they_have_had_it()
    {
        await using var db = await TestPostgres.CreateDatabaseAsync();
        var tenant = await Tenants.EnsureAsync(db.DataSource, "test");
        var job = await SeededJob.CreateAsync(db, tenant, new SeededJob { Tasks = 8 });
        await job.EndAllAsync(db);
        await db.ExecuteAsync("UPDATE jobs SET finished_at = now() - interval '10 days'");

        var early = await RetentionOf(db, 1, 1, 1).RunAsync(Stop);
        Assert.Equal((1, 0, 0), (early["jobs_inputs"], early["jobs_outputs"], early["jobs_logs"]));

        await RolledUp.Async(db);
        var rolledUp = await RetentionOf(db, 1, 1, 1).RunAsync(Stop);
        Assert.Equal((1, 0), (rolledUp["jobs_outputs"], rolledUp["jobs_logs"]));

        await db.ExecuteAsync("UPDATE events SET fanned_out = true");
        Assert.Equal(1, (await RetentionOf(db, 1, 1, 1).RunAsync(Stop))["jobs_logs"]);
        Assert.Equal(8, await db.ScalarAsync<long>("SELECT sum(succeeded) FROM usage_days"));
    }

    [Fact]
    public async Task A_large_job_goes_in_parts_and_who_comes_after_a_crash_goes_on()
    {
        await using var db = await TestPostgres.CreateDatabaseAsync();
        var tenant = await Tenants.EnsureAsync(db.DataSource, "test");
        var job = await SeededJob.CreateAsync(db, tenant, new SeededJob { Tasks = 50 });
        await job.EndAllAsync(db);
        await db.ExecuteAsync("UPDATE jobs SET finished_at = now() - interval '10 days'");
        await RolledUp.Async(db);
        await JobRemovals.MarkDueAsync(db.DataSource, RemovalKind.Outputs, TimeSpan.FromDays(1), 100, DateTimeOffset.UtcNow, Stop);
        Assert.Equal(20, await JobRemovals.StepAsync(db.DataSource, RemovalKind.Outputs, null, 20, Stop));
        Assert.Equal(20, await db.ScalarAsync<int>("SELECT next FROM job_removals"));

        // A step that dies with its connection has done nothing.
        await using (var connection = await db.DataSource.OpenConnectionAsync(Stop))
        await using (await connection.BeginTransactionAsync(Stop))
        {
            await using var died = new NpgsqlCommand("DELETE FROM results WHERE seq < 40", connection);
            await died.ExecuteNonQueryAsync(Stop);
        }

        Assert.Equal(20, await JobRemovals.StepAsync(db.DataSource, RemovalKind.Outputs, null, 20, Stop));

        // The last ten, and the notes of what ended in which transaction: one a chunk.
        Assert.Equal(10 + 13, await JobRemovals.StepAsync(db.DataSource, RemovalKind.Outputs, null, 20, Stop));
        Assert.Null(await JobRemovals.StepAsync(db.DataSource, RemovalKind.Outputs, null, 20, Stop));
        Assert.Equal(0, await db.ScalarAsync<long>("SELECT (SELECT count(*) FROM results) + (SELECT count(*) FROM endings)"));
    }

    [Fact]
    public async Task A_days_partition_goes_as_a_whole_once_nothing_in_it_is_kept_and_no_job_runs_into_it()
    {
        await using var db = await TestPostgres.CreateDatabaseAsync();
        var tenant = await Tenants.EnsureAsync(db.DataSource, "test");
        var day = DateOnly.FromDateTime(DateTime.UtcNow).AddDays(-20);
        var then = new DateTimeOffset(day.ToDateTime(new TimeOnly(12, 0)), TimeSpan.Zero);
        await Partitions.EnsureAheadAsync(db.DataSource, day, 2, Stop);
        var done = await SeededJob.CreateAsync(db, tenant, new SeededJob { CreatedAt = then });
        await done.EndAllAsync(db);
        var runs = await SeededJob.CreateAsync(db, tenant, new SeededJob { CreatedAt = then.AddDays(1) });
        await runs.EndAsync(db, 0, 1);
        await db.ExecuteAsync("UPDATE jobs SET finished_at = now() - interval '10 days' WHERE finished_at IS NOT NULL");
        await RolledUp.Async(db);

        var counts = await RetentionOf(db, 1, 1, 1).RunAsync(Stop);

        Assert.Equal(1, counts["partitions_dropped"]);
        Assert.Equal(
            $"{Partitions.NameOf(day.AddDays(1))} 2",
            await db.ScalarAsync<string>(
                "SELECT (SELECT min(relname) FROM pg_class WHERE relname ~ '^results_[0-9]+$') || ' ' || (SELECT count(*) FROM results)"
            )
        );
        Assert.Equal(0, await db.ScalarAsync<long>("SELECT count(*) FROM endings WHERE job = $1", done.Id.Value));

        // A late row of that day finds a place all the same.
        await db.ExecuteAsync("UPDATE results SET job = $1 WHERE seq = 0", done.Id.Value);
        Assert.Equal(1, await db.ScalarAsync<long>("SELECT count(*) FROM results_default"));
    }

    [Fact]
    public async Task A_group_keeps_its_sums_when_the_results_of_its_jobs_are_gone()
    {
        await using var db = await TestPostgres.CreateDatabaseAsync();
        var tenant = await Tenants.EnsureAsync(db.DataSource, "test");
        foreach (var old in (bool[])[true, false])
        {
            var job = await SeededJob.CreateAsync(db, tenant, new SeededJob { Tasks = 6 });
            await db.ExecuteAsync("UPDATE jobs SET group_name = 'g' WHERE id = $1", job.Id.Value);
            await job.EndAllAsync(db);
            await db.ExecuteAsync("UPDATE jobs SET finished_at = now() - interval '10 days' WHERE $1", old);
        }

        await db.ExecuteAsync("UPDATE jobs SET finished_at = now() WHERE id = (SELECT max(id::text)::uuid FROM jobs)");
        await RolledUp.Async(db);
        var before = await Groups.FindAsync(db.DataSource, tenant, "g", Stop);
        Assert.Equal(1, (await RetentionOf(db, 1, 1, 1).RunAsync(Stop))["jobs_outputs"]);

        var after = await Groups.FindAsync(db.DataSource, tenant, "g", Stop);
        Assert.Equal((12, 12, 0), (after!.Requests, after.Succeeded, after.Pending));
        Assert.Equal((before!.CostPico, before.Turns), (after.CostPico, after.Turns));
    }

    [Fact]
    public async Task Sums_and_reports_go_by_ages_of_their_own_and_a_report_that_needs_what_is_gone_is_refused()
    {
        await using var db = await TestPostgres.CreateDatabaseAsync();
        var work = new BookedWork(db, seed: 8);
        var worker = await work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        var job = await work.AddJobAsync("a", LatencyClass.Bulk, "m@1", tasks: 8);
        var hour = SlaTables.Floor(SlaGrain.Hour, DateTimeOffset.UtcNow.AddDays(-100));
        await work.EndAsync(worker, job, [0, 1, 2], hour.AddMinutes(20));
        await work.EndAsync(worker, job, [3, 4], hour.AddHours(1).AddMinutes(20));
        await work.EndAsync(worker, job, [5, 6, 7], hour.AddDays(50));
        await RolledUp.Async(db);
        await db.ExecuteAsync(
            """
            WITH exclusion AS (
              INSERT INTO sla_exclusions (id, from_at, to_at, reason, created_at)
              VALUES (gen_random_uuid(), $1 + interval '70 minutes', $1 + interval '2 hours', 'Moved.', now())
            ), callbacks AS (
              INSERT INTO sla_callbacks (at, tenant, delivered, punctual, failed) SELECT $1, id, 1, 1, 0 FROM tenants
            )
            INSERT INTO reports (id, tenant, all_tenants, occasion, from_at, to_at, time_zone, created_at, body)
            SELECT gen_random_uuid(), id, false, 'request', $1, $1 + interval '1 day', 'UTC', $1, '{}' FROM tenants
            """,
            hour.UtcDateTime
        );
        var ages = new RetentionOptions { SlaDetails = TimeSpan.FromDays(90), Reports = TimeSpan.FromDays(90) };

        var counts = await new SlaRetention(db.DataSource, ages, new RecurringOptions(), TimeProvider.System).RunAsync(Stop);

        // The minutes of the hour in which an exclusion begins stay.
        Assert.Equal((1, 0, 0, 1), (counts["minutes"], counts["hours"], counts["days"], counts["reports"]));
        Assert.Equal((1, 2), (counts["details"], await db.ScalarAsync<long>("SELECT count(*) FROM sla_minutes")));
        Assert.Equal(3, await TasksAsync(hour, hour.AddHours(1)));
        Assert.Equal(0, await TasksAsync(hour.AddHours(1), hour.AddHours(2)));
        var refused = await Assert.ThrowsAsync<SlaRemovedException>(() => TasksAsync(hour.AddMinutes(10), hour.AddHours(1)));
        Assert.Equal("hours of UTC", refused.Whole);

        async Task<long> TasksAsync(DateTimeOffset from, DateTimeOffset to)
        {
            var window = new ReportWindow(from, to, TimeZoneInfo.Utc, default, ByClass: true, ByTenant: false, ByModel: false);
            var report = await new ReportReader(db.DataSource, new SlaOptions()).ReadAsync(window, null, [], Stop);
            return report.Sums.Sum(s => s.Sums.Ended);
        }
    }

    private static Retention RetentionOf(TestDatabase db, int inputs, int outputs, int logs) =>
        new(
            db.DataSource,
            new RetentionOptions
            {
                Inputs = TimeSpan.FromDays(inputs),
                Outputs = TimeSpan.FromDays(outputs),
                Logs = TimeSpan.FromDays(logs),
            },
            new RecurringOptions(),
            TimeProvider.System
        );

    /// <summary>Everything that is summed: the books and by how much they do not close, the rollups, and what job rows say.</summary>
    internal static async Task<string> SumsAsync(TestDatabase db)
    {
        Assert.Equal(
            0,
            await db.ScalarAsync<long>("SELECT count(*) FROM ledger_difference() d WHERE to_jsonb(d) - 'worker' @? '$.* ? (@ != 0)'")
        );
        return (
            await db.ScalarAsync<string>(
                """
                SELECT jsonb_build_object(
                  'ledger', (SELECT jsonb_agg(to_jsonb(l) ORDER BY l.id) FROM ledger l),
                  'batches', (SELECT jsonb_agg(to_jsonb(b) ORDER BY b.id) FROM batches b),
                  'usage', (SELECT jsonb_agg(to_jsonb(u) ORDER BY u) FROM usage_days u),
                  'devices', (SELECT jsonb_agg(to_jsonb(d) ORDER BY d) FROM device_days d),
                  'allocated', (SELECT jsonb_agg(to_jsonb(a) ORDER BY a) FROM allocated_days a),
                  'jobs', (SELECT jsonb_agg(jsonb_build_array(j.id, j.state, j.tasks, j.units, j.succeeded, j.failed, j.cost_pico, j.units_done) ORDER BY j.id)
                           FROM jobs j),
                  'chunks', (SELECT jsonb_agg(to_jsonb(c) - 'payload' ORDER BY c.job, c.no) FROM chunks c))::text
                """
            )
        )!;
    }
}
