using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>A delivery to send, with all that its request needs.</summary>
/// <param name="Attempt">Number of this attempt, from 1; it is counted already.</param>
/// <param name="AttemptsBefore">Those before the last replay.</param>
/// <param name="ClaimedUntil">From then on another sender may take it.</param>
/// <param name="Traceparent">Of its job; null where that is not traced.</param>
internal sealed record ClaimedDelivery(
    WebhookEndpointId Endpoint,
    bool IsCallback,
    string Url,
    int Attempt,
    int AttemptsBefore,
    DateTimeOffset ClaimedUntil,
    PayloadSource Payload,
    IReadOnlyList<WebhookKey> Keys,
    string? Traceparent = null
)
{
    public WebhookDeliveryId Id => Payload.Delivery;
}

/// <summary>What a sender can take of an endpoint that it knows.</summary>
/// <param name="Free">Deliveries; 0 leaves it out.</param>
internal readonly record struct FlowRoom(WebhookEndpointId Endpoint, int Free);

/// <summary>What an attempt came to.</summary>
/// <param name="State"><c>pending</c>, <c>delivered</c> or <c>failed</c>.</param>
/// <param name="Reason">Of a failed one.</param>
/// <param name="DueAt">Of one that is pending.</param>
/// <param name="EndpointGone">True where the endpoint said that it wants no more.</param>
internal sealed record DeliveryOutcome(
    ClaimedDelivery Delivery,
    DateTimeOffset At,
    AttemptResult Result,
    string State,
    string? Reason,
    DateTimeOffset? DueAt,
    bool EndpointGone
);

/// <summary>
/// The queues as they are stored. A claim is one statement: the endpoints that have something due, those that wait longest first, and of
/// each as much as the sender has room for; it counts the attempt and moves the due time ahead by <see cref="WebhookOptions.ClaimTime"/>. So
/// nothing is held while a request is on its way, and what a dead sender had claimed comes due by itself.
/// </summary>
internal sealed class DeliveryQueue(NpgsqlDataSource database, WebhookOptions options, TimeProvider time)
{
    /// <param name="endpointsMax">Endpoints to take from.</param>
    /// <param name="rowsMax">Deliveries in all.</param>
    /// <param name="unknown">What may be taken of an endpoint that is not among <paramref name="flows"/>.</param>
    public async Task<List<ClaimedDelivery>> ClaimAsync(
        IReadOnlyCollection<FlowRoom> flows,
        int unknown,
        int endpointsMax,
        int rowsMax,
        CancellationToken stop
    )
    {
        // Mostly nothing is pending, and to plan the claim takes a new connection 50 ms.
        await using var look = database.CreateCommand("SELECT EXISTS (SELECT FROM webhook_deliveries WHERE state = 'pending')");
        if (await look.ExecuteScalarAsync(stop) is false)
        {
            return [];
        }

        var now = time.GetUtcNow();
        var until = now + options.ClaimTime;
        await using var command = database.CreateCommand(ClaimSql);
        command.Parameters.Add(Moment(now));
        command.Parameters.Add(Moment(until));
        command.Parameters.Add(Array(NpgsqlDbType.Uuid, flows.Select(l => l.Endpoint.Value).ToArray()));
        command.Parameters.Add(Array(NpgsqlDbType.Integer, flows.Select(l => l.Free).ToArray()));
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = unknown });
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = endpointsMax });
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = rowsMax });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var claimed = new List<ClaimedDelivery>();
        while (await reader.ReadAsync(stop))
        {
            claimed.Add(Read(reader, until));
        }

        return claimed;
    }

    /// <summary>Gives back what was claimed and not sent: it is due now, and the attempt was none.</summary>
    public async Task HandBackAsync(IReadOnlyCollection<ClaimedDelivery> deliveries, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            UPDATE webhook_deliveries d SET due_at = $1, attempts = d.attempts - 1 FROM unnest($2, $3) AS u (id, attempt)
            WHERE d.id = u.id AND d.attempts = u.attempt AND d.attempts > d.attempts_before AND d.state = 'pending'
            """
        );
        command.Parameters.Add(Moment(time.GetUtcNow()));
        command.Parameters.Add(Array(NpgsqlDbType.Uuid, deliveries.Select(d => d.Id.Value).ToArray()));
        command.Parameters.Add(Array(NpgsqlDbType.Integer, deliveries.Select(d => d.Attempt).ToArray()));
        await command.ExecuteNonQueryAsync(stop);
    }

    /// <summary>
    /// Writes what attempts came to, all in one transaction: the log, the deliveries where nobody has claimed them since, and the health of
    /// their endpoints, which are locked in order.
    /// </summary>
    /// <returns>How many endpoints were disabled by it.</returns>
    public async Task<int> RecordAsync(IReadOnlyList<DeliveryOutcome> outcomes, CancellationToken stop)
    {
        await using var batch = database.CreateBatch();
        // Their rows are locked first: of a delivery that is erased meanwhile no attempt is written.
        batch.BatchCommands.Add(Deliveries(outcomes));
        batch.BatchCommands.Add(Attempts(outcomes));
        var health = outcomes
            .GroupBy(o => o.Delivery.Endpoint)
            .Select(g => new Health(
                g.Key,
                g.Any(o => o.State == DeliveryStates.Delivered),
                g.Count(o => o.State != DeliveryStates.Delivered),
                g.Min(o => o.At),
                g.Any(o => o.EndpointGone)
            ))
            .OrderBy(h => h.Endpoint.Value)
            .ToList();
        batch.BatchCommands.Add(Healthy([.. health.Where(h => h.Succeeded && !h.Gone)]));
        batch.BatchCommands.Add(Failing([.. health.Where(h => !h.Succeeded || h.Gone)]));
        await using var reader = await batch.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? reader.GetInt32(0) : 0;
    }

    private static ClaimedDelivery Read(NpgsqlDataReader reader, DateTimeOffset until)
    {
        var signings = reader.GetFieldValue<string[]>(11);
        var keys = reader.GetFieldValue<byte[][]>(12);
        return new ClaimedDelivery(
            new WebhookEndpointId(reader.GetGuid(1)),
            reader.GetBoolean(2),
            reader.GetString(3),
            reader.GetInt32(4),
            reader.GetInt32(5),
            until,
            new PayloadSource(
                new WebhookDeliveryId(reader.GetGuid(0)),
                reader.GetString(6),
                reader.IsDBNull(7) ? null : new JobId(reader.GetGuid(7)),
                reader.IsDBNull(8) ? null : reader.GetInt32(8),
                reader.GetString(9),
                reader.GetFieldValue<DateTimeOffset>(10),
                reader.IsDBNull(13)
                    ? null
                    : new TaskEnd(reader.GetString(13), reader.GetString(14), reader.IsDBNull(15) ? null : reader.GetString(15))
            ),
            [.. signings.Zip(keys, WebhookKey.Of)],
            reader.IsDBNull(16) ? null : reader.GetString(16)
        );
    }

    // The queues are walked by their index, from one endpoint with something pending to the next: the cost is that of those endpoints, not
    // of all that waits in them, nor of all endpoints there are.
    private const string ClaimSql = """
        WITH RECURSIVE queues AS (
          (SELECT endpoint FROM webhook_deliveries WHERE state = 'pending' ORDER BY endpoint LIMIT 1)
          UNION ALL
          SELECT (SELECT d.endpoint FROM webhook_deliveries d WHERE d.state = 'pending' AND d.endpoint > q.endpoint ORDER BY d.endpoint LIMIT 1)
          FROM queues q WHERE q.endpoint IS NOT NULL
        ), due AS (
          SELECT e.id, e.tenant, e.callback, e.url, coalesce(l.free, $5) AS free, f.due_at
          FROM queues q JOIN webhook_endpoints e ON e.id = q.endpoint AND e.state = 'enabled'
          LEFT JOIN unnest($3, $4) AS l (endpoint, free) ON l.endpoint = e.id
          CROSS JOIN LATERAL (
            SELECT due_at FROM webhook_deliveries WHERE endpoint = e.id AND state = 'pending' AND due_at <= $1 ORDER BY due_at LIMIT 1
          ) f
          WHERE coalesce(l.free, $5) > 0
          ORDER BY f.due_at, e.id LIMIT $6
        ), chosen AS MATERIALIZED (
          SELECT c.id, due.tenant, due.callback, due.url
          FROM due CROSS JOIN LATERAL (
            SELECT id FROM webhook_deliveries WHERE endpoint = due.id AND state = 'pending' AND due_at <= $1
            ORDER BY due_at LIMIT due.free FOR UPDATE SKIP LOCKED
          ) c
          LIMIT $7
        ), claimed AS (
          UPDATE webhook_deliveries d SET due_at = $2, attempts = d.attempts + 1 FROM chosen c WHERE d.id = c.id
          RETURNING d.*, c.callback, c.url AS endpoint_url
        )
        SELECT d.id, d.endpoint, d.callback, coalesce(d.url, d.endpoint_url), d.attempts, d.attempts_before, d.type, d.job, d.seq,
               v.data::text, v.created_at, s.signings, s.keys, r.custom_id, r.status, r.error_code,
               (SELECT traceparent FROM jobs WHERE id = d.job)
        FROM claimed d JOIN events v ON v.id = d.event
        CROSS JOIN LATERAL (
          SELECT coalesce(array_agg(signing ORDER BY id DESC), '{}') AS signings, coalesce(array_agg(key ORDER BY id DESC), '{}') AS keys
          FROM webhook_secrets WHERE owner = CASE WHEN d.callback THEN d.tenant ELSE d.endpoint END AND (expires_at IS NULL OR expires_at > $1)
        ) s
        LEFT JOIN LATERAL (SELECT custom_id, status, error_code FROM results WHERE job = d.job AND seq = d.seq OFFSET 0) r ON true
        """;

    private static NpgsqlBatchCommand Attempts(IReadOnlyList<DeliveryOutcome> outcomes) =>
        new(
            """
            INSERT INTO webhook_attempts (delivery, no, at, duration_ms, status, error, response)
            SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7) AS a (delivery, no, at, duration_ms, status, error, response)
            WHERE EXISTS (SELECT FROM webhook_deliveries d WHERE d.id = a.delivery)
            ON CONFLICT DO NOTHING
            """
        )
        {
            Parameters =
            {
                Array(NpgsqlDbType.Uuid, outcomes.Select(o => o.Delivery.Id.Value).ToArray()),
                Array(NpgsqlDbType.Integer, outcomes.Select(o => o.Delivery.Attempt).ToArray()),
                Array(NpgsqlDbType.TimestampTz, outcomes.Select(o => o.At.UtcDateTime).ToArray()),
                Array(NpgsqlDbType.Integer, outcomes.Select(o => (int)o.Result.Took.TotalMilliseconds).ToArray()),
                Array(NpgsqlDbType.Integer, outcomes.Select(o => o.Result.Status).ToArray()),
                Array(NpgsqlDbType.Text, outcomes.Select(o => o.Result.Error).ToArray()),
                Array(NpgsqlDbType.Text, outcomes.Select(o => o.Result.Response).ToArray()),
            },
        };

    /// <summary>
    /// What has ended is counted in the same statement, by tenant and minute, and a late call of what a job named is noted as a breach of it:
    /// so reports count each once. A replay is a new end.
    /// </summary>
    private NpgsqlBatchCommand Deliveries(IReadOnlyList<DeliveryOutcome> outcomes) =>
        new(
            """
            WITH ended AS (
              UPDATE webhook_deliveries d SET
                state = u.state, reason = u.reason, due_at = u.due_at, last_status = u.status, last_error = u.error,
                finished_at = CASE WHEN u.state <> 'pending' THEN u.at END
              FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) AS u (id, attempt, state, reason, due_at, status, error, at)
              WHERE d.id = u.id AND d.attempts = u.attempt AND d.state = 'pending'
              RETURNING d.tenant, d.event, d.job, d.seq, d.url, d.state, d.finished_at, d.attempts - d.attempts_before AS attempts
            ), timed AS MATERIALIZED (
              SELECT e.*, (extract(epoch FROM e.finished_at - v.created_at) * 1000000)::bigint AS took_us
              FROM ended e JOIN events v ON v.id = e.event WHERE e.state <> 'pending'
            ), counted AS (
              INSERT INTO sla_callbacks AS c (at, tenant, delivered, punctual, failed)
              SELECT date_trunc('minute', finished_at), tenant, count(*) FILTER (WHERE state = 'delivered'),
                     count(*) FILTER (WHERE state = 'delivered' AND took_us <= $9), count(*) FILTER (WHERE state = 'failed')
              FROM timed GROUP BY 1, 2 ORDER BY 1, 2
              ON CONFLICT (at, tenant) DO UPDATE SET
                delivered = c.delivered + excluded.delivered, punctual = c.punctual + excluded.punctual, failed = c.failed + excluded.failed
            )
            INSERT INTO sla_breaches (job, kind, at, tenant, class, model, state, queued_at, deadline, predicted_at, target_us, total_us,
                                      tasks, failed, expired, queued_us, staged_us, device_us, worker_losses)
            SELECT j.id, 'callback', t.finished_at, j.tenant, j.class, j.model || '@' || j.model_version, t.state, j.queued_at, j.deadline,
                   j.predicted_at, $9, t.took_us, j.tasks, coalesce(j.failed, 0), coalesce(j.expired, 0), 0, 0, 0, t.attempts - 1
            FROM timed t JOIN jobs j ON j.id = t.job
            WHERE t.url IS NOT NULL AND t.seq IS NULL AND j.queued_at IS NOT NULL AND (t.state = 'failed' OR t.took_us > $9)
            ORDER BY j.id
            ON CONFLICT DO NOTHING
            """
        )
        {
            Parameters =
            {
                Array(NpgsqlDbType.Uuid, outcomes.Select(o => o.Delivery.Id.Value).ToArray()),
                Array(NpgsqlDbType.Integer, outcomes.Select(o => o.Delivery.Attempt).ToArray()),
                Array(NpgsqlDbType.Text, outcomes.Select(o => o.State).ToArray()),
                Array(NpgsqlDbType.Text, outcomes.Select(o => o.Reason).ToArray()),
                Array(NpgsqlDbType.TimestampTz, outcomes.Select(o => o.DueAt?.UtcDateTime).ToArray()),
                Array(NpgsqlDbType.Integer, outcomes.Select(o => o.Result.Status).ToArray()),
                Array(NpgsqlDbType.Text, outcomes.Select(o => o.Result.Error).ToArray()),
                Array(NpgsqlDbType.TimestampTz, outcomes.Select(o => (o.At + o.Result.Took).UtcDateTime).ToArray()),
                new NpgsqlParameter<long> { TypedValue = options.PunctualWithin.Ticks / TimeSpan.TicksPerMicrosecond },
            },
        };

    /// <summary>Nothing is written where all is well already.</summary>
    private static NpgsqlBatchCommand Healthy(IReadOnlyList<Health> endpoints) =>
        new("UPDATE webhook_endpoints SET failing_since = NULL, failures = 0 WHERE id = ANY ($1) AND failures > 0")
        {
            Parameters = { Array(NpgsqlDbType.Uuid, endpoints.Select(h => h.Endpoint.Value).ToArray()) },
        };

    private NpgsqlBatchCommand Failing(IReadOnlyList<Health> endpoints) =>
        new(
            """
            WITH locked AS MATERIALIZED (
              SELECT e.id, e.state, e.failures AS before, e.failing_since, u.failures, u.at, u.gone
              FROM unnest($1, $2, $3, $4) AS u (id, failures, at, gone) JOIN webhook_endpoints e ON e.id = u.id
              ORDER BY e.id FOR UPDATE OF e
            ), judged AS (
              SELECT id, failures, at,
                     CASE WHEN state <> 'enabled' THEN NULL
                          WHEN gone THEN 'gone'
                          WHEN before + failures >= $6 AND coalesce(failing_since, at) <= $5 THEN 'failing' END AS reason
              FROM locked
            ), changed AS (
              UPDATE webhook_endpoints e SET
                failing_since = coalesce(e.failing_since, j.at), failures = e.failures + j.failures,
                state = CASE WHEN j.reason IS NULL THEN e.state ELSE 'disabled' END, disabled_reason = coalesce(j.reason, e.disabled_reason)
              FROM judged j WHERE e.id = j.id
              RETURNING e.id, e.tenant, e.url, e.failing_since, e.failures, j.reason
            ), noticed AS (
              INSERT INTO events (tenant, type, data, created_at)
              SELECT tenant, 'webhook_endpoint.disabled',
                     jsonb_build_object('endpoint', id, 'url', url, 'reason', reason, 'failing_since', failing_since, 'failures', failures), $7
              FROM changed WHERE reason IS NOT NULL
              RETURNING 1
            )
            SELECT count(*)::int FROM noticed
            """
        )
        {
            Parameters =
            {
                Array(NpgsqlDbType.Uuid, endpoints.Select(h => h.Endpoint.Value).ToArray()),
                Array(NpgsqlDbType.Integer, endpoints.Select(h => h.Failures).ToArray()),
                Array(NpgsqlDbType.TimestampTz, endpoints.Select(h => h.At.UtcDateTime).ToArray()),
                Array(NpgsqlDbType.Boolean, endpoints.Select(h => h.Gone).ToArray()),
                Moment(time.GetUtcNow() - options.DisableAfter),
                new NpgsqlParameter<int> { TypedValue = options.DisableFailuresMin },
                Moment(time.GetUtcNow()),
            },
        };

    internal static NpgsqlParameter Moment(DateTimeOffset moment) =>
        new() { Value = moment.UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz };

    private static NpgsqlParameter Array(NpgsqlDbType element, object values) =>
        new() { Value = values, NpgsqlDbType = NpgsqlDbType.Array | element };

    private sealed record Health(WebhookEndpointId Endpoint, bool Succeeded, int Failures, DateTimeOffset At, bool Gone);
}

/// <summary>The states of a delivery, as stored.</summary>
internal static class DeliveryStates
{
    public const string Pending = "pending";
    public const string Delivered = "delivered";
    public const string Failed = "failed";
    public static readonly IReadOnlyList<string> All = [Pending, Delivered, Failed];
}
