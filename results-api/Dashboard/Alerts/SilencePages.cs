using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Alerts;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Alerts;

/// <summary>Times in which matching alerts tell nobody: listed, made, and ended.</summary>
internal static class SilencePages
{
    public const string Home = $"{AlertPages.Home}/silences";

    public static void MapSilencePages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/alerts/silences", ListAsync);
        pages.MapPost("/alerts/silences", AddAsync);
        pages.MapPost("/alerts/silences/{id:guid}/end", EndAsync);
    }

    private static async Task<IResult> ListAsync(HttpContext http, AlertStore store)
    {
        var past = http.Request.Query["past"] == "true";
        var silences = await store.SilencesAsync(past, AlertRequests.SilencesMax, http.RequestAborted);
        return http.Page<SilencesPage>(new { Silences = silences, Past = past });
    }

    private static async Task<IResult> AddAsync(HttpContext http, AlertStore store, AuditLog audit, TimeProvider time)
    {
        var form = await http.Request.ReadFormAsync(http.RequestAborted);
        var labels = new Dictionary<string, string>();
        foreach (var line in form["labels"].ToString().Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.Split('=', 2, StringSplitOptions.TrimEntries) is not [{ Length: > 0 } name, { Length: > 0 } value])
            {
                return http.Back(Home, good: false, $"Labels are lines like class=express; this is none: {line}");
            }

            labels[name] = value;
        }

        // The API's own rules say what a silence may be.
        var body = JsonBody.Of(
            new
            {
                rule = Text("rule"),
                labels,
                starts_at = Text("starts_at"),
                ends_at = Text("ends_at"),
                reason = Text("reason"),
            }
        );
        if (AlertRequests.ReadSilence(body, time.GetUtcNow()) is not { } silence)
        {
            return http.Back(Home, good: false, body.Refusal()!.Value!.Detail);
        }

        return await http.DoAsync(
            audit,
            new Deed("silence.add", "silence", silence.Id.ToString()),
            Home,
            $"Silent until {Show.Moment(silence.EndsAt)} UTC.",
            async (_, stop) =>
            {
                await store.AddSilenceAsync(silence, stop);
                return DeedOutcome.Done(silence);
            }
        );

        string? Text(string name) => form[name].ToString().Trim() is { Length: > 0 } text ? text : null;
    }

    private static async Task<IResult> EndAsync(Guid id, HttpContext http, AlertStore store, AuditLog audit)
    {
        var lasting = await store.SilencesAsync(past: false, AlertRequests.SilencesMax, http.RequestAborted);
        return await http.DoAsync(
            audit,
            new Deed("silence.end", "silence", id.ToString()) { Before = lasting.Find(silence => silence.Id == id) },
            Home,
            "The silence is over.",
            async (_, stop) =>
                await store.EndSilenceAsync(id, stop) ? DeedOutcome.Done() : DeedOutcome.Refused("There is no such silence, or it is over.")
        );
    }
}
