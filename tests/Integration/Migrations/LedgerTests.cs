using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

public sealed class LedgerTests : IAsyncLifetime
{
    private const long Price = Cost.PicoPerUsd;

    private readonly WorkerId _worker = WorkerId.New(Seeds.Now);
    private TestDatabase _db = null!;

    public async ValueTask InitializeAsync()
    {
        _db = await TestPostgres.CreateDatabaseAsync();
        await _db.ExecuteAsync(
            """
            INSERT INTO workers (id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen)
            VALUES ($1, 'w', 'default', 'cpu', 'test', $2, 'alive', now(), now())
            """,
            _worker.Value,
            Price
        );
    }

    public ValueTask DisposeAsync() => _db?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task Intervals_chain_and_sum_to_time_and_price_exactly()
    {
        long[] ends = [1, 333_333_333, 1_000_000_007, 3_600_000_000_001];
        long from = 0;
        foreach (var to in ends)
        {
            var pico = Cost.Interval(from, to, Price);
            Assert.True(await ExtendAsync(from, to, new(LedgerAccount.Task, to - from - 1, pico), new(LedgerAccount.Idle, 1, 0)));
            from = to;
        }

        Assert.Equal(from, await _db.ScalarAsync<long>("SELECT accounted_ns FROM workers"));
        Assert.Equal(from, await _db.ScalarAsync<decimal>("SELECT sum(ns) FROM ledger"));
        Assert.Equal(Cost.RunningTotal(from, Price), await _db.ScalarAsync<decimal>("SELECT sum(pico) FROM ledger"));
    }

    [Fact]
    public async Task An_interval_that_does_not_continue_the_chain_is_not_written()
    {
        Assert.True(await ExtendAsync(0, 1000, Idle(0, 1000)));

        Assert.False(await ExtendAsync(0, 2000, Idle(0, 2000)));
        Assert.False(await ExtendAsync(1500, 2000, Idle(1500, 2000)));
        Assert.Equal(1, await _db.ScalarAsync<long>("SELECT count(*) FROM ledger"));
    }

    [Fact]
    public async Task Entries_that_do_not_sum_are_a_mistake()
    {
        var hour = 3_600_000_000_000;

        await Assert.ThrowsAsync<ArgumentException>(() => ExtendAsync(0, hour, new LedgerEntry(LedgerAccount.Task, hour - 1, Price)));
        await Assert.ThrowsAsync<WrongPriceException>(() => ExtendAsync(0, hour, new LedgerEntry(LedgerAccount.Task, hour, Price - 1)));
        Assert.Equal(0, await _db.ScalarAsync<long>("SELECT count(*) FROM ledger"));
    }

    [Fact]
    public async Task A_lost_worker_is_closed_once_at_its_last_heartbeat_and_can_extend_no_more()
    {
        await ExtendAsync(0, 1_000_000_000, Idle(0, 1_000_000_000));
        await _db.ExecuteAsync("UPDATE workers SET uptime_ns = 4000000000");

        Assert.True(await CloseAsync());
        Assert.False(await CloseAsync());
        Assert.False(await ExtendAsync(4_000_000_000, 5_000_000_000, Idle(4_000_000_000, 5_000_000_000)));
        Assert.Equal("lost", await _db.ScalarAsync<string>("SELECT state FROM workers WHERE ended_at IS NOT NULL"));
        Assert.Equal(3_000_000_000, await _db.ScalarAsync<long>("SELECT ns FROM ledger WHERE account = 'waste' AND detail = 'lost'"));
        Assert.Equal(Cost.RunningTotal(4_000_000_000, Price), await _db.ScalarAsync<decimal>("SELECT sum(pico) FROM ledger"));
    }

    [Fact]
    public async Task A_worker_whose_last_commit_is_newer_than_its_last_heartbeat_is_closed_at_that_commit()
    {
        await ExtendAsync(0, 1_000_000_000, Idle(0, 1_000_000_000));

        Assert.True(await CloseAsync());

        Assert.Equal(1_000_000_000, await _db.ScalarAsync<long>("SELECT accounted_ns FROM workers WHERE state = 'lost'"));
        Assert.Equal(0, await _db.ScalarAsync<long>("SELECT count(*) FROM ledger WHERE account = 'waste'"));
    }

    [Fact]
    public async Task An_interval_across_a_change_of_price_costs_each_part_at_its_own()
    {
        await SetPriceAsync(1_000_000_000, 3 * Price);
        await SetPriceAsync(3_000_000_000, 0);
        var before = await Assert.ThrowsAsync<WrongPriceException>(() => ExtendAsync(0, 2_000_000_007, Idle(0, 2_000_000_007)));
        var pico = Cost.Interval(0, 1_000_000_000, Price) + Cost.Interval(1_000_000_000, 2_000_000_007, 3 * Price);

        Assert.Equal(pico, before.Prices.Interval(0, 2_000_000_007));
        Assert.True(await ExtendAsync(0, 2_000_000_007, new LedgerEntry(LedgerAccount.Idle, 2_000_000_007, pico)));
        await _db.ExecuteAsync("UPDATE workers SET uptime_ns = 9000000000");
        Assert.True(await CloseAsync());

        Assert.Equal(
            Cost.RunningTotal(1_000_000_000, Price) + Cost.Interval(1_000_000_000, 3_000_000_000, 3 * Price),
            await _db.ScalarAsync<decimal>("SELECT sum(pico) FROM ledger")
        );
        await AssertDifferenceAsync(0, 0, 0);
        await LedgerScript.AssertClosesAsync(_db.DataSource);
    }

    [Fact]
    public async Task What_does_not_close_is_told_by_how_much()
    {
        await ExtendAsync(0, 1_000_000_000, Idle(0, 1_000_000_000));
        await AssertDifferenceAsync(0, 0, 0);

        await _db.ExecuteAsync("UPDATE ledger SET pico = pico + 5");
        await AssertDifferenceAsync(0, 5, 1);

        await _db.ExecuteAsync("UPDATE ledger SET pico = pico - 5, from_ns = 10, ns = ns - 10");
        await AssertDifferenceAsync(-10, 0, 1);
    }

    [Fact]
    public async Task A_correction_is_rows_that_sum_to_nothing()
    {
        await ExtendAsync(0, 1_000_000_000, Idle(0, 1_000_000_000));

        await _db.ExecuteAsync(
            """
            INSERT INTO ledger (worker, account, from_ns, to_ns, ns, pico, detail, at)
            SELECT worker, c.account, from_ns, to_ns, ns * sign, pico * sign, 'correction', now()
            FROM ledger, (VALUES ('idle', -1), ('warm_up', 1)) AS c (account, sign)
            """
        );

        await AssertDifferenceAsync(0, 0, 0);
    }

    [Fact]
    public async Task A_price_is_set_a_minute_before_it_holds_or_not_at_all()
    {
        var now = DateTimeOffset.UtcNow;

        Assert.False(await PoolPrices.SetAsync(_db.DataSource, "default", now, Price));
        Assert.False(await PoolPrices.SetAsync(_db.DataSource, "default", now.AddSeconds(50), Price));
        Assert.True(await PoolPrices.SetAsync(_db.DataSource, "default", now.AddHours(1), Price));
        Assert.True(await PoolPrices.SetAsync(_db.DataSource, "default", now.AddHours(1), 2 * Price));
        Assert.Equal(2 * Price, await _db.ScalarAsync<long>("SELECT price_per_hour_pico FROM pool_prices"));
    }

    private Task<int> SetPriceAsync(long fromNs, long price) =>
        _db.ExecuteAsync(
            """
            INSERT INTO pool_prices (pool, valid_from, price_per_hour_pico, created_at)
            SELECT pool, started_at + make_interval(secs => $1 / 1000000000.0), $2, now() FROM workers
            """,
            fromNs,
            price
        );

    private async Task AssertDifferenceAsync(decimal ns, decimal pico, long intervals)
    {
        Assert.Equal(ns, await _db.ScalarAsync<decimal>("SELECT ns FROM ledger_difference()"));
        Assert.Equal(pico, await _db.ScalarAsync<decimal>("SELECT pico FROM ledger_difference()"));
        Assert.Equal(intervals, await _db.ScalarAsync<long>("SELECT intervals FROM ledger_difference($1)", _worker.Value));
    }

    private static LedgerEntry Idle(long from, long to) => new(LedgerAccount.Idle, to - from, Cost.Interval(from, to, Price));

    private Task<bool> ExtendAsync(long from, long to, params LedgerEntry[] entries) =>
        InTransactionAsync((c, t) => Ledger.ExtendAsync(c, t, _worker, from, to, entries));

    private Task<bool> CloseAsync() => InTransactionAsync((c, t) => Ledger.CloseAsync(c, t, _worker, WorkerState.Lost, Seeds.Now));

    private async Task<bool> InTransactionAsync(Func<NpgsqlConnection, NpgsqlTransaction, Task<bool>> act)
    {
        await using var connection = await _db.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var done = await act(connection, transaction);
        await transaction.CommitAsync();
        return done;
    }
}
