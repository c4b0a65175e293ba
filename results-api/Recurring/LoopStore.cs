using Npgsql;
using NpgsqlTypes;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Recurring;

/// <summary>The loops of all processes, as <see cref="LoopBook"/> keeps them, and what operators want of them.</summary>
internal sealed class LoopStore(NpgsqlDataSource database, TimeProvider time)
{
    /// <summary>Every loop that a process has ever had, in the order of their names.</summary>
    /// <param name="name">Only this one; null for all.</param>
    public async Task<List<RecurringView>> ReadAsync(string? name, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            SELECT name, purpose, every, paused, started_at, ended_at, error, instance, turns, failures
            FROM recurring_loops WHERE $1 IS NULL OR name = $1 ORDER BY name COLLATE "C"
            """
        );
        command.Parameters.Add(new() { Value = (object?)name ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var loops = new List<RecurringView>();
        while (await reader.ReadAsync(stop))
        {
            var every = reader.GetFieldValue<TimeSpan>(2);
            DateTimeOffset? startedAt = reader.IsDBNull(4) ? null : reader.GetFieldValue<DateTimeOffset>(4);
            var paused = reader.GetBoolean(3);
            loops.Add(
                new RecurringView
                {
                    Name = reader.GetString(0),
                    Kind = "loop",
                    Purpose = reader.GetString(1),
                    Schedule = every.ToString(),
                    Paused = paused,
                    NextRunAt = paused ? null : startedAt + every,
                    RunningSince = null,
                    LastRun = startedAt is { } began ? LastRun(reader, began) : null,
                }
            );
        }

        return loops;
    }

    /// <summary>Has it take no turns but those that are asked for, or go on.</summary>
    public Task PauseAsync(string name, CancellationToken stop) => SetAsync(name, "paused = true", stop);

    public Task ResumeAsync(string name, CancellationToken stop) => SetAsync(name, "paused = false", stop);

    /// <summary>Asks every process that has it for one turn, also while it is paused.</summary>
    public Task RunAsync(string name, CancellationToken stop) => SetAsync(name, "asked_at = $2", stop);

    private async Task SetAsync(string name, string what, CancellationToken stop)
    {
        await using var command = database.CreateCommand($"UPDATE recurring_loops SET {what} WHERE name = $1 AND $2 IS NOT NULL");
        command.Parameters.Add(new() { Value = name });
        command.Parameters.Add(new() { Value = time.GetUtcNow().UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        await command.ExecuteNonQueryAsync(stop);
    }

    private static RecurringRunView LastRun(NpgsqlDataReader reader, DateTimeOffset startedAt)
    {
        var error = reader.IsDBNull(6) ? null : reader.GetString(6);
        return new RecurringRunView
        {
            Id = reader.GetInt64(8),
            StartedAt = startedAt,
            EndedAt = reader.GetFieldValue<DateTimeOffset>(5),
            Outcome = error is null ? "ok" : "failed",
            Counts = new Dictionary<string, long> { ["turns"] = reader.GetInt64(8), ["failures"] = reader.GetInt64(9) },
            Error = error,
            Instance = reader.GetString(7),
        };
    }
}
