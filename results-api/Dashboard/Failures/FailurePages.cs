using Npgsql;
using NpgsqlTypes;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi.Dashboard.Failures;

/// <summary>Failed tasks of one kind and one model, and at one worker where they are told apart by it, with a few of them.</summary>
/// <param name="Worker">Its name, or <see cref="FailureFilter.NoWorker"/>; null where they are not told apart.</param>
public sealed record FailureGroup(
    string Error,
    string Model,
    string? Worker,
    long Tasks,
    long Jobs,
    DateTimeOffset LastJobAt,
    List<FailureSample> Samples
);

/// <summary>What the page lists.</summary>
/// <param name="Range">A key of <see cref="FailurePages.Ranges"/>.</param>
/// <param name="ByWorker">Whether workers are told apart.</param>
/// <param name="Dismissed">Whether it is what was dismissed, in place of what is open.</param>
public sealed record FailureView(string Range, bool ByWorker, bool Dismissed)
{
    /// <summary>Failures looked at; with more, the newest.</summary>
    public int FailuresMax => ByWorker ? FailurePages.ByWorkerMax : FailurePages.FailuresMax;
}

/// <summary>A failed task.</summary>
public sealed record FailureSample(Guid Job, int Seq, string CustomId, string Message);

/// <summary>
/// Failures by kind and model, and by worker: of the newest failures, since they are read through. The index of failed results has all that the
/// grouping needs, so the table itself is looked at for the samples only; workers need a look at each failure, so they are of fewer.
/// </summary>
internal static class FailurePages
{
    private const int SamplesEach = 3;
    private const int GroupsMax = 50;

    /// <summary>Failures looked at; with more, the newest.</summary>
    public const int FailuresMax = 100_000;
    public const int ByWorkerMax = 10_000;

    public static readonly IReadOnlyDictionary<string, (string Name, TimeSpan Time)> Ranges = new Dictionary<string, (string, TimeSpan)>
    {
        ["1h"] = ("Last hour", TimeSpan.FromHours(1)),
        ["24h"] = ("Last 24 hours", TimeSpan.FromHours(24)),
        ["7d"] = ("Last 7 days", TimeSpan.FromDays(7)),
        ["30d"] = ("Last 30 days", TimeSpan.FromDays(30)),
    };

    public static void MapFailures(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/failures", ShowAsync);
        pages.MapGet("/failures/export", ExportAsync);
    }

    private static async Task<IResult> ShowAsync(HttpContext http, NpgsqlDataSource database, DashboardOptions options, TimeProvider time)
    {
        var (view, since) = Asked(http.Request.Query, time);
        var (groups, looked) = await ReadAsync(database, since, view, options, http.RequestAborted);
        return http.Page<FailuresPage>(
            new
            {
                View = view,
                Since = since,
                Groups = groups,
                Looked = looked,
            }
        );
    }

    private static async Task<IResult> ExportAsync(HttpContext http, NpgsqlDataSource database, DashboardOptions options, TimeProvider time)
    {
        var (view, since) = Asked(http.Request.Query, time);
        var (groups, _) = await ReadAsync(database, since, view, options, http.RequestAborted);
        return Export.Answer(
            http,
            "failures",
            groups,
            ("error", g => g.Error),
            ("model", g => g.Model),
            ("worker", g => g.Worker),
            ("tasks", g => g.Tasks),
            ("jobs", g => g.Jobs),
            ("newest_job_at", g => g.LastJobAt),
            ("sample_job", g => g.Samples.FirstOrDefault()?.Job),
            ("sample_custom_id", g => g.Samples.FirstOrDefault()?.CustomId),
            ("sample_message", g => g.Samples.FirstOrDefault()?.Message)
        );
    }

    private static (FailureView View, DateTimeOffset Since) Asked(IQueryCollection query, TimeProvider time)
    {
        var range = query["range"].ToString() is { } asked && Ranges.ContainsKey(asked) ? asked : "24h";
        return (new(range, query["by"] == "worker", query["show"] == "dismissed"), time.GetUtcNow() - Ranges[range].Time);
    }

    /// <summary>The groups, and how many failures were looked at for them.</summary>
    private static async Task<(List<FailureGroup> Groups, long Looked)> ReadAsync(
        NpgsqlDataSource database,
        DateTimeOffset since,
        FailureView view,
        DashboardOptions options,
        CancellationToken stop
    )
    {
        var groups = new List<(string Error, string Model, string? Worker, long Tasks, long Jobs, DateTimeOffset At, string[] Samples)>();
        var looked = 0L;
        await using (var command = database.CreateCommand(options, GroupsSql(view)))
        {
            command.Parameters.Add(new() { Value = Partitions.LowerBound(since) });
            command.Parameters.Add(new() { Value = view.Dismissed });
            await using var reader = await command.ExecuteReaderAsync(stop);
            while (await reader.ReadAsync(stop))
            {
                var worker = view.ByWorker ? reader.GetString(2) : null;
                var newest = Show.MadeAt(Guid.Parse(reader.GetString(5)));
                groups.Add(
                    (
                        reader.GetString(0),
                        reader.GetString(1),
                        worker,
                        reader.GetInt64(3),
                        reader.GetInt64(4),
                        newest,
                        reader.GetFieldValue<string[]>(6)
                    )
                );
                looked = reader.GetInt64(7);
            }
        }

        var found = await SamplesAsync(database, [.. groups.SelectMany(g => g.Samples)], stop);
        List<FailureGroup> all =
        [
            .. groups.Select(g => new FailureGroup(
                g.Error,
                g.Model,
                g.Worker,
                g.Tasks,
                g.Jobs,
                g.At,
                [.. g.Samples.Select(s => found.GetValueOrDefault((JobOf(s), SeqOf(s)))).OfType<FailureSample>()]
            )),
        ];
        return (all, looked);
    }

    /// <summary>
    /// The newest failures are chosen first, and only then told apart. Of workers a job's endings are read once and hashed: looked up failure by failure, those of
    /// a large job would be read again each time.
    /// </summary>
    private static string GroupsSql(FailureView view) =>
        $"""
            WITH f AS MATERIALIZED (
              SELECT error_code, model, job, seq{(view.ByWorker ? ", chunk" : "")} FROM results WHERE status = 'failed' AND job >= $1
              ORDER BY job DESC, seq DESC LIMIT {view.FailuresMax}
            ){(view.ByWorker ? EndingsSql : "")}
            SELECT r.error_code, r.model, {(
                view.ByWorker ? "r.worker" : "NULL"
            )} AS worker, count(*), count(DISTINCT r.job), max(r.job::text COLLATE "C"),
                   (array_agg(r.job::text || ' ' || r.seq))[1:{SamplesEach}], (SELECT count(*) FROM f)
            FROM {(
                view.ByWorker
                    ? "(SELECT r.*, coalesce(t.worker, '"
                        + FailureFilter.NoWorker
                        + "') AS worker FROM f r LEFT JOIN told t USING (job, seq)) r"
                    : "f r"
            )}
            LEFT JOIN dismissed_failures d ON d.job = r.job AND d.error_code = r.error_code AND d.model = r.model
            WHERE (d.job IS NOT NULL) = $2
            GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3 LIMIT {GroupsMax}
            """;

    private const string EndingsSql = $"""
        , ended AS MATERIALIZED (
          SELECT e.job, e.chunk, e.tasks, w.name FROM endings e JOIN workers w ON w.id = e.worker
          WHERE e.job = ANY (ARRAY(SELECT DISTINCT job FROM f))
        ), told AS MATERIALIZED (
          SELECT r.job, r.seq, e.name AS worker
          FROM f r JOIN chunks c ON c.job = r.job AND c.no = r.chunk JOIN ended e ON {FailureFilter.EndedBySql}
        )
        """;

    private static async Task<Dictionary<(Guid, int), FailureSample>> SamplesAsync(
        NpgsqlDataSource database,
        string[] places,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(
            """
            SELECT r.job, r.seq, r.custom_id, left(r.error_message, 300)
            FROM unnest($1, $2) AS p (job, seq) JOIN results r ON r.job = p.job AND r.seq = p.seq
            """
        );
        command.Parameters.Add(new() { Value = places.Select(JobOf).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Uuid });
        command.Parameters.Add(new() { Value = places.Select(SeqOf).ToArray() });
        var samples = new Dictionary<(Guid, int), FailureSample>();
        await using var reader = await command.ExecuteReaderAsync(stop);
        while (await reader.ReadAsync(stop))
        {
            var sample = new FailureSample(reader.GetGuid(0), reader.GetInt32(1), reader.GetString(2), reader.GetString(3));
            samples[(sample.Job, sample.Seq)] = sample;
        }

        return samples;
    }

    private static Guid JobOf(string place) => Guid.Parse(place.AsSpan(0, place.IndexOf(' ', StringComparison.Ordinal)));

    private static int SeqOf(string place) =>
        int.Parse(place.AsSpan(place.IndexOf(' ', StringComparison.Ordinal) + 1), System.Globalization.CultureInfo.InvariantCulture);
}
