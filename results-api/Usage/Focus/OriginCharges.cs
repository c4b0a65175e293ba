using System.Runtime.CompilerServices;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Usage.Focus;

/// <summary>Reads origin charges from the rollups, in order of day, pool and price; one in memory at a time.</summary>
internal static class OriginCharges
{
    public static async IAsyncEnumerable<OriginCharge> ReadAsync(
        NpgsqlDataSource database,
        DateOnly from,
        DateOnly to,
        [EnumeratorCancellation] CancellationToken stop
    )
    {
        // One snapshot for all: a turn of the rollups in between would leave an origin without its parts.
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(System.Data.IsolationLevel.RepeatableRead, stop);
        foreach (var (day, pool, price) in await KeysAsync(connection, from, to, stop))
        {
            var (booked, consumed) = (new List<Allocation>(), new List<Allocation>());
            await using var batch = new NpgsqlBatch(connection) { BatchCommands = { Keyed(BookedSql), Keyed(ConsumedSql) } };
            await using (var reader = await batch.ExecuteReaderAsync(stop))
            {
                while (await reader.ReadAsync(stop))
                {
                    booked.Add(new(reader.GetString(0), reader.GetString(1), null, reader.GetInt64(2), reader.GetInt64(3)));
                }

                await reader.NextResultAsync(stop);
                while (await reader.ReadAsync(stop))
                {
                    var consumer = new Consumer(
                        reader.GetGuid(0),
                        reader.GetString(1),
                        reader.GetString(2),
                        reader.GetString(3),
                        reader.GetInt64(4),
                        reader.GetInt64(5)
                    );
                    consumed.Add(new(LedgerAccount.Task.Name(), "", consumer, 0, reader.GetInt64(6)));
                }
            }

            yield return new OriginCharge(day, pool, price, booked, consumed);

            NpgsqlBatchCommand Keyed(string sql) =>
                new(sql)
                {
                    Parameters =
                    {
                        new() { Value = day, NpgsqlDbType = NpgsqlDbType.Date },
                        new() { Value = pool },
                        new() { Value = price },
                    },
                };
        }
    }

    private static async Task<List<(DateOnly Day, string Pool, long Price)>> KeysAsync(
        NpgsqlConnection connection,
        DateOnly from,
        DateOnly to,
        CancellationToken stop
    )
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT day, pool, price_per_hour_pico FROM device_days WHERE day BETWEEN $1 AND $2
            GROUP BY day, pool, price_per_hour_pico ORDER BY day, pool COLLATE "C", price_per_hour_pico
            """,
            connection
        );
        command.Parameters.Add(new() { Value = from, NpgsqlDbType = NpgsqlDbType.Date });
        command.Parameters.Add(new() { Value = to, NpgsqlDbType = NpgsqlDbType.Date });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var keys = new List<(DateOnly, string, long)>();
        while (await reader.ReadAsync(stop))
        {
            keys.Add((reader.GetFieldValue<DateOnly>(0), reader.GetString(1), reader.GetInt64(2)));
        }

        return keys;
    }

    private const string BookedSql = """
        SELECT account, detail, ns, pico FROM device_days WHERE day = $1 AND pool = $2 AND price_per_hour_pico = $3
        ORDER BY account, detail COLLATE "C"
        """;

    private const string ConsumedSql = """
        SELECT a.tenant, coalesce(t.name, a.tenant::text), a.class, a.model, a.tasks, a.units, a.cost_pico
        FROM allocated_days a LEFT JOIN tenants t ON t.id = a.tenant
        WHERE a.day = $1 AND a.pool = $2 AND a.price_per_hour_pico = $3
        ORDER BY a.tenant, a.class, a.model COLLATE "C"
        """;
}
