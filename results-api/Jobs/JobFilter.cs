using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Jobs;

/// <summary>Which jobs a list asks for, as its query says: the API's list and the dashboard's.</summary>
public sealed record JobFilter
{
    public static readonly string[] States = [.. Enum.GetValues<JobState>().Select(state => state.Name())];
    public static readonly string[] Classes = [.. Enum.GetValues<LatencyClass>().Select(value => value.Name())];

    /// <summary>What the ended tasks of one of <c>jobs</c> cost: on its row once it has ended, before that the sum over its chunks.</summary>
    private const string CostSql = """
        (CASE WHEN succeeded IS NOT NULL THEN coalesce(cost_pico, 0)
              ELSE (SELECT coalesce(sum(c.cost_pico), 0) FROM chunks c WHERE c.job = jobs.id) END)
        """;

    /// <summary>Null for the jobs of all.</summary>
    public TenantId? Tenant { get; init; }
    public string[]? State { get; init; }
    public string[]? Class { get; init; }

    /// <summary><c>name</c> or <c>name@version</c>.</summary>
    public string? Model { get; init; }
    public DateTimeOffset? CreatedAfter { get; init; }
    public DateTimeOffset? CreatedBefore { get; init; }
    public string? Group { get; init; }
    public IReadOnlyDictionary<string, string> Metadata { get; init; } = new Dictionary<string, string>();

    /// <summary>Only ended jobs with at least one failed task.</summary>
    public bool WithFailures { get; init; }

    /// <summary>Only those of them that no other job runs again.</summary>
    public bool NotRetried { get; init; }

    /// <summary>Only jobs with a task that failed so.</summary>
    public FailureFilter? Failed { get; init; }

    /// <summary>Only jobs whose ended tasks cost at least, and at most, so many pico-USD.</summary>
    public decimal? CostMinPico { get; init; }
    public decimal? CostMaxPico { get; init; }

    /// <summary>Only jobs that are held back.</summary>
    public bool Paused { get; init; }

    public static JobFilter Read(QueryParameters query, TenantId? tenant) =>
        new()
        {
            Tenant = tenant,
            State = query.Words("state", States),
            Class = query.Words("class", Classes),
            Model = query.Text("model"),
            CreatedAfter = query.Time("created_after"),
            CreatedBefore = query.Time("created_before"),
            Group = query.Text("group"),
            Metadata = query.Pairs("metadata"),
        };

    /// <summary>The conditions on <c>jobs</c>; their parameters go to the command.</summary>
    /// <param name="after">Ids are in order of time, so the page after a job starts below its id.</param>
    public SqlFilter Conditions(NpgsqlCommand command, Guid? after = null)
    {
        var model = Model?.Split('@', 2);
        var filter = new SqlFilter(command)
            .Add("tenant = {0}", Tenant?.Value, NpgsqlDbType.Uuid)
            .Add("id < {0}", after, NpgsqlDbType.Uuid)
            .Add("state = ANY ({0})", State, NpgsqlDbType.Array | NpgsqlDbType.Text)
            .Add("class = ANY ({0})", Class, NpgsqlDbType.Array | NpgsqlDbType.Text)
            .Add("created_at > {0}", CreatedAfter, NpgsqlDbType.TimestampTz)
            .Add("created_at < {0}", CreatedBefore, NpgsqlDbType.TimestampTz)
            .Add("model = {0}", model?[0], NpgsqlDbType.Text)
            .Add("model_version = {0}", model?.ElementAtOrDefault(1), NpgsqlDbType.Text)
            .Add("group_name = {0}", Group, NpgsqlDbType.Text)
            .Add("metadata @> {0}", Metadata.Count > 0 ? JsonSerializer.Serialize(Metadata) : null, NpgsqlDbType.Jsonb)
            .Add("failed > 0", WithFailures)
            .Add("NOT EXISTS (SELECT FROM jobs again WHERE again.retry_of = jobs.id)", NotRetried)
            .Add($"{CostSql} >= {{0}}", CostMinPico, NpgsqlDbType.Numeric)
            .Add($"{CostSql} <= {{0}}", CostMaxPico, NpgsqlDbType.Numeric)
            .Add("paused AND finished_at IS NULL", Paused)
            // What is open is few rows, with an index of its own.
            .Add("finished_at IS NULL", State is not null && State.All(IsOpen));
        return Failed is null ? filter : filter.Add(Failed.Exists(filter));
    }

    private static bool IsOpen(string state) => !JobStates.ParseJobState(state).IsEnd();
}
