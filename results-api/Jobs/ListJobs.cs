using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Jobs;

/// <summary><c>GET /v1/jobs</c>: a tenant's jobs, newest first, filtered, page by page.</summary>
internal static class ListJobs
{
    public static readonly string[] States = [.. Enum.GetValues<JobState>().Select(state => state.Name())];
    private static readonly string[] Classes = [.. Enum.GetValues<LatencyClass>().Select(value => value.Name())];

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
        await using var command = Select(query, http.Tenant(), limit + 1);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        await using var connection = await database.OpenConnectionAsync(http.RequestAborted);
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

    /// <summary>
    /// Ids are in order of time, so the page after a job starts below its id. The jobs of the page are chosen first, and only then
    /// are the chunks of those that are open summed up.
    /// </summary>
    private static NpgsqlCommand Select(QueryParameters query, TenantId tenant, int rows)
    {
        var command = new NpgsqlCommand();
        var filters = new List<string>();
        Filter("tenant = {0}", tenant.Value, NpgsqlDbType.Uuid);
        Filter("id < {0}", query.Value<Guid>("after", "the id of a job", Id), NpgsqlDbType.Uuid);
        Filter("state = ANY ({0})", query.Words("state", States), NpgsqlDbType.Array | NpgsqlDbType.Text);
        Filter("class = ANY ({0})", query.Words("class", Classes), NpgsqlDbType.Array | NpgsqlDbType.Text);
        Filter("created_at > {0}", query.Time("created_after"), NpgsqlDbType.TimestampTz);
        Filter("created_at < {0}", query.Time("created_before"), NpgsqlDbType.TimestampTz);
        var model = query.Text("model")?.Split('@', 2);
        Filter("model = {0}", model?[0], NpgsqlDbType.Text);
        Filter("model_version = {0}", model?.ElementAtOrDefault(1), NpgsqlDbType.Text);
        Filter("group_name = {0}", query.Text("group"), NpgsqlDbType.Text);
        var metadata = query.Pairs("metadata");
        Filter("metadata @> {0}", metadata.Count > 0 ? JsonSerializer.Serialize(metadata) : null, NpgsqlDbType.Jsonb);

        var page = $"(SELECT * FROM jobs WHERE {string.Join(" AND ", filters)} ORDER BY id DESC LIMIT {rows})";
        command.CommandText = $"{JobViews.SelectFrom(page)} ORDER BY j.id DESC";
        return command;

        void Filter(string condition, object? value, NpgsqlDbType type)
        {
            if (value is not null)
            {
                command.Parameters.Add(new NpgsqlParameter { Value = value, NpgsqlDbType = type });
                filters.Add(string.Format(System.Globalization.CultureInfo.InvariantCulture, condition, $"${command.Parameters.Count}"));
            }
        }

        static Guid? Id(string text) => JobId.TryParse(text, out var id) ? id.Value : null;
    }
}
