using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Jobs;

/// <summary><c>GET /v1/jobs/{id}</c>: where a job stands, what it has cost, when it should be finished; with <c>?costs=true</c> how its costs
/// spread over its tasks, for which all of its results are looked at.</summary>
internal static class GetJob
{
    public static void MapGetJob(this IEndpointRouteBuilder v1) => v1.MapGet("/jobs/{id}", Handle).Describe(ReadOperations.GetJob);

    private static async Task<Results<JsonHttpResult<JobView>, ProblemResult>> Handle(
        string id,
        HttpContext http,
        NpgsqlDataSource database,
        Forecasts forecasts,
        TimeProvider time
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var withCosts = query.Flag("costs");
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        if (await FindAsync(database, http, id) is not { } job)
        {
            return Unknown(id);
        }

        if (withCosts && JobViews.Removed(job.Id, "results", job.OutputsRemovedAt) is { } removed)
        {
            return removed;
        }

        var costs = withCosts ? await JobCosts.ReadAsync(database, job, http.Caller().IsOperator, http.RequestAborted) : null;
        var predicted = PredictedEnd.Of(job, forecasts.Fresh, time.GetUtcNow());
        var position =
            job.State == JobState.Queued ? await QueuePositions.FindAsync(database, job.Id, job.Class, http.RequestAborted) : null;
        return TypedResults.Json(job with { PredictedAt = predicted, QueuePosition = position, Costs = costs }, ApiJson.Options);
    }

    /// <returns>The job, or null when the caller has none of that id.</returns>
    public static async Task<JobView?> FindAsync(NpgsqlDataSource database, HttpContext http, string id) =>
        JobId.TryParse(id, out var job) ? await JobViews.FindAsync(database, http.Tenant(), job, http.RequestAborted) : null;

    /// <summary>The same for a job of another tenant as for none: ids tell nothing.</summary>
    public static ProblemResult Unknown(string id) => Problems.Result(FailureKind.UnknownJob, $"You have no job \"{id}\".", "id");
}
