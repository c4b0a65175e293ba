using System.Text.Json;
using System.Text.Json.Nodes;
using Npgsql;
using NpgsqlTypes;
using Pipeline.ResultsApi.Webhooks;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>Keeps alerts, silences and what was changed of rules.</summary>
internal sealed class AlertStore(NpgsqlDataSource database, TimeProvider time)
{
    private const string Columns = """
        id, rule, labels::text, state, severity, summary, evidence::text, since, seen_at, raised_at, acknowledged_at, escalated_at, resolved_at,
        told_at, silenced_by
        """;

    /// <summary>The alerts that are not resolved, locked until the transaction ends.</summary>
    public static async Task<List<OpenAlert>> OpenAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, CancellationToken stop)
    {
        await using var command = new NpgsqlCommand(
            $"SELECT {Columns} FROM alerts WHERE state <> 'resolved' ORDER BY id FOR UPDATE",
            connection,
            transaction
        );
        await using var reader = await command.ExecuteReaderAsync(stop);
        var open = new List<OpenAlert>();
        while (await reader.ReadAsync(stop))
        {
            open.Add(Read(reader));
        }

        return open;
    }

    /// <summary>Writes what a look changed, and the events that tell of it, one for what fires of a rule and one for what is over, in the caller's transaction.</summary>
    public static async Task WriteAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        IReadOnlyList<AlertChange> changes,
        CancellationToken stop
    )
    {
        await using var batch = new NpgsqlBatch(connection, transaction);
        foreach (var (alert, _) in changes)
        {
            if (alert.State == AlertState.Resolved && alert.RaisedAt is null)
            {
                // It was gone before it fired.
                batch.BatchCommands.Add(new("DELETE FROM alerts WHERE id = $1") { Parameters = { Id(alert.Id) } });
                continue;
            }

            batch.BatchCommands.Add(Put(alert));
        }

        foreach (var group in changes.Where(c => c.Tell).Select(c => c.Alert).GroupBy(a => (a.Rule, a.State)))
        {
            batch.BatchCommands.Add(Event([.. group]));
        }

        if (batch.BatchCommands.Count > 0)
        {
            await batch.ExecuteNonQueryAsync(stop);
        }
    }

    /// <summary>What keeps alerts quiet at a moment: silences, and the maintenance windows that reports leave out.</summary>
    public static async Task<List<Quiet>> QuietAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        DateTimeOffset now,
        CancellationToken stop
    )
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT id::text, rule, labels::text, starts_at, ends_at FROM alert_silences WHERE starts_at <= $1 AND ends_at > $1
            UNION ALL
            SELECT id::text, NULL, '{}', from_at, to_at FROM sla_exclusions WHERE from_at <= $1 AND to_at > $1 AND withdrawn_at IS NULL
            ORDER BY 4, 1
            """,
            connection,
            transaction
        );
        command.Parameters.Add(DeliveryQueue.Moment(now));
        await using var reader = await command.ExecuteReaderAsync(stop);
        var quiet = new List<Quiet>();
        while (await reader.ReadAsync(stop))
        {
            quiet.Add(
                new Quiet(
                    reader.GetString(0),
                    Text(reader, 1),
                    Labels(reader.GetString(2)),
                    reader.GetFieldValue<DateTimeOffset>(3),
                    reader.GetFieldValue<DateTimeOffset>(4)
                )
            );
        }

        return quiet;
    }

    /// <summary>Alerts, newest first.</summary>
    public async Task<List<AlertView>> ListAsync(AlertFilter filter, int rows, CancellationToken stop)
    {
        await using var command = database.CreateCommand();
        var p = command.Parameters;
        var where = "state <> 'pending'";
        where += filter.States is { } states ? $" AND state = ANY ({Add(states, NpgsqlDbType.Array | NpgsqlDbType.Text)})" : "";
        where += filter.Severities is { } severities
            ? $" AND severity = ANY ({Add(severities, NpgsqlDbType.Array | NpgsqlDbType.Text)})"
            : "";
        where += filter.Rules is { } rules ? $" AND rule = ANY ({Add(rules, NpgsqlDbType.Array | NpgsqlDbType.Text)})" : "";
        where += filter.After is { } after ? $" AND id < {Add(after, NpgsqlDbType.Uuid)}" : "";
        command.CommandText = $"SELECT {Columns}, note FROM alerts WHERE {where} ORDER BY id DESC LIMIT {Add(rows, NpgsqlDbType.Integer)}";
        await using var reader = await command.ExecuteReaderAsync(stop);
        var alerts = new List<AlertView>();
        while (await reader.ReadAsync(stop))
        {
            alerts.Add(AlertView.Of(Read(reader), Text(reader, 15)));
        }

        return alerts;

        string Add(object value, NpgsqlDbType type)
        {
            p.Add(new() { Value = value, NpgsqlDbType = type });
            return $"${p.Count}";
        }
    }

    public async Task<AlertView?> FindAsync(Guid id, CancellationToken stop)
    {
        await using var command = database.CreateCommand($"SELECT {Columns}, note FROM alerts WHERE id = $1 AND state <> 'pending'");
        command.Parameters.Add(Id(id));
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? AlertView.Of(Read(reader), Text(reader, 15)) : null;
    }

    /// <summary>Says that somebody looks after it. False when it does not fire.</summary>
    public async Task<bool> AcknowledgeAsync(Guid id, string? note, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            UPDATE alerts SET acknowledged_at = coalesce(acknowledged_at, $2), note = coalesce($3, note) WHERE id = $1 AND state = 'firing'
            """
        );
        command.Parameters.Add(Id(id));
        command.Parameters.Add(DeliveryQueue.Moment(time.GetUtcNow()));
        command.Parameters.Add(OrNull(note));
        return await command.ExecuteNonQueryAsync(stop) == 1;
    }

    /// <summary>Ends one that fires, whether what it found lasts or not, and tells of it. False when it does not fire.</summary>
    public async Task<bool> ResolveAsync(Guid id, string? note, CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        await using var command = new NpgsqlCommand(
            $"""
            UPDATE alerts SET state = 'resolved', by_hand = true, resolved_at = $2, note = coalesce($3, note) WHERE id = $1 AND state = 'firing'
            RETURNING {Columns}
            """,
            connection,
            transaction
        );
        command.Parameters.Add(Id(id));
        command.Parameters.Add(DeliveryQueue.Moment(time.GetUtcNow()));
        command.Parameters.Add(OrNull(note));
        OpenAlert resolved;
        await using (var reader = await command.ExecuteReaderAsync(stop))
        {
            if (!await reader.ReadAsync(stop))
            {
                return false;
            }

            resolved = Read(reader);
        }

        if (resolved.ToldAt is not null)
        {
            await using var batch = new NpgsqlBatch(connection, transaction) { BatchCommands = { Event([resolved]) } };
            await batch.ExecuteNonQueryAsync(stop);
        }

        await transaction.CommitAsync(stop);
        return true;
    }

    /// <summary>The rules as they are set.</summary>
    public async Task<Dictionary<string, RuleSetting>> SettingsAsync(CancellationToken stop)
    {
        var settings = AlertRules.All.ToDictionary(rule => rule.Name, RuleSetting.Of);
        await using var command = database.CreateCommand("SELECT name, enabled, severity, threshold, for_seconds FROM alert_rules");
        await using var reader = await command.ExecuteReaderAsync(stop);
        while (await reader.ReadAsync(stop))
        {
            // A rule that a later version no longer has is left alone.
            if (settings.TryGetValue(reader.GetString(0), out var set))
            {
                settings[reader.GetString(0)] = set with
                {
                    Enabled = reader.IsDBNull(1) ? set.Enabled : reader.GetBoolean(1),
                    Severity = reader.IsDBNull(2) ? set.Severity : Enum.Parse<Severity>(reader.GetString(2), ignoreCase: true),
                    Threshold = reader.IsDBNull(3) ? set.Threshold : reader.GetDouble(3),
                    Timing = reader.IsDBNull(4) ? set.Timing : set.Timing with { For = TimeSpan.FromSeconds(reader.GetInt32(4)) },
                };
            }
        }

        return settings;
    }

    /// <summary>Changes a rule; what is null stays as it is set.</summary>
    public async Task SetAsync(string rule, bool? enabled, Severity? severity, double? threshold, int? forSeconds, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            INSERT INTO alert_rules AS r (name, enabled, severity, threshold, for_seconds, changed_at) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (name) DO UPDATE SET
              enabled = coalesce(excluded.enabled, r.enabled), severity = coalesce(excluded.severity, r.severity),
              threshold = coalesce(excluded.threshold, r.threshold), for_seconds = coalesce(excluded.for_seconds, r.for_seconds),
              changed_at = excluded.changed_at
            """
        );
        var p = command.Parameters;
        p.Add(new() { Value = rule });
        p.Add(new() { Value = (object?)enabled ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Boolean });
        p.Add(OrNull(severity?.Word()));
        p.Add(new() { Value = (object?)threshold ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Double });
        p.Add(new() { Value = (object?)forSeconds ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Integer });
        p.Add(DeliveryQueue.Moment(time.GetUtcNow()));
        await command.ExecuteNonQueryAsync(stop);
    }

    /// <summary>Takes a rule back to its defaults.</summary>
    public async Task ResetAsync(string rule, CancellationToken stop)
    {
        await using var command = database.CreateCommand("DELETE FROM alert_rules WHERE name = $1");
        command.Parameters.Add(new() { Value = rule });
        await command.ExecuteNonQueryAsync(stop);
    }

    /// <summary>Silences, the one that ends last first; past ones only where they are asked for.</summary>
    public async Task<List<SilenceView>> SilencesAsync(bool past, int rows, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            SELECT id, rule, labels::text, starts_at, ends_at, reason, created_at FROM alert_silences
            WHERE $1 OR ends_at > $2 ORDER BY ends_at DESC, id LIMIT $3
            """
        );
        command.Parameters.Add(new() { Value = past });
        command.Parameters.Add(DeliveryQueue.Moment(time.GetUtcNow()));
        command.Parameters.Add(new() { Value = rows });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var silences = new List<SilenceView>();
        while (await reader.ReadAsync(stop))
        {
            silences.Add(
                new SilenceView
                {
                    Id = reader.GetGuid(0),
                    Rule = Text(reader, 1),
                    Labels = Labels(reader.GetString(2)),
                    StartsAt = reader.GetFieldValue<DateTimeOffset>(3),
                    EndsAt = reader.GetFieldValue<DateTimeOffset>(4),
                    Reason = reader.GetString(5),
                    CreatedAt = reader.GetFieldValue<DateTimeOffset>(6),
                }
            );
        }

        return silences;
    }

    public async Task AddSilenceAsync(SilenceView silence, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            "INSERT INTO alert_silences (id, rule, labels, starts_at, ends_at, reason, created_at) VALUES ($1, $2, $3::jsonb, $4, $5, $6, $7)"
        );
        var p = command.Parameters;
        p.Add(Id(silence.Id));
        p.Add(OrNull(silence.Rule));
        p.Add(new() { Value = JsonSerializer.Serialize(silence.Labels) });
        p.Add(DeliveryQueue.Moment(silence.StartsAt));
        p.Add(DeliveryQueue.Moment(silence.EndsAt));
        p.Add(new() { Value = silence.Reason });
        p.Add(DeliveryQueue.Moment(silence.CreatedAt));
        await command.ExecuteNonQueryAsync(stop);
    }

    /// <summary>Ends a silence now. False when there is none of that id, or it is over.</summary>
    public async Task<bool> EndSilenceAsync(Guid id, CancellationToken stop)
    {
        // One that has not begun leaves nothing to remember.
        await using var command = database.CreateCommand(
            """
            WITH unbegun AS (DELETE FROM alert_silences WHERE id = $1 AND starts_at >= $2 RETURNING 1),
                 ended AS (UPDATE alert_silences SET ends_at = $2 WHERE id = $1 AND starts_at < $2 AND ends_at > $2 RETURNING 1)
            SELECT (SELECT count(*) FROM unbegun) + (SELECT count(*) FROM ended)
            """
        );
        command.Parameters.Add(Id(id));
        command.Parameters.Add(DeliveryQueue.Moment(time.GetUtcNow()));
        return await command.ExecuteScalarAsync(stop) is 1L;
    }

    /// <summary>A new alert, or an open one as it stands now. What it is about never changes, and what an operator said of it stays.</summary>
    private static NpgsqlBatchCommand Put(OpenAlert alert) =>
        new(
            """
            INSERT INTO alerts (id, rule, fingerprint, labels, state, severity, summary, evidence, since, seen_at, raised_at, acknowledged_at,
                                escalated_at, resolved_at, told_at, silenced_by)
            VALUES ($1, $2, $3, $4::jsonb, $5, $6, $7, $8::jsonb, $9, $10, $11, $12, $13, $14, $15, $16)
            ON CONFLICT (id) DO UPDATE SET
              state = excluded.state, severity = excluded.severity, summary = excluded.summary, evidence = excluded.evidence,
              seen_at = excluded.seen_at, raised_at = excluded.raised_at, acknowledged_at = excluded.acknowledged_at,
              escalated_at = excluded.escalated_at, resolved_at = excluded.resolved_at, told_at = excluded.told_at, silenced_by = excluded.silenced_by
            """
        )
        {
            Parameters =
            {
                Id(alert.Id),
                new() { Value = alert.Rule },
                new() { Value = alert.Fingerprint },
                new() { Value = JsonSerializer.Serialize(alert.Labels) },
                new() { Value = alert.State.Word() },
                new() { Value = alert.Severity.Word() },
                new() { Value = alert.Summary },
                new() { Value = alert.Evidence.ToJsonString() },
                DeliveryQueue.Moment(alert.Since),
                DeliveryQueue.Moment(alert.SeenAt),
                MomentOrNull(alert.RaisedAt),
                MomentOrNull(alert.AcknowledgedAt),
                MomentOrNull(alert.EscalatedAt),
                MomentOrNull(alert.ResolvedAt),
                MomentOrNull(alert.ToldAt),
                OrNull(alert.SilencedBy),
            },
        };

    /// <summary>Alerts are for those who run the service: every tenant with a key of an operator is told.</summary>
    private static NpgsqlBatchCommand Event(IReadOnlyList<OpenAlert> alerts) =>
        new(
            """
            INSERT INTO events (tenant, type, data, created_at)
            SELECT DISTINCT tenant, $1, $2::jsonb, $3 FROM api_keys WHERE operator AND revoked_at IS NULL
            """
        )
        {
            Parameters =
            {
                new() { Value = alerts[0].State == AlertState.Resolved ? "alert.resolved" : "alert.raised" },
                new() { Value = AlertView.EventData(alerts) },
                DeliveryQueue.Moment(alerts[0].ResolvedAt ?? alerts[0].SeenAt),
            },
        };

    private static OpenAlert Read(NpgsqlDataReader reader) =>
        new()
        {
            Id = reader.GetGuid(0),
            Rule = reader.GetString(1),
            Labels = Labels(reader.GetString(2)),
            State = Enum.Parse<AlertState>(reader.GetString(3), ignoreCase: true),
            Severity = Enum.Parse<Severity>(reader.GetString(4), ignoreCase: true),
            Summary = reader.GetString(5),
            Evidence = JsonNode.Parse(reader.GetString(6))!.AsObject(),
            Since = reader.GetFieldValue<DateTimeOffset>(7),
            SeenAt = reader.GetFieldValue<DateTimeOffset>(8),
            RaisedAt = Moment(reader, 9),
            AcknowledgedAt = Moment(reader, 10),
            EscalatedAt = Moment(reader, 11),
            ResolvedAt = Moment(reader, 12),
            ToldAt = Moment(reader, 13),
            SilencedBy = Text(reader, 14),
        };

    private static Dictionary<string, string> Labels(string json) => JsonSerializer.Deserialize<Dictionary<string, string>>(json)!;

    private static string? Text(NpgsqlDataReader reader, int column) => reader.IsDBNull(column) ? null : reader.GetString(column);

    private static DateTimeOffset? Moment(NpgsqlDataReader reader, int column) =>
        reader.IsDBNull(column) ? null : reader.GetFieldValue<DateTimeOffset>(column);

    private static NpgsqlParameter Id(Guid id) => new() { Value = id };

    private static NpgsqlParameter OrNull(string? text) =>
        new() { Value = (object?)text ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text };

    private static NpgsqlParameter MomentOrNull(DateTimeOffset? at) =>
        at is { } moment ? DeliveryQueue.Moment(moment) : new() { Value = DBNull.Value, NpgsqlDbType = NpgsqlDbType.TimestampTz };
}
