using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Integration.Ingest;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

/// <summary>Jobs whose tasks have ended.</summary>
internal static class EndedJobs
{
    /// <summary>A worker that has stopped.</summary>
    public static async Task<WorkerId> AddWorkerAsync(this IngestHost ingest, string name)
    {
        var id = WorkerId.New(DateTimeOffset.UtcNow);
        await ingest.Database.ExecuteAsync(
            $"""
            INSERT INTO workers (id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen, ended_at)
            VALUES ('{id}', '{name}', 'default', 'cpu', 'test', 0, 'stopped', now(), now(), now())
            """
        );
        return id;
    }

    /// <summary>Ends the tasks of a job of one chunk as a worker would.</summary>
    /// <param name="count">How many of those that have not ended, in their order; null for all.</param>
    public static async Task EndAllAsync(
        this IngestHost ingest,
        JobId job,
        TaskOutcome outcome,
        string error = "model_failed",
        WorkerId? worker = null,
        int? count = null
    )
    {
        var failed = outcome == TaskOutcome.Failed;
        var rows = new TaskEndRows();
        var tasks = await ingest.ReadTasksAsync(job);
        var done = (int)await ingest.Database.ScalarAsync<long>("SELECT count(*) FROM results WHERE job = $1", job.Value);
        for (var seq = done; seq < Math.Min(tasks.Count, done + (count ?? tasks.Count)); seq++)
        {
            rows.Add(
                job,
                0,
                seq,
                outcome,
                tasks[seq].CustomId,
                failed ? null : "{}"u8.ToArray(),
                failed ? null : "application/json",
                failed ? error : null,
                failed ? "It failed." : null,
                "words@1",
                1,
                10,
                null,
                1,
                1,
                1,
                3
            );
        }

        await using var connection = await ingest.Database.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var now = DateTimeOffset.UtcNow;
        var ended = await TaskEnds.InsertAsync(connection, transaction, rows, new EscalationRows(), now, null, CancellationToken.None);
        await using (var batch = new Npgsql.NpgsqlBatch(connection, transaction))
        {
            TaskEnds.AddCounts(batch, ended, now, worker);
            await batch.ExecuteNonQueryAsync();
        }

        await transaction.CommitAsync();
    }
}
