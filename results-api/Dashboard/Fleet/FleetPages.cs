using System.Globalization;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Fleet;

/// <summary>What there is to look at beside jobs: webhook endpoints, tenants. One query and one table each.</summary>
internal static class FleetPages
{
    public static void MapFleet(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/webhooks", WebhooksAsync);
        pages.MapGet("/tenants", TenantsAsync);
    }

    /// <summary>Addresses that are told of events, with what waits for them and what failed; both go by partial indexes.</summary>
    private static async Task<IResult> WebhooksAsync(HttpContext http, NpgsqlDataSource database, DashboardOptions options)
    {
        await using var command = database.CreateCommand();
        var filter = new SqlFilter(command).Add("e.id < {0}", After(http), NpgsqlDbType.Uuid);
        command.CommandText = $"""
            SELECT e.id, e.url, t.name, e.state, e.disabled_reason, e.failures, e.failing_since, e.callback,
                   (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint = e.id AND d.state = 'pending'),
                   (SELECT count(*) FROM (SELECT FROM webhook_deliveries d WHERE d.endpoint = e.id AND d.state = 'failed' LIMIT 10000) f),
                   (SELECT max(d.created_at) FROM (SELECT created_at FROM webhook_deliveries d WHERE d.endpoint = e.id ORDER BY d.id DESC LIMIT 1) d)
            FROM webhook_endpoints e JOIN tenants t ON t.id = e.tenant {filter.Where} ORDER BY e.id DESC LIMIT {options.PageItems + 1}
            """;
        return await PageAsync(
            http,
            command,
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
            row =>
                [
                    new(row.GetString(1), WebhookPages.Of(row.GetGuid(0)), Hint: row.GetBoolean(7) ? "named by jobs" : null, Long: true),
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
                ],
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
        await using var command = database.CreateCommand();
        var month = DateOnly.FromDateTime(time.GetUtcNow().UtcDateTime);
        command.Parameters.Add(new() { Value = new DateOnly(month.Year, month.Month, 1) });
        var filter = new SqlFilter(command).Add("t.id < {0}", After(http), NpgsqlDbType.Uuid);
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
            {filter.Where} ORDER BY t.id DESC LIMIT {options.PageItems + 1}
            """;
        return await PageAsync(
            http,
            command,
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
            row =>
                [
                    new(row.GetString(1), TenantPages.Of(row.GetGuid(0))),
                    Cell.Count(row.GetInt64(3)),
                    Cell.Count(row.GetInt64(4)),
                    new(Show.Usd(row.GetDecimal(5))),
                    row.IsDBNull(6)
                        ? new("none")
                        : new(
                            $"{Show.Usd(row.GetFieldValue<decimal>(7))} of {Show.Usd(row.GetInt64(6))}",
                            Badge: row.GetFieldValue<decimal>(7) >= row.GetInt64(6) ? "failed" : "completed"
                        ),
                    Cell.Count(row.GetInt64(8)),
                    Cell.Moment(row.GetFieldValue<DateTimeOffset>(2)),
                ],
            "There is no tenant yet",
            "An admin can make one here; ./pipeline up makes the tenant \"default\".",
            Guard.OperatorOf(http)?.Role == OperatorRole.Admin ? new Cell("New tenant", $"{DashboardServices.Root}/tenants/new") : null
        );
    }

    /// <summary>Reads the rows and answers with the table; the first column of paged queries is the id to go on after.</summary>
    private static async Task<IResult> PageAsync(
        HttpContext http,
        NpgsqlCommand command,
        DashboardOptions options,
        string title,
        Column[] columns,
        Func<NpgsqlDataReader, Cell[]> read,
        string emptyTitle,
        string emptyText,
        Cell? offer = null
    )
    {
        command.CommandTimeout = (int)options.QueryTimeMax.TotalSeconds;
        var rows = new List<(Guid? Id, Cell[] Cells)>();
        await using (var reader = await command.ExecuteReaderAsync(http.RequestAborted))
        {
            while (await reader.ReadAsync(http.RequestAborted))
            {
                rows.Add((reader.GetValue(0) as Guid?, read(reader)));
            }
        }

        var isPaged = rows.Count > options.PageItems && rows[0].Id is not null;
        return http.Page<ListPage>(
            new
            {
                Title = title,
                Columns = columns,
                Rows = (isPaged ? rows.Take(options.PageItems) : rows).Select(row => row.Cells).ToList(),
                EmptyTitle = emptyTitle,
                EmptyText = emptyText,
                Offer = offer,
                Next = isPaged ? rows[options.PageItems - 1].Id!.Value.ToString() : null,
            }
        );
    }

    private static Guid? After(HttpContext http) => Guid.TryParse(http.Request.Query["after"], out var id) ? id : null;
}
