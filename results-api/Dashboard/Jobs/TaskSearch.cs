using System.Globalization;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Jobs;

namespace Pipeline.ResultsApi.Dashboard.Jobs;

/// <summary>An ended task, found by its <c>custom_id</c>.</summary>
public sealed record FoundTask(
    Guid Job,
    string Tenant,
    int Seq,
    string Status,
    string? ErrorCode,
    string Model,
    decimal CostPico,
    DateTimeOffset FinishedAt
);

/// <summary>Where a search goes on: the first task that was not looked at.</summary>
public sealed record TaskPlace(Guid Job, int Seq)
{
    public static TaskPlace? Parse(string text) =>
        text.Split('.') is [var id, var number]
        && Guid.TryParse(id, out var job)
        && int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var seq)
            ? new(job, seq)
            : null;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Job}.{Seq}");
}

/// <summary>What a search found so far.</summary>
/// <param name="Looked">Tasks of the jobs it looked through.</param>
/// <param name="Next">Where it goes on; null where it has come to the end of the range.</param>
public sealed record FoundTasks(List<FoundTask> Tasks, long Looked, TaskPlace? Next);

/// <summary>
/// Looks for a <c>custom_id</c> in all jobs. There is no index on it, since one would cost every insert of a result 8 to 17 %: so results are read
/// through, those of the newest jobs first, for <see cref="DashboardOptions.SearchTimeMax"/>; then it says how far it came, and goes on from
/// there when asked to. So a search is as fast with ten million results as with ten thousand.
/// </summary>
internal sealed class TaskSearch(NpgsqlDataSource database, DashboardOptions options, TimeProvider time)
{
    private const int JobsAtOnce = 1000;

    /// <param name="jobs">In which jobs, with a moment after which they were sent.</param>
    public async Task<FoundTasks> FindAsync(JobFilter jobs, string customId, TaskPlace? from, CancellationToken stop)
    {
        var began = time.GetTimestamp();
        var found = new List<FoundTask>();
        var looked = 0L;
        await using var connection = await database.OpenConnectionAsync(stop);
        do
        {
            var (slices, rest) = await NextAsync(connection, jobs, from, stop);
            var wanted = options.PageItems - found.Count;
            var more = slices.Count > 0 ? await LookAsync(connection, slices, customId, wanted, stop) : [];
            found.AddRange(more);
            var full = more.Count == wanted;
            from = full ? new TaskPlace(more[^1].Job, more[^1].Seq + 1) : rest;
            looked += slices.Sum(s => s.To - s.From);
        } while (from is not null && found.Count < options.PageItems && time.GetElapsedTime(began) < options.SearchTimeMax);

        return new(found, looked, from);
    }

    /// <summary>The next jobs with about as many tasks as are looked at at once, and where the rest begins.</summary>
    private async Task<(List<(Guid Job, int From, int To)> Slices, TaskPlace? Beyond)> NextAsync(
        NpgsqlConnection connection,
        JobFilter jobs,
        TaskPlace? from,
        CancellationToken stop
    )
    {
        await using var command = Command(connection);
        var filter = jobs.Conditions(command)
            .Add("id <= {0}", from?.Job, NpgsqlDbType.Uuid)
            // Ids begin with their time: so the reading ends where the range does.
            .Add("id >= {0}", jobs.CreatedAfter is { } after ? Partitions.LowerBound(after) : null, NpgsqlDbType.Uuid)
            .Add("tasks > 0 AND outputs_removed_at IS NULL");
        command.CommandText = $"SELECT id, tasks FROM jobs {filter.Where} ORDER BY id DESC LIMIT {JobsAtOnce + 1}";
        var next = await Rows.ReadAsync(command, row => (Id: row.GetGuid(0), Tasks: row.GetInt32(1)), stop);
        var slices = new List<(Guid Job, int From, int To)>();
        var left = options.SearchRowsAtOnce;
        foreach (var (id, tasks) in next)
        {
            var first = id == from?.Job ? from.Seq : 0;
            if (left <= 0 || slices.Count == JobsAtOnce)
            {
                return (slices, new TaskPlace(id, first));
            }

            var to = (int)Math.Min(tasks, (long)first + left);
            left -= Math.Max(0, to - first);
            slices.Add((id, first, Math.Max(first, to)));
            if (to < tasks)
            {
                return (slices, new TaskPlace(id, to));
            }
        }

        return (slices, null);
    }

    /// <summary>OFFSET 0 keeps the planner from joining them the other way round, which would read all of the table.</summary>
    private async Task<List<FoundTask>> LookAsync(
        NpgsqlConnection connection,
        List<(Guid Job, int From, int To)> slices,
        string customId,
        int rows,
        CancellationToken stop
    )
    {
        await using var command = Command(connection);
        command.CommandText = $"""
            SELECT s.job, t.name, r.seq, r.status, r.error_code, r.model, r.cost_pico, r.finished_at
            FROM unnest($1, $2, $3) WITH ORDINALITY AS s (job, first, beyond, n)
            CROSS JOIN LATERAL (
              SELECT * FROM results r WHERE r.job = s.job AND r.seq >= s.first AND r.seq < s.beyond AND r.custom_id = $4 OFFSET 0
            ) r
            JOIN jobs j ON j.id = s.job JOIN tenants t ON t.id = j.tenant
            ORDER BY s.n, r.seq LIMIT {rows}
            """;
        command.Parameters.Add(new() { Value = slices.ConvertAll(s => s.Job), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Uuid });
        command.Parameters.Add(new() { Value = slices.ConvertAll(s => s.From), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Integer });
        command.Parameters.Add(new() { Value = slices.ConvertAll(s => s.To), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Integer });
        command.Parameters.Add(new() { Value = customId });
        return await Rows.ReadAsync(
            command,
            row => new FoundTask(
                row.GetGuid(0),
                row.GetString(1),
                row.GetInt32(2),
                row.GetString(3),
                row.IsDBNull(4) ? null : row.GetString(4),
                row.GetString(5),
                row.GetInt64(6),
                row.GetFieldValue<DateTimeOffset>(7)
            ),
            stop
        );
    }

    private NpgsqlCommand Command(NpgsqlConnection connection) =>
        new() { Connection = connection, CommandTimeout = (int)options.QueryTimeMax.TotalSeconds };
}
