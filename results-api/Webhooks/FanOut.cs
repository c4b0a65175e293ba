using Npgsql;
using NpgsqlTypes;
using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>
/// Turns committed events into deliveries: of every endpoint of the tenant that asks for the type, of the address that the job named, and of
/// an express job's tasks. Flag and deliveries are one statement, so an event is fanned out once, whoever dies; instances take different rows.
/// </summary>
internal sealed partial class FanOut(
    NpgsqlDataSource database,
    WebhookOptions options,
    WebhookSender sender,
    ResultsMetrics metrics,
    LoopBook loops,
    TimeProvider time,
    ILogger<FanOut> log
) : BackgroundService
{
    private static readonly TimeSpan PauseAfterFailure = TimeSpan.FromSeconds(1);
    private readonly Loop _loop = loops.Add("webhook-fan-out", "Makes the webhook deliveries of what has happened.", options.LookEvery);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            var pause = options.LookEvery;
            var begun = _loop.TryBegin();
            try
            {
                var (events, deliveries) = begun ? await TurnAsync(stoppingToken) : default;
                if (deliveries > 0)
                {
                    sender.Wake();
                }

                if (events == options.FanOutRowsMax)
                {
                    continue;
                }
            }
            catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException)
            {
                _loop.Fail(e.Message);
                LogAway(log, e.Message);
                pause = PauseAfterFailure;
            }
            catch (PostgresException e)
            {
                _loop.Fail(e.Message);
                LogFailed(log, e);
                pause = PauseAfterFailure;
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            finally
            {
                if (begun)
                {
                    _loop.End();
                }
            }

            await Task.Delay(pause, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Fans out the oldest events that wait.</summary>
    internal async Task<(int Events, int Deliveries)> TurnAsync(CancellationToken stop)
    {
        // Mostly nothing waits, and to plan the statement takes a new connection 50 ms.
        await using var look = database.CreateCommand("SELECT EXISTS (SELECT FROM events WHERE NOT fanned_out AND type <> 'job.queued')");
        if (await look.ExecuteScalarAsync(stop) is false)
        {
            return default;
        }

        await using var command = database.CreateCommand(Sql);
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = options.FanOutRowsMax });
        command.Parameters.Add(new() { Value = time.GetUtcNow().UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = options.TaskEventsMax });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var (events, deliveries) = (0, 0);
        while (await reader.ReadAsync(stop))
        {
            events++;
            deliveries = reader.GetInt32(0);
            metrics.FannedOut(reader.GetString(1));
            if (!reader.IsDBNull(2))
            {
                metrics.Ended(JobEnd.Read(reader, 2));
            }
        }

        return (events, deliveries);
    }

    /// <summary>A UUIDv7, which PostgreSQL makes by itself only from version 18 on: a random one with the time in its first 48 bits.</summary>
    internal const string NewIdSql = """
        encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
          substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
        """;

    // Rows of callbacks are locked in order, since two instances may want the same ones. A disabled one starts anew with the next job.
    private const string Sql = $"""
        WITH waiting AS MATERIALIZED (
          SELECT id FROM events WHERE NOT fanned_out AND type <> 'job.queued' ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
        ), taken AS (
          UPDATE events e SET fanned_out = true FROM waiting w WHERE e.id = w.id
          RETURNING e.id, e.tenant, e.job, CASE e.type WHEN 'budget.warning' THEN 'budget.threshold' ELSE e.type END AS type
        ), ended AS (
          SELECT t.*, j.webhook, j.tasks, j.class, j.model, j.state AS outcome, j.succeeded, j.failed, j.expired, j.cancelled,
                 j.cost_pico::float8 AS cost_pico, j.state = 'expired' OR j.finished_at > j.deadline AS late,
                 extract(epoch FROM j.finished_at - coalesce(j.queued_at, j.created_at))::float8 AS seconds,
                 coalesce(lower(substring(j.webhook FROM '^[A-Za-z]+://[^/?#]+')), j.webhook) AS origin
          FROM taken t JOIN jobs j ON j.id = t.job
          WHERE t.type IN ('job.completed', 'job.failed', 'job.expired', 'job.cancelled')
        ), callbacks AS (
          INSERT INTO webhook_endpoints AS c (id, tenant, callback, url, description, event_types, state, created_at)
          SELECT {NewIdSql}, o.tenant, true, o.origin, '', ARRAY[]::text[], 'enabled', $2
          FROM (SELECT DISTINCT tenant, origin FROM ended WHERE origin IS NOT NULL ORDER BY 1, 2) o
          ON CONFLICT (tenant, url) WHERE callback DO UPDATE SET
            state = 'enabled', disabled_reason = NULL,
            failing_since = CASE c.state WHEN 'enabled' THEN c.failing_since END,
            failures = CASE c.state WHEN 'enabled' THEN c.failures ELSE 0 END
          RETURNING c.id, c.tenant, c.url
        ), signers AS (
          INSERT INTO webhook_secrets (owner, signing, key, created_at)
          SELECT DISTINCT tenant, 'hmac_sha256', sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), $2 FROM callbacks
          ON CONFLICT DO NOTHING
        ), told AS (
          SELECT t.tenant, e.id AS endpoint, t.id AS event, t.job, NULL::int AS seq, t.type, NULL::text AS url, e.state
          FROM taken t JOIN webhook_endpoints e ON e.tenant = t.tenant AND e.state <> 'deleted' AND t.type = ANY (e.event_types)
          UNION ALL
          SELECT t.tenant, c.id, t.id, t.job, NULL, t.type, t.webhook, 'enabled'
          FROM ended t JOIN callbacks c ON c.tenant = t.tenant AND c.url = t.origin
          UNION ALL
          SELECT t.tenant, e.id, t.id, t.job, r.seq, 'task.completed', NULL, e.state
          FROM ended t JOIN webhook_endpoints e ON e.tenant = t.tenant AND e.state <> 'deleted' AND 'task.completed' = ANY (e.event_types)
          CROSS JOIN LATERAL (SELECT seq FROM results WHERE job = t.job OFFSET 0) r
          WHERE t.class = 'express' AND t.tasks <= $3
        ), written AS (
          INSERT INTO webhook_deliveries (id, tenant, endpoint, event, job, seq, type, url, state, reason, due_at, created_at, finished_at)
          SELECT {NewIdSql}, tenant, endpoint, event, job, seq, type, url,
                 CASE state WHEN 'enabled' THEN 'pending' ELSE 'failed' END, CASE WHEN state <> 'enabled' THEN 'endpoint_disabled' END,
                 CASE state WHEN 'enabled' THEN $2 END, $2, CASE WHEN state <> 'enabled' THEN $2 END
          FROM told
          RETURNING 1
        )
        SELECT (SELECT count(*)::int FROM written), t.type,
               e.class, e.model, e.outcome, e.succeeded, e.failed, e.expired, e.cancelled, e.cost_pico, e.late, e.seconds
        FROM taken t LEFT JOIN ended e ON e.id = t.id
        """;

    [LoggerMessage(70, LogLevel.Warning, "Could not fan events out, and will again: {Reason}")]
    private static partial void LogAway(ILogger log, string reason);

    [LoggerMessage(71, LogLevel.Error, "Events could not be fanned out, and will be tried again; no webhook is sent until then")]
    private static partial void LogFailed(ILogger log, Exception error);
}
