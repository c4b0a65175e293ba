using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.OpenAi.OutputFiles;

namespace Pipeline.OpenAi.Batches;

/// <summary>
/// <c>GET /v1/batches</c> and <c>/v1/batches/{id}</c>. The reply of an unfinished batch says by <c>Retry-After</c> when to look again: the
/// .NET client, which waits for batches, polls as told.
/// </summary>
internal static class ReadBatches
{
    public const int LimitDefault = 20;
    public const int LimitMax = 100;
    private const long LookAgainSecondsMax = 30;

    public static void MapReadBatches(this IEndpointRouteBuilder v1)
    {
        v1.MapGet("/batches", ListAsync).Describe(ReadOperations.ListBatches);
        v1.MapGet("/batches/{id}", GetAsync).Describe(ReadOperations.GetBatch);
    }

    public static ProblemResult Unknown(string id) => Problems.Result(FailureKind.UnknownBatch, $"You have no batch \"{id}\".", "id");

    /// <summary>Answers with a batch, and says when to look again.</summary>
    public static IResult Answer(HttpContext http, BatchView batch, TimeProvider time)
    {
        if (!batch.IsEnd)
        {
            // A quarter of the time that is left: soon enough at the end, and not sooner at the beginning.
            var left = batch.PredictedAt - time.GetUtcNow().ToUnixTimeSeconds();
            var seconds = Math.Clamp((left ?? 4) / 4, 1, LookAgainSecondsMax);
            http.Response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
        }

        return TypedResults.Json(batch, ApiJson.Options);
    }

    private static async Task<IResult> ListAsync(HttpContext http, BatchStore batches)
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, LimitMax) ?? LimitDefault;
        var after = query.Value<JobId>("after", "the id of a batch", text => BatchIds.TryParse(text, out var id) ? id : null);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        var read = await batches.ListAsync(http.Tenant(), after, limit + 1, http.RequestAborted);
        return TypedResults.Json(ListView.Of(read, limit, batch => batch.Id), ApiJson.Options);
    }

    private static async Task<IResult> GetAsync(
        string id,
        HttpContext http,
        BatchStore batches,
        NpgsqlDataSource database,
        TimeProvider time
    )
    {
        if (!BatchIds.TryParse(id, out var job) || await batches.FindAsync(http.Tenant(), job, http.RequestAborted) is not { } batch)
        {
            return Unknown(id);
        }

        if (batch.Status == "in_progress")
        {
            batch = batch with { PartialOutputFileId = PartialOutput.IdOf(job).ToString() };
        }

        if (batch is { Status: "in_progress", RequestCounts: { Completed: 0, Failed: 0 } })
        {
            ServiceTiers.TryParse(batch.ServiceTier, LatencyClass.Bulk, out var latency);
            batch = batch with { QueuePosition = await QueuePositions.FindAsync(database, job, latency, http.RequestAborted) };
        }

        return Answer(http, batch, time);
    }
}
