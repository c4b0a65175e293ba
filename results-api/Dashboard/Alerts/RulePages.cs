using System.Globalization;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Alerts;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Alerts;

/// <summary>What is looked for: listed, set, and taken back to its defaults.</summary>
internal static class RulePages
{
    public const string Home = $"{AlertPages.Home}/rules";
    private const int AuditRows = 10;

    public static void MapRulePages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/alerts/rules", ListAsync);
        pages.MapGet("/alerts/rules/{name}", ShowAsync);
        pages.MapPost("/alerts/rules/{name}", SetAsync);
        pages.MapPost("/alerts/rules/{name}/reset", ResetAsync);
    }

    public static string Of(string rule) => $"{Home}/{Uri.EscapeDataString(rule)}";

    private static async Task<IResult> ListAsync(HttpContext http, AlertStore store)
    {
        var settings = await store.SettingsAsync(http.RequestAborted);
        return http.Page<AlertRulesPage>(new { Rules = AlertRules.All.Select(rule => settings[rule.Name]).ToList() });
    }

    private static async Task<IResult> ShowAsync(string name, HttpContext http, AlertStore store, AuditLog audit)
    {
        var stop = http.RequestAborted;
        return (await store.SettingsAsync(stop)).TryGetValue(name, out var set)
            ? http.Page<AlertRulePage>(new { Set = set, Deeds = await audit.ListAsync(name, null, null, null, AuditRows, stop) })
            : Unknown(http, name);
    }

    private static async Task<IResult> SetAsync(string name, HttpContext http, AlertStore store, AuditLog audit)
    {
        var stop = http.RequestAborted;
        if (!(await store.SettingsAsync(stop)).TryGetValue(name, out var before))
        {
            return Unknown(http, name);
        }

        // The API's own rules say what may be set. A number that is none is sent on as it is, so that they refuse it.
        var form = await http.Request.ReadFormAsync(stop);
        var body = JsonBody.Of(
            new
            {
                enabled = form["enabled"] == "true",
                severity = Text("severity"),
                threshold = Number("threshold"),
                for_seconds = Number("for_seconds"),
            }
        );
        var (enabled, severity, threshold, forSeconds) = AlertRequests.ReadSetting(body, before.Rule);
        if (body.Refusal() is { } refusal)
        {
            return http.Back(Of(name), good: false, refusal.Value!.Detail);
        }

        return await http.DoAsync(
            audit,
            new Deed("alert_rule.set", "alert_rule", name) { Before = Brief(before) },
            Of(name),
            "The rule holds so from the next look.",
            async (_, token) =>
            {
                await store.SetAsync(name, enabled, severity, threshold, forSeconds, token);
                return DeedOutcome.Done(Brief((await store.SettingsAsync(token))[name]));
            }
        );

        string? Text(string field) => form[field].ToString().Trim() is { Length: > 0 } text ? text : null;

        object? Number(string field) =>
            Text(field) is not { } text ? null
            : double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number) ? number
            : text;
    }

    private static async Task<IResult> ResetAsync(string name, HttpContext http, AlertStore store, AuditLog audit)
    {
        if (!(await store.SettingsAsync(http.RequestAborted)).TryGetValue(name, out var before))
        {
            return Unknown(http, name);
        }

        return await http.DoAsync(
            audit,
            new Deed("alert_rule.reset", "alert_rule", name) { Before = Brief(before) },
            Of(name),
            "The rule has its defaults again.",
            async (_, stop) =>
            {
                await store.ResetAsync(name, stop);
                return DeedOutcome.Done(Brief(RuleSetting.Of(before.Rule)));
            }
        );
    }

    private static IResult Unknown(HttpContext http, string name) =>
        http.Error(StatusCodes.Status404NotFound, "There is no such rule", $"None is called \"{name}\".");

    private static object Brief(RuleSetting set) =>
        new
        {
            enabled = set.Enabled,
            severity = set.Severity.Word(),
            threshold = set.Threshold,
            for_seconds = set.Timing.For.TotalSeconds,
        };
}
