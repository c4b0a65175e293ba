using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.Hosting;

/// <summary>A job as every answer of the API shows it.</summary>
public sealed record JobView
{
    public required JobId Id { get; init; }
    public string Object { get; } = "job";

    /// <summary>The model version; of a routed job the first variant's.</summary>
    public required ModelRef Model { get; init; }

    /// <summary>The route its tasks go along, as <c>name@version</c>; absent where the model is all.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Route { get; init; }
    public required LatencyClass Class { get; init; }

    /// <summary>In the answer to a submission: the class that was asked for, where the job was accepted under a slower one.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public LatencyClass? RequestedClass { get; init; }
    public required JobState State { get; init; }
    public required bool Paused { get; init; }

    /// <summary>Tasks of the whole job; 0 until its body has ended.</summary>
    public required int Tasks { get; init; }
    public required JobCounts Counts { get; init; }

    /// <summary>Part of the tasks that have ended, 0 to 1.</summary>
    public double Progress =>
        Tasks > 0 ? (double)Counts.Ended / Tasks
        : State.IsEnd() ? 1
        : 0;
    public required DateTimeOffset CreatedAt { get; init; }
    public required DateTimeOffset? QueuedAt { get; init; }
    public required DateTimeOffset? StartedAt { get; init; }
    public required DateTimeOffset? FinishedAt { get; init; }
    public required DateTimeOffset Deadline { get; init; }

    /// <summary>When it should be finished, by the newest knowledge; for a finished job what was predicted when it was accepted.</summary>
    public required DateTimeOffset? PredictedAt { get; init; }

    /// <summary>
    /// Of a job that waits to begin, where one job is asked for: how many of the same model and class fall due before it, 10,000 at most.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? QueuePosition { get; init; }

    /// <summary>Cost of the tasks that have ended, in pico-USD.</summary>
    public required decimal CostPicoUsd { get; init; }
    public decimal? CostPerTaskPicoUsd => Counts.Ended > 0 ? Math.Round(CostPicoUsd / Counts.Ended) : null;

    /// <summary>What is charged for the tasks that have succeeded, in pico-USD; null for a job that was accepted before there was a price list.</summary>
    public decimal? PricePicoUsd { get; init; }

    /// <summary>Since when it has its class, where that was changed; absent where it was not.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public DateTimeOffset? ClassSince { get; init; }

    /// <summary>What it was predicted to be charged when it was accepted, or when its class was changed.</summary>
    public long? EstimatedPricePicoUsd { get; init; }

    /// <summary>What a million of its units are charged: fixed when it was accepted, or when its class was changed, for what ended after that.</summary>
    public long? PricePerMillionUnitsPicoUsd { get; init; }

    /// <summary>Why it is cancelled where its owner did not ask for it: <c>budget_exceeded</c>.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Reason { get; init; }

    /// <summary>Where its costs were asked for: how they spread over its tasks.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public JobCosts? Costs { get; init; }

    /// <summary>Budget in pico-USD, of what is charged.</summary>
    public required long? MaxCostPicoUsd { get; init; }
    public required JsonElement Metadata { get; init; }
    public required string? Webhook { get; init; }
    public required JobId? RetryOf { get; init; }

    /// <summary>The group of its tasks that name none of their own.</summary>
    public string? Group { get; init; }

    /// <summary>State <c>failed</c>: why the job itself was refused.</summary>
    public required JsonElement? Error { get; init; }

    /// <summary>Since when what its tasks were given is no longer kept; absent while it is.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public DateTimeOffset? InputsRemovedAt { get; init; }

    /// <summary>Since when its results are no longer kept; absent while they are.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public DateTimeOffset? OutputsRemovedAt { get; init; }
    public JobLinks Links => new(Id);

    /// <summary>Units of the tasks that have not ended, as estimated at the door.</summary>
    [JsonIgnore]
    public long UnitsLeft { get; init; }

    /// <summary>What was predicted when it was accepted; null where nobody knew.</summary>
    [JsonIgnore]
    public AcceptedPrediction? Accepted { get; init; }
}

/// <summary>What a job was predicted to take when it was accepted.</summary>
/// <param name="At">When it should be finished.</param>
/// <param name="EarlyAt">Not before that in 19 of 20 cases.</param>
/// <param name="LateAt">Not after that in 19 of 20 cases.</param>
/// <param name="CostPicoUsd">Cost of its tasks; null where the pool had no price.</param>
public sealed record AcceptedPrediction(DateTimeOffset At, DateTimeOffset EarlyAt, DateTimeOffset LateAt, long? CostPicoUsd);

/// <summary>How many tasks ended in which way, and how many have not.</summary>
public sealed record JobCounts(int Succeeded, int Failed, int Expired, int Cancelled, int Remaining)
{
    [JsonIgnore]
    public int Ended => Succeeded + Failed + Expired + Cancelled;
}

/// <summary>Where to go from a job; paths below the API's base address.</summary>
public sealed record JobLinks
{
    public JobLinks(JobId job) => Self = $"/v1/jobs/{job}";

    public string Self { get; }
    public string Results => $"{Self}/results";
    public string Events => $"{Self}/events";
    public string Cancel => $"{Self}/cancel";
}

/// <summary>
/// Reads jobs as they are shown. A finished job has its totals on its row; before that they are the sums over its chunks, all from
/// one snapshot, so that the counts of a reply always add up.
/// </summary>
public static class JobViews
{
    /// <summary>The answer to who asks for data of a job that is no longer kept; null while it is.</summary>
    /// <param name="what">What it is: <c>results</c>, <c>inputs</c>.</param>
    public static ProblemResult? Removed(JobId job, string what, DateTimeOffset? at) =>
        at is { } since
            ? Problems.Result(
                FailureKind.DataRemoved,
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The {what} of job {job} are no longer kept since {since:yyyy-MM-dd'T'HH:mm:ss'Z'}."
                ),
                "id"
            )
            : null;

    /// <summary>
    /// The SELECT that <see cref="Read"/> reads; what follows it calls the jobs <c>j</c>. The sums are not made where the row has the
    /// totals, or is not queued yet.
    /// </summary>
    /// <param name="from">The table, or a parenthesised query that chooses some of its rows.</param>
    public static string SelectFrom(string from = "jobs") =>
        $"""
            SELECT j.id, j.model, j.model_version, j.class, j.state, j.paused, j.tasks,
                   coalesce(j.succeeded, c.succeeded, 0), coalesce(j.failed, c.failed, 0),
                   coalesce(j.expired, c.expired, 0), coalesce(j.cancelled, c.cancelled, 0),
                   coalesce(j.cost_pico, c.cost_pico, 0), coalesce(c.units_left, CASE WHEN j.finished_at IS NULL THEN j.units ELSE 0 END),
                   j.created_at, j.queued_at, j.started_at, j.finished_at, j.deadline, j.predicted_at,
                   j.max_cost_pico, j.metadata::text, j.webhook, j.retry_of, j.error::text,
                   div(coalesce(j.units_done, c.units_done, 0)::numeric * j.per_million_units_pico + coalesce(j.repriced_millionths, 0), 1000000),
                   j.estimate_pico,
                   j.per_million_units_pico, j.cancel_reason, j.group_name, j.predicted_early_at, j.predicted_late_at,
                   j.predicted_cost_pico, (j.route ->> 'name') || '@' || (j.route ->> 'version'),
                   j.inputs_removed_at, j.outputs_removed_at, j.class_since
            FROM {from} j
            LEFT JOIN LATERAL (
              SELECT sum(succeeded)::int AS succeeded, sum(failed)::int AS failed, sum(expired)::int AS expired,
                     sum(cancelled)::int AS cancelled, sum(cost_pico) AS cost_pico, sum(units_done) AS units_done,
                     sum(units::float8 * remaining / tasks)::bigint AS units_left
              FROM chunks WHERE job = j.id AND j.succeeded IS NULL AND j.queued_at IS NOT NULL
            ) c ON true
            """;

    /// <returns>The job, or null when there is none of that id or it belongs to another tenant.</returns>
    public static async Task<JobView?> FindAsync(NpgsqlDataSource database, TenantId tenant, JobId job, CancellationToken stop)
    {
        await using var command = database.CreateCommand($"{SelectFrom()} WHERE j.id = $1 AND j.tenant = $2");
        command.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = job.Value });
        command.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = tenant.Value });
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? Read(reader) : null;
    }

    /// <summary>Reads the row the reader stands on.</summary>
    public static JobView Read(NpgsqlDataReader reader)
    {
        var tasks = reader.GetInt32(6);
        var (succeeded, failed, expired, cancelled) = (reader.GetInt32(7), reader.GetInt32(8), reader.GetInt32(9), reader.GetInt32(10));
        return new JobView
        {
            Id = new JobId(reader.GetGuid(0)),
            Model = new ModelRef(reader.GetString(1), reader.GetString(2)),
            Class = LatencyClasses.TryParse(reader.GetString(3), out var latency) ? latency : LatencyClass.Bulk,
            State = JobStates.ParseJobState(reader.GetString(4)),
            Paused = reader.GetBoolean(5),
            Tasks = tasks,
            Counts = new JobCounts(succeeded, failed, expired, cancelled, tasks - succeeded - failed - expired - cancelled),
            CostPicoUsd = reader.GetDecimal(11),
            UnitsLeft = reader.GetInt64(12),
            CreatedAt = reader.GetFieldValue<DateTimeOffset>(13),
            QueuedAt = Time(14),
            StartedAt = Time(15),
            FinishedAt = Time(16),
            Deadline = reader.GetFieldValue<DateTimeOffset>(17),
            PredictedAt = Time(18),
            MaxCostPicoUsd = reader.IsDBNull(19) ? null : reader.GetInt64(19),
            Metadata = Json(20) ?? default,
            Webhook = reader.IsDBNull(21) ? null : reader.GetString(21),
            RetryOf = reader.IsDBNull(22) ? null : new JobId(reader.GetGuid(22)),
            Error = Json(23),
            PricePicoUsd = reader.IsDBNull(24) ? null : reader.GetDecimal(24),
            EstimatedPricePicoUsd = reader.IsDBNull(25) ? null : reader.GetInt64(25),
            PricePerMillionUnitsPicoUsd = reader.IsDBNull(26) ? null : reader.GetInt64(26),
            Reason = reader.IsDBNull(27) ? null : reader.GetString(27),
            Group = reader.IsDBNull(28) ? null : reader.GetString(28),
            Accepted =
                Time(18) is { } at && Time(29) is { } early && Time(30) is { } late
                    ? new AcceptedPrediction(at, early, late, reader.IsDBNull(31) ? null : reader.GetInt64(31))
                    : null,
            Route = reader.IsDBNull(32) ? null : reader.GetString(32),
            InputsRemovedAt = Time(33),
            OutputsRemovedAt = Time(34),
            ClassSince = Time(35),
        };

        DateTimeOffset? Time(int column) => reader.IsDBNull(column) ? null : reader.GetFieldValue<DateTimeOffset>(column);

        JsonElement? Json(int column) => reader.IsDBNull(column) ? null : JsonElement.Parse(reader.GetString(column));
    }
}
