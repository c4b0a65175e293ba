using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

public sealed class RollupsTests : IAsyncLifetime
{
    private TestDatabase _db = null!;
    private BookedWork _work = null!;

    public async ValueTask InitializeAsync()
    {
        _db = await TestPostgres.CreateDatabaseAsync();
        _work = new BookedWork(_db, seed: 1);
    }

    public ValueTask DisposeAsync() => _db?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task A_task_is_counted_on_the_day_it_finished_and_once_however_often_it_is_looked()
    {
        var worker = await _work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        var job = await _work.AddJobAsync("one", LatencyClass.Bulk, "m@1", 3);
        await _work.EndAsync(worker, job, [0, 1], at: Day(1).AddHours(23));
        await _work.EndAsync(worker, job, [2], at: Day(2), outcome: TaskOutcome.Failed);

        await UntilIdleAsync();
        Assert.Equal(RollupTurn.Nothing, await Rollups.TurnAsync(_db.DataSource, 100));

        Assert.Equal(2, await _db.ScalarAsync<long>("SELECT succeeded FROM usage_days WHERE day = '2026-01-01'"));
        Assert.Equal(1, await _db.ScalarAsync<long>("SELECT failed FROM usage_days WHERE day = '2026-01-02'"));
        await Recount.AssertEqualAsync(_db);
        await SlaRecount.AssertEqualAsync(_db);
    }

    [Fact]
    public async Task A_transaction_that_commits_late_is_neither_skipped_nor_are_those_after_it_counted_before()
    {
        var worker = await _work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        var (early, late) = (
            await _work.AddJobAsync("one", LatencyClass.Bulk, "m@1", 2),
            await _work.AddJobAsync("two", LatencyClass.Bulk, "m@1", 2)
        );
        var other = await _work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        await using var connection = await _db.DataSource.OpenConnectionAsync();
        await using var open = await connection.BeginTransactionAsync();
        await _work.EndAsync(connection, open, other, late, [0, 1], at: Day(1));
        await _work.EndAsync(worker, early, [0, 1], at: Day(1));

        Assert.Equal(RollupTurn.Nothing, await Rollups.TurnAsync(_db.DataSource, 100));
        Assert.Equal(0, await _db.ScalarAsync<long>("SELECT count(*) FROM usage_days"));
        await open.CommitAsync();
        await UntilIdleAsync();

        await Recount.AssertEqualAsync(_db);
        await SlaRecount.AssertEqualAsync(_db);
        Assert.Equal(4, await _db.ScalarAsync<decimal>("SELECT sum(succeeded) FROM usage_days"));
    }

    [Fact]
    public async Task A_turn_takes_whole_transactions_and_no_more_than_it_may_begin()
    {
        var worker = await _work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        for (var i = 0; i < 3; i++)
        {
            await _work.EndAsync(
                worker,
                await _work.AddJobAsync("one", LatencyClass.Bulk, "m@1", 20),
                [.. Enumerable.Range(0, 20)],
                at: Day(1)
            );
        }

        await RolledUp.NothingIsOpenAsync(_db);
        Assert.Equal(RollupTurn.MoreWaits, await Rollups.TurnAsync(_db.DataSource, rowsMax: 2));
        Assert.Equal(20, await _db.ScalarAsync<decimal>("SELECT sum(succeeded) FROM usage_days"));
        await UntilIdleAsync();

        await Recount.AssertEqualAsync(_db);
        await SlaRecount.AssertEqualAsync(_db);
    }

    [Fact]
    public async Task A_turn_that_dies_leaves_no_trace_and_instances_at_the_same_time_count_once()
    {
        await _work.AddManyAsync(transactions: 30);

        // A trigger that fails the last statement stands for a process that is killed before its commit.
        await _db.ExecuteAsync(
            """
            CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'killed'; END $$;
            CREATE TRIGGER die BEFORE UPDATE ON rollups FOR EACH ROW EXECUTE FUNCTION die();
            """
        );
        await RolledUp.NothingIsOpenAsync(_db);
        await Assert.ThrowsAsync<PostgresException>(() => Rollups.TurnAsync(_db.DataSource, 5));
        await _db.ExecuteAsync("DROP TRIGGER die ON rollups");

        Assert.Equal(0, await _db.ScalarAsync<long>("SELECT count(*) FROM usage_days"));
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(UntilIdleAsync)));
        await UntilIdleAsync();

        await Recount.AssertEqualAsync(_db);
        await SlaRecount.AssertEqualAsync(_db);
    }

    [Theory]
    [InlineData(11)]
    [InlineData(12)]
    [InlineData(13)]
    public async Task Rollups_agree_with_a_full_recount_while_work_is_written_and_connections_are_killed(int seed)
    {
        var work = new BookedWork(_db, seed);
        using var written = new CancellationTokenSource();
        var rolling = Task.Run(() => RollAndDieAsync(new Random(seed), written.Token));
        await work.AddManyAsync(transactions: 60);
        await written.CancelAsync();
        await rolling;
        await UntilIdleAsync();

        await Recount.AssertEqualAsync(_db);
        await SlaRecount.AssertEqualAsync(_db);
        Assert.True(await _db.ScalarAsync<decimal>("SELECT sum(succeeded) FROM usage_days") > 0);
    }

    private static DateTimeOffset Day(int day) => new(2026, 1, day, 0, 0, 0, TimeSpan.Zero);

    private Task UntilIdleAsync() => RolledUp.Async(_db, rowsMax: 7);

    /// <summary>Turns, one in three of which loses its connection at some moment.</summary>
    private async Task RollAndDieAsync(Random random, CancellationToken written)
    {
        var settings = new NpgsqlConnectionStringBuilder(_db.ConnectionString) { Pooling = false, ApplicationName = "doomed" };
        await using var doomed = NpgsqlDataSource.Create(settings);
        while (!written.IsCancellationRequested)
        {
            var turn = Rollups.TurnAsync(doomed, random.Next(1, 9), CancellationToken.None);
            if (random.Next(3) == 0)
            {
                await _db.ExecuteAsync(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'doomed' AND datname = current_database()"
                );
            }

            try
            {
                await turn;
            }
            catch (Exception e) when (e is NpgsqlException or IOException or InvalidOperationException)
            {
                // Killed: the next turn finds everything as it was.
            }
        }
    }
}
