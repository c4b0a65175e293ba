using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Ingest.Storage;

namespace Pipeline.Ingest;

/// <summary>Takes back jobs whose body never ended because the process that received it died: their lease has no holder.</summary>
internal sealed class UploadSweep(NpgsqlDataSource database, IngestOptions options, TimeProvider time)
{
    private const int JobsMax = 100;

    /// <summary>One turn. Gives how many jobs were removed.</summary>
    public async Task<int> SweepOnceAsync(CancellationToken stop)
    {
        var removed = 0;
        foreach (var job in await ReadReceivingAsync(stop))
        {
            removed += await RemoveIfLeftAsync(job, stop);
        }

        return removed;
    }

    private async Task<List<JobId>> ReadReceivingAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            "SELECT id FROM jobs WHERE state = 'receiving' AND created_at <= $1 AND finished_at IS NULL ORDER BY id LIMIT $2"
        );
        var olderThan = time.GetUtcNow() - options.SweepEvery;
        command.Parameters.Add(new() { Value = olderThan.UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = JobsMax });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var jobs = new List<JobId>();
        while (await reader.ReadAsync(stop))
        {
            jobs.Add(new JobId(reader.GetGuid(0)));
        }

        return jobs;
    }

    /// <summary>The lock lasts to the end of the transaction; an upload takes it before its row exists, so no living one is caught.</summary>
    private async Task<int> RemoveIfLeftAsync(JobId job, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            WITH lease AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($2) AS free)
            DELETE FROM jobs WHERE id = $1 AND state = 'receiving' AND (SELECT free FROM lease)
            """
        );
        command.Parameters.Add(new() { Value = job.Value });
        command.Parameters.Add(new() { Value = UploadLeases.KeyOf(job) });
        return await command.ExecuteNonQueryAsync(stop);
    }
}
