using NpgsqlTypes;

namespace Pipeline.ResultsApi.Jobs;

/// <summary>Which failed tasks are asked for; null for any.</summary>
public sealed record FailureFilter
{
    /// <summary>The worker of tasks that none ended: what the scheduler ended, and what ended before this was kept.</summary>
    public const string NoWorker = "(none)";

    /// <summary>
    /// That an ending <c>e</c> is that of a failed task <c>r</c> of chunk <c>c</c>. In a CASE, since <c>get_bit</c> fails beyond the bitmap's end.
    /// </summary>
    public const string EndedBySql = """
        e.job = r.job AND e.chunk = r.chunk
        AND CASE WHEN r.seq - c.first_seq < octet_length(e.tasks) * 8 THEN get_bit(e.tasks, r.seq - c.first_seq) = 1 ELSE false END
        """;

    /// <summary>The error's code.</summary>
    public string? Error { get; init; }

    /// <summary>The version that failed, <c>name@version</c>.</summary>
    public string? Model { get; init; }

    /// <summary>Name of the worker that ended it, or <see cref="NoWorker"/>.</summary>
    public string? Worker { get; init; }

    /// <summary>True: only what no operator has dismissed.</summary>
    public bool NotDismissed { get; init; }

    /// <summary>The condition on <c>jobs</c> that one of a job's tasks failed so.</summary>
    public string Exists(SqlFilter filter)
    {
        var conditions = "r.job = jobs.id AND r.status = 'failed'";
        if (Error is not null)
        {
            conditions += $" AND r.error_code = {filter.Parameter(Error, NpgsqlDbType.Text)}";
        }

        if (Model is not null)
        {
            conditions += $" AND r.model = {filter.Parameter(Model, NpgsqlDbType.Text)}";
        }

        if (NotDismissed)
        {
            conditions += """
                 AND NOT EXISTS (SELECT FROM dismissed_failures d
                                 WHERE d.job = r.job AND d.error_code = r.error_code AND d.model = r.model)
                """;
        }

        if (Worker is not null)
        {
            var isNone = Worker == NoWorker;
            conditions += $"""
                 AND {(isNone ? "NOT " : "")}EXISTS (
                  SELECT FROM chunks c, endings e, workers w
                  WHERE c.job = r.job AND c.no = r.chunk AND {EndedBySql} AND w.id = e.worker
                  {(isNone ? "" : $"AND w.name = {filter.Parameter(Worker, NpgsqlDbType.Text)}")})
                """;
        }

        return $"EXISTS (SELECT FROM results r WHERE {conditions})";
    }
}
