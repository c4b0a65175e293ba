using System.Globalization;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Prices;

/// <summary>
/// <c>GET /v1/tenants/{tenant}/budget</c>: what a tenant may be charged this month (UTC), and what of it is charged or promised. Operators see
/// everybody's, a tenant its own.
/// </summary>
internal static class GetBudget
{
    public static void MapBudget(this IEndpointRouteBuilder v1) =>
        v1.MapGet("/tenants/{tenant}/budget", Handle).Describe(ReadOperations.GetBudget);

    private static async Task<Results<JsonHttpResult<TenantBudgetView>, ProblemResult>> Handle(
        string tenant,
        HttpContext http,
        NpgsqlDataSource database,
        TimeProvider time
    )
    {
        var query = new QueryParameters(http.Request.Query);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        var today = DateOnly.FromDateTime(time.GetUtcNow().UtcDateTime);
        var month = new DateOnly(today.Year, today.Month, 1);
        await using var command = database.CreateCommand(
            """
            SELECT b.limit_pico, b.warn_percents, m.spent_pico FROM tenants t
            LEFT JOIN tenant_budgets b ON b.tenant = t.id
            LEFT JOIN tenant_months m ON m.tenant = t.id AND m.month = $2 AND b.tenant IS NOT NULL
            WHERE t.name = $1 AND (t.id = $3 OR $4)
            """
        );
        command.Parameters.Add(new() { Value = tenant });
        command.Parameters.Add(new() { Value = month });
        command.Parameters.Add(new() { Value = http.Tenant().Value });
        command.Parameters.Add(new() { Value = http.Caller().IsOperator });
        await using var reader = await command.ExecuteReaderAsync(http.RequestAborted);
        if (!await reader.ReadAsync(http.RequestAborted))
        {
            // The same for another tenant as for none: names tell nothing.
            return Problems.Result(FailureKind.UnknownRoute, $"You see no tenant \"{tenant}\".", "tenant");
        }

        var hasBudget = !reader.IsDBNull(0);
        return TypedResults.Json(
            new TenantBudgetView
            {
                Tenant = tenant,
                LimitPicoUsd = hasBudget ? reader.GetInt64(0) : null,
                WarnPercents = hasBudget ? reader.GetFieldValue<int[]>(1) : null,
                Month = month.ToString("yyyy-MM", CultureInfo.InvariantCulture),
                SpentPicoUsd =
                    !hasBudget ? null
                    : reader.IsDBNull(2) ? 0
                    : reader.GetDecimal(2),
            },
            ApiJson.Options
        );
    }
}

/// <summary>A tenant's budget; all but the names are null where it has none.</summary>
internal sealed record TenantBudgetView
{
    public required string Tenant { get; init; }
    public string Object { get; } = "budget";

    /// <summary>What it may be charged in a calendar month (UTC).</summary>
    public required long? LimitPicoUsd { get; init; }

    /// <summary>Percentages of the limit at which it gets an event, once a month each.</summary>
    public required IReadOnlyList<int>? WarnPercents { get; init; }

    /// <summary>This month, as <c>2026-01</c>.</summary>
    public required string Month { get; init; }

    /// <summary>What of this month is charged to it, or promised to jobs that have not ended.</summary>
    public required decimal? SpentPicoUsd { get; init; }
}
