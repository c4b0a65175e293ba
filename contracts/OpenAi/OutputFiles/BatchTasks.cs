using System.Runtime.CompilerServices;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.OpenAi.Batches;

namespace Pipeline.OpenAi.OutputFiles;

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

/// <summary>The ended tasks of a job in their order, a chunk at a time: of a finished one all, of another those before the first that has not ended.</summary>
internal static class BatchTasks
{
    /// <param name="isFinished">True where every task must have ended.</param>
    public static async IAsyncEnumerable<EndedTask> ReadAsync(
        NpgsqlDataSource database,
        JobId job,
        bool isFinished,
        [EnumeratorCancellation] CancellationToken stop
    )
    {
        for (var no = 0; await ReadChunkAsync(database, job, no, stop) is var (tasks, count); no++)
        {
            foreach (var task in tasks)
            {
                yield return task;
            }

            if (tasks.Count < count)
            {
                if (isFinished)
                {
                    throw new InvalidDataException($"Chunk {no} of job {job} has {count} tasks and {tasks.Count} results.");
                }

                yield break;
            }
        }
    }

    /// <summary>The ends of a line's inputs; null where not all have ended.</summary>
    /// <exception cref="InvalidDataException">The tasks are not those of the line.</exception>
    public static async Task<List<EndedTask>?> TakeAsync(IAsyncEnumerator<EndedTask> tasks, BatchLine line, long number)
    {
        var ends = new List<EndedTask>(line.Body.Inputs.Count);
        while (ends.Count < line.Body.Inputs.Count)
        {
            if (!await tasks.MoveNextAsync())
            {
                return null;
            }

            if (tasks.Current.CustomId != line.CustomId)
            {
                throw new InvalidDataException($"Line {number} of the input file is not that of the job's tasks.");
            }

            ends.Add(tasks.Current);
        }

        return ends;
    }

    /// <summary>A chunk's tasks that ended before its first that has not, and how many it has; null where there is no such chunk.</summary>
    private static async Task<(List<EndedTask> Ended, int Count)?> ReadChunkAsync(
        NpgsqlDataSource database,
        JobId job,
        int no,
        CancellationToken stop
    )
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
        while (await reader.ReadAsync(stop) && reader.GetInt32(0) == firstSeq + tasks.Count)
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

        return (tasks, payload.Count);
    }
}
