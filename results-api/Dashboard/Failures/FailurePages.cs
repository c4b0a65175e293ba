using Npgsql;
using NpgsqlTypes;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Failures;

/// <summary>Failed tasks of one kind and one model, with a few of them.</summary>
public sealed record FailureGroup(string Error, string Model, long Tasks, long Jobs, DateTimeOffset LastJobAt, List<FailureSample> Samples);

/// <summary>A failed task.</summary>
public sealed record FailureSample(Guid Job, int Seq, string CustomId, string Message);

/// <summary>
/// Failures by kind and model: of the newest failures, since they are read through. The index of failed results has all that the
/// grouping needs, so the table itself is looked at for the samples only.
/// </summary>
internal static class FailurePages
{
    private const int SamplesEach = 3;
    private const int GroupsMax = 50;

    /// <summary>Failures looked at; with more, the newest.</summary>
    public const int FailuresMax = 100_000;

    public static readonly IReadOnlyDictionary<string, (string Name, TimeSpan Time)> Ranges = new Dictionary<string, (string, TimeSpan)>
    {
        ["1h"] = ("Last hour", TimeSpan.FromHours(1)),
        ["24h"] = ("Last 24 hours", TimeSpan.FromHours(24)),
        ["7d"] = ("Last 7 days", TimeSpan.FromDays(7)),
        ["30d"] = ("Last 30 days", TimeSpan.FromDays(30)),
    };

    public static void MapFailures(this IEndpointRouteBuilder pages) => pages.MapGet("/failures", ShowAsync);

    private static async Task<IResult> ShowAsync(HttpContext http, NpgsqlDataSource database, DashboardOptions options, TimeProvider time)
    {
        var range = http.Request.Query["range"].ToString() is { } asked && Ranges.ContainsKey(asked) ? asked : "24h";
        var since = time.GetUtcNow() - Ranges[range].Time;
        var groups = await ReadAsync(database, since, options, http.RequestAborted);
        return http.Page<FailuresPage>(
            new
            {
                Range = range,
                Since = since,
                Groups = groups,
            }
        );
    }

    private static async Task<List<FailureGroup>> ReadAsync(
        NpgsqlDataSource database,
        DateTimeOffset since,
        DashboardOptions options,
        CancellationToken stop
    )
    {
        var groups = new List<(string Error, string Model, long Tasks, long Jobs, DateTimeOffset At, string[] Samples)>();
        await using (
            var command = database.CreateCommand(
                $"""
                SELECT error_code, model, count(*), count(DISTINCT job), (array_agg(job::text || ' ' || seq))[1:{SamplesEach}]
                FROM (SELECT error_code, model, job, seq FROM results WHERE status = 'failed' AND job >= $1
                      ORDER BY job DESC, seq DESC LIMIT {FailuresMax}) f
                GROUP BY error_code, model ORDER BY count(*) DESC, error_code, model LIMIT {GroupsMax}
                """
            )
        )
        {
            command.CommandTimeout = (int)options.QueryTimeMax.TotalSeconds;
            command.Parameters.Add(new() { Value = Partitions.LowerBound(since) });
            await using var reader = await command.ExecuteReaderAsync(stop);
            while (await reader.ReadAsync(stop))
            {
                var samples = reader.GetFieldValue<string[]>(4);
                groups.Add(
                    (reader.GetString(0), reader.GetString(1), reader.GetInt64(2), reader.GetInt64(3), MadeAt(JobOf(samples[0])), samples)
                );
            }
        }

        var found = await SamplesAsync(database, [.. groups.SelectMany(g => g.Samples)], stop);
        return
        [
            .. groups.Select(g => new FailureGroup(
                g.Error,
                g.Model,
                g.Tasks,
                g.Jobs,
                g.At,
                [.. g.Samples.Select(s => found.GetValueOrDefault((JobOf(s), SeqOf(s)))).OfType<FailureSample>()]
            )),
        ];
    }

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

    /// <summary>A UUIDv7 begins with its time.</summary>
    private static DateTimeOffset MadeAt(Guid id) => DateTimeOffset.FromUnixTimeMilliseconds(Convert.ToInt64(id.ToString("N")[..12], 16));
}
