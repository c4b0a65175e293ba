using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Pipeline.ResultsApi.Webhooks;

namespace Pipeline.ResultsApi.Alerts.Probes;

/// <summary>A probe that is due.</summary>
internal sealed record DueProbe(
    string Name,
    string Model,
    string Class,
    JsonElement Input,
    JsonElement Expect,
    double Tolerance,
    TimeSpan Slow
);

/// <summary>Keeps probes and what became of them.</summary>
internal sealed class ProbeStore(NpgsqlDataSource database, ProbeOptions options, TimeProvider time)
{
    private const int SharedRuns = 100;

    /// <summary>Makes or replaces a probe, due at once. False when there are too many.</summary>
    public async Task<bool> PutAsync(ProbeView probe, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            INSERT INTO probes (name, model, class, input, expect, tolerance, every_seconds, slow_ms, enabled, due_at)
            SELECT $1, $2, $3, $4::jsonb, $5::jsonb, $6, $7, $8, $9, $10
            WHERE EXISTS (SELECT FROM probes WHERE name = $1) OR (SELECT count(*) FROM probes) < $11
            ON CONFLICT (name) DO UPDATE SET
              model = excluded.model, class = excluded.class, input = excluded.input, expect = excluded.expect,
              tolerance = excluded.tolerance, every_seconds = excluded.every_seconds, slow_ms = excluded.slow_ms,
              enabled = excluded.enabled, due_at = excluded.due_at
            """
        );
        var p = command.Parameters;
        p.Add(new() { Value = probe.Name });
        p.Add(new() { Value = probe.Model });
        p.Add(new() { Value = probe.Class });
        p.Add(new() { Value = probe.Input.GetRawText() });
        p.Add(new() { Value = probe.Expect.GetRawText() });
        p.Add(new() { Value = probe.Tolerance });
        p.Add(new() { Value = probe.EverySeconds });
        p.Add(new() { Value = probe.SlowMs });
        p.Add(new() { Value = probe.Enabled });
        p.Add(DeliveryQueue.Moment(probe.NextAt));
        p.Add(new() { Value = options.ProbesMax });
        return await command.ExecuteNonQueryAsync(stop) == 1;
    }

    public async Task<bool> DeleteAsync(string name, CancellationToken stop)
    {
        await using var command = database.CreateCommand("DELETE FROM probes WHERE name = $1");
        command.Parameters.Add(new() { Value = name });
        return await command.ExecuteNonQueryAsync(stop) == 1;
    }

    /// <summary>Makes a probe due now. False when there is none of that name, or it is not enabled.</summary>
    public async Task<bool> RunNowAsync(string name, CancellationToken stop)
    {
        await using var command = database.CreateCommand("UPDATE probes SET due_at = $2 WHERE name = $1 AND enabled");
        command.Parameters.Add(new() { Value = name });
        command.Parameters.Add(DeliveryQueue.Moment(time.GetUtcNow()));
        return await command.ExecuteNonQueryAsync(stop) == 1;
    }

    /// <param name="name">Only that one; null for all.</param>
    public async Task<List<ProbeView>> ListAsync(string? name, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT p.name, p.model, p.class, p.input::text, p.expect::text, p.tolerance, p.every_seconds, p.slow_ms, p.enabled, p.due_at,
                   l.id, l.at, l.outcome, l.took_ms, l.model, l.detail, s.share
            FROM probes p
            LEFT JOIN LATERAL (SELECT * FROM probe_runs r WHERE r.probe = p.name ORDER BY r.id DESC LIMIT 1) l ON true
            LEFT JOIN LATERAL (
              SELECT avg((r.outcome IN ('right', 'slow'))::int)::double precision AS share
              FROM (SELECT outcome FROM probe_runs r WHERE r.probe = p.name ORDER BY r.id DESC LIMIT {SharedRuns}) r
              WHERE r.outcome <> 'refused'
            ) s ON true
            WHERE $1 IS NULL OR p.name = $1
            ORDER BY p.name COLLATE "C"
            """
        );
        command.Parameters.Add(new() { Value = (object?)name ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var probes = new List<ProbeView>();
        while (await reader.ReadAsync(stop))
        {
            probes.Add(
                new ProbeView
                {
                    Name = reader.GetString(0),
                    Model = reader.GetString(1),
                    Class = reader.GetString(2),
                    Input = JsonElement.Parse(reader.GetString(3)),
                    Expect = JsonElement.Parse(reader.GetString(4)),
                    Tolerance = reader.GetDouble(5),
                    EverySeconds = reader.GetInt32(6),
                    SlowMs = reader.GetInt32(7),
                    Enabled = reader.GetBoolean(8),
                    NextAt = reader.GetFieldValue<DateTimeOffset>(9),
                    LastRun = reader.IsDBNull(10) ? null : ReadRun(reader, 10),
                    RightShare = reader.IsDBNull(16) ? null : reader.GetDouble(16),
                }
            );
        }

        return probes;
    }

    /// <summary>Runs of a probe, newest first.</summary>
    /// <param name="before">Only those older than this one.</param>
    public async Task<List<ProbeRunView>> RunsAsync(string name, long? before, int rows, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            SELECT id, at, outcome, took_ms, model, detail FROM probe_runs WHERE probe = $1 AND id < $2 ORDER BY id DESC LIMIT $3
            """
        );
        command.Parameters.Add(new() { Value = name });
        command.Parameters.Add(new() { Value = before ?? long.MaxValue });
        command.Parameters.Add(new() { Value = rows });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var runs = new List<ProbeRunView>();
        while (await reader.ReadAsync(stop))
        {
            runs.Add(ReadRun(reader, 0));
        }

        return runs;
    }

    /// <summary>Takes probes that are due, and says when they are next: of several instances each takes others.</summary>
    public async Task<List<DueProbe>> TakeDueAsync(int rows, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            UPDATE probes p SET due_at = $1 + make_interval(secs => p.every_seconds)
            FROM (SELECT name FROM probes WHERE enabled AND due_at <= $1 ORDER BY due_at, name LIMIT $2 FOR UPDATE SKIP LOCKED) d
            WHERE p.name = d.name
            RETURNING p.name, p.model, p.class, p.input::text, p.expect::text, p.tolerance, p.slow_ms
            """
        );
        command.Parameters.Add(DeliveryQueue.Moment(time.GetUtcNow()));
        command.Parameters.Add(new() { Value = rows });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var due = new List<DueProbe>();
        while (await reader.ReadAsync(stop))
        {
            due.Add(
                new DueProbe(
                    reader.GetString(0),
                    reader.GetString(1),
                    reader.GetString(2),
                    JsonElement.Parse(reader.GetString(3)),
                    JsonElement.Parse(reader.GetString(4)),
                    reader.GetDouble(5),
                    TimeSpan.FromMilliseconds(reader.GetInt32(6))
                )
            );
        }

        return due;
    }

    /// <summary>Writes what became of a probe, unless it was deleted meanwhile, and removes runs that are too old.</summary>
    public async Task RecordAsync(string probe, DateTimeOffset at, ProbeOutcome outcome, CancellationToken stop)
    {
        await using var batch = database.CreateBatch();
        batch.BatchCommands.Add(
            new(
                """
                INSERT INTO probe_runs (probe, at, outcome, took_ms, model, detail)
                SELECT name, $2, $3, $4, $5, $6 FROM probes WHERE name = $1
                """
            )
            {
                Parameters =
                {
                    new() { Value = probe },
                    DeliveryQueue.Moment(at),
                    new() { Value = outcome.Outcome },
                    new() { Value = outcome.TookMs },
                    new() { Value = (object?)outcome.Model ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text },
                    new() { Value = (object?)outcome.Detail ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text },
                },
            }
        );
        await batch.ExecuteNonQueryAsync(stop);
    }

    private static ProbeRunView ReadRun(NpgsqlDataReader reader, int first) =>
        new()
        {
            Id = reader.GetInt64(first),
            At = reader.GetFieldValue<DateTimeOffset>(first + 1),
            Outcome = reader.GetString(first + 2),
            TookMs = reader.GetInt32(first + 3),
            Model = reader.IsDBNull(first + 4) ? null : reader.GetString(first + 4),
            Detail = reader.IsDBNull(first + 5) ? null : reader.GetString(first + 5),
        };
}
