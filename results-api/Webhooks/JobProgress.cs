using Npgsql;
using NpgsqlTypes;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>
/// Writes <c>job.progress</c> for running jobs of tenants with an endpoint that asks for it: when more tasks have ended, at most every
/// <see cref="WebhookOptions.ProgressEvery"/>. Instances take turns by a lock, and see each other's events.
/// </summary>
internal sealed partial class JobProgress(NpgsqlDataSource database, WebhookOptions options, TimeProvider time, ILogger<JobProgress> log)
    : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.ProgressEvery / 2, time);
        try
        {
            do
            {
                await TurnAsync(stoppingToken);
            } while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    /// <summary>Tells of the jobs whose turn it is; gives how many.</summary>
    internal async Task<int> TurnAsync(CancellationToken stop)
    {
        try
        {
            var now = time.GetUtcNow();
            await using var batch = database.CreateBatch();
            batch.BatchCommands.Add(new("SELECT pg_advisory_xact_lock(hashtextextended('webhook progress', 0))"));
            batch.BatchCommands.Add(
                new(Sql)
                {
                    Parameters =
                    {
                        DeliveryQueue.Moment(now),
                        DeliveryQueue.Moment(now - options.ProgressEvery),
                        new NpgsqlParameter<int> { TypedValue = options.ProgressJobsMax },
                    },
                }
            );
            await batch.ExecuteNonQueryAsync(stop);
            return (int)batch.BatchCommands[1].RecordsAffected;
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException or PostgresException)
        {
            LogAgain(log, e.Message);
            return 0;
        }
    }

    // The last event of a job is found by ix_events_job; few jobs run at a time, and only those of who asks are summed up.
    private const string Sql = """
        INSERT INTO events (tenant, job, type, data, created_at)
        SELECT j.tenant, j.id, 'job.progress',
               jsonb_build_object('job', j.id, 'state', j.state, 'tasks', j.tasks, 'succeeded', c.succeeded, 'failed', c.failed,
                                  'expired', c.expired, 'cancelled', c.cancelled, 'cost_pico_usd', c.cost_pico),
               $1
        FROM jobs j
        CROSS JOIN LATERAL (
          SELECT sum(succeeded) AS succeeded, sum(failed) AS failed, sum(expired) AS expired, sum(cancelled) AS cancelled,
                 sum(cost_pico) AS cost_pico, sum(tasks - remaining) AS ended
          FROM chunks WHERE job = j.id
        ) c
        LEFT JOIN LATERAL (
          SELECT e.created_at,
                 (e.data->>'succeeded')::bigint + (e.data->>'failed')::bigint + (e.data->>'expired')::bigint + (e.data->>'cancelled')::bigint AS ended
          FROM events e WHERE e.job = j.id AND e.type = 'job.progress' ORDER BY e.id DESC LIMIT 1
        ) last ON true
        WHERE j.state = 'running'
          AND EXISTS (SELECT FROM webhook_endpoints w WHERE w.tenant = j.tenant AND w.state = 'enabled' AND 'job.progress' = ANY (w.event_types))
          AND c.ended > coalesce(last.ended, 0) AND (last.created_at IS NULL OR last.created_at <= $2)
        ORDER BY last.created_at NULLS FIRST, j.id LIMIT $3
        """;

    [LoggerMessage(77, LogLevel.Warning, "Could not tell the progress of jobs, and will again: {Reason}")]
    private static partial void LogAgain(ILogger log, string reason);
}
