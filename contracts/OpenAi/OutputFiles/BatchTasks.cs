using System.Runtime.CompilerServices;
using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.OutputFiles;

/// <summary>How a task ended, and what it weighed at the door.</summary>
internal sealed record EndedTask(
    string CustomId,
    TaskOutcome Outcome,
    byte[]? Output,
    string? ContentType,
    string? ErrorCode,
    string? ErrorMessage,
    int Units
);

/// <summary>The ended tasks of a finished job in their order, a chunk at a time.</summary>
internal static class EndedTasks
{
    public static async IAsyncEnumerable<EndedTask> ReadAsync(
        NpgsqlDataSource database,
        JobId job,
        [EnumeratorCancellation] CancellationToken stop
    )
    {
        for (var no = 0; await ReadChunkAsync(database, job, no, stop) is { } tasks; no++)
        {
            foreach (var task in tasks)
            {
                yield return task;
            }
        }
    }

    private static async Task<List<EndedTask>?> ReadChunkAsync(NpgsqlDataSource database, JobId job, int no, CancellationToken stop)
    {
        await using var batch = database.CreateBatch();
        batch.BatchCommands.Add(new("SELECT first_seq, payload FROM chunks WHERE job = $1 AND no = $2"));
        batch.BatchCommands.Add(
            new(
                """
                SELECT r.seq, r.custom_id, r.status, r.output, r.content_type, r.error_code, r.error_message
                FROM chunks c JOIN results r ON r.job = c.job AND r.seq >= c.first_seq AND r.seq < c.first_seq + c.tasks
                WHERE c.job = $1 AND c.no = $2 ORDER BY r.seq
                """
            )
        );
        foreach (var command in batch.BatchCommands)
        {
            command.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = job.Value });
            command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = no });
        }

        await using var reader = await batch.ExecuteReaderAsync(stop);
        if (!await reader.ReadAsync(stop))
        {
            return null;
        }

        var firstSeq = reader.GetInt32(0);
        using var payload = ChunkPayload.Read(reader.GetFieldValue<byte[]>(1));
        await reader.NextResultAsync(stop);
        var tasks = new List<EndedTask>(payload.Count);
        while (await reader.ReadAsync(stop))
        {
            tasks.Add(
                new EndedTask(
                    reader.GetString(1),
                    JobStates.ParseTaskOutcome(reader.GetString(2)),
                    await reader.IsDBNullAsync(3, stop) ? null : reader.GetFieldValue<byte[]>(3),
                    await reader.IsDBNullAsync(4, stop) ? null : reader.GetString(4),
                    await reader.IsDBNullAsync(5, stop) ? null : reader.GetString(5),
                    await reader.IsDBNullAsync(6, stop) ? null : reader.GetString(6),
                    payload.Units(reader.GetInt32(0) - firstSeq)
                )
            );
        }

        return tasks.Count == payload.Count
            ? tasks
            : throw new InvalidDataException($"Chunk {no} of job {job} has {payload.Count} tasks and {tasks.Count} results.");
    }
}
