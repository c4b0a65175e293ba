using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.ResultsApi.Usage;

namespace Pipeline.ResultsApi.Outcomes;

/// <summary><c>GET /v1/outcomes</c>: what a tenant's groups cost and what became of them, by day, class, model and route, as JSON or CSV.</summary>
internal static class GetOutcomes
{
    /// <summary>
    /// A group whose tasks ran under several models or classes is in the row of all of them together, so rows sum to the whole: a cheap
    /// model with a dear one behind it is a way of its own.
    /// </summary>
    private static readonly ReportKey[] Keys =
    [
        new("day", "to_char(first_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')"),
        new("class", "array_to_string(classes, ' + ') COLLATE \"C\""),
        new("model", "array_to_string(models, ' + ') COLLATE \"C\""),
        new("route", "coalesce(nullif(array_to_string(routes, ' + '), ''), 'none') COLLATE \"C\""),
    ];

    public static void MapOutcomes(this IEndpointRouteBuilder v1) => v1.MapGet("/outcomes", Handle).Describe(ReadOperations.GetOutcomes);

    private static async Task<Results<JsonHttpResult<ListView<OutcomesView>>, ContentHttpResult, ProblemResult>> Handle(
        HttpContext http,
        NpgsqlDataSource database,
        ResultsApiOptions options,
        TimeProvider time
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var report = ReportQuery.Read(http, query, "by", Keys, [], options.UsageRowsMax, time);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        await using var command = report.Select(
            database,
            """
            count(*), count(accepted), count(*) FILTER (WHERE accepted), coalesce(sum(requests), 0), coalesce(sum(turns), 0),
            coalesce(sum(cost_pico), 0), div(coalesce(sum(price_millionths), 0), 1000000),
            coalesce(sum(cost_pico) FILTER (WHERE accepted IS NOT NULL), 0),
            div(coalesce(sum(price_millionths) FILTER (WHERE accepted IS NOT NULL), 0), 1000000), sum(value)
            """,
            "groups WHERE tenant = $4 AND first_at >= $1::timestamp AT TIME ZONE 'UTC' AND first_at < ($2 + 1)::timestamp AT TIME ZONE 'UTC'",
            http.Tenant().Value
        );
        return await report.AnswerAsync(http, command, OutcomesView.Read, row => row.Id, OutcomesView.CsvNames, row => row.CsvFields);
    }
}

/// <summary>What groups came to whose first task was accepted in the range. Keys that were not asked for are null.</summary>
internal sealed record OutcomesView
{
    public required string Id { get; init; }
    public string Object { get; } = "outcomes";
    public required string? Day { get; init; }
    public required string? Class { get; init; }

    /// <summary>The version that answered; several, joined by <c> + </c>, where tasks of one group ran on several.</summary>
    public required string? Model { get; init; }

    /// <summary>The route the tasks went along, <c>none</c> for those that named a model; several are joined as models are.</summary>
    public required string? Route { get; init; }
    public required long Groups { get; init; }

    /// <summary>Groups whose outcome was reported, and of these the accepted ones.</summary>
    public required long Reported { get; init; }
    public required long Accepted { get; init; }

    /// <summary>Accepted ÷ reported; null while nothing is reported, as the figures below that divide by nothing.</summary>
    public double? AcceptanceRate => Ratio(Accepted, Reported);

    /// <summary>Tasks that have ended.</summary>
    public required decimal Requests { get; init; }
    public double? RequestsPerGroup => Ratio(Requests, Groups);
    public required decimal Turns { get; init; }
    public required decimal CostPicoUsd { get; init; }
    public decimal? CostPerGroupPicoUsd => Per(CostPicoUsd, Groups);
    public required decimal PricePicoUsd { get; init; }
    public decimal? PricePerGroupPicoUsd => Per(PricePicoUsd, Groups);

    /// <summary>What the groups with a reported outcome cost, the ones not accepted too, for each that was accepted.</summary>
    public decimal? CostPerAcceptedPicoUsd => Per(ReportedCostPicoUsd, Accepted);

    /// <summary>The same of what is charged.</summary>
    public decimal? PricePerAcceptedPicoUsd => Per(ReportedPricePicoUsd, Accepted);

    /// <summary>Sum of the reported values; null where none was reported.</summary>
    public required double? Value { get; init; }

    [JsonIgnore]
    public decimal ReportedCostPicoUsd { get; init; }

    [JsonIgnore]
    public decimal ReportedPricePicoUsd { get; init; }

    public static OutcomesView Read(NpgsqlDataReader row, int first, ReportRow key) =>
        new()
        {
            Id = key.Id,
            Day = key["day"],
            Class = key["class"],
            Model = key["model"],
            Route = key["route"],
            Groups = row.GetInt64(first),
            Reported = row.GetInt64(first + 1),
            Accepted = row.GetInt64(first + 2),
            Requests = row.GetDecimal(first + 3),
            Turns = row.GetDecimal(first + 4),
            CostPicoUsd = row.GetDecimal(first + 5),
            PricePicoUsd = row.GetDecimal(first + 6),
            ReportedCostPicoUsd = row.GetDecimal(first + 7),
            ReportedPricePicoUsd = row.GetDecimal(first + 8),
            Value = row.IsDBNull(first + 9) ? null : (double)row.GetDecimal(first + 9),
        };

    public static readonly string[] CsvNames =
    [
        "groups",
        "reported",
        "accepted",
        "acceptance_rate",
        "requests",
        "requests_per_group",
        "turns",
        "cost_pico_usd",
        "cost_per_group_pico_usd",
        "price_pico_usd",
        "price_per_group_pico_usd",
        "cost_per_accepted_pico_usd",
        "price_per_accepted_pico_usd",
        "value",
    ];

    /// <summary>The fields of a line, in the order of <see cref="CsvNames"/>.</summary>
    [JsonIgnore]
    public IReadOnlyList<decimal?> CsvFields =>
        [
            Groups,
            Reported,
            Accepted,
            (decimal?)AcceptanceRate,
            Requests,
            (decimal?)RequestsPerGroup,
            Turns,
            CostPicoUsd,
            CostPerGroupPicoUsd,
            PricePicoUsd,
            PricePerGroupPicoUsd,
            CostPerAcceptedPicoUsd,
            PricePerAcceptedPicoUsd,
            (decimal?)Value,
        ];

    /// <summary>A share of an amount, rounded half to even.</summary>
    private static decimal? Per(decimal pico, long of) => of > 0 ? Math.Round(pico / of) : null;

    private static double? Ratio(decimal sum, long of) => of > 0 ? (double)Math.Round(sum / of, 6) : null;
}
