using System.Data;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Support.Worker;

/// <summary>
/// Promise 3, checked from outside: each worker's ledger is one gap-free chain from 0, its accounts sum to accounted time × price to
/// the pico-dollar, and the task account is what the results cost. The database's own function must say the same.
/// </summary>
internal static class LedgerCheck
{
    public static async Task AssertClosesAsync(NpgsqlDataSource database)
    {
        // One snapshot, since workers that live go on writing.
        await using var connection = await database.OpenConnectionAsync();
        await using var snapshot = await connection.BeginTransactionAsync(IsolationLevel.RepeatableRead);
        var workers = 0;
        foreach (var (id, accountedNs, prices) in await WorkersAsync(connection))
        {
            await AssertChainAsync(connection, id, accountedNs, prices);
            workers++;
        }

        Assert.True(workers > 0, "Nobody has worked.");
        var (tasks, results) = await TaskCostAsync(connection);
        Assert.Equal(tasks, results);
        Assert.Equal((0m, 0m, 0m), await DifferenceAsync(connection));
    }

    /// <summary>Nanoseconds in an account, with that detail where one is given.</summary>
    public static async Task<(long Ns, long Pico)> AccountAsync(NpgsqlDataSource database, LedgerAccount account, string? detail = null)
    {
        await using var command = database.CreateCommand(
            "SELECT coalesce(sum(ns), 0)::bigint, coalesce(sum(pico), 0)::bigint FROM ledger WHERE account = $1 AND coalesce(detail, '') = $2"
        );
        command.Parameters.Add(new() { Value = account.Name() });
        command.Parameters.Add(new() { Value = detail ?? "" });
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        return (reader.GetInt64(0), reader.GetInt64(1));
    }

    private static async Task AssertChainAsync(NpgsqlConnection snapshot, Guid worker, long accountedNs, DevicePrices prices)
    {
        await using var command = new NpgsqlCommand(
            "SELECT from_ns, to_ns, sum(ns)::bigint, sum(pico)::bigint FROM ledger WHERE worker = $1 GROUP BY from_ns, to_ns ORDER BY from_ns",
            snapshot
        );
        command.Parameters.Add(new() { Value = worker });
        await using var reader = await command.ExecuteReaderAsync();
        var (reached, pico) = (0L, 0L);
        while (await reader.ReadAsync())
        {
            var (from, to) = (reader.GetInt64(0), reader.GetInt64(1));
            Assert.Equal(reached, from);
            Assert.Equal(to - from, reader.GetInt64(2));
            Assert.Equal(prices.Interval(from, to), reader.GetInt64(3));
            (reached, pico) = (to, pico + reader.GetInt64(3));
        }

        Assert.Equal(accountedNs, reached);
        Assert.Equal(prices.Interval(0, accountedNs), pico);
    }

    private static async Task<List<(Guid Id, long AccountedNs, DevicePrices Prices)>> WorkersAsync(NpgsqlConnection snapshot)
    {
        await using var command = new NpgsqlCommand($"SELECT id, accounted_ns, {PoolPrices.OfWorkerSql} FROM workers w", snapshot);
        await using var reader = await command.ExecuteReaderAsync();
        var workers = new List<(Guid, long, DevicePrices)>();
        while (await reader.ReadAsync())
        {
            workers.Add((reader.GetGuid(0), reader.GetInt64(1), PoolPrices.Read(reader.GetValue(2))));
        }

        return workers;
    }

    private static async Task<(decimal Ns, decimal Pico, decimal Intervals)> DifferenceAsync(NpgsqlConnection snapshot)
    {
        await using var command = new NpgsqlCommand(
            "SELECT sum(abs(ns)), sum(abs(pico)), sum(intervals) FROM ledger_difference()",
            snapshot
        );
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        return (reader.GetDecimal(0), reader.GetDecimal(1), reader.GetDecimal(2));
    }

    private static async Task<(decimal Tasks, decimal Results)> TaskCostAsync(NpgsqlConnection snapshot)
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT (SELECT coalesce(sum(pico), 0) FROM ledger WHERE account = 'task'),
                   (SELECT coalesce(sum(cost_pico), 0) FROM results)
                   + (SELECT coalesce(sum(cost_pico), 0) FROM turns t
                      WHERE NOT EXISTS (SELECT FROM results r WHERE r.job = t.job AND r.seq = t.seq))
            """,
            snapshot
        );
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        return (reader.GetDecimal(0), reader.GetDecimal(1));
    }
}
