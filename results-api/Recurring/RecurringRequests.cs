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
                (string name, HttpContext http, RecurringScheduler scheduler) => DoAsync(name, http, scheduler, scheduler.RunAsync)
            )
            .Describe(RecurringOperations.Run);
        works
            .MapPost(
                "/{name}/pause",
                (string name, HttpContext http, RecurringScheduler scheduler) => DoAsync(name, http, scheduler, scheduler.PauseAsync)
            )
            .Describe(RecurringOperations.Pause);
        works
            .MapPost(
                "/{name}/resume",
                (string name, HttpContext http, RecurringScheduler scheduler) => DoAsync(name, http, scheduler, scheduler.ResumeAsync)
            )
            .Describe(RecurringOperations.Resume);
    }

    private static async Task<Results<JsonHttpResult<ListView<RecurringView>>, ProblemResult>> ListAsync(
        HttpContext http,
        RecurringScheduler scheduler
    )
    {
        var query = new QueryParameters(http.Request.Query);
        return query.Refusal() is { } refusal
            ? refusal
            : TypedResults.Json(
                ListView.Of(await scheduler.ListAsync(http.RequestAborted), int.MaxValue, work => work.Name),
                ApiJson.Options
            );
    }

    private static async Task<Results<JsonHttpResult<ListView<RecurringRunView>>, ProblemResult>> ListRunsAsync(
        string name,
        HttpContext http,
        RecurringScheduler scheduler,
        RunHistory history,
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
            return Unknown(name);
        }

        var runs = await history.ReadAsync(name, after, limit + 1, http.RequestAborted);
        return TypedResults.Json(ListView.Of(runs, limit, run => run.Id.ToString(CultureInfo.InvariantCulture)), ApiJson.Options);
    }

    private static async Task<Results<JsonHttpResult<RecurringView>, ProblemResult>> DoAsync(
        string name,
        HttpContext http,
        RecurringScheduler scheduler,
        Func<string, CancellationToken, Task> command
    )
    {
        if (scheduler.Find(name) is null)
        {
            return Unknown(name);
        }

        await command(name, http.RequestAborted);
        return TypedResults.Json((await scheduler.ListAsync(http.RequestAborted)).Single(work => work.Name == name), ApiJson.Options);
    }

    private static ProblemResult Unknown(string name) =>
        Problems.Result(FailureKind.UnknownRoute, $"There is no recurring work \"{name}\": GET /v1/recurring lists what there is.", "name");
}
