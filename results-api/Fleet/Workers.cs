using System.Globalization;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Fleet;

/// <summary><c>GET /v1/workers</c>: the lives of worker processes, newest first.</summary>
internal static class Workers
{
    public static readonly string[] States = [.. Enum.GetValues<WorkerState>().Select(state => state.Name())];

    public static void MapWorkers(this IEndpointRouteBuilder v1) => v1.MapGet("/workers", List).Describe(ReadOperations.ListWorkers);

    private static async Task<Results<JsonHttpResult<ListView<WorkerView>>, ProblemResult>> List(
        HttpContext http,
        NpgsqlDataSource database,
        ResultsApiOptions options
    )
    {
        var query = new QueryParameters(http.Request.Query);
        var limit = query.Whole("limit", 1, options.ListLimitMax) ?? options.ListLimitDefault;
        await using var command = database.CreateCommand(
            """
            SELECT id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen, uptime_ns, accounted_ns, ended_at
            FROM workers
            WHERE ($1::uuid IS NULL OR id < $1) AND ($2::text[] IS NULL OR state = ANY ($2)) AND ($3::text IS NULL OR pool = $3)
            ORDER BY id DESC LIMIT $4
            """
        );
        Add(query.Value<Guid>("after", "the id of a worker", Id), NpgsqlDbType.Uuid);
        Add(query.Words("state", States), NpgsqlDbType.Array | NpgsqlDbType.Text);
        Add(query.Text("pool"), NpgsqlDbType.Text);
        Add(limit + 1, NpgsqlDbType.Integer);
        if (query.Refusal() is { } refusal)
        {
            return refusal;
        }

        await using var reader = await command.ExecuteReaderAsync(http.RequestAborted);
        var workers = new List<WorkerView>();
        while (await reader.ReadAsync(http.RequestAborted))
        {
            workers.Add(WorkerView.Read(reader));
        }

        return TypedResults.Json(ListView.Of(workers, limit, worker => worker.Id.ToString()), ApiJson.Options);

        void Add(object? value, NpgsqlDbType type) =>
            command.Parameters.Add(new NpgsqlParameter { Value = value ?? DBNull.Value, NpgsqlDbType = type });

        static Guid? Id(string text) => Guid.TryParse(text, CultureInfo.InvariantCulture, out var id) ? id : null;
    }
}

/// <summary>One life of a worker process.</summary>
internal sealed record WorkerView
{
    public required Guid Id { get; init; }
    public string Object { get; } = "worker";
    public required string Name { get; init; }
    public required string Pool { get; init; }
    public required string Provider { get; init; }
    public required string Device { get; init; }
    public required long PricePerHourPicoUsd { get; init; }
    public required string State { get; init; }
    public required DateTimeOffset StartedAt { get; init; }
    public required DateTimeOffset LastSeen { get; init; }

    /// <summary>Its monotonic clock at the last heartbeat, and up to where its ledger reaches on that clock.</summary>
    public required double UptimeSeconds { get; init; }
    public required double AccountedSeconds { get; init; }
    public required DateTimeOffset? EndedAt { get; init; }

    public static WorkerView Read(NpgsqlDataReader row) =>
        new()
        {
            Id = row.GetGuid(0),
            Name = row.GetString(1),
            Pool = row.GetString(2),
            Provider = row.GetString(3),
            Device = row.GetString(4),
            PricePerHourPicoUsd = row.GetInt64(5),
            State = row.GetString(6),
            StartedAt = row.GetFieldValue<DateTimeOffset>(7),
            LastSeen = row.GetFieldValue<DateTimeOffset>(8),
            UptimeSeconds = row.GetInt64(9) / 1e9,
            AccountedSeconds = row.GetInt64(10) / 1e9,
            EndedAt = row.IsDBNull(11) ? null : row.GetFieldValue<DateTimeOffset>(11),
        };
}
