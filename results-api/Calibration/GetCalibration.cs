using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.ResultsApi.Usage;

namespace Pipeline.ResultsApi.Calibration;

/// <summary>
/// <c>GET /v1/calibration</c>, for operators: how far the predictions of accepted jobs were off, over all tenants, by day, class and model.
/// </summary>
internal static class GetCalibration
{
    private static readonly ReportKey[] Keys =
    [
        new("day", "to_char(day, 'YYYY-MM-DD')"),
        new("class", "class COLLATE \"C\""),
        new("model", "model COLLATE \"C\""),
    ];

    public static void MapCalibration(this IEndpointRouteBuilder operators) =>
        operators.MapGet("/calibration", Handle).Describe(ReadOperations.GetCalibration);

    private static async Task<Results<JsonHttpResult<ListView<CalibrationView>>, ContentHttpResult, ProblemResult>> Handle(
        HttpContext http,
        NpgsqlDataSource database,
        ResultsApiOptions options,
        TimeProvider time
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var report = ReportQuery.Read(http, query, "by", Keys, ["class", "model"], options.UsageRowsMax, time);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        await using var command = report.Select(
            database,
            """
            sum(jobs)::bigint, sum(covered)::bigint, sum(time_error), sum(time_error_absolute), sum(cost_jobs)::bigint, sum(cost_error),
            sum(cost_error_absolute)
            """,
            "calibration_days WHERE day BETWEEN $1 AND $2"
        );
        return await report.AnswerAsync(http, command, CalibrationView.Read, row => row.Id, CalibrationView.CsvNames, row => row.CsvFields);
    }
}

/// <summary>
/// How far predictions were off that were made at acceptance, of jobs that ended by themselves in the range. An error is
/// (predicted − actual) ÷ actual, as a part: 0.1 is 10 %.
/// </summary>
internal sealed record CalibrationView
{
    public required string Id { get; init; }
    public string Object { get; } = "calibration";
    public required string? Day { get; init; }
    public required string? Class { get; init; }
    public required string? Model { get; init; }

    /// <summary>Jobs that had a predicted completion and completed or expired; those that their owner paused are left out.</summary>
    public required long Jobs { get; init; }

    /// <summary>Part of them that completed within the band that was predicted: 19 of 20 on either side.</summary>
    public required double Coverage { get; init; }

    /// <summary>Mean absolute error of the time from acceptance to completion, and mean error: above 0 predictions were too long.</summary>
    public required double CompletionMape { get; init; }
    public required double CompletionBias { get; init; }

    /// <summary>Jobs that had a predicted cost, too, and cost something.</summary>
    public required long CostJobs { get; init; }

    /// <summary>The same of the cost of their tasks; null where there was no such job.</summary>
    public required double? CostMape { get; init; }
    public required double? CostBias { get; init; }

    public static CalibrationView Read(NpgsqlDataReader row, int first, ReportRow key)
    {
        var (jobs, costJobs) = (row.GetInt64(first), row.GetInt64(first + 4));
        return new()
        {
            Id = key.Id,
            Day = key["day"],
            Class = key["class"],
            Model = key["model"],
            Jobs = jobs,
            Coverage = Mean(row.GetInt64(first + 1), jobs),
            CompletionBias = Mean(row.GetDouble(first + 2), jobs),
            CompletionMape = Mean(row.GetDouble(first + 3), jobs),
            CostJobs = costJobs,
            CostBias = costJobs > 0 ? Mean(row.GetDouble(first + 5), costJobs) : null,
            CostMape = costJobs > 0 ? Mean(row.GetDouble(first + 6), costJobs) : null,
        };
    }

    public static readonly string[] CsvNames =
    [
        "jobs",
        "coverage",
        "completion_mape",
        "completion_bias",
        "cost_jobs",
        "cost_mape",
        "cost_bias",
    ];

    /// <summary>The fields of a line, in the order of <see cref="CsvNames"/>.</summary>
    [JsonIgnore]
    public IReadOnlyList<decimal?> CsvFields =>
        [Jobs, (decimal)Coverage, (decimal)CompletionMape, (decimal)CompletionBias, CostJobs, (decimal?)CostMape, (decimal?)CostBias];

    private static double Mean(double sum, long of) => Math.Round(sum / of, 6);
}
