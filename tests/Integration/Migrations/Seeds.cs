using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;

namespace Pipeline.Tests.Integration.Migrations;

/// <summary>Jobs and chunks for tests of the schema, written by plain SQL; a test says only what matters to it.</summary>
internal static class Seeds
{
    public static readonly DateTimeOffset Now = DateTimeOffset.UtcNow;

    /// <summary>A queued job with chunks of that many tasks each; custom ids are <c>t-0</c>, <c>t-1</c>, ….</summary>
    public static async Task<JobId> JobAsync(TestDatabase db, params int[] chunkTasks)
    {
        var tenant = await Tenants.EnsureAsync(db.DataSource, "test");
        var job = JobId.New(Now);
        await db.ExecuteAsync(
            """
            INSERT INTO jobs (id, tenant, model, model_version, class, state, tasks, units, chunks, open_chunks, deadline, created_at, queued_at)
            VALUES ($1, $2, 'm', '1', 'bulk', 'queued', $3, $3, $4, $4, now() + interval '1 day', now(), now())
            """,
            job.Value,
            tenant.Value,
            chunkTasks.Sum(),
            chunkTasks.Length
        );
        var first = 0;
        for (var no = 0; no < chunkTasks.Length; no++)
        {
            await db.ExecuteAsync(
                """
                INSERT INTO chunks (job, no, first_seq, tasks, units, units_max, remaining, payload)
                VALUES ($1, $2, $3, $4, $4, 1, $4, $5)
                """,
                job.Value,
                no,
                first,
                chunkTasks[no],
                Payload(first, chunkTasks[no])
            );
            first += chunkTasks[no];
        }

        return job;
    }

    /// <summary>Adds the end of a task: succeeded with a small output, or failed, or whatever is asked.</summary>
    public static void Add(
        this TaskEndRows rows,
        JobId job,
        int chunk,
        int seq,
        TaskOutcome outcome = TaskOutcome.Succeeded,
        long cost = 10
    )
    {
        var succeeded = outcome == TaskOutcome.Succeeded;
        rows.Add(
            job,
            chunk,
            seq,
            outcome,
            $"t-{seq}",
            succeeded ? "{\"labels\":[{\"label\":\"en\",\"score\":0.98}]}"u8.ToArray() : null,
            succeeded ? "application/json" : null,
            succeeded ? null : "model_failed",
            succeeded ? null : "It failed.",
            "m@1",
            1,
            cost,
            null,
            12_000,
            800,
            400,
            15_000
        );
    }

    /// <summary>Ends tasks in a transaction of their own.</summary>
    /// <param name="written">What the same writer has ended before.</param>
    public static async Task<EndedTasks> EndAsync(TestDatabase db, TaskEndRows rows, WrittenEnds? written = null)
    {
        await using var connection = await db.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var ended = await TaskEnds.WriteAsync(connection, transaction, rows, Now, written);
        await transaction.CommitAsync();
        written?.Take(ended);
        return ended;
    }

    private static byte[] Payload(int first, int count)
    {
        var writer = new ChunkPayloadWriter();
        for (var seq = first; seq < first + count; seq++)
        {
            writer.Add(System.Text.Encoding.UTF8.GetBytes($"t-{seq}"), "some text"u8, 9);
        }

        return writer.Finish();
    }
}
