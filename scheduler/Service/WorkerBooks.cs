using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// Keeps the workers' rows: their clocks from heartbeats, once a second in one statement, and the books of those that fell silent.
/// </summary>
internal sealed class WorkerBooks(NpgsqlDataSource database, TimeProvider time)
{
    /// <summary>Writes the clocks down.</summary>
    /// <returns>The newest epoch: who finds it above its own has been replaced.</returns>
    public async Task<long> WriteClocksAsync(IReadOnlyCollection<WorkerClock> clocks, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            WITH seen AS (
              UPDATE workers w SET last_seen = greatest(w.last_seen, s.seen_at), uptime_ns = greatest(w.uptime_ns, s.uptime_ns)
              FROM unnest($1, $2, $3) AS s (id, seen_at, uptime_ns)
              WHERE w.id = s.id AND w.state = 'alive'
            )
            SELECT epoch FROM scheduler_epoch
            """
        );
        command.Parameters.Add(new() { Value = clocks.Select(c => c.Worker.Value).ToArray() });
        command.Parameters.Add(
            new()
            {
                Value = clocks.Select(c => c.SeenAt.UtcDateTime).ToArray(),
                NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.TimestampTz,
            }
        );
        command.Parameters.Add(new() { Value = clocks.Select(c => c.UptimeNs).ToArray() });
        return (long)(await command.ExecuteScalarAsync(stop))!;
    }

    /// <summary>
    /// Closes a silent worker at its last sign of life: what is open of its chain is waste, and chunks it had begun that are not done
    /// are suspected once more. Chunks are locked first, as everywhere: a worker that commits at this moment either comes first and
    /// counts, or finds itself closed.
    /// </summary>
    /// <param name="clock">The last heartbeat, which may be younger than what is written down.</param>
    /// <returns>The suspects with their attempts; null when it was closed before, by itself or by us.</returns>
    public async Task<IReadOnlyList<(ChunkKey Chunk, int Attempts)>?> CloseAsync(
        WorkerId worker,
        WorkerClock? clock,
        CancellationToken stop
    )
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        while (true)
        {
            await using var transaction = await connection.BeginTransactionAsync(stop);
            if (await BegunAsync(connection, transaction, worker, stop) is not { } begun)
            {
                return null;
            }

            await LockAsync(connection, transaction, begun, stop);
            if (clock is not null)
            {
                await SetClockAsync(connection, transaction, clock, stop);
            }

            if (!await Ledger.CloseAsync(connection, transaction, worker, WorkerState.Lost, time.GetUtcNow(), stop))
            {
                return null;
            }

            // It had begun more before its row was locked: lock that too.
            if (await BegunAsync(connection, transaction, worker, stop, alive: false) != begun)
            {
                await transaction.RollbackAsync(stop);
                continue;
            }

            var suspects = await SuspectAsync(connection, transaction, begun, stop);
            await transaction.CommitAsync(stop);
            return suspects;
        }
    }

    private static async Task<string?> BegunAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        WorkerId worker,
        CancellationToken stop,
        bool alive = true
    )
    {
        await using var command = new NpgsqlCommand(
            "SELECT begun::text FROM workers WHERE id = $1 AND (NOT $2 OR state = 'alive')",
            connection,
            transaction
        );
        command.Parameters.Add(new() { Value = worker.Value });
        command.Parameters.Add(new() { Value = alive });
        return await command.ExecuteScalarAsync(stop) as string;
    }

    private static async Task LockAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, string begun, CancellationToken stop)
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT FROM (SELECT DISTINCT (b ->> 'job')::uuid AS job, (b ->> 'no')::int AS no FROM jsonb_array_elements($1) AS b) AS k
            JOIN chunks c ON c.job = k.job AND c.no = k.no
            ORDER BY c.job, c.no FOR UPDATE OF c
            """,
            connection,
            transaction
        );
        command.Parameters.Add(new() { Value = begun, NpgsqlDbType = NpgsqlDbType.Jsonb });
        await command.ExecuteNonQueryAsync(stop);
    }

    private static async Task SetClockAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        WorkerClock clock,
        CancellationToken stop
    )
    {
        await using var command = new NpgsqlCommand(
            """
            UPDATE workers SET uptime_ns = greatest(uptime_ns, $2), last_seen = greatest(last_seen, $3)
            WHERE id = $1 AND state = 'alive'
            """,
            connection,
            transaction
        );
        command.Parameters.Add(new() { Value = clock.Worker.Value });
        command.Parameters.Add(new() { Value = clock.UptimeNs });
        command.Parameters.Add(new() { Value = clock.SeenAt.ToUniversalTime() });
        await command.ExecuteNonQueryAsync(stop);
    }

    /// <summary>Attempts go up as <see cref="SuspectRule.AttemptsAfter"/> tells: by the commit size it ran with.</summary>
    private static async Task<List<(ChunkKey, int)>> SuspectAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        string begun,
        CancellationToken stop
    )
    {
        await using var command = new NpgsqlCommand(
            """
            UPDATE chunks c SET attempts = greatest(c.attempts, 1 + k.step)
            FROM (
              SELECT (b ->> 'job')::uuid AS job, (b ->> 'no')::int AS no,
                     max(coalesce(array_position($2, (b ->> 'commitRows')::int), 0)) AS step
              FROM jsonb_array_elements($1) AS b GROUP BY 1, 2
            ) AS k
            WHERE c.job = k.job AND c.no = k.no AND c.remaining > 0
            RETURNING c.job, c.no, c.attempts
            """,
            connection,
            transaction
        );
        command.Parameters.Add(new() { Value = begun, NpgsqlDbType = NpgsqlDbType.Jsonb });
        command.Parameters.Add(new() { Value = SuspectRule.CommitRows.ToArray() });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var suspects = new List<(ChunkKey, int)>();
        while (await reader.ReadAsync(stop))
        {
            suspects.Add((new ChunkKey(new JobId(reader.GetGuid(0)), reader.GetInt32(1)), reader.GetInt32(2)));
        }

        return suspects;
    }
}

/// <summary>A worker's monotonic clock as its last heartbeat told it, and when that came.</summary>
internal sealed record WorkerClock(WorkerId Worker, long UptimeNs, DateTimeOffset SeenAt);
