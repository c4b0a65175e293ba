using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Usage;

/// <summary><c>GET /v1/usage</c>: what a tenant's tasks came to, by day, class and model, page by page, as JSON or CSV.</summary>
internal static class GetUsage
{
    /// <summary>What may be grouped by, in the order rows are sorted in; a model's name comes last, since it may hold anything.</summary>
    private static readonly ReportKey[] Keys =
    [
        new("day", "to_char(day, 'YYYY-MM-DD')"),
        new("class", "class COLLATE \"C\""),
        new("model", "model COLLATE \"C\""),
    ];

    public static void MapUsage(this IEndpointRouteBuilder v1) => v1.MapGet("/usage", Handle).Describe(ReadOperations.GetUsage);

    private static async Task<Results<JsonHttpResult<ListView<UsageView>>, ContentHttpResult, ProblemResult>> Handle(
        HttpContext http,
        NpgsqlDataSource database,
        ResultsApiOptions options,
        TimeProvider time
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var report = ReportQuery.Read(http, query, "group_by", Keys, [], options.UsageRowsMax, time);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        await using var command = report.Select(
            database,
            """
            coalesce(sum(succeeded), 0)::bigint, coalesce(sum(failed), 0)::bigint, coalesce(sum(expired), 0)::bigint,
            coalesce(sum(cancelled), 0)::bigint, coalesce(sum(units), 0), coalesce(sum(turns), 0), coalesce(sum(device_ns), 0),
            coalesce(sum(cost_pico), 0), coalesce(sum(reused_job), 0)::bigint, coalesce(sum(reused_cache), 0)::bigint,
            coalesce(sum(saved_pico), 0)
            """,
            "usage_days WHERE tenant = $4 AND day BETWEEN $1 AND $2",
            http.Tenant().Value
        );
        return await report.AnswerAsync(http, command, UsageView.Read, row => row.Id, UsageView.CsvNames, row => row.CsvFields);
    }
}

/// <summary>What the tasks of a group came to. Groups that were not asked for are null.</summary>
internal sealed record UsageView
{
    public required string Id { get; init; }
    public string Object { get; } = "usage";

    /// <summary>The UTC day on which the tasks finished.</summary>
    public required string? Day { get; init; }
    public required string? Class { get; init; }
    public required string? Model { get; init; }
    public required long Succeeded { get; init; }
    public required long Failed { get; init; }
    public required long Expired { get; init; }
    public required long Cancelled { get; init; }
    public required decimal Units { get; init; }
    public required decimal Turns { get; init; }
    public required decimal DeviceNs { get; init; }
    public required decimal CostPicoUsd { get; init; }

    /// <summary>Of the succeeded: results made for another task of the same job, and taken from the tenant's cache.</summary>
    public required long ReusedJob { get; init; }
    public required long ReusedCache { get; init; }

    /// <summary>What those had cost when they were made.</summary>
    public required decimal SavedPicoUsd { get; init; }

    public static UsageView Read(NpgsqlDataReader row, int first, ReportRow key) =>
        new()
        {
            Id = key.Id,
            Day = key["day"],
            Class = key["class"],
            Model = key["model"],
            Succeeded = row.GetInt64(first),
            Failed = row.GetInt64(first + 1),
            Expired = row.GetInt64(first + 2),
            Cancelled = row.GetInt64(first + 3),
            Units = row.GetDecimal(first + 4),
            Turns = row.GetDecimal(first + 5),
            DeviceNs = row.GetDecimal(first + 6),
            CostPicoUsd = row.GetDecimal(first + 7),
            ReusedJob = row.GetInt64(first + 8),
            ReusedCache = row.GetInt64(first + 9),
            SavedPicoUsd = row.GetDecimal(first + 10),
        };

    public static readonly string[] CsvNames =
    [
        "succeeded",
        "failed",
        "expired",
        "cancelled",
        "units",
        "turns",
        "device_ns",
        "cost_pico_usd",
        "reused_job",
        "reused_cache",
        "saved_pico_usd",
    ];

    /// <summary>The fields of a line, in the order of <see cref="CsvNames"/>.</summary>
    [JsonIgnore]
    public IReadOnlyList<decimal?> CsvFields =>
        [Succeeded, Failed, Expired, Cancelled, Units, Turns, DeviceNs, CostPicoUsd, ReusedJob, ReusedCache, SavedPicoUsd];
}
