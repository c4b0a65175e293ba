using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Sla;

namespace Pipeline.ResultsApi.Dashboard.Reports;

/// <summary>Maintenance windows: time that reports leave out, and in which alerts tell nobody.</summary>
internal static class WindowPages
{
    public const string Home = $"{ReportPages.Home}/windows";

    public static void MapWindowPages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/reports/windows", ListAsync);
        pages.MapPost("/reports/windows", AddAsync);
        pages.MapPost("/reports/windows/{id:guid}/withdraw", WithdrawAsync);
    }

    private static async Task<IResult> ListAsync(HttpContext http, NpgsqlDataSource database, DashboardOptions options)
    {
        Guid? after = Guid.TryParse(http.Request.Query["after"], out var id) ? id : null;
        var windows = await SlaExclusions.ListAsync(database, after, options.PageItems + 1, http.RequestAborted);
        return http.Page<WindowsPage>(
            new
            {
                Windows = windows.Take(options.PageItems).ToList(),
                Next = windows.Count > options.PageItems ? $"{windows[options.PageItems - 1].Id}" : null,
            }
        );
    }

    private static async Task<IResult> AddAsync(HttpContext http, NpgsqlDataSource database, AuditLog audit, TimeProvider time)
    {
        // The API's own rules say what a window may be.
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        var body = JsonBody.Of(
            new
            {
                from = Text("from"),
                to = Text("to"),
                reason = Text("reason"),
            }
        );
        var (from, to, _) = ExclusionRequests.Read(body);
        if (body.Refusal() is { } refusal)
        {
            return http.Back(Home, good: false, refusal.Value!.Detail);
        }

        return await http.DoAsync(
            audit,
            new Deed("sla_exclusion.add", "sla_exclusion", $"{Show.Iso(from!.Value)} to {Show.Iso(to!.Value)}"),
            Home,
            "Reports leave that time out, and alerts are quiet in it.",
            async (reason, stop) =>
                DeedOutcome.Done(
                    ExclusionView.Of(await SlaExclusions.AddAsync(database, from.Value, to.Value, reason, time.GetUtcNow(), stop))
                )
        );

        string? Text(string name) => form[name].ToString().Trim() is { Length: > 0 } text ? text : null;
    }

    private static async Task<IResult> WithdrawAsync(
        Guid id,
        HttpContext http,
        NpgsqlDataSource database,
        AuditLog audit,
        TimeProvider time
    )
    {
        var before = await SlaExclusions.FindAsync(database, id, http.RequestAborted) is { } was ? ExclusionView.Of(was) : null;
        return await http.DoAsync(
            audit,
            new Deed("sla_exclusion.withdraw", "sla_exclusion", id.ToString()) { Before = before },
            Home,
            "That time counts again.",
            async (_, stop) =>
                await SlaExclusions.WithdrawAsync(database, id, time.GetUtcNow(), stop) is { } row
                    ? DeedOutcome.Done(ExclusionView.Of(row))
                    : DeedOutcome.Refused("There is no such window.")
        );
    }
}
