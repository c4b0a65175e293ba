using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>Which deliveries a list shows; all that is not null must hold.</summary>
internal sealed record DeliveryFilter(WebhookEndpointId? Endpoint, JobId? Job, string[]? States, string[]? Types, WebhookDeliveryId? After);

/// <summary>Reads the log of deliveries, and puts deliveries back into their queues.</summary>
internal sealed class DeliveryStore(NpgsqlDataSource database, WebhookOptions options, TimeProvider time)
{
    private const string Select = """
        SELECT d.id, CASE WHEN e.callback THEN NULL ELSE d.endpoint END, coalesce(d.url, e.url), d.type, d.job, d.state, d.reason, d.attempts,
               d.due_at, d.last_status, d.last_error, d.created_at, d.finished_at
        """;

    /// <summary>Deliveries, newest first.</summary>
    public async Task<List<WebhookDeliveryView>> ListAsync(TenantId tenant, DeliveryFilter filter, int rows, CancellationToken stop)
    {
        await using var command = database.CreateCommand();
        var p = command.Parameters;
        var where = $"d.tenant = {Add(tenant.Value, NpgsqlDbType.Uuid)}";
        where += filter.Endpoint is { } endpoint ? $" AND d.endpoint = {Add(endpoint.Value, NpgsqlDbType.Uuid)}" : "";
        where += filter.Job is { } job ? $" AND d.job = {Add(job.Value, NpgsqlDbType.Uuid)}" : "";
        where += filter.States is { } states ? $" AND d.state = ANY ({Add(states, NpgsqlDbType.Array | NpgsqlDbType.Text)})" : "";
        where += filter.Types is { } types ? $" AND d.type = ANY ({Add(types, NpgsqlDbType.Array | NpgsqlDbType.Text)})" : "";
        where += filter.After is { } after ? $" AND d.id < {Add(after.Value, NpgsqlDbType.Uuid)}" : "";
        command.CommandText = $"""
            {Select} FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint
            WHERE {where} ORDER BY d.id DESC LIMIT {Add(rows, NpgsqlDbType.Integer)}
            """;
        await using var reader = await command.ExecuteReaderAsync(stop);
        var deliveries = new List<WebhookDeliveryView>();
        while (await reader.ReadAsync(stop))
        {
            deliveries.Add(Read(reader));
        }

        return deliveries;

        string Add(object value, NpgsqlDbType type)
        {
            p.Add(new() { Value = value, NpgsqlDbType = type });
            return $"${p.Count}";
        }
    }

    /// <summary>One delivery with what is sent and all its attempts; null when there is none of that id or it belongs to another tenant.</summary>
    public async Task<WebhookDeliveryView?> FindAsync(TenantId tenant, WebhookDeliveryId id, CancellationToken stop)
    {
        await using var batch = database.CreateBatch();
        batch.BatchCommands.Add(
            new(
                $"""
                {Select}, d.seq, v.data::text, v.created_at, r.custom_id, r.status, r.error_code
                FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint JOIN events v ON v.id = d.event
                LEFT JOIN LATERAL (SELECT custom_id, status, error_code FROM results WHERE job = d.job AND seq = d.seq OFFSET 0) r ON true
                WHERE d.id = $1 AND d.tenant = $2
                """
            )
            {
                Parameters = { Id(id.Value), Id(tenant.Value) },
            }
        );
        batch.BatchCommands.Add(
            new("SELECT no, at, duration_ms, status, error, response FROM webhook_attempts WHERE delivery = $1 ORDER BY no")
            {
                Parameters = { Id(id.Value) },
            }
        );
        await using var reader = await batch.ExecuteReaderAsync(stop);
        if (!await reader.ReadAsync(stop))
        {
            return null;
        }

        var delivery = Read(reader);
        var source = new PayloadSource(
            id,
            delivery.Type,
            delivery.Job,
            reader.IsDBNull(13) ? null : reader.GetInt32(13),
            reader.GetString(14),
            reader.GetFieldValue<DateTimeOffset>(15),
            reader.IsDBNull(16)
                ? null
                : new TaskEnd(reader.GetString(16), reader.GetString(17), reader.IsDBNull(18) ? null : reader.GetString(18))
        );
        await reader.NextResultAsync(stop);
        var attempts = new List<WebhookAttemptView>();
        while (await reader.ReadAsync(stop))
        {
            attempts.Add(
                new WebhookAttemptView
                {
                    No = reader.GetInt32(0),
                    At = reader.GetFieldValue<DateTimeOffset>(1),
                    DurationMs = reader.GetInt32(2),
                    Status = reader.IsDBNull(3) ? null : reader.GetInt32(3),
                    Error = reader.IsDBNull(4) ? null : reader.GetString(4),
                    Response = reader.IsDBNull(5) ? null : reader.GetString(5),
                }
            );
        }

        var body = System.Text.Encoding.UTF8.GetString(Payload.Write(source, options.PublicAddress));
        return delivery with { Request = new WebhookRequestView("POST", Payload.IdOf(id), body), Attempts = attempts };
    }

    /// <summary>Writes a test event and its delivery to one endpoint; null when the endpoint is not enabled.</summary>
    public async Task<WebhookDeliveryId?> AddTestAsync(TenantId tenant, WebhookEndpointId endpoint, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            WITH e AS (
              SELECT id, tenant FROM webhook_endpoints WHERE id = $1 AND tenant = $2 AND NOT callback AND state = 'enabled'
            ), v AS (
              INSERT INTO events (tenant, type, data, created_at, fanned_out)
              SELECT tenant, '{EventTypes.Test}', jsonb_build_object('endpoint', id), $3, true FROM e RETURNING id
            )
            INSERT INTO webhook_deliveries (id, tenant, endpoint, event, type, state, due_at, created_at)
            SELECT {FanOut.NewIdSql}, e.tenant, e.id, v.id, '{EventTypes.Test}', 'pending', $3, $3 FROM e, v
            RETURNING id
            """
        );
        command.Parameters.Add(Id(endpoint.Value));
        command.Parameters.Add(Id(tenant.Value));
        command.Parameters.Add(DeliveryQueue.Moment(time.GetUtcNow()));
        return await command.ExecuteScalarAsync(stop) is Guid id ? new WebhookDeliveryId(id) : null;
    }

    /// <summary>Puts one delivery back, whatever became of it. False when its endpoint is not enabled.</summary>
    public async Task<bool> ReplayAsync(TenantId tenant, WebhookDeliveryId id, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            UPDATE webhook_deliveries d SET
              attempts_before = CASE d.state WHEN 'pending' THEN d.attempts_before ELSE d.attempts END,
              state = 'pending', reason = NULL, finished_at = NULL, due_at = $3
            FROM webhook_endpoints e WHERE d.id = $1 AND d.tenant = $2 AND e.id = d.endpoint AND e.state = 'enabled'
            """
        );
        command.Parameters.Add(Id(id.Value));
        command.Parameters.Add(Id(tenant.Value));
        command.Parameters.Add(DeliveryQueue.Moment(time.GetUtcNow()));
        return await command.ExecuteNonQueryAsync(stop) == 1;
    }

    /// <summary>Puts an endpoint's finished deliveries back, the oldest first; their schedule starts anew.</summary>
    /// <param name="states">Of <see cref="DeliveryStates"/>.</param>
    public async Task<WebhookReplayView> ReplayAsync(
        WebhookEndpointId endpoint,
        string[] states,
        DateTimeOffset? since,
        DateTimeOffset? until,
        WebhookDeliveryId? after,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(
            """
            WITH chosen AS MATERIALIZED (
              SELECT id FROM webhook_deliveries
              WHERE endpoint = $1 AND state = ANY ($2) AND ($3::timestamptz IS NULL OR created_at >= $3)
                AND ($4::timestamptz IS NULL OR created_at < $4) AND ($5::uuid IS NULL OR id > $5)
              ORDER BY id LIMIT $6 FOR UPDATE
            ), replayed AS (
              UPDATE webhook_deliveries d SET state = 'pending', reason = NULL, finished_at = NULL, due_at = $7, attempts_before = d.attempts
              FROM chosen c WHERE d.id = c.id RETURNING d.id
            )
            SELECT count(*)::int, max(id::text COLLATE "C")::uuid FROM replayed
            """
        );
        var p = command.Parameters;
        p.Add(Id(endpoint.Value));
        p.Add(new() { Value = states });
        p.Add(new() { Value = (object?)since?.UtcDateTime ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        p.Add(new() { Value = (object?)until?.UtcDateTime ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        p.Add(new() { Value = (object?)after?.Value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        p.Add(new NpgsqlParameter<int> { TypedValue = options.ReplayRowsMax });
        p.Add(DeliveryQueue.Moment(time.GetUtcNow()));
        await using var reader = await command.ExecuteReaderAsync(stop);
        await reader.ReadAsync(stop);
        var replayed = reader.GetInt32(0);
        return new WebhookReplayView(
            replayed,
            replayed == options.ReplayRowsMax,
            reader.IsDBNull(1) ? null : new WebhookDeliveryId(reader.GetGuid(1))
        );
    }

    private static WebhookDeliveryView Read(NpgsqlDataReader reader)
    {
        return new WebhookDeliveryView
        {
            Id = new WebhookDeliveryId(reader.GetGuid(0)),
            Endpoint = reader.IsDBNull(1) ? null : new WebhookEndpointId(reader.GetGuid(1)),
            Url = reader.GetString(2),
            Type = reader.GetString(3),
            Job = reader.IsDBNull(4) ? null : new JobId(reader.GetGuid(4)),
            State = reader.GetString(5),
            Reason = Text(6),
            AttemptCount = reader.GetInt32(7),
            DueAt = Moment(8),
            LastStatus = reader.IsDBNull(9) ? null : reader.GetInt32(9),
            LastError = Text(10),
            CreatedAt = reader.GetFieldValue<DateTimeOffset>(11),
            FinishedAt = Moment(12),
        };

        string? Text(int column) => reader.IsDBNull(column) ? null : reader.GetString(column);

        DateTimeOffset? Moment(int column) => reader.IsDBNull(column) ? null : reader.GetFieldValue<DateTimeOffset>(column);
    }

    private static NpgsqlParameter<Guid> Id(Guid id) => new() { TypedValue = id };
}
