using System.Data;
using Npgsql;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Support.Worker;

/// <summary>
/// Promise 3, checked from outside: each worker's ledger is one gap-free chain from 0, its accounts sum to accounted time × price to
/// the pico-dollar, and the task account is what the results cost.
/// </summary>
internal static class LedgerCheck
{
    public static async Task AssertClosesAsync(NpgsqlDataSource database)
    {
        // One snapshot, since workers that live go on writing.
        await using var connection = await database.OpenConnectionAsync();
        await using var snapshot = await connection.BeginTransactionAsync(IsolationLevel.RepeatableRead);
        var workers = 0;
        foreach (var (id, accountedNs, price) in await WorkersAsync(connection))
        {
            await AssertChainAsync(connection, id, accountedNs, price);
            workers++;
        }

        Assert.True(workers > 0, "Nobody has worked.");
        var (tasks, results) = await TaskCostAsync(connection);
        Assert.Equal(tasks, results);
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

    private static async Task AssertChainAsync(NpgsqlConnection snapshot, Guid worker, long accountedNs, long price)
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
            Assert.Equal(Cost.Interval(from, to, price), reader.GetInt64(3));
            (reached, pico) = (to, pico + reader.GetInt64(3));
        }

        Assert.Equal(accountedNs, reached);
        Assert.Equal(Cost.RunningTotal(accountedNs, price), pico);
    }

    private static async Task<List<(Guid Id, long AccountedNs, long Price)>> WorkersAsync(NpgsqlConnection snapshot)
    {
        await using var command = new NpgsqlCommand("SELECT id, accounted_ns, price_per_hour_pico FROM workers", snapshot);
        await using var reader = await command.ExecuteReaderAsync();
        var workers = new List<(Guid, long, long)>();
        while (await reader.ReadAsync())
        {
            workers.Add((reader.GetGuid(0), reader.GetInt64(1), reader.GetInt64(2)));
        }

        return workers;
    }

    private static async Task<(decimal Tasks, decimal Results)> TaskCostAsync(NpgsqlConnection snapshot)
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT (SELECT coalesce(sum(pico), 0) FROM ledger WHERE account = 'task'),
                   (SELECT coalesce(sum(cost_pico), 0) FROM results)
            """,
            snapshot
        );
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        return (reader.GetDecimal(0), reader.GetDecimal(1));
    }
}
