using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>
/// Ends what waits for an endpoint that is disabled or deleted, in bounded steps; each may be taken by several instances at once. What is to
/// be removed is left to recurring work (<see cref="WebhookLeftovers"/>, retention): nobody waits for that.
/// </summary>
internal sealed partial class WebhookSweep(
    NpgsqlDataSource database,
    WebhookOptions options,
    LoopBook loops,
    TimeProvider time,
    ILogger<WebhookSweep> log
) : BackgroundService
{
    private readonly Loop _loop = loops.Add(
        "webhook-sweep",
        "Ends what waits for a webhook endpoint that is disabled or deleted.",
        options.SweepEvery
    );

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.SweepEvery, time);
        try
        {
            do
            {
                if (!_loop.TryBegin())
                {
                    continue;
                }

                while (await TurnAsync(stoppingToken))
                {
                    // What has piled up is taken without a pause, step by step.
                }

                _loop.End();
            } while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    /// <summary>One step; true when more waits.</summary>
    internal async Task<bool> TurnAsync(CancellationToken stop)
    {
        try
        {
            await using var command = database.CreateCommand(FailSql);
            command.Parameters.Add(DeliveryQueue.Moment(time.GetUtcNow()));
            command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = options.SweepRowsMax });
            return await command.ExecuteScalarAsync(stop) is int rows && rows == options.SweepRowsMax;
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException or PostgresException)
        {
            _loop.Fail(e.Message);
            LogAgain(log, e.Message);
        }

        return false;
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

    [LoggerMessage(78, LogLevel.Warning, "Could not sweep webhook deliveries, and will again: {Reason}")]
    private static partial void LogAgain(ILogger log, string reason);
}
