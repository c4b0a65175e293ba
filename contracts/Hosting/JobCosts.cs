using System.Globalization;
using System.Text.Json.Serialization;
using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.Hosting;

/// <summary>
/// How what a job costs us, and what its tenant is charged, spread over its tasks that have ended; in pico-USD. Waste has no job: of what a
/// worker lost when it died nobody knows whose it was, so it stays in the workers' ledger.
/// </summary>
public sealed record JobCosts
{
    /// <summary>Cost of a task, of those that came to a model.</summary>
    public required Spread CostPerTaskPicoUsd { get; init; }

    /// <summary>Price of a task, of those that succeeded.</summary>
    public required Spread PricePerTaskPicoUsd { get; init; }

    /// <summary>The tasks' account: their own work.</summary>
    public required decimal TaskPicoUsd { get; init; }

    /// <summary>Its share of the padding of the batches its tasks ran in, by units.</summary>
    public required decimal PaddingPicoUsd { get; init; }

    /// <summary>Price so far less what was predicted for the whole job.</summary>
    public required decimal? OverEstimatePicoUsd { get; init; }

    /// <summary>What was predicted when it was accepted, against what happened; null where nothing was predicted.</summary>
    public required JobEstimate? Estimate { get; init; }

    /// <summary>For operators: the price less the two accounts.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public decimal? MarginPicoUsd { get; init; }

    /// <summary>Reads them: all the job's results are looked at, so it takes as long as those are many.</summary>
    /// <param name="tasksMax">Looks at the first so many of them only, and sums up those.</param>
    public static async Task<JobCosts> ReadAsync(
        NpgsqlDataSource database,
        JobView job,
        bool isOperator,
        CancellationToken stop,
        int? tasksMax = null
    )
    {
        await using var command = database.CreateCommand(
            $"""
            WITH tasks AS MATERIALIZED (
              SELECT batch, units, cost_pico, status = 'succeeded' AS charged FROM results WHERE job = $1
              {(tasksMax is { } most ? string.Create(CultureInfo.InvariantCulture, $"ORDER BY seq LIMIT {most}") : "")}
            ), padding AS (
              SELECT sum(div(b.padding_pico::numeric * t.units, b.units)) AS pico
              FROM (SELECT batch, sum(units) AS units FROM tasks WHERE batch IS NOT NULL GROUP BY batch) AS t
              JOIN batches b ON b.id = t.batch AND b.units > 0
            )
            SELECT coalesce(sum(cost_pico), 0), coalesce(trunc(avg(cost_pico) FILTER (WHERE batch IS NOT NULL)), 0),
                   coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY cost_pico) FILTER (WHERE batch IS NOT NULL), 0),
                   coalesce(percentile_disc(0.95) WITHIN GROUP (ORDER BY cost_pico) FILTER (WHERE batch IS NOT NULL), 0),
                   coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY units) FILTER (WHERE charged), 0)::bigint,
                   coalesce(percentile_disc(0.95) WITHIN GROUP (ORDER BY units) FILTER (WHERE charged), 0)::bigint,
                   count(*) FILTER (WHERE charged), coalesce((SELECT pico FROM padding), 0)
            FROM tasks
            """
        );
        command.CommandTimeout = 0;
        command.Parameters.Add(new() { Value = job.Id.Value });
        await using var reader = await command.ExecuteReaderAsync(stop);
        await reader.ReadAsync(stop);
        var perMillion = job.PricePerMillionUnitsPicoUsd ?? 0;
        var (task, padding, charged) = (reader.GetDecimal(0), reader.GetDecimal(7), reader.GetInt64(6));
        var price = job.PricePicoUsd ?? 0;
        return new JobCosts
        {
            CostPerTaskPicoUsd = new(reader.GetDecimal(1), reader.GetInt64(2), reader.GetInt64(3)),
            PricePerTaskPicoUsd = new(
                charged == 0 ? 0 : decimal.Truncate(price / charged),
                Cost.PriceOf(reader.GetInt64(4), perMillion),
                Cost.PriceOf(reader.GetInt64(5), perMillion)
            ),
            TaskPicoUsd = task,
            PaddingPicoUsd = padding,
            OverEstimatePicoUsd = job.EstimatedPricePicoUsd is { } estimate ? price - estimate : null,
            Estimate = JobEstimate.Of(job),
            MarginPicoUsd = isOperator ? price - task - padding : null,
        };
    }
}

/// <summary>
/// What was predicted when a job was accepted, against what happened. An error is (predicted − actual) ÷ actual, as a part: 0.1 is 10 %
/// too much.
/// </summary>
public sealed record JobEstimate
{
    public required DateTimeOffset CompletedAt { get; init; }

    /// <summary>The band: before the one, and after the other, in one of 20 cases each.</summary>
    public required DateTimeOffset EarlyAt { get; init; }
    public required DateTimeOffset LateAt { get; init; }

    /// <summary>When it ended; null as long as it has not, and so the two below.</summary>
    public required DateTimeOffset? ActualAt { get; init; }
    public required bool? InBand { get; init; }

    /// <summary>Of the time from acceptance to the end.</summary>
    public required double? CompletionError { get; init; }

    /// <summary>Cost of its tasks; null where the pool had no price.</summary>
    public required long? CostPicoUsd { get; init; }
    public required decimal ActualCostPicoUsd { get; init; }

    /// <summary>Null as long as it has not completed.</summary>
    public required double? CostError { get; init; }

    /// <summary>The estimate of a job as it was read; null where nothing was predicted.</summary>
    public static JobEstimate? Of(JobView job)
    {
        if (job.Accepted is not { } predicted || job.QueuedAt is not { } queued)
        {
            return null;
        }

        var end = job.FinishedAt;
        return new JobEstimate
        {
            CompletedAt = predicted.At,
            EarlyAt = predicted.EarlyAt,
            LateAt = predicted.LateAt,
            ActualAt = end,
            InBand = end is null ? null : job.State == JobState.Completed && end >= predicted.EarlyAt && end <= predicted.LateAt,
            CompletionError = end is { } at ? Error((predicted.At - queued).TotalSeconds, (at - queued).TotalSeconds) : null,
            CostPicoUsd = predicted.CostPicoUsd,
            ActualCostPicoUsd = job.CostPicoUsd,
            CostError = job.State == JobState.Completed && predicted.CostPicoUsd is { } cost ? Error(cost, (double)job.CostPicoUsd) : null,
        };
    }

    private static double? Error(double predicted, double actual) => actual > 0 ? Math.Round((predicted / actual) - 1, 6) : null;
}

/// <summary>Mean, rounded down, and percentiles.</summary>
public sealed record Spread(decimal Mean, decimal P50, decimal P95);
