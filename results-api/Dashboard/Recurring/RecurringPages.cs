using System.Text.Json;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Recurring;

namespace Pipeline.ResultsApi.Dashboard.Recurring;

/// <summary>Recurring work: what there is, its runs, and running, pausing and resuming it.</summary>
internal static class RecurringPages
{
    private const int AuditRows = 10;

    public static void MapRecurringPages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/recurring", ListAsync);
        pages.MapGet("/recurring/{name}", ShowAsync);
        pages.MapGet("/recurring/{name}/export", ExportAsync);
        pages.MapPost("/recurring/{name}/{action}", ActAsync);
    }

    private static async Task<IResult> ListAsync(HttpContext http, RecurringScheduler scheduler) =>
        http.Page<RecurringPage>(new { Works = await scheduler.ListAsync(http.RequestAborted) });

    private static async Task<IResult> ShowAsync(
        string name,
        HttpContext http,
        RecurringScheduler scheduler,
        RunHistory history,
        AuditLog audit,
        DashboardOptions options
    )
    {
        var stop = http.RequestAborted;
        if (await FindAsync(name, scheduler, stop) is not { } work)
        {
            return NoSuch(http, name);
        }

        long? after = long.TryParse(http.Request.Query["after"], out var id) ? id : null;
        var runs = await history.ReadAsync(name, after, options.PageItems + 1, stop);
        return http.Page<WorkPage>(
            new
            {
                Work = work,
                Runs = runs.Take(options.PageItems).ToList(),
                Next = runs.Count > options.PageItems ? $"{runs[options.PageItems - 1].Id}" : null,
                Deeds = await audit.ListAsync(name, null, null, null, AuditRows, stop),
            }
        );
    }

    private static async Task<IResult> ExportAsync(string name, HttpContext http, RunHistory history, DashboardOptions options) =>
        Export.Answer(
            http,
            $"runs-{name}",
            await history.ReadAsync(name, null, options.ExportRowsMax, http.RequestAborted),
            ("id", r => r.Id),
            ("started_at", r => r.StartedAt),
            ("ended_at", r => r.EndedAt),
            ("duration_ms", r => r.DurationMs),
            ("outcome", r => r.Outcome),
            ("counts", r => r.Counts is null ? null : JsonSerializer.Serialize(r.Counts, ApiJson.Options)),
            ("error", r => r.Error),
            ("instance", r => r.Instance)
        );

    private static async Task<IResult> ActAsync(string name, string action, HttpContext http, RecurringScheduler scheduler, AuditLog audit)
    {
        (Func<string, CancellationToken, Task> Act, string Told)? found = action switch
        {
            "run" => (scheduler.RunAsync, "It runs as soon as an instance can."),
            "pause" => (scheduler.PauseAsync, "It runs only when asked to, until it is resumed."),
            "resume" => (scheduler.ResumeAsync, "It runs by its schedule again."),
            _ => null,
        };
        if (found is not var (act, told) || await FindAsync(name, scheduler, http.RequestAborted) is not { } before)
        {
            return NoSuch(http, name);
        }

        return await http.DoAsync(
            audit,
            new Deed($"recurring.{action}", "recurring_work", name) { Before = Brief(before) },
            Links.Subject("recurring_work", name)!,
            told,
            async (_, stop) =>
            {
                await act(name, stop);
                return DeedOutcome.Done(await FindAsync(name, scheduler, stop) is { } after ? Brief(after) : null);
            }
        );
    }

    private static async Task<RecurringView?> FindAsync(string name, RecurringScheduler scheduler, CancellationToken stop) =>
        scheduler.Find(name) is null ? null : (await scheduler.ListAsync(stop)).Single(work => work.Name == name);

    private static IResult NoSuch(HttpContext http, string name) =>
        http.Error(
            StatusCodes.Status404NotFound,
            "There is no such recurring work",
            $"None is called \"{name}\", or that cannot be done to it."
        );

    private static object Brief(RecurringView work) => new { paused = work.Paused };
}
