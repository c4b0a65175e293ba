using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard;

namespace Pipeline.ResultsApi.Fleet;

/// <summary><c>GET /v1/tenants/{tenant}/keys</c>: a tenant's API keys, as they are told apart. Operators see everybody's, a tenant its own.</summary>
internal static class ListKeys
{
    /// <summary>Keys listed at most; those that are valid come first.</summary>
    private const int KeysMax = 200;

    public static void MapKeys(this IEndpointRouteBuilder v1) =>
        v1.MapGet("/tenants/{tenant}/keys", Handle).Describe(ReadOperations.ListKeys);

    /// <summary>The valid ones first, the newest of each first.</summary>
    public static async Task<List<TenantKey>> ReadAsync(NpgsqlDataSource database, TenantId tenant, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT id, name, prefix, operator, created_at, revoked_at, rate_per_second, burst_max, concurrent_max
            FROM api_keys WHERE tenant = $1 ORDER BY revoked_at IS NOT NULL, id DESC LIMIT {KeysMax}
            """
        );
        command.Parameters.Add(new() { Value = tenant.Value });
        return await Rows.ReadAsync(
            command,
            row => new TenantKey(
                row.GetGuid(0),
                row.GetString(1),
                row.GetString(2),
                row.GetBoolean(3),
                row.GetFieldValue<DateTimeOffset>(4),
                row.IsDBNull(5) ? null : row.GetFieldValue<DateTimeOffset>(5),
                ApiKeyLimits.Read(row, 6)
            ),
            stop
        );
    }

    private static async Task<Results<JsonHttpResult<ListView<KeyView>>, ProblemResult>> Handle(
        string tenant,
        HttpContext http,
        NpgsqlDataSource database
    )
    {
        await using var command = database.CreateCommand("SELECT id FROM tenants WHERE name = $1 AND (id = $2 OR $3)");
        command.Parameters.Add(new() { Value = tenant });
        command.Parameters.Add(new() { Value = http.Tenant().Value });
        command.Parameters.Add(new() { Value = http.Caller().IsOperator });
        if (await command.ExecuteScalarAsync(http.RequestAborted) is not Guid id)
        {
            return Problems.Result(FailureKind.UnknownRoute, $"You see no tenant \"{tenant}\".", "tenant");
        }

        var keys = (await ReadAsync(database, new TenantId(id), http.RequestAborted)).ConvertAll(KeyView.Of);
        return TypedResults.Json(ListView.Of(keys, keys.Count, key => key.Prefix), ApiJson.Options);
    }
}

/// <summary>An API key as it is told apart; its text is shown once, when it is made.</summary>
public sealed record TenantKey(
    Guid Id,
    string Name,
    string Prefix,
    bool IsOperator,
    DateTimeOffset CreatedAt,
    DateTimeOffset? RevokedAt,
    ApiKeyLimits Limits
);

/// <summary>A key in the API; of its limits null is what ingest's options say.</summary>
internal sealed record KeyView(
    string Prefix,
    string Name,
    bool Operator,
    DateTimeOffset CreatedAt,
    DateTimeOffset? RevokedAt,
    int? RatePerSecond,
    int? BurstMax,
    int? ConcurrentMax
)
{
    public string Object { get; } = "api_key";

    public static KeyView Of(TenantKey key) =>
        new(
            key.Prefix,
            key.Name,
            key.IsOperator,
            key.CreatedAt,
            key.RevokedAt,
            key.Limits.RatePerSecond,
            key.Limits.BurstMax,
            key.Limits.ConcurrentMax
        );
}
