using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Usage;

/// <summary><c>GET /v1/cache</c>: the caller's cache of results, its bounds, how full it is, and what it saved.</summary>
internal static class GetCache
{
    public static void MapCache(this IEndpointRouteBuilder v1) => v1.MapGet("/cache", Handle).Describe(ReadOperations.GetCache);

    private static async Task<Results<JsonHttpResult<CacheView>, ProblemResult>> Handle(HttpContext http, NpgsqlDataSource database)
    {
        if (new QueryParameters(http.Request.Query).Refusal() is { } refusal)
        {
            return refusal;
        }

        await using var command = database.CreateCommand(
            """
            SELECT extract(epoch FROM c.ttl)::float8, c.bytes_max, c.entries_max, c.bytes, c.entries, u.hits
            FROM (SELECT coalesce(sum(reused_cache), 0)::bigint AS hits FROM usage_days WHERE tenant = $1) AS u
            LEFT JOIN tenant_caches c ON c.tenant = $1
            """
        );
        command.Parameters.Add(new() { Value = http.Tenant().Value });
        await using var reader = await command.ExecuteReaderAsync(http.RequestAborted);
        await reader.ReadAsync(http.RequestAborted);
        var enabled = !await reader.IsDBNullAsync(0, http.RequestAborted);
        return TypedResults.Json(
            new CacheView
            {
                Enabled = enabled,
                TtlSeconds = enabled ? reader.GetDouble(0) : null,
                BytesMax = enabled ? reader.GetInt64(1) : null,
                EntriesMax = enabled ? reader.GetInt64(2) : null,
                Bytes = enabled ? reader.GetInt64(3) : 0,
                Entries = enabled ? reader.GetInt64(4) : 0,
                Hits = reader.GetInt64(5),
            },
            ApiJson.Options
        );
    }
}

/// <summary>A tenant's cache of results.</summary>
internal sealed record CacheView
{
    public string Object { get; } = "cache";

    /// <summary>False when it is off; its bounds are null then.</summary>
    public required bool Enabled { get; init; }

    /// <summary>How long a result is good for.</summary>
    public required double? TtlSeconds { get; init; }
    public required long? BytesMax { get; init; }
    public required long? EntriesMax { get; init; }

    /// <summary>What is in it now.</summary>
    public required long Bytes { get; init; }
    public required long Entries { get; init; }

    /// <summary>Tasks it ever answered, some seconds behind; `GET /v1/usage` has them by day, and what they saved.</summary>
    public required long Hits { get; init; }
}
