using System.Text.Json;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Alerts.Probes;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Alerts;

/// <summary>Requests with known answers, what became of them, and sending one now.</summary>
internal static class ProbePages
{
    public const string Home = $"{AlertPages.Home}/probes";
    private const int AuditRows = 10;

    public static void MapProbePages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/alerts/probes", ListAsync);
        pages.MapGet("/alerts/probes/{name}", ShowAsync);
        pages.MapPost("/alerts/probes/{name}/run", RunAsync);
        pages.MapPost("/alerts/probes", SetAsync);
        pages.MapPost("/alerts/probes/{name}/delete", DeleteAsync);
    }

    private static async Task<IResult> ListAsync(HttpContext http, ProbeStore store, ProbeOptions probes) =>
        http.Page<ProbesPage>(new { Probes = await store.ListAsync(null, http.RequestAborted), AreSent = probes.Reach });

    private static async Task<IResult> ShowAsync(
        string name,
        HttpContext http,
        ProbeStore store,
        ProbeOptions probes,
        AuditLog audit,
        DashboardOptions options
    )
    {
        var stop = http.RequestAborted;
        if (await store.ListAsync(name, stop) is not [var probe])
        {
            return http.Error(StatusCodes.Status404NotFound, "There is no such probe", $"None is called \"{name}\".");
        }

        long? after = long.TryParse(http.Request.Query["after"], out var id) ? id : null;
        var runs = await store.RunsAsync(name, after, options.PageItems + 1, stop);
        return http.Page<ProbePage>(
            new
            {
                Probe = probe,
                IsSent = probes.Reach && probe.Enabled,
                Runs = runs.Take(options.PageItems).ToList(),
                Next = runs.Count > options.PageItems ? $"{runs[options.PageItems - 1].Id}" : null,
                Deeds = await audit.ListAsync(name, null, null, null, AuditRows, stop),
            }
        );
    }

    /// <summary>Makes a probe, or sets one that is there.</summary>
    private static async Task<IResult> SetAsync(
        HttpContext http,
        ProbeStore store,
        ProbeOptions probes,
        DashboardOptions options,
        AuditLog audit,
        TimeProvider time
    )
    {
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        var name = form["name"].ToString().Trim();

        // The API's own rules say what a probe may be.
        var body = JsonBody.Of(
            new
            {
                model = Text("model"),
                @class = Text("class"),
                input = Json(Text("input")),
                expect = Json(Text("expect")),
                tolerance = Json(Text("tolerance")),
                every_seconds = Json(Text("every_seconds")),
                slow_ms = Json(Text("slow_ms")),
                enabled = form["enabled"] != "false",
            }
        );
        if (ProbeRequests.Read(name, body, probes, time.GetUtcNow()) is not { } probe)
        {
            return http.Back(Home, good: false, body.Refusal()!.Value!.Detail);
        }

        var before = await BriefAsync(name, store, options, http.RequestAborted);
        return await http.DoAsync(
            audit,
            new Deed("probe.set", "probe", name) { Before = before },
            Home,
            $"The probe \"{name}\" is set.",
            async (_, stop) =>
                await store.PutAsync(probe, stop)
                    ? DeedOutcome.Done(Brief(probe, options))
                    : DeedOutcome.Refused($"There are {probes.ProbesMax} probes already, as many as may be.")
        );

        string? Text(string field) => form[field].ToString().Trim() is { Length: > 0 } text ? text : null;
    }

    private static async Task<IResult> DeleteAsync(
        string name,
        HttpContext http,
        ProbeStore store,
        AuditLog audit,
        DashboardOptions options
    )
    {
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        return form["confirm"].ToString().Trim() != name
            ? http.Back(Links.Subject("probe", name)!, good: false, $"Type \"{name}\" to confirm.")
            : await http.DoAsync(
                audit,
                new Deed("probe.delete", "probe", name) { Before = await BriefAsync(name, store, options, http.RequestAborted) },
                Home,
                $"The probe \"{name}\" is gone, with its runs.",
                async (_, stop) => await store.DeleteAsync(name, stop) ? DeedOutcome.Done() : DeedOutcome.Refused("There is no such probe.")
            );
    }

    /// <summary>A field as JSON; what is none is text.</summary>
    private static JsonElement? Json(string? text)
    {
        try
        {
            return text is null ? null : JsonElement.Parse(text);
        }
        catch (JsonException)
        {
            return JsonSerializer.SerializeToElement(text);
        }
    }

    private static async Task<object?> BriefAsync(string name, ProbeStore store, DashboardOptions options, CancellationToken stop) =>
        await store.ListAsync(name, stop) is [var probe] ? Brief(probe, options) : null;

    private static object Brief(ProbeView probe, DashboardOptions options) =>
        new
        {
            model = probe.Model,
            @class = probe.Class,
            input = options.Redact ? null : (JsonElement?)probe.Input,
            expect = probe.Expect,
            tolerance = probe.Tolerance,
            every_seconds = probe.EverySeconds,
            slow_ms = probe.SlowMs,
            enabled = probe.Enabled,
        };

    private static Task<IResult> RunAsync(string name, HttpContext http, ProbeStore store, ProbeOptions probes, AuditLog audit) =>
        http.DoAsync(
            audit,
            new Deed("probe.run", "probe", name),
            Links.Subject("probe", name)!,
            "It is sent as soon as an instance looks.",
            async (_, stop) =>
                !probes.Reach ? DeedOutcome.Refused("Probes are not sent: set Probes:Address and Probes:ApiKey.")
                : await store.RunNowAsync(name, stop) ? DeedOutcome.Done()
                : DeedOutcome.Refused("There is no such probe, or it is not enabled.")
        );
}
