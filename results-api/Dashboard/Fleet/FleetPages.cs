using System.Globalization;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Fleet;

/// <summary>A tenant with what it did, and may be charged, this month.</summary>
internal sealed record TenantUsage(
    Guid Id,
    string Name,
    DateTimeOffset CreatedAt,
    long Tasks,
    long Failed,
    decimal CostPico,
    long? LimitPico,
    decimal SpentPico,
    long Keys
);

/// <summary>What there is to look at beside jobs: webhook endpoints, tenants. One query and one table each.</summary>
internal static class FleetPages
{
    public static void MapFleet(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/webhooks", WebhooksAsync);
        pages.MapGet("/tenants", TenantsAsync);
        pages.MapGet("/tenants/export", ExportTenantsAsync);
    }

    /// <summary>Addresses that are told of events, with what waits for them and what failed; both go by partial indexes.</summary>
    private static async Task<IResult> WebhooksAsync(HttpContext http, NpgsqlDataSource database, DashboardOptions options)
    {
        await using var command = database.CreateCommand(options);
        var filter = new SqlFilter(command).Add("e.id < {0}", After(http), NpgsqlDbType.Uuid);
        command.CommandText = $"""
            SELECT e.id, e.url, t.name, e.state, e.disabled_reason, e.failures, e.failing_since, e.callback,
                   (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint = e.id AND d.state = 'pending'),
                   (SELECT count(*) FROM (SELECT FROM webhook_deliveries d WHERE d.endpoint = e.id AND d.state = 'failed' LIMIT 10000) f),
                   (SELECT max(d.created_at) FROM (SELECT created_at FROM webhook_deliveries d WHERE d.endpoint = e.id ORDER BY d.id DESC LIMIT 1) d)
            FROM webhook_endpoints e JOIN tenants t ON t.id = e.tenant {filter.Where} ORDER BY e.id DESC LIMIT {options.PageItems + 1}
            """;
        var endpoints = await Rows.ReadAsync(
            command,
            row =>
                (
                    row.GetGuid(0),
                    (Cell[])
                        [
                            new(
                                row.GetString(1),
                                WebhookPages.Of(row.GetGuid(0)),
                                Hint: row.GetBoolean(7) ? "named by jobs" : null,
                                Long: true
                            ),
                            new(row.GetString(2)),
                            new(
                                row.GetString(3),
                                Badge: row.GetString(3) == "enabled" ? "completed" : "failed",
                                Hint: row.IsDBNull(4) ? null : row.GetString(4)
                            ),
                            Cell.Count(row.GetInt64(8)),
                            Cell.Count(row.GetInt64(9), alarm: row.GetInt64(9) > 0),
                            Cell.Moment(row.IsDBNull(6) ? null : row.GetFieldValue<DateTimeOffset>(6)),
                            Cell.Moment(row.IsDBNull(10) ? null : row.GetFieldValue<DateTimeOffset>(10)),
                        ]
                ),
            http.RequestAborted
        );
        return Listed(
            http,
            options,
            "Webhooks",
            [
                new("Address"),
                new("Tenant"),
                new("State"),
                new("Waiting", true),
                new("Failed", true),
                new("Failing since"),
                new("Last delivery made"),
            ],
            endpoints,
            "No webhook is set up",
            "A tenant sets one with ./pipeline webhooks add URL, or names one in a job."
        );
    }

    private static async Task<IResult> TenantsAsync(
        HttpContext http,
        NpgsqlDataSource database,
        DashboardOptions options,
        TimeProvider time
    )
    {
        var tenants = await UsageAsync(database, options, time, After(http), options.PageItems + 1, http.RequestAborted);
        return Listed(
            http,
            options,
            "Tenants",
            [
                new("Tenant"),
                new("Tasks this month", true),
                new("Failed", true),
                new("Cost this month", true),
                new("Budget"),
                new("Keys", true),
                new("Since"),
            ],
            tenants.ConvertAll(t =>
                (
                    t.Id,
                    (Cell[])
                        [
                            new(t.Name, TenantPages.Of(t.Id)),
                            Cell.Count(t.Tasks),
                            Cell.Count(t.Failed),
                            new(Show.Usd(t.CostPico)),
                            t.LimitPico is { } limit
                                ? new($"{Show.Usd(t.SpentPico)} of {Show.Usd(limit)}", Badge: t.SpentPico >= limit ? "failed" : "completed")
                                : new("none"),
                            Cell.Count(t.Keys),
                            Cell.Moment(t.CreatedAt),
                        ]
                )
            ),
            "There is no tenant yet",
            "An admin can make one here; ./pipeline up makes the tenant \"default\".",
            Guard.OperatorOf(http)?.Role == OperatorRole.Admin ? new Cell("New tenant", $"{DashboardServices.Root}/tenants/new") : null,
            isExported: true
        );
    }

    private static async Task<IResult> ExportTenantsAsync(
        HttpContext http,
        NpgsqlDataSource database,
        DashboardOptions options,
        TimeProvider time
    ) =>
        Export.Answer(
            http,
            "tenants",
            await UsageAsync(database, options, time, after: null, options.ExportRowsMax, http.RequestAborted),
            ("id", t => t.Id),
            ("name", t => t.Name),
            ("created_at", t => t.CreatedAt),
            ("tasks_this_month", t => t.Tasks),
            ("failed_this_month", t => t.Failed),
            ("cost_pico_usd_this_month", t => t.CostPico),
            ("budget_pico_usd", t => t.LimitPico),
            ("drawn_pico_usd", t => t.SpentPico),
            ("keys", t => t.Keys)
        );

    /// <summary>Tenants, newest first, with their usage of this month.</summary>
    private static async Task<List<TenantUsage>> UsageAsync(
        NpgsqlDataSource database,
        DashboardOptions options,
        TimeProvider time,
        Guid? after,
        int rows,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(options);
        var today = time.GetUtcNow().UtcDateTime;
        command.Parameters.Add(new() { Value = new DateOnly(today.Year, today.Month, 1) });
        var filter = new SqlFilter(command).Add("t.id < {0}", after, NpgsqlDbType.Uuid);
        command.CommandText = $"""
            SELECT t.id, t.name, t.created_at, coalesce(u.tasks, 0)::bigint, coalesce(u.failed, 0)::bigint, coalesce(u.cost, 0), b.limit_pico,
                   coalesce(m.spent_pico, 0),
                   (SELECT count(*) FROM api_keys k WHERE k.tenant = t.id AND k.revoked_at IS NULL)
            FROM tenants t
            LEFT JOIN LATERAL (
              SELECT sum(succeeded + failed + expired + cancelled) AS tasks, sum(failed) AS failed, sum(cost_pico) AS cost
              FROM usage_days WHERE tenant = t.id AND day >= $1
            ) u ON true
            LEFT JOIN tenant_budgets b ON b.tenant = t.id
            LEFT JOIN tenant_months m ON m.tenant = t.id AND m.month = $1
            {filter.Where} ORDER BY t.id DESC LIMIT {rows}
            """;
        return await Rows.ReadAsync(
            command,
            row => new TenantUsage(
                row.GetGuid(0),
                row.GetString(1),
                row.GetFieldValue<DateTimeOffset>(2),
                row.GetInt64(3),
                row.GetInt64(4),
                row.GetDecimal(5),
                row.IsDBNull(6) ? null : row.GetInt64(6),
                row.GetDecimal(7),
                row.GetInt64(8)
            ),
            stop
        );
    }

    /// <summary>Answers with the table of a page's rows, which may be one more than it shows.</summary>
    private static IResult Listed(
        HttpContext http,
        DashboardOptions options,
        string title,
        Column[] columns,
        List<(Guid Id, Cell[] Cells)> rows,
        string emptyTitle,
        string emptyText,
        Cell? offer = null,
        bool isExported = false
    ) =>
        http.Page<ListPage>(
            new
            {
                Title = title,
                Columns = columns,
                Rows = rows.Take(options.PageItems).Select(row => row.Cells).ToList(),
                EmptyTitle = emptyTitle,
                EmptyText = emptyText,
                Offer = offer,
                IsExported = isExported,
                Next = rows.Count > options.PageItems ? rows[options.PageItems - 1].Id.ToString() : null,
            }
        );

    private static Guid? After(HttpContext http) => Guid.TryParse(http.Request.Query["after"], out var id) ? id : null;
}
