using System.Text.Json;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Alerts;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Alerts;

/// <summary>What is or was wrong, one alert with the numbers it rests on and what may be done about it, and what is looked for.</summary>
internal static class AlertPages
{
    public const string Home = $"{DashboardServices.Root}/alerts";
    private const int AuditRows = 10;

    /// <summary>Ways to filter by state; the first is what the page begins with.</summary>
    public static readonly IReadOnlyList<string> States = [.. AlertRequests.States, "any"];

    public static void MapAlertPages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/alerts", ListAsync);
        pages.MapGet("/alerts/export", ExportAsync);
        pages.MapGet("/alerts/{id:guid}", ShowAsync);
        pages.MapPost(
            "/alerts/{id:guid}/acknowledge",
            (Guid id, HttpContext http, AlertStore store, AuditLog audit) =>
                ActAsync(id, http, store, audit, store.AcknowledgeAsync, "acknowledge")
        );
        pages.MapPost(
            "/alerts/{id:guid}/resolve",
            (Guid id, HttpContext http, AlertStore store, AuditLog audit) => ActAsync(id, http, store, audit, store.ResolveAsync, "resolve")
        );
        pages.MapRulePages();
        pages.MapSilencePages();
        pages.MapProbePages();
    }

    /// <summary>A page of its own for an alert, however it is named.</summary>
    public static string Of(Guid alert) => $"{Home}/{alert}";

    private static async Task<IResult> ListAsync(HttpContext http, AlertStore store, DashboardOptions options)
    {
        var (filter, mistake) = ReadFilter(http.Request.Query);
        var found = mistake is null ? await store.ListAsync(filter, options.PageItems + 1, http.RequestAborted) : [];
        return http.Page<AlertsPage>(
            new
            {
                Alerts = found.Take(options.PageItems).ToList(),
                Next = found.Count > options.PageItems ? $"{found[options.PageItems - 1].Id}" : null,
                Mistake = mistake,
            },
            mistake is null ? StatusCodes.Status200OK : StatusCodes.Status400BadRequest
        );
    }

    private static async Task<IResult> ExportAsync(HttpContext http, AlertStore store, DashboardOptions options)
    {
        var (filter, mistake) = ReadFilter(http.Request.Query);
        if (mistake is not null)
        {
            return http.Error(StatusCodes.Status400BadRequest, "Those filters were not understood", mistake);
        }

        var found = await store.ListAsync(filter, options.ExportRowsMax, http.RequestAborted);
        return Export.Answer(
            http,
            "alerts",
            found,
            ("id", a => a.Id),
            ("rule", a => a.Rule),
            ("severity", a => a.Severity.Word()),
            ("state", a => a.State),
            ("labels", a => JsonSerializer.Serialize(a.Labels, ApiJson.Options)),
            ("summary", a => a.Summary),
            ("since", a => a.Since),
            ("raised_at", a => a.RaisedAt),
            ("last_seen_at", a => a.LastSeenAt),
            ("acknowledged_at", a => a.AcknowledgedAt),
            ("escalated_at", a => a.EscalatedAt),
            ("resolved_at", a => a.ResolvedAt),
            ("note", a => a.Note),
            ("evidence", a => a.Evidence.ToJsonString())
        );
    }

    private static async Task<IResult> ShowAsync(Guid id, HttpContext http, AlertStore store, AuditLog audit)
    {
        var stop = http.RequestAborted;
        return await store.FindAsync(id, stop) is { } alert
            ? http.Page<AlertPage>(new { Alert = alert, Deeds = await audit.ListAsync(id.ToString(), null, null, null, AuditRows, stop) })
            : http.Error(StatusCodes.Status404NotFound, "There is no such alert", $"None has the id {id}.");
    }

    private static async Task<IResult> ActAsync(
        Guid id,
        HttpContext http,
        AlertStore store,
        AuditLog audit,
        Func<Guid, string?, CancellationToken, Task<bool>> act,
        string action
    )
    {
        if (await store.FindAsync(id, http.RequestAborted) is not { } before)
        {
            return http.Error(StatusCodes.Status404NotFound, "There is no such alert", $"None has the id {id}.");
        }

        return await http.DoAsync(
            audit,
            new Deed($"alert.{action}", "alert", id.ToString()) { Before = Brief(before) },
            Of(id),
            $"The alert is {action}d.",
            async (reason, stop) =>
                await act(id, reason, stop)
                    ? DeedOutcome.Done(await store.FindAsync(id, stop) is { } after ? Brief(after) : null)
                    : DeedOutcome.Refused("It is resolved already.")
        );
    }

    private static (AlertFilter Filter, string? Mistake) ReadFilter(IQueryCollection query)
    {
        var parameters = new QueryParameters(new QueryCollection(Links.Filled(query)));
        var state = parameters.Words("state", States) ?? [States[0]];
        var severities = parameters.Words("severity", AlertRequests.Severities);
        var rules = parameters.Words("rule", [.. AlertRules.All.Select(r => r.Name)]);
        var after = parameters.Value<Guid>("after", "the id of an alert", text => Guid.TryParse(text, out var id) ? id : null);
        // Of the export, which is sent the same filters.
        parameters.Text("format");
        return (new AlertFilter(state.Contains("any") ? null : state, severities, rules, after), parameters.Refusal()?.Value?.Detail);
    }

    private static object Brief(AlertView alert) =>
        new
        {
            state = alert.State,
            severity = alert.Severity,
            acknowledged_at = alert.AcknowledgedAt,
        };
}
