using Npgsql;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>
/// Ends what waits for an endpoint that is disabled or deleted, and removes what is older than it has to be kept, in bounded steps. Each
/// step may be taken by several instances at once.
/// </summary>
internal sealed partial class WebhookSweep(NpgsqlDataSource database, WebhookOptions options, TimeProvider time, ILogger<WebhookSweep> log)
    : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.SweepEvery, time);
        try
        {
            do
            {
                while (await TurnAsync(stoppingToken))
                {
                    // What has piled up is taken without a pause, step by step.
                }
            } while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    /// <summary>One step of each kind; true when more waits.</summary>
    internal async Task<bool> TurnAsync(CancellationToken stop)
    {
        try
        {
            var now = time.GetUtcNow();
            var more = await StepAsync(FailSql, now, stop);
            more |= await StepAsync(RemoveSql, now - options.KeepDeliveries, stop);
            await using var command = database.CreateCommand(EmptySql);
            command.Parameters.Add(DeliveryQueue.Moment(now));
            command.Parameters.Add(DeliveryQueue.Moment(now - options.KeepDeliveries));
            await command.ExecuteNonQueryAsync(stop);
            return more;
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.ForeignKeyViolation)
        {
            // A delivery was written for a row that seemed unused: it stays.
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException or PostgresException)
        {
            LogAgain(log, e.Message);
        }

        return false;
    }

    /// <summary>True when the step was full.</summary>
    private async Task<bool> StepAsync(string sql, DateTimeOffset moment, CancellationToken stop)
    {
        await using var command = database.CreateCommand(sql);
        command.Parameters.Add(DeliveryQueue.Moment(moment));
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = options.SweepRowsMax });
        return await command.ExecuteScalarAsync(stop) is int rows && rows == options.SweepRowsMax;
    }

    /// <summary>Stays visible as failed, and can be replayed when the endpoint is enabled again.</summary>
    private const string FailSql = """
        WITH stuck AS MATERIALIZED (
          SELECT d.id FROM webhook_endpoints e JOIN webhook_deliveries d ON d.endpoint = e.id AND d.state = 'pending'
          WHERE e.state <> 'enabled' LIMIT $2 FOR UPDATE OF d SKIP LOCKED
        ), failed AS (
          UPDATE webhook_deliveries d SET state = 'failed', reason = 'endpoint_disabled', due_at = NULL, finished_at = $1
          FROM stuck WHERE d.id = stuck.id RETURNING 1
        )
        SELECT count(*)::int FROM failed
        """;

    /// <summary>An id begins with its time, so the oldest deliveries are the first of the primary key; of those, what is finished goes.</summary>
    private const string RemoveSql = """
        WITH old AS MATERIALIZED (
          SELECT id FROM (
            (SELECT id FROM webhook_deliveries
             WHERE state <> 'pending' AND id < (lpad(to_hex((extract(epoch FROM $1) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
             ORDER BY id LIMIT $2)
            UNION
            (SELECT d.id FROM webhook_endpoints e JOIN webhook_deliveries d ON d.endpoint = e.id
             WHERE e.state = 'deleted' AND d.state <> 'pending' LIMIT $2)
          ) o LIMIT $2
        ), removed AS (
          DELETE FROM webhook_deliveries d USING old WHERE d.id = old.id RETURNING d.id
        ), attempts AS (
          DELETE FROM webhook_attempts a USING removed WHERE a.delivery = removed.id
        )
        SELECT count(*)::int FROM removed
        """;

    /// <summary>Endpoints that were deleted, and callbacks that no job has used for long; secrets that sign no more.</summary>
    private const string EmptySql = """
        WITH empty AS (
          DELETE FROM webhook_endpoints e
          WHERE (e.state = 'deleted' OR (e.callback AND e.created_at < $2))
            AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.endpoint = e.id)
          RETURNING id
        )
        DELETE FROM webhook_secrets s WHERE s.expires_at < $1 OR s.owner IN (SELECT id FROM empty)
        """;

    [LoggerMessage(78, LogLevel.Warning, "Could not sweep webhook deliveries, and will again: {Reason}")]
    private static partial void LogAgain(ILogger log, string reason);
}
