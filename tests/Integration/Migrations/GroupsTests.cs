using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

public sealed class GroupsTests : IAsyncLifetime
{
    private static readonly DateTimeOffset Noon = new(2026, 1, 3, 12, 0, 0, TimeSpan.Zero);

    private TestDatabase _db = null!;
    private BookedWork _work = null!;
    private BookedWorker _worker = null!;
    private TenantId _tenant;

    public async ValueTask InitializeAsync()
    {
        _db = await TestPostgres.CreateDatabaseAsync();
        _work = new BookedWork(_db, seed: 3);
        _worker = await _work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        _tenant = await Tenants.EnsureAsync(_db.DataSource, "one");
    }

    public ValueTask DisposeAsync() => _db?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task A_task_belongs_to_the_group_it_names_and_the_others_to_their_jobs()
    {
        var job = await AddJobAsync("run", 20, "m@1");
        await NameAsync(job, chunk: 1, "own", 0, 7);
        await _work.EndAsync(_worker, job, [.. Enumerable.Range(0, 10)], Noon);
        await _work.EndAsync(_worker, job, [.. Enumerable.Range(10, 8)], Noon.AddSeconds(1), TaskOutcome.Failed);
        await RolledUp.Async(_db);

        var (run, own) = (await FindAsync("run"), await FindAsync("own"));
        Assert.Equal((18, 9, 2), (run!.Requests, run.Succeeded, run.Pending));
        Assert.Equal((2, 1, 0), (own!.Requests, own.Succeeded, own.Pending));
        Assert.Equal(await CostAsync(job), run.CostPico + own.CostPico);
        Assert.Equal(Noon.AddSeconds(1), own.LastAt);
        await AssertRolledUpAsync("run", "own");
    }

    [Fact]
    public async Task A_group_goes_over_jobs_models_and_transactions_and_each_task_is_counted_once()
    {
        var jobs = new List<BookedJob>();
        for (var i = 0; i < 4; i++)
        {
            jobs.Add(
                await AddJobAsync(
                    i == 3 ? null : "run",
                    12,
                    i == 0 ? "dear@2" : "cheap@1",
                    i % 2 == 0 ? LatencyClass.Bulk : LatencyClass.Express
                )
            );
        }

        await NameAsync(jobs[3], chunk: 0, "run", 1, 2, 3);
        await using var connection = await _db.DataSource.OpenConnectionAsync();
        await using (var late = await connection.BeginTransactionAsync())
        {
            await _work.EndAsync(connection, late, await _work.AddWorkerAsync("gpu", 3), jobs[0], [0, 1, 2], Noon);
            await _work.EndAsync(_worker, jobs[1], [0, 3, 11], Noon);
            await Rollups.TurnAsync(_db.DataSource, 1);
            await late.CommitAsync();
        }

        await RolledUp.Async(_db, rowsMax: 1);
        await _work.EndAsync(_worker, jobs[1], [0, 1, 3, 4], Noon.AddMinutes(1));
        await _work.EndAsync(_worker, jobs[2], [.. Enumerable.Range(0, 12)], Noon.AddMinutes(2), TaskOutcome.Failed);
        await _work.EndAsync(_worker, jobs[3], [0, 1, 2], Noon.AddMinutes(-1));
        await RolledUp.Async(_db, rowsMax: 1);

        var run = await FindAsync("run");
        Assert.Equal((39, 10, 17), (run!.Requests, run.Succeeded, run.Pending));
        Assert.Equal(["cheap@1", "dear@2"], run.Models);
        Assert.Equal("bulk,express", await _db.ScalarAsync<string>("SELECT array_to_string(classes, ',') FROM groups"));
        await AssertRolledUpAsync("run");
    }

    [Fact]
    public async Task The_price_of_a_group_is_rounded_down_once()
    {
        var (first, second) = (await AddJobAsync("run", 1, "m@1"), await AddJobAsync("run", 1, "m@1"));
        await _db.ExecuteAsync("UPDATE jobs SET per_million_units_pico = 700000");
        await _work.EndAsync(_worker, first, [0], Noon);
        await _work.EndAsync(_worker, second, [0], Noon);

        var units = await _db.ScalarAsync<long>("SELECT sum(units) FROM results");
        Assert.Equal(units * 7 / 10, (await FindAsync("run"))!.PricePico);
        await RolledUp.Async(_db);
        await AssertRolledUpAsync("run");
    }

    [Fact]
    public async Task An_outcome_may_come_before_any_end_and_stays_when_tasks_end()
    {
        var job = await AddJobAsync("run", 2, "m@1");

        Assert.Equal(new Outcome(true, 2.5m, Noon), await ReportAsync("run", true, 2.5m, Noon));
        await _work.EndAsync(_worker, job, [0, 1], Noon);
        await RolledUp.Async(_db);

        Assert.Equal(new Outcome(true, 2.5m, Noon), (await FindAsync("run"))!.Outcome);
        Assert.Equal(2, await _db.ScalarAsync<long>("SELECT requests FROM groups"));
    }

    [Fact]
    public async Task The_same_report_again_changes_nothing_and_another_replaces_it()
    {
        await AddJobAsync("run", 1, "m@1");
        await ReportAsync("run", true, null, Noon);

        Assert.Equal(new Outcome(true, null, Noon), await ReportAsync("run", true, null, Noon.AddHours(1)));
        Assert.Equal(new Outcome(true, 1, Noon.AddHours(2)), await ReportAsync("run", true, 1, Noon.AddHours(2)));
        Assert.Equal(new Outcome(false, null, Noon.AddHours(3)), await ReportAsync("run", false, null, Noon.AddHours(3)));
    }

    [Fact]
    public async Task A_group_is_its_tenants_alone()
    {
        var job = await AddJobAsync("run", 2, "m@1");
        await NameAsync(job, 0, "own", 0);
        var stranger = await Tenants.EnsureAsync(_db.DataSource, "stranger");

        foreach (var name in new[] { "run", "own" })
        {
            Assert.NotNull(await FindAsync(name));
            Assert.Null(await Groups.FindAsync(_db.DataSource, stranger, name));
            Assert.Null(await Groups.ReportAsync(_db.DataSource, stranger, name, true, null, Noon));
            Assert.NotNull(await ReportAsync(name, true, null, Noon));
        }

        Assert.Null(await FindAsync("nothing"));
        Assert.Null(await ReportAsync("nothing", true, null, Noon));
    }

    [Fact]
    public async Task A_job_that_is_still_coming_in_makes_no_group()
    {
        await _db.ExecuteAsync(
            """
            INSERT INTO jobs (id, tenant, model, model_version, class, state, deadline, created_at, group_name)
            VALUES (gen_random_uuid(), $1, 'm', '1', 'bulk', 'receiving', now() + interval '1 day', now(), 'run')
            """,
            _tenant.Value
        );

        Assert.Null(await FindAsync("run"));
        Assert.Null(await ReportAsync("run", true, null, Noon));
    }

    [Fact]
    public async Task Work_without_groups_leaves_no_row()
    {
        await _work.EndAsync(_worker, await AddJobAsync(null, 5, "m@1"), [0, 1, 2], Noon);
        await RolledUp.Async(_db);

        Assert.Equal(0, await _db.ScalarAsync<long>("SELECT (SELECT count(*) FROM groups) + (SELECT count(*) FROM task_groups)"));
    }

    private async Task<BookedJob> AddJobAsync(string? group, int tasks, string model, LatencyClass latencyClass = LatencyClass.Bulk)
    {
        var job = await _work.AddJobAsync("one", latencyClass, model, tasks);
        await _db.ExecuteAsync(
            "UPDATE jobs SET group_name = nullif($2, ''), per_million_units_pico = 1234567 WHERE id = $1",
            job.Id.Value,
            group ?? ""
        );
        return job;
    }

    private Task<int> NameAsync(BookedJob job, int chunk, string name, params short[] tasks) =>
        _db.ExecuteAsync(
            "INSERT INTO task_groups (job, chunk, name, tenant, tasks) VALUES ($1, $2, $3, $4, $5)",
            job.Id.Value,
            chunk,
            name,
            _tenant.Value,
            tasks
        );

    private Task<GroupSums?> FindAsync(string name) => Groups.FindAsync(_db.DataSource, _tenant, name);

    private Task<Outcome?> ReportAsync(string name, bool accepted, decimal? value, DateTimeOffset now) =>
        Groups.ReportAsync(_db.DataSource, _tenant, name, accepted, value, now);

    private Task<decimal> CostAsync(BookedJob job) =>
        _db.ScalarAsync<decimal>("SELECT sum(cost_pico) FROM results WHERE job = $1", job.Id.Value);

    /// <summary>What the rollups summed step by step is what the results say now.</summary>
    private async Task AssertRolledUpAsync(params string[] names)
    {
        foreach (var name in names)
        {
            var sums = (await FindAsync(name))!;
            await using var command = _db.DataSource.CreateCommand(
                "SELECT requests, succeeded, turns, cost_pico, div(price_millionths, 1000000), last_at, models FROM groups WHERE name = $1"
            );
            command.Parameters.Add(new NpgsqlParameter { Value = name });
            await using var row = await command.ExecuteReaderAsync();
            Assert.True(await row.ReadAsync());
            Assert.Equal(
                (sums.Requests - sums.Pending, sums.Succeeded, sums.Turns, sums.CostPico, sums.PricePico, sums.LastAt),
                (
                    row.GetInt64(0),
                    row.GetInt64(1),
                    row.GetInt64(2),
                    row.GetDecimal(3),
                    row.GetDecimal(4),
                    row.GetFieldValue<DateTimeOffset>(5)
                )
            );
            Assert.Equal(sums.Models, row.GetFieldValue<string[]>(6));
        }
    }
}
