using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Hosting;

/// <summary>How many jobs go before one that waits.</summary>
public static class QueuePositions
{
    /// <summary>Further back nobody counts.</summary>
    public const int Most = 10_000;

    /// <summary>
    /// Jobs of the same model and class that have not ended, are not paused, and fall due before this one. The scheduler decides by more than
    /// that (fair shares, promotion), so it is a place in the queue and no promise; the promise is the predicted end.
    /// </summary>
    /// <returns>0 for the next, <see cref="Most"/> for that and more; null for a job that does not wait: paused, begun, ended, or unknown.</returns>
    public static async Task<int?> FindAsync(NpgsqlDataSource database, JobId job, LatencyClass latencyClass, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT (
              SELECT count(*)::int FROM (
                SELECT FROM jobs o
                WHERE o.finished_at IS NULL AND o.state IN ('queued', 'running') AND NOT o.paused
                  AND o.model = j.model AND o.model_version = j.model_version AND o.class = j.class
                  AND (least(o.queued_at + $2, o.deadline), o.id) < (least(j.queued_at + $2, j.deadline), j.id)
                LIMIT {Most}
              ) ahead
            )
            FROM jobs j WHERE j.id = $1 AND j.state = 'queued' AND j.started_at IS NULL AND NOT j.paused
            """
        );
        command.Parameters.Add(new() { Value = job.Value });
        command.Parameters.Add(new() { Value = LatencyClasses.Defaults[latencyClass].Target, NpgsqlDbType = NpgsqlDbType.Interval });
        return await command.ExecuteScalarAsync(stop) as int?;
    }
}
