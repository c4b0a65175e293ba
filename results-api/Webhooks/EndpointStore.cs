using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Webhooks;

/// <summary>Reads and writes endpoints and the keys that sign for them.</summary>
internal sealed class EndpointStore(NpgsqlDataSource database, WebhookOptions options, TimeProvider time)
{
    private const string Select = """
        SELECT e.id, e.url, e.description, e.event_types, e.state, e.disabled_reason, e.failing_since, e.failures, e.created_at,
               s.signing, s.key
        FROM webhook_endpoints e JOIN webhook_secrets s ON s.owner = e.id AND s.expires_at IS NULL
        WHERE e.tenant = $1 AND NOT e.callback AND e.state <> 'deleted'
        """;

    public async Task<WebhookEndpointView?> FindAsync(TenantId tenant, WebhookEndpointId id, CancellationToken stop)
    {
        await using var command = database.CreateCommand($"{Select} AND e.id = $2");
        command.Parameters.Add(Id(tenant.Value));
        command.Parameters.Add(Id(id.Value));
        return (await ReadAsync(command, stop)).FirstOrDefault();
    }

    /// <summary>A tenant's endpoints, newest first.</summary>
    public async Task<List<WebhookEndpointView>> ListAsync(TenantId tenant, WebhookEndpointId? after, int rows, CancellationToken stop)
    {
        await using var command = database.CreateCommand($"{Select} AND ($2::uuid IS NULL OR e.id < $2) ORDER BY e.id DESC LIMIT $3");
        command.Parameters.Add(Id(tenant.Value));
        command.Parameters.Add(new() { Value = (object?)after?.Value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = rows });
        return await ReadAsync(command, stop);
    }

    /// <summary>Stores a new endpoint with its key. Null when the tenant has as many as it may.</summary>
    public async Task<WebhookEndpointId?> AddAsync(
        TenantId tenant,
        string url,
        string description,
        string[] eventTypes,
        WebhookKey key,
        CancellationToken stop
    )
    {
        var now = time.GetUtcNow();
        var id = WebhookEndpointId.New(now);
        await using var batch = database.CreateBatch();
        batch.BatchCommands.Add(Lock(tenant.Value));
        batch.BatchCommands.Add(
            new(
                """
                WITH added AS (
                  INSERT INTO webhook_endpoints (id, tenant, url, description, event_types, state, created_at)
                  SELECT $1, $2, $3, $4, $5, 'enabled', $6
                  WHERE (SELECT count(*) FROM webhook_endpoints WHERE tenant = $2 AND NOT callback AND state <> 'deleted') < $7
                  RETURNING id
                ), signed AS (
                  INSERT INTO webhook_secrets (owner, signing, key, created_at) SELECT id, $8, $9, $6 FROM added
                )
                SELECT count(*)::int FROM added
                """
            )
            {
                Parameters =
                {
                    Id(id.Value),
                    Id(tenant.Value),
                    new() { Value = url },
                    new() { Value = description },
                    new() { Value = eventTypes },
                    DeliveryQueue.Moment(now),
                    new NpgsqlParameter<int> { TypedValue = options.EndpointsMax },
                    new() { Value = key.Signing },
                    new() { Value = key.Bytes },
                },
            }
        );
        await using var reader = await batch.ExecuteReaderAsync(stop);
        await reader.NextResultAsync(stop);
        return await reader.ReadAsync(stop) && reader.GetInt32(0) == 1 ? id : null;
    }

    /// <summary>Changes what is not null. Enabling forgets the failures so far.</summary>
    /// <returns>False when there is no such endpoint.</returns>
    public async Task<bool> ChangeAsync(
        TenantId tenant,
        WebhookEndpointId id,
        string? url,
        string? description,
        string[]? eventTypes,
        bool? enabled,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(
            """
            UPDATE webhook_endpoints SET
              url = coalesce($3, url), description = coalesce($4, description), event_types = coalesce($5, event_types),
              state = CASE $6 WHEN true THEN 'enabled' WHEN false THEN 'disabled' ELSE state END,
              disabled_reason = CASE $6 WHEN true THEN NULL WHEN false THEN coalesce(disabled_reason, 'by_owner') ELSE disabled_reason END,
              failing_since = CASE $6 WHEN true THEN NULL ELSE failing_since END, failures = CASE $6 WHEN true THEN 0 ELSE failures END
            WHERE id = $2 AND tenant = $1 AND NOT callback AND state <> 'deleted'
            """
        );
        command.Parameters.Add(Id(tenant.Value));
        command.Parameters.Add(Id(id.Value));
        command.Parameters.Add(new() { Value = (object?)url ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        command.Parameters.Add(new() { Value = (object?)description ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        command.Parameters.Add(
            new() { Value = (object?)eventTypes ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text }
        );
        command.Parameters.Add(new() { Value = (object?)enabled ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Boolean });
        return await command.ExecuteNonQueryAsync(stop) == 1;
    }

    /// <summary>Takes an endpoint out of use; what it has is swept away. False when there is no such endpoint.</summary>
    public async Task<bool> DeleteAsync(TenantId tenant, WebhookEndpointId id, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            UPDATE webhook_endpoints SET state = 'deleted', disabled_reason = NULL
            WHERE id = $2 AND tenant = $1 AND NOT callback AND state <> 'deleted'
            """
        );
        command.Parameters.Add(Id(tenant.Value));
        command.Parameters.Add(Id(id.Value));
        return await command.ExecuteNonQueryAsync(stop) == 1;
    }

    /// <summary>Puts a new key in the place of the current one, which signs beside it for a while.</summary>
    /// <param name="owner">An endpoint's id, or, of what jobs call, the tenant's.</param>
    /// <param name="grace">How long the current one still signs; none when it is zero.</param>
    public async Task RotateAsync(Guid owner, WebhookKey key, TimeSpan grace, CancellationToken stop)
    {
        var now = time.GetUtcNow();
        await using var batch = database.CreateBatch();
        batch.BatchCommands.Add(Lock(owner));
        batch.BatchCommands.Add(
            new("UPDATE webhook_secrets SET expires_at = $2 WHERE owner = $1 AND expires_at IS NULL")
            {
                Parameters = { Id(owner), DeliveryQueue.Moment(now + grace) },
            }
        );
        batch.BatchCommands.Add(
            new("INSERT INTO webhook_secrets (owner, signing, key, created_at) VALUES ($1, $2, $3, $4)")
            {
                Parameters =
                {
                    Id(owner),
                    new() { Value = key.Signing },
                    new() { Value = key.Bytes },
                    DeliveryQueue.Moment(now),
                },
            }
        );
        batch.BatchCommands.Add(
            new(
                """
                DELETE FROM webhook_secrets WHERE owner = $1 AND (expires_at <= $2
                  OR id NOT IN (SELECT id FROM webhook_secrets WHERE owner = $1 ORDER BY id DESC LIMIT $3))
                """
            )
            {
                Parameters =
                {
                    Id(owner),
                    DeliveryQueue.Moment(now),
                    new NpgsqlParameter<int> { TypedValue = options.SecretsMax },
                },
            }
        );
        await batch.ExecuteNonQueryAsync(stop);
    }

    /// <summary>One at a time: two who add or rotate at once would both read what was before.</summary>
    private static NpgsqlBatchCommand Lock(Guid owner) =>
        new("SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || $1::text, 0))") { Parameters = { Id(owner) } };

    private static async Task<List<WebhookEndpointView>> ReadAsync(NpgsqlCommand command, CancellationToken stop)
    {
        await using var reader = await command.ExecuteReaderAsync(stop);
        var endpoints = new List<WebhookEndpointView>();
        while (await reader.ReadAsync(stop))
        {
            var signing = reader.GetString(9);
            endpoints.Add(
                new WebhookEndpointView
                {
                    Id = new WebhookEndpointId(reader.GetGuid(0)),
                    Url = reader.GetString(1),
                    Description = reader.GetString(2),
                    EventTypes = reader.GetFieldValue<string[]>(3),
                    State = reader.GetString(4),
                    DisabledReason = reader.IsDBNull(5) ? null : reader.GetString(5),
                    FailingSince = reader.IsDBNull(6) ? null : reader.GetFieldValue<DateTimeOffset>(6),
                    Failures = reader.GetInt32(7),
                    CreatedAt = reader.GetFieldValue<DateTimeOffset>(8),
                    Signing = signing,
                    PublicKey = signing == WebhookKey.Ed25519 ? WebhookKey.Of(signing, reader.GetFieldValue<byte[]>(10)).ForReceiver : null,
                }
            );
        }

        return endpoints;
    }

    private static NpgsqlParameter<Guid> Id(Guid id) => new() { TypedValue = id };
}
