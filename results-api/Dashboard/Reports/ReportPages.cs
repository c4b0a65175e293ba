using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Jobs;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Sla;

namespace Pipeline.ResultsApi.Dashboard.Reports;

/// <summary>A report that is kept, as the list shows it.</summary>
public sealed record KeptReport(
    Guid Id,
    string Tenant,
    bool AllTenants,
    string Occasion,
    DateTimeOffset From,
    DateTimeOffset To,
    string TimeZone,
    DateTimeOffset CreatedAt
);

/// <summary>SLA reports: of any window, as the API makes and shows them, and those that are kept.</summary>
internal static class ReportPages
{
    public const string Home = $"{DashboardServices.Root}/reports";

    /// <summary>Windows to choose from by a name; the first is what the page begins with.</summary>
    public static readonly IReadOnlyList<(string Key, string Name)> Windows =
    [
        ("24h", "Last 24 hours"),
        ("day", "Yesterday"),
        ("week", "Last week"),
        ("month", "Last month"),
        ("30d", "Last 30 days"),
        ("custom", "Custom"),
    ];

    public static void MapReportPages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/reports", MakeAsync);
        pages.MapGet("/reports/export", ExportAsync);
        pages.MapPost("/reports", KeepAsync);
        pages.MapWindowPages();
        pages.MapGet("/reports/kept", ListAsync);
        pages.MapGet("/reports/kept/{id:guid}", ShowAsync);
        pages.MapGet("/reports/kept/{id:guid}/export", ExportKeptAsync);
    }

    private static async Task<IResult> MakeAsync(
        HttpContext http,
        SlaReports reports,
        NpgsqlDataSource database,
        SlaOptions options,
        TimeProvider time
    )
    {
        var query = Parameters(http.Request.Query, time.GetUtcNow());
        var (report, refused) = await ReportRequests.MakeAsync(query, null, reports, database, options, time, http.RequestAborted);
        return http.Page<ReportPage>(
            new
            {
                Body = report is null ? null : Sections(report),
                Query = report is null ? "" : Exact(http.Request.QueryString.ToString(), report),
                Mistake = refused?.Value?.Detail,
            },
            refused?.StatusCode ?? StatusCodes.Status200OK
        );
    }

    /// <summary>The query of this very report: its window by moments, whatever the time is by then.</summary>
    private static string Exact(string query, SlaReport report) =>
        Links.With("", query, ("window", null), ("from", Show.Iso(report.From)), ("to", Show.Iso(report.To))).TrimStart('?');

    private static async Task<IResult> ExportAsync(
        HttpContext http,
        SlaReports reports,
        NpgsqlDataSource database,
        SlaOptions options,
        TimeProvider time
    )
    {
        var query = Parameters(http.Request.Query, time.GetUtcNow());
        var form = ReportRequests.Form.Read(query, http.Request);
        var (report, refused) = await ReportRequests.MakeAsync(query, null, reports, database, options, time, http.RequestAborted);
        return report is null
            ? http.Error(refused!.StatusCode!.Value, "That report could not be made", refused.Value!.Detail)
            : AsFile(http, report, form);
    }

    private static async Task<IResult> KeepAsync(
        HttpContext http,
        SlaReports reports,
        NpgsqlDataSource database,
        SlaOptions options,
        AuditLog audit,
        TimeProvider time
    )
    {
        var asked = (await http.Request.ReadFormAsync(http.RequestAborted))["query"].ToString();
        var query = Parameters(Microsoft.AspNetCore.WebUtilities.QueryHelpers.ParseQuery(asked), time.GetUtcNow());
        return await http.DoAsync(
            audit,
            new Deed("report.keep", "sla_report", "(new)"),
            $"{Home}/kept",
            "The report is kept.",
            async (_, stop) =>
            {
                var (report, refused) = await ReportRequests.MakeAsync(query, null, reports, database, options, time, stop);
                if (report is null)
                {
                    return DeedOutcome.Refused(refused!.Value!.Detail);
                }

                var owner = await Tenants.EnsureAsync(database, ApiKeys.DashboardTenant, stop);
                var kept = await reports.KeepAsync(report, owner, stop);
                return DeedOutcome.Done(new { report = kept.Id, query = asked });
            }
        );
    }

    private static async Task<IResult> ListAsync(HttpContext http, NpgsqlDataSource database, DashboardOptions options)
    {
        await using var command = database.CreateCommand(options);
        Guid? after = Guid.TryParse(http.Request.Query["after"], out var id) ? id : null;
        var filter = new SqlFilter(command).Add("r.id < {0}", after, NpgsqlDbType.Uuid);
        command.CommandText = $"""
            SELECT r.id, t.name, r.all_tenants, r.occasion, r.from_at, r.to_at, r.time_zone, r.created_at
            FROM reports r JOIN tenants t ON t.id = r.tenant {filter.Where} ORDER BY r.id DESC LIMIT {options.PageItems + 1}
            """;
        var kept = await Rows.ReadAsync(
            command,
            row => new KeptReport(
                row.GetGuid(0),
                row.GetString(1),
                row.GetBoolean(2),
                row.GetString(3),
                row.GetFieldValue<DateTimeOffset>(4),
                row.GetFieldValue<DateTimeOffset>(5),
                row.GetString(6),
                row.GetFieldValue<DateTimeOffset>(7)
            ),
            http.RequestAborted
        );
        return http.Page<KeptReportsPage>(
            new
            {
                Reports = kept.Take(options.PageItems).ToList(),
                Next = kept.Count > options.PageItems ? $"{kept[options.PageItems - 1].Id}" : null,
            }
        );
    }

    private static async Task<IResult> ShowAsync(Guid id, HttpContext http, SlaReports reports) =>
        await reports.FindAsync(null, id, http.RequestAborted) is { } found
            ? http.Page<KeptReportPage>(
                new
                {
                    found.Id,
                    found.CreatedAt,
                    Body = Sections(found.Report!),
                }
            )
            : NoSuch(http, id);

    private static async Task<IResult> ExportKeptAsync(Guid id, HttpContext http, SlaReports reports)
    {
        var query = new QueryParameters(http.Request.Query);
        var form = ReportRequests.Form.Read(query, http.Request);
        return query.Refusal() is { } refused
                ? http.Error(StatusCodes.Status400BadRequest, "That form of a report is not known", refused.Value!.Detail)
            : await reports.FindAsync(null, id, http.RequestAborted) is { } found ? AsFile(http, found.Report!, form)
            : NoSuch(http, id);
    }

    private static IResult NoSuch(HttpContext http, Guid id) =>
        http.Error(StatusCodes.Status404NotFound, "There is no such report", $"None is kept with the id {id}.");

    private static string Sections(SlaReport report) =>
        ReportHtml.Sections(
            report,
            job => $"<a class=\"mono\" href=\"{Links.Job(job.Value)}\" title=\"{job}\">{Show.Short(job.Value)}</a>"
        );

    /// <summary>As a download: a page with styles of its own is no page of the dashboard.</summary>
    private static IResult AsFile(HttpContext http, SlaReport report, ReportRequests.Form form)
    {
        http.Response.Headers.ContentDisposition =
            $"attachment; filename=sla-{report.From:yyyyMMdd-HHmm}-{report.To:yyyyMMdd-HHmm}.{form.Format}";
        return form.Answer(report, report);
    }

    /// <summary>The API's parameters: a window that is chosen by its name gets its <c>from</c> and <c>to</c>.</summary>
    private static QueryParameters Parameters(
        IEnumerable<KeyValuePair<string, Microsoft.Extensions.Primitives.StringValues>> query,
        DateTimeOffset now
    )
    {
        var asked = Links.Filled(query);
        asked.Remove("window", out var window);
        // What is no zone is told of by whoever reads it.
        var zone = ReportCalendar.Zone($"{asked.GetValueOrDefault("tz")}") ?? TimeZoneInfo.Utc;
        var (from, to) = $"{window}" switch
        {
            "day" => Ended(CalendarUnit.Day),
            "week" => Ended(CalendarUnit.Week),
            "month" => Ended(CalendarUnit.Month),
            "30d" => (now.AddDays(-30), now),
            "custom" => default,
            _ => asked.ContainsKey("from") || asked.ContainsKey("to") ? default : (now.AddDays(-1), now),
        };
        if (from != default)
        {
            (asked["from"], asked["to"]) = (Show.Iso(from), Show.Iso(to));
        }

        return new QueryParameters(new QueryCollection(asked));

        (DateTimeOffset From, DateTimeOffset To) Ended(CalendarUnit unit)
        {
            var period = ReportCalendar.JustEnded(unit, now, zone);
            return (period.From, period.To);
        }
    }
}
