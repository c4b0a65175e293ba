using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.Hosting;

/// <summary>A job as the API shows it, to whoever submits, changes or reads it.</summary>
public sealed record JobDocument
{
    public required JobId Id { get; init; }
    public string Object { get; init; } = "job";

    /// <summary><c>name@version</c>, the version fixed at admission.</summary>
    public required ModelRef Model { get; init; }
    public required LatencyClass Class { get; init; }
    public required JobState State { get; init; }
    public bool Paused { get; init; }
    public int Tasks { get; init; }
    public JobCounts Counts { get; init; } = new(0, 0, 0, 0, 0);

    /// <summary>Ended tasks, 0 to 1.</summary>
    public double Progress { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
    public DateTimeOffset? QueuedAt { get; init; }
    public DateTimeOffset? StartedAt { get; init; }
    public DateTimeOffset? FinishedAt { get; init; }
    public required DateTimeOffset Deadline { get; init; }

    /// <summary>Completion predicted at admission; null when nothing was known to predict it from.</summary>
    public DateTimeOffset? PredictedAt { get; init; }

    /// <summary>Pico-USD of all tasks that have ended.</summary>
    public decimal CostPicoUsd { get; init; }

    /// <summary>The same a task; null until one has ended.</summary>
    public decimal? CostPerTaskPicoUsd { get; init; }
    public IReadOnlyDictionary<string, string> Metadata { get; init; } = new Dictionary<string, string>();
    public string? Webhook { get; init; }

    /// <summary>Budget in pico-USD.</summary>
    public long? MaxCostPicoUsd { get; init; }
    public JobId? RetryOf { get; init; }

    /// <summary>Why the job itself failed.</summary>
    public JsonElement? Error { get; init; }

    public JobLinks Links => JobLinks.For(Id);

    /// <summary>The columns <see cref="Read"/> expects, of <c>jobs j</c>; while a job is open its chunks have the counts.</summary>
    public const string Columns = """
        j.id, j.model, j.model_version, j.class, j.state, j.paused, j.tasks, j.created_at, j.queued_at, j.started_at, j.finished_at,
        j.deadline, j.predicted_at, j.metadata::text, j.webhook, j.max_cost_pico, j.retry_of, j.error::text,
        coalesce(j.succeeded, s.succeeded, 0)::int, coalesce(j.failed, s.failed, 0)::int, coalesce(j.expired, s.expired, 0)::int,
        coalesce(j.cancelled, s.cancelled, 0)::int, coalesce(j.cost_pico, s.cost_pico, 0)
        """;

    /// <summary>What <see cref="Columns"/> are read from.</summary>
    public const string From = """
        jobs j LEFT JOIN LATERAL (
          SELECT sum(c.succeeded) AS succeeded, sum(c.failed) AS failed, sum(c.expired) AS expired, sum(c.cancelled) AS cancelled,
                 sum(c.cost_pico) AS cost_pico
          FROM chunks c WHERE c.job = j.id AND j.succeeded IS NULL AND j.state <> 'receiving'
        ) s ON true
        """;

    /// <summary>One job of a tenant; null when the tenant has no such job.</summary>
    public static async Task<JobDocument?> FindAsync(NpgsqlDataSource database, TenantId tenant, JobId id, CancellationToken stop)
    {
        await using var command = database.CreateCommand($"SELECT {Columns} FROM {From} WHERE j.id = $1 AND j.tenant = $2");
        command.Parameters.AddWithValue(id.Value);
        command.Parameters.AddWithValue(tenant.Value);
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? Read(reader) : null;
    }

    /// <summary>Reads the row the reader stands on.</summary>
    public static JobDocument Read(NpgsqlDataReader reader)
    {
        var tasks = reader.GetInt32(6);
        var counts = new JobCounts(reader.GetInt32(18), reader.GetInt32(19), reader.GetInt32(20), reader.GetInt32(21), 0);
        var cost = reader.GetDecimal(22);
        var ended = counts.Ended;
        return new JobDocument
        {
            Id = new JobId(reader.GetGuid(0)),
            Model = new ModelRef(reader.GetString(1), reader.GetString(2)),
            Class = LatencyClasses.TryParse(reader.GetString(3), out var latencyClass) ? latencyClass : LatencyClass.Bulk,
            State = JobStates.ParseJobState(reader.GetString(4)),
            Paused = reader.GetBoolean(5),
            Tasks = tasks,
            Counts = counts with { Remaining = tasks - ended },
            Progress = tasks > 0 ? Math.Round((double)ended / tasks, 6) : 0,
            CreatedAt = reader.GetFieldValue<DateTimeOffset>(7),
            QueuedAt = Time(reader, 8),
            StartedAt = Time(reader, 9),
            FinishedAt = Time(reader, 10),
            Deadline = reader.GetFieldValue<DateTimeOffset>(11),
            PredictedAt = Time(reader, 12),
            Metadata = JsonSerializer.Deserialize<Dictionary<string, string>>(reader.GetString(13)) ?? [],
            Webhook = reader.IsDBNull(14) ? null : reader.GetString(14),
            MaxCostPicoUsd = reader.IsDBNull(15) ? null : reader.GetInt64(15),
            RetryOf = reader.IsDBNull(16) ? null : new JobId(reader.GetGuid(16)),
            Error = reader.IsDBNull(17) ? null : JsonElement.Parse(reader.GetString(17)),
            CostPicoUsd = cost,
            CostPerTaskPicoUsd = ended > 0 ? Math.Round(cost / ended) : null,
        };
    }

    private static DateTimeOffset? Time(NpgsqlDataReader reader, int column) =>
        reader.IsDBNull(column) ? null : reader.GetFieldValue<DateTimeOffset>(column);
}

/// <summary>A job's tasks by how they ended; those that have not are <paramref name="Remaining"/>.</summary>
public sealed record JobCounts(int Succeeded, int Failed, int Expired, int Cancelled, int Remaining)
{
    [System.Text.Json.Serialization.JsonIgnore]
    public int Ended => Succeeded + Failed + Expired + Cancelled;
}

/// <summary>Where to go from a job; paths on the same server.</summary>
public sealed record JobLinks(string Self, string Results, string Events, string Cancel)
{
    public static JobLinks For(JobId id)
    {
        var self = $"/v1/jobs/{id}";
        return new JobLinks(self, $"{self}/results", $"{self}/events", $"{self}/cancel");
    }
}
