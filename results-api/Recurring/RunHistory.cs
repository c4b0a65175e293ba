using System.Text.Json;
using Npgsql;
using NpgsqlTypes;

namespace Pipeline.ResultsApi.Recurring;

/// <summary>What became of the runs: <c>recurring_runs</c>, of each work the last <see cref="RecurringOptions.HistoryMax"/>.</summary>
internal sealed class RunHistory(NpgsqlDataSource database, RecurringOptions options, TimeProvider time)
{
    private const int ErrorLengthMax = 2000;
    private const string Columns = "id, name, started_at, ended_at, outcome, counts::text, error, instance";

    /// <summary>
    /// Writes that a run begins. One of the same work that has no end was interrupted, since no two go on at once; and what is more than
    /// is remembered goes.
    /// </summary>
    public async Task<long> BeginAsync(string name, string instance, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            WITH interrupted AS (
              UPDATE recurring_runs SET outcome = 'interrupted', ended_at = greatest(started_at, $2) WHERE name = $1 AND ended_at IS NULL
            ), forgotten AS (
              DELETE FROM recurring_runs
              WHERE name = $1 AND ended_at IS NOT NULL
                AND id <= (SELECT id FROM recurring_runs WHERE name = $1 ORDER BY id DESC OFFSET $4 - 1 LIMIT 1)
            )
            INSERT INTO recurring_runs (name, started_at, instance) VALUES ($1, $2, $3) RETURNING id
            """
        );
        command.Parameters.Add(new() { Value = name });
        command.Parameters.Add(Now());
        command.Parameters.Add(new() { Value = instance });
        command.Parameters.Add(new() { Value = options.HistoryMax });
        return (long)(await command.ExecuteScalarAsync(stop))!;
    }

    /// <summary>Writes how a run ended: with counts it is ok, with an error failed, with neither interrupted.</summary>
    public async Task EndAsync(long run, IReadOnlyDictionary<string, long>? counts, string? error)
    {
        await using var command = database.CreateCommand(
            """
            UPDATE recurring_runs SET outcome = $2, ended_at = greatest(started_at, $3), counts = $4, error = $5
            WHERE id = $1 AND ended_at IS NULL
            """
        );
        command.Parameters.Add(new() { Value = run });
        command.Parameters.Add(
            new()
            {
                Value = (counts, error) switch
                {
                    ({ }, _) => "ok",
                    (_, { }) => "failed",
                    _ => "interrupted",
                },
            }
        );
        command.Parameters.Add(Now());
        command.Parameters.Add(Or(counts is null ? null : JsonSerializer.Serialize(counts), NpgsqlDbType.Jsonb));
        command.Parameters.Add(Or(error?.Length > ErrorLengthMax ? error[..ErrorLengthMax] : error, NpgsqlDbType.Text));
        await command.ExecuteNonQueryAsync(CancellationToken.None);
    }

    /// <summary>Of every work the run that is under way, and the last one that has ended.</summary>
    public async Task<List<RecurringRunView>> ReadLastAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT r.* FROM (SELECT DISTINCT name FROM recurring_runs) w CROSS JOIN LATERAL (
              (SELECT {Columns} FROM recurring_runs WHERE name = w.name AND ended_at IS NOT NULL ORDER BY id DESC LIMIT 1)
              UNION ALL
              (SELECT {Columns} FROM recurring_runs WHERE name = w.name AND ended_at IS NULL ORDER BY id DESC LIMIT 1)
            ) r
            """
        );
        return await ReadAsync(command, stop);
    }

    /// <summary>The runs of one work, newest first.</summary>
    /// <param name="before">Only those that began before this one.</param>
    public async Task<List<RecurringRunView>> ReadAsync(string name, long? before, int rows, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"SELECT {Columns} FROM recurring_runs WHERE name = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
        );
        command.Parameters.Add(new() { Value = name });
        command.Parameters.Add(new() { Value = before ?? long.MaxValue });
        command.Parameters.Add(new() { Value = rows });
        return await ReadAsync(command, stop);
    }

    private static async Task<List<RecurringRunView>> ReadAsync(NpgsqlCommand command, CancellationToken stop)
    {
        await using var reader = await command.ExecuteReaderAsync(stop);
        var runs = new List<RecurringRunView>();
        while (await reader.ReadAsync(stop))
        {
            runs.Add(
                new RecurringRunView
                {
                    Id = reader.GetInt64(0),
                    Name = reader.GetString(1),
                    StartedAt = reader.GetFieldValue<DateTimeOffset>(2),
                    EndedAt = reader.IsDBNull(3) ? null : reader.GetFieldValue<DateTimeOffset>(3),
                    Outcome = reader.IsDBNull(4) ? null : reader.GetString(4),
                    Counts = reader.IsDBNull(5) ? null : JsonSerializer.Deserialize<Dictionary<string, long>>(reader.GetString(5)),
                    Error = reader.IsDBNull(6) ? null : reader.GetString(6),
                    Instance = reader.GetString(7),
                }
            );
        }

        return runs;
    }

    private NpgsqlParameter Now() => new() { Value = time.GetUtcNow().UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz };

    private static NpgsqlParameter Or(string? value, NpgsqlDbType type) =>
        new() { Value = (object?)value ?? DBNull.Value, NpgsqlDbType = type };
}
