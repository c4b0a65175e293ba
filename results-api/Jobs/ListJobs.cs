using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Jobs;

/// <summary><c>GET /v1/jobs</c>: a tenant's jobs, newest first, filtered, page by page.</summary>
internal static class ListJobs
{
    public static void MapListJobs(this IEndpointRouteBuilder v1) => v1.MapGet("/jobs", Handle).Describe(ReadOperations.ListJobs);

    private static async Task<Results<JsonHttpResult<ListView<JobView>>, ProblemResult>> Handle(
        HttpContext http,
        NpgsqlDataSource database,
        Forecasts forecasts,
        ResultsApiOptions options,
        TimeProvider time
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, options.ListLimitMax) ?? options.ListLimitDefault;
        var after = query.Value<Guid>("after", "the id of a job", ParseId);
        var filter = JobFilter.Read(query, http.Tenant());
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        await using var connection = await database.OpenConnectionAsync(http.RequestAborted);
        await using var command = Select(filter, after, limit + 1);
        command.Connection = connection;
        await using var reader = await command.ExecuteReaderAsync(http.RequestAborted);
        var jobs = new List<JobView>();
        var (forecast, now) = (forecasts.Fresh, time.GetUtcNow());
        while (await reader.ReadAsync(http.RequestAborted))
        {
            var job = JobViews.Read(reader);
            jobs.Add(job with { PredictedAt = PredictedEnd.Of(job, forecast, now) });
        }

        return TypedResults.Json(ListView.Of(jobs, limit, job => job.Id.ToString()), ApiJson.Options);
    }

    /// <summary>The jobs of the page are chosen first, and only then are the chunks of those that are open summed up.</summary>
    public static NpgsqlCommand Select(JobFilter filter, Guid? after, int rows)
    {
        var command = new NpgsqlCommand();
        var page = $"(SELECT * FROM jobs {filter.Conditions(command, after).Where} ORDER BY id DESC LIMIT {rows})";
        command.CommandText = $"{JobViews.SelectFrom(page)} ORDER BY j.id DESC";
        return command;
    }

    public static Guid? ParseId(string text) => JobId.TryParse(text, out var id) ? id.Value : null;
}
