using Pipeline.ResultsApi.Alerts.Probes;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Alerts;

/// <summary>Requests with known answers, what became of them, and sending one now.</summary>
internal static class ProbePages
{
    private const int AuditRows = 10;

    public static void MapProbePages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/alerts/probes", ListAsync);
        pages.MapGet("/alerts/probes/{name}", ShowAsync);
        pages.MapPost("/alerts/probes/{name}/run", RunAsync);
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
                Deeds = await audit.ListAsync(name, null, "probe.run", null, AuditRows, stop),
            }
        );
    }

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
