using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

/// <summary>Which jobs are noted as breaches, with what is needed to say why; and windows of sums.</summary>
public sealed class SlaBreachesTests : IAsyncLifetime
{
    private TestDatabase _db = null!;
    private BookedWork _work = null!;

    public async ValueTask InitializeAsync()
    {
        _db = await TestPostgres.CreateDatabaseAsync();
        _work = new BookedWork(_db, seed: 3);
    }

    public ValueTask DisposeAsync() => _db?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task A_job_beyond_its_target_is_noted_with_the_times_of_the_task_that_ended_last()
    {
        var worker = await _work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        var (late, early) = (
            await _work.AddJobAsync("one", LatencyClass.Express, "m@1", 3),
            await _work.AddJobAsync("one", LatencyClass.Bulk, "m@1", 3)
        );
        await _db.ExecuteAsync("UPDATE chunks SET attempts = 2 WHERE job = $1", late.Id.Value);
        var now = DateTimeOffset.UtcNow;
        await _work.EndAsync(worker, late, [0], now);
        await _work.EndAsync(worker, late, [1, 2], now.AddSeconds(3));
        await _work.EndAsync(worker, early, [0, 1, 2], now.AddSeconds(3));
        await RolledUp.Async(_db);

        Assert.Equal(1, await _db.ScalarAsync<long>("SELECT count(*) FROM sla_breaches"));
        Assert.True(
            await _db.ScalarAsync<bool>(
                """
                SELECT job = $1 AND kind = 'job' AND state = 'completed' AND class = 'express' AND target_us = 500000 AND total_us > 2900000
                       AND queued_us = 12000 + 2 * 210000 AND staged_us = 800 AND worker_losses = 2 AND tasks = 3 AND num_nonnulls(nullif(paused_us, 0), nullif(lost_us, 0), nullif(announced_us, 0), unit_ps) = 0
                FROM sla_breaches
                """,
                late.Id.Value
            )
        );
    }

    [Fact]
    public async Task A_job_that_expired_is_noted_however_soon()
    {
        var job = await _work.AddJobAsync("one", LatencyClass.Bulk, "m@1", 3);
        await using (var connection = await _db.DataSource.OpenConnectionAsync())
        {
            await using var transaction = await connection.BeginTransactionAsync();
            await TaskEnds.EndRemainingAsync(
                connection,
                transaction,
                [new ChunkKey(job.Id, 0)],
                TaskOutcome.Expired,
                FailureKind.DeadlinePassed,
                "Too late.",
                DateTimeOffset.UtcNow.AddSeconds(1)
            );
            await transaction.CommitAsync();
        }

        await RolledUp.Async(_db);

        Assert.Equal("expired", await _db.ScalarAsync<string>("SELECT state FROM sla_breaches WHERE expired = 3"));
        await SlaRecount.AssertEqualAsync(_db);
    }

    [Fact]
    public async Task Any_window_is_the_sum_of_its_minutes_whichever_rows_it_is_read_from()
    {
        await _work.AddManyAsync(transactions: 120);
        await _db.ExecuteAsync("UPDATE jobs SET per_million_units_pico = 123456789 WHERE class = 'bulk'");
        await RolledUp.Async(_db);
        await SlaRecount.AssertEqualAsync(_db);

        var from = new DateTimeOffset(2026, 1, 29, 0, 0, 0, TimeSpan.Zero);
        var random = new Random(5);
        await using var connection = await _db.DataSource.OpenConnectionAsync();
        var tasks = 0L;
        for (var i = 0; i < 12; i++)
        {
            var (a, b) = (from.AddMinutes(random.Next(4000)), from.AddMinutes(random.Next(4000)));
            (a, b) = a < b ? (a, b) : (b, a);
            var minutes = new Dictionary<SlaKey, SlaSums>();
            await SlaStore.ReadAsync(
                connection,
                new SlaSpan(SlaGrain.Minute, a, b),
                null,
                SlaSums.Times,
                (_, key, row) => row.AddTo(minutes.TryGetValue(key, out var sums) ? sums : minutes[key] = new SlaSums())
            );

            var window = await SlaStore.SumAsync(connection, a, b);

            Assert.Equal(minutes.Keys.ToHashSet(), window.Keys.ToHashSet());
            Assert.All(minutes, m => SlaRecount.AssertEqual($"{a} to {b}", m.Value, window[m.Key]));
            tasks += minutes.Values.Sum(m => m.Ended);
        }

        Assert.True(tasks > 0, "The windows were empty.");
        var tenant = new TenantId(await _db.ScalarAsync<Guid>("SELECT tenant FROM sla_days LIMIT 1"));
        Assert.All(await SlaStore.SumAsync(connection, from, from.AddDays(10), tenant), s => Assert.Equal(tenant, s.Key.Tenant));
    }

    [Fact]
    public async Task What_is_not_rolled_up_yet_is_known_by_when_it_ended()
    {
        var worker = await _work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        await using var connection = await _db.DataSource.OpenConnectionAsync();
        var at = new DateTimeOffset(2026, 1, 5, 0, 0, 0, TimeSpan.Zero);
        await _work.EndAsync(worker, await _work.AddJobAsync("one", LatencyClass.Bulk, "m@1", 10), [7, 8, 9], at);

        Assert.Equal(at, await SlaStore.RolledUpAsync(connection));
        await RolledUp.Async(_db);

        Assert.True(await SlaStore.RolledUpAsync(connection) > DateTimeOffset.UtcNow.AddMinutes(-1));
    }
}
