using System.Globalization;
using Microsoft.AspNetCore.Http.HttpResults;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Recurring;

/// <summary><c>/v1/recurring</c>: what recurring work there is and what became of it; run, pause and resume it. For operators.</summary>
internal static class RecurringRequests
{
    public static void MapRecurring(this IEndpointRouteBuilder operators)
    {
        var works = operators.MapGroup("/recurring");
        works.MapGet("", ListAsync).Describe(RecurringOperations.List);
        works.MapGet("/{name}/runs", ListRunsAsync).Describe(RecurringOperations.ListRuns);
        works
            .MapPost(
                "/{name}/run",
                (string name, HttpContext http, RecurringScheduler scheduler, LoopStore loops) =>
                    DoAsync(name, http, scheduler, scheduler.RunAsync, loops, loops.RunAsync)
            )
            .Describe(RecurringOperations.Run);
        works
            .MapPost(
                "/{name}/pause",
                (string name, HttpContext http, RecurringScheduler scheduler, LoopStore loops) =>
                    DoAsync(name, http, scheduler, scheduler.PauseAsync, loops, loops.PauseAsync)
            )
            .Describe(RecurringOperations.Pause);
        works
            .MapPost(
                "/{name}/resume",
                (string name, HttpContext http, RecurringScheduler scheduler, LoopStore loops) =>
                    DoAsync(name, http, scheduler, scheduler.ResumeAsync, loops, loops.ResumeAsync)
            )
            .Describe(RecurringOperations.Resume);
    }

    private static async Task<Results<JsonHttpResult<ListView<RecurringView>>, ProblemResult>> ListAsync(
        HttpContext http,
        RecurringScheduler scheduler,
        LoopStore loops
    )
    {
        var query = new QueryParameters(http.Request.Query);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        List<RecurringView> all = [.. await scheduler.ListAsync(http.RequestAborted), .. await loops.ReadAsync(null, http.RequestAborted)];
        all.Sort((a, b) => string.CompareOrdinal(a.Name, b.Name));
        return TypedResults.Json(ListView.Of(all, int.MaxValue, work => work.Name), ApiJson.Options);
    }

    private static async Task<Results<JsonHttpResult<ListView<RecurringRunView>>, ProblemResult>> ListRunsAsync(
        string name,
        HttpContext http,
        RecurringScheduler scheduler,
        RunHistory history,
        LoopStore loops,
        ResultsApiOptions options
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, options.ListLimitMax) ?? options.ListLimitDefault;
        var after = query.Value<long>(
            "after",
            "the last_id of a page",
            text => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var id) ? id : null
        );
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        if (scheduler.Find(name) is null)
        {
            return await LoopAsync(name, loops, http.RequestAborted) is { } loop
                ? TypedResults.Json(
                    ListView.Of<RecurringRunView>(
                        loop.LastRun is { } last ? [last] : [],
                        limit,
                        run => run.Id.ToString(CultureInfo.InvariantCulture)
                    ),
                    ApiJson.Options
                )
                : Unknown(name);
        }

        var runs = await history.ReadAsync(name, after, limit + 1, http.RequestAborted);
        return TypedResults.Json(ListView.Of(runs, limit, run => run.Id.ToString(CultureInfo.InvariantCulture)), ApiJson.Options);
    }

    private static async Task<Results<JsonHttpResult<RecurringView>, ProblemResult>> DoAsync(
        string name,
        HttpContext http,
        RecurringScheduler scheduler,
        Func<string, CancellationToken, Task> command,
        LoopStore loops,
        Func<string, CancellationToken, Task> loopCommand
    )
    {
        var stop = http.RequestAborted;
        if (scheduler.Find(name) is not null)
        {
            http.WasBefore(await WorkAsync(name, scheduler, stop));
            await command(name, stop);
            return TypedResults.Json(await WorkAsync(name, scheduler, stop), ApiJson.Options);
        }

        http.WasBefore(await LoopAsync(name, loops, stop));
        await loopCommand(name, stop);
        return await LoopAsync(name, loops, stop) is { } loop ? TypedResults.Json(loop, ApiJson.Options) : Unknown(name);
    }

    private static async Task<RecurringView> WorkAsync(string name, RecurringScheduler scheduler, CancellationToken stop) =>
        (await scheduler.ListAsync(stop)).Single(work => work.Name == name);

    private static async Task<RecurringView?> LoopAsync(string name, LoopStore loops, CancellationToken stop) =>
        (await loops.ReadAsync(name, stop)).SingleOrDefault();

    private static ProblemResult Unknown(string name) =>
        Problems.Result(FailureKind.UnknownRoute, $"There is no recurring work \"{name}\": GET /v1/recurring lists what there is.", "name");
}
