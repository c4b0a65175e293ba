using System.Text;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>Fails some tasks of a chunk without running them: the culprit of crashes, or what no worker could be made to run.</summary>
internal sealed class TaskFailures(NpgsqlDataSource database, TimeProvider time)
{
    /// <summary>Writes the failures, in one transaction; tasks that have a result keep it.</summary>
    public async Task WriteAsync(FailTasks decision, CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        var now = time.GetUtcNow();
        var rows = await ReadAsync(connection, transaction, decision, now, stop);
        await TaskEnds.WriteAsync(connection, transaction, rows, now, cancellationToken: stop);
        if (decision.FirstOnly)
        {
            await SetAttemptsAsync(connection, transaction, decision.Slice.Chunk, stop);
        }

        await transaction.CommitAsync(stop);
    }

    /// <summary>Locks the chunk and makes a row for each task of the slice that has no result, or for the first of them.</summary>
    private static async Task<TaskEndRows> ReadAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        FailTasks decision,
        DateTimeOffset now,
        CancellationToken stop
    )
    {
        var slice = decision.Slice;
        var rows = new TaskEndRows();
        await using var batch = new NpgsqlBatch(connection, transaction);
        batch.BatchCommands.Add(
            new("SELECT FROM chunks WHERE job = $1 AND no = $2 FOR UPDATE")
            {
                Parameters =
                {
                    new() { Value = slice.Job.Value },
                    new() { Value = slice.No },
                },
            }
        );
        batch.BatchCommands.Add(
            new(
                $"""
                SELECT c.first_seq, {ChunkSql.Payload}, {ChunkSql.Model}, coalesce(j.queued_at, j.created_at), {ChunkSql.DoneSeqs},
                       c.own, c.turn, j.route IS NOT NULL
                FROM chunks c JOIN jobs j ON j.id = c.job
                WHERE c.job = $1 AND c.no = $2 AND c.remaining > 0
                """
            )
            {
                Parameters =
                {
                    new() { Value = slice.Job.Value },
                    new() { Value = slice.No },
                },
            }
        );
        await using var reader = await batch.ExecuteReaderAsync(stop);
        await reader.NextResultAsync(stop);
        if (!await reader.ReadAsync(stop))
        {
            return rows;
        }

        var firstSeq = reader.GetInt32(0);
        using var payload = ChunkPayload.Read(reader.GetFieldValue<byte[]>(1));
        var model = reader.GetString(2);
        var waitedUs = Math.Max(0, (now - reader.GetFieldValue<DateTimeOffset>(3)).Ticks / TimeSpan.TicksPerMicrosecond);
        var done = reader.GetFieldValue<int[]>(4).ToHashSet();
        var places =
            TaskBits.Places(reader.IsDBNull(5) ? null : reader.GetFieldValue<byte[]>(5)) ?? [.. Enumerable.Range(0, payload.Count)];
        var turn = reader.GetInt16(6);
        var missing = places.Skip(slice.First).Take(slice.Count).Where(place => !done.Contains(firstSeq + place));
        foreach (var place in decision.FirstOnly ? missing.Take(1) : missing)
        {
            rows.Add(
                slice.Job,
                slice.No,
                firstSeq + place,
                TaskOutcome.Failed,
                customId: Encoding.UTF8.GetString(payload.CustomId(place).Span),
                output: null,
                contentType: null,
                errorCode: decision.Kind.Info().Code,
                errorMessage: decision.Message,
                model,
                turns: (short)(turn - 1),
                costPico: 0,
                batch: null,
                queuedUs: waitedUs,
                stagedUs: 0,
                deviceUs: 0,
                totalUs: waitedUs,
                routeTurn: reader.GetBoolean(7) ? turn : 0
            );
        }

        return rows;
    }

    private static async Task SetAttemptsAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        ChunkKey chunk,
        CancellationToken stop
    )
    {
        await using var command = new NpgsqlCommand(
            "UPDATE chunks SET attempts = $3 WHERE job = $1 AND no = $2 AND attempts > $3",
            connection,
            transaction
        );
        command.Parameters.Add(new() { Value = chunk.Job.Value });
        command.Parameters.Add(new() { Value = chunk.No });
        command.Parameters.Add(new() { Value = SuspectRule.AttemptsAfterwards });
        await command.ExecuteNonQueryAsync(stop);
    }
}
