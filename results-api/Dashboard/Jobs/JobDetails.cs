using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Layout;

namespace Pipeline.ResultsApi.Dashboard.Jobs;

/// <summary>Something that happened to a job.</summary>
/// <param name="Change">Where its class or deadline was changed: to what; where an attempt was lost: with which worker.</param>
/// <param name="Job">Where failed tasks were retried: the job that runs them.</param>
public sealed record JobEvent(string Type, DateTimeOffset At, string? Change, Guid? Job);

/// <summary>An ended task as a job's page shows it.</summary>
public sealed record TaskRow(
    int Seq,
    string CustomId,
    string Status,
    string? Input,
    string? Output,
    string? ErrorCode,
    string? ErrorMessage,
    string Model,
    decimal CostPico,
    TimeSpan Queued,
    TimeSpan Device,
    TimeSpan Total
)
{
    /// <summary>Models of its route whose answers were not accepted, in their order.</summary>
    public IReadOnlyList<string> Before { get; init; } = [];
}

/// <summary>How long tasks of a job took, over at most <see cref="JobDetails.SampleMax"/> of them: half of them, and 19 of 20.</summary>
public sealed record Latency(long Tasks, TimeSpan Queued, TimeSpan Staged, TimeSpan Device, TimeSpan Total, TimeSpan TotalP95);

/// <summary>A device call that tasks of a job rode in.</summary>
public sealed record RiddenBatch(
    Guid Id,
    string Worker,
    string Lane,
    string Model,
    int Rows,
    double Padding,
    TimeSpan Device,
    decimal CostPico,
    long Mine
);

/// <summary>A webhook delivery about a job.</summary>
public sealed record JobDelivery(
    Guid Id,
    string Type,
    string State,
    string? Reason,
    int Attempts,
    int? LastStatus,
    DateTimeOffset CreatedAt
);

/// <summary>Reads what the page of one job shows beside the job. Each read goes by a key, and takes a bounded number of rows.</summary>
internal sealed class JobDetails(NpgsqlDataSource database, DashboardOptions options)
{
    public const int SampleMax = 10_000;
    private const int EventsMax = 100;
    private const int RetriesMax = 20;
    private const int BatchesMax = 10;
    private const int DeliveriesMax = 20;
    private const int PreviewBytes = 400;

    public async Task<(TenantId Id, string Name)?> FindTenantAsync(Guid job, CancellationToken stop)
    {
        await using var command = Command("SELECT t.id, t.name FROM jobs j JOIN tenants t ON t.id = j.tenant WHERE j.id = $1", job);
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? (new TenantId(reader.GetGuid(0)), reader.GetString(1)) : null;
    }

    /// <summary>
    /// Its changes of state, when its first task ended a turn, attempts that were lost with their worker, and the jobs that run its failed tasks again.
    /// </summary>
    public async Task<List<JobEvent>> EventsAsync(Guid job, CancellationToken stop)
    {
        await using var command = Command(
            $"""
            SELECT type, created_at, CASE WHEN type = 'job.changed' THEN concat_ws(', ',
                     CASE WHEN data ->> 'class' <> data #>> '{"{before,class}"}' THEN (data #>> '{"{before,class}"}') || ' to ' || (data ->> 'class') END,
                     CASE WHEN data ->> 'deadline' <> data #>> '{"{before,deadline}"}' THEN 'due ' || (data ->> 'deadline') END) END
                   , NULL::uuid
            FROM (SELECT * FROM events WHERE job = $1 AND type <> 'job.progress' ORDER BY id LIMIT {EventsMax}) e
            UNION ALL SELECT 'job.started', started_at, NULL, NULL FROM jobs WHERE id = $1 AND started_at IS NOT NULL
            UNION ALL (
              SELECT 'job.attempt lost', w.ended_at, format('%s chunk%s with worker %s', l.chunks, CASE WHEN l.chunks > 1 THEN 's' END, w.name), NULL
              FROM jobs j
              JOIN workers w ON w.state = 'lost' AND w.ended_at > j.created_at AND w.begun @> jsonb_build_array(jsonb_build_object('job', j.id))
              CROSS JOIN LATERAL (SELECT count(DISTINCT s ->> 'no') AS chunks FROM jsonb_array_elements(w.begun) AS s WHERE s ->> 'job' = j.id::text) l
              WHERE j.id = $1 AND EXISTS (SELECT FROM chunks WHERE job = $1 AND attempts > 0) ORDER BY w.ended_at LIMIT {EventsMax}
            )
            UNION ALL (SELECT 'job.retried', created_at, NULL, id FROM jobs WHERE retry_of = $1 ORDER BY id LIMIT {RetriesMax})
            """,
            job
        );
        var happened = await Rows.ReadAsync(
            command,
            row => new JobEvent(
                row.GetString(0),
                row.GetFieldValue<DateTimeOffset>(1),
                row.IsDBNull(2) ? null : row.GetString(2),
                row.IsDBNull(3) ? null : row.GetGuid(3)
            ),
            stop
        );
        // The commit that starts a small job ends it, too.
        return [.. happened.OrderBy(e => e.At).ThenBy(e => e.Type == "job.started" ? 0 : 1)];
    }

    /// <summary>Ended tasks in their order.</summary>
    /// <param name="status">Only those which ended so.</param>
    /// <param name="customId">Only that one. There is no index on it: the job's results are read through.</param>
    /// <param name="after">Those behind this number.</param>
    public async Task<List<TaskRow>> TasksAsync(
        Guid job,
        string? status,
        string? customId,
        int? after,
        int rows,
        CancellationToken stop,
        bool withInputs = true
    )
    {
        await using var command = database.CreateCommand(options);
        var filter = new SqlFilter(command)
            .Add("r.job = {0}", job, NpgsqlDbType.Uuid)
            .Add("r.seq > {0}", after, NpgsqlDbType.Integer)
            // As a constant, so that the partial index of failures is seen to fit.
            .Add("r.status = 'failed'", status == "failed")
            .Add("r.status = {0}", status == "failed" ? null : status, NpgsqlDbType.Text)
            .Add("r.custom_id = {0}", customId, NpgsqlDbType.Text);
        command.CommandText = $"""
            SELECT r.seq, r.custom_id, r.status, substring(r.output, 1, {PreviewBytes
                + 1}), r.error_code, r.error_message, r.model, r.cost_pico,
                   r.queued_us, r.device_us, r.total_us, r.chunk
            FROM results r {filter.Where} ORDER BY r.seq LIMIT {rows}
            """;
        var found = await Rows.ReadAsync(
            command,
            row =>
                (
                    Task: new TaskRow(
                        row.GetInt32(0),
                        row.GetString(1),
                        row.GetString(2),
                        null,
                        row.IsDBNull(3) || options.Redact ? null : Show.Preview(row.GetFieldValue<byte[]>(3), PreviewBytes),
                        row.IsDBNull(4) ? null : row.GetString(4),
                        row.IsDBNull(5) ? null : row.GetString(5),
                        row.GetString(6),
                        row.GetInt64(7),
                        Microseconds(row.GetInt64(8)),
                        Microseconds(row.GetInt32(9)),
                        Microseconds(row.GetInt64(10))
                    ),
                    Chunk: row.GetInt32(11)
                ),
            stop
        );
        var inputs = options.Redact || !withInputs ? [] : await InputsAsync(job, [.. found.Select(f => (f.Task.Seq, f.Chunk))], stop);
        var turns = await TurnsAsync(job, [.. found.Select(f => f.Task.Seq)], stop);
        return [.. found.Select(f => f.Task with { Input = inputs.GetValueOrDefault(f.Task.Seq), Before = [.. turns[f.Task.Seq]] })];
    }

    public async Task<(Latency? Latency, List<RiddenBatch> Batches)> SampleAsync(Guid job, CancellationToken stop)
    {
        var sample =
            $"(SELECT batch, queued_us, staged_us, device_us, total_us FROM results WHERE job = $1 ORDER BY seq LIMIT {SampleMax}) s";
        await using var times = Command(
            $"""
            SELECT count(*), percentile_disc(0.5) WITHIN GROUP (ORDER BY queued_us), percentile_disc(0.5) WITHIN GROUP (ORDER BY staged_us),
                   percentile_disc(0.5) WITHIN GROUP (ORDER BY device_us), percentile_disc(0.5) WITHIN GROUP (ORDER BY total_us),
                   percentile_disc(0.95) WITHIN GROUP (ORDER BY total_us)
            FROM {sample}
            """,
            job
        );
        var latency = await Rows.ReadAsync(
            times,
            row =>
                row.GetInt64(0) == 0
                    ? null
                    : new Latency(
                        row.GetInt64(0),
                        Microseconds(row.GetInt64(1)),
                        Microseconds(row.GetInt32(2)),
                        Microseconds(row.GetInt32(3)),
                        Microseconds(row.GetInt64(4)),
                        Microseconds(row.GetInt64(5))
                    ),
            stop
        );
        await using var ridden = Command(
            $"""
            SELECT b.id, coalesce(w.name, ''), b.lane, b.model, b.rows, 1 - b.units::float8 / greatest(b.padded_units, 1), b.device_ns, b.cost_pico, m.mine
            FROM (SELECT batch, count(*) AS mine FROM {sample} WHERE batch IS NOT NULL GROUP BY batch ORDER BY batch DESC LIMIT {BatchesMax}) m
            JOIN batches b ON b.id = m.batch LEFT JOIN workers w ON w.id = b.worker ORDER BY b.id DESC
            """,
            job
        );
        var batches = await Rows.ReadAsync(
            ridden,
            row => new RiddenBatch(
                row.GetGuid(0),
                row.GetString(1),
                row.GetString(2),
                row.GetString(3),
                row.GetInt32(4),
                row.GetDouble(5),
                TimeSpan.FromMicroseconds(row.GetInt64(6) / 1000.0),
                row.GetInt64(7),
                row.GetInt64(8)
            ),
            stop
        );
        return (latency[0], batches);
    }

    public async Task<List<JobDelivery>> DeliveriesAsync(Guid job, CancellationToken stop)
    {
        await using var command = Command(
            $"""
            SELECT id, type, state, reason, attempts, last_status, created_at FROM webhook_deliveries
            WHERE job = $1 ORDER BY id DESC LIMIT {DeliveriesMax}
            """,
            job
        );
        return await Rows.ReadAsync(
            command,
            row => new JobDelivery(
                row.GetGuid(0),
                row.GetString(1),
                row.GetString(2),
                row.IsDBNull(3) ? null : row.GetString(3),
                row.GetInt32(4),
                row.IsDBNull(5) ? null : row.GetInt32(5),
                row.GetFieldValue<DateTimeOffset>(6)
            ),
            stop
        );
    }

    /// <summary>Models that ran tasks before the one that ended them, by task.</summary>
    private async Task<ILookup<int, string>> TurnsAsync(Guid job, int[] tasks, CancellationToken stop)
    {
        await using var command = Command("SELECT seq, model FROM turns WHERE job = $1 AND seq = ANY ($2) ORDER BY seq, turn", job);
        command.Parameters.Add(new() { Value = tasks });
        var turns = await Rows.ReadAsync(command, row => (Seq: row.GetInt32(0), Model: row.GetString(1)), stop);
        return turns.ToLookup(turn => turn.Seq, turn => turn.Model);
    }

    /// <summary>The beginnings of inputs, from the packed chunks that hold them.</summary>
    private async Task<Dictionary<int, string>> InputsAsync(Guid job, (int Seq, int Chunk)[] tasks, CancellationToken stop)
    {
        await using var command = Command(
            $"SELECT c.no, c.first_seq, {ChunkSql.Payload} FROM chunks c WHERE c.job = $1 AND c.no = ANY ($2)",
            job
        );
        command.Parameters.Add(new() { Value = tasks.Select(t => t.Chunk).Distinct().ToArray() });
        var inputs = new Dictionary<int, string>();
        await using var reader = await command.ExecuteReaderAsync(stop);
        while (await reader.ReadAsync(stop))
        {
            if (reader.IsDBNull(2))
            {
                continue;
            }

            var (no, first) = (reader.GetInt32(0), reader.GetInt32(1));
            using var chunk = ChunkPayload.Read(reader.GetFieldValue<byte[]>(2));
            foreach (var (seq, _) in tasks.Where(t => t.Chunk == no && t.Seq - first < chunk.Count))
            {
                inputs[seq] = Show.Preview(chunk.Input(seq - first).Span, PreviewBytes);
            }
        }

        return inputs;
    }

    private NpgsqlCommand Command(string sql, Guid job)
    {
        var command = database.CreateCommand(options, sql);
        command.Parameters.Add(new() { Value = job });
        return command;
    }

    private static TimeSpan Microseconds(long value) => TimeSpan.FromMicroseconds(value);
}
