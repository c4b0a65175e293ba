using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.OpenAi.Files;

namespace Pipeline.OpenAi.Batches;

/// <summary>A batch as it was asked for, checked: everything but its lines.</summary>
internal sealed record BatchOrder(
    JobId Job,
    TenantId Tenant,
    string Endpoint,
    FileId InputFile,
    string CompletionWindow,
    DateTimeOffset ExpiresAt,
    LatencyClass Class,
    string Metadata,
    int OutputSeconds,
    DateTimeOffset CreatedAt
);

/// <summary>
/// Reads batches. Where one stands is not stored: it follows from its own row and its job's, which each have one writer.
/// <code>
/// errors                                   failed
/// finished                                 the job's end: completed, expired, cancelled; cancelled without a job
/// cancelling_at, or the job is cancelling  cancelling
/// no job, or receiving                     validating
/// queued, running                          in_progress
/// else                                     finalizing (every task has ended, its files are being made)
/// </code>
/// </summary>
internal sealed class BatchStore(NpgsqlDataSource database, TimeProvider time)
{
    /// <summary>The first commit ends a whole device batch at the moment the job starts, so a pace is no pace before this.</summary>
    private static readonly TimeSpan PaceMin = TimeSpan.FromSeconds(2);

    private const string Select = """
        SELECT b.job, b.endpoint, b.model, b.errors::text, b.input_file, b.completion_window, b.output_file, b.error_file, b.created_at,
               b.expires_at, b.finalizing_at, b.cancelling_at, b.finished_at, b.lines, b.lines_completed, b.lines_failed, b.input_tokens,
               b.metadata::text, b.class, j.state, j.queued_at, j.started_at, j.predicted_at, coalesce(j.tasks, 0),
               coalesce(j.succeeded, c.succeeded, 0), coalesce(j.tasks - j.succeeded, c.ended - c.succeeded, 0),
               coalesce(j.cost_pico, c.cost_pico, 0), j.class, j.finished_at
        FROM openai_batches b
        LEFT JOIN jobs j ON j.id = b.job
        LEFT JOIN LATERAL (
          SELECT sum(succeeded)::int AS succeeded, sum(tasks - remaining)::int AS ended, sum(cost_pico) AS cost_pico
          FROM chunks WHERE job = j.id AND j.succeeded IS NULL AND j.queued_at IS NOT NULL
        ) c ON true
        """;

    /// <returns>The batch, or null when this tenant has none of that id.</returns>
    public async Task<BatchView?> FindAsync(TenantId tenant, JobId job, CancellationToken stop)
    {
        await using var command = database.CreateCommand($"{Select} WHERE b.tenant = $1 AND b.job = $2");
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = job.Value });
        return (await ReadAsync(command, stop)).FirstOrDefault();
    }

    /// <summary>A tenant's batches, newest first.</summary>
    /// <param name="after">Only those made before this one.</param>
    public Task<List<BatchView>> ListAsync(TenantId tenant, JobId? after, int rows, CancellationToken stop)
    {
        var command = database.CreateCommand(
            $"""
            {Select} WHERE b.job IN (
              SELECT job FROM openai_batches WHERE tenant = $1 AND ($2::uuid IS NULL OR job < $2) ORDER BY job DESC LIMIT $3
            ) ORDER BY b.job DESC
            """
        );
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = (object?)after?.Value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        command.Parameters.Add(new() { Value = rows });
        return ReadAsync(command, stop);
    }

    /// <summary>The statement that stores a batch, for the caller's transaction.</summary>
    public static NpgsqlBatchCommand Insert(BatchOrder order) =>
        new(
            """
            INSERT INTO openai_batches (job, tenant, endpoint, input_file, completion_window, expires_at, class, metadata, output_seconds,
                                        created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            """
        )
        {
            Parameters =
            {
                new() { Value = order.Job.Value },
                new() { Value = order.Tenant.Value },
                new() { Value = order.Endpoint },
                new() { Value = order.InputFile.Value },
                new() { Value = order.CompletionWindow },
                FileStore.Moment(order.ExpiresAt),
                new() { Value = order.Class.Name() },
                new() { Value = order.Metadata, NpgsqlDbType = NpgsqlDbType.Jsonb },
                new() { Value = order.OutputSeconds },
                FileStore.Moment(order.CreatedAt),
            },
        };

    /// <summary>
    /// Makes the end of a batch known (<c>batch.completed</c>, <c>batch.failed</c>, <c>batch.expired</c>, <c>batch.cancelled</c>) in the statement
    /// that writes it.
    /// </summary>
    /// <param name="update">An UPDATE of <c>openai_batches</c> that sets <c>finished_at</c>, up to its RETURNING.</param>
    /// <param name="status">The status it ends in, as SQL over its row <c>b</c> and its job's state <c>j.state</c>, if there is a job.</param>
    public static string Ending(string update, string status) =>
        $"""
            WITH b AS ({update} RETURNING *)
            INSERT INTO events (tenant, job, type, data, created_at)
            SELECT b.tenant, b.job, 'batch.' || {status}, jsonb_build_object('id', '{BatchIds.Prefix}' || replace(b.job::text, '-', '')), b.finished_at
            FROM b LEFT JOIN jobs j ON j.id = b.job
            """;

    /// <summary>A batch that was stored just now.</summary>
    public static BatchView View(BatchOrder order) =>
        new()
        {
            Id = BatchIds.Of(order.Job),
            Endpoint = order.Endpoint,
            Model = null,
            Errors = null,
            InputFileId = order.InputFile.ToString(),
            CompletionWindow = order.CompletionWindow,
            Status = "validating",
            OutputFileId = null,
            ErrorFileId = null,
            CreatedAt = order.CreatedAt.ToUnixTimeSeconds(),
            InProgressAt = null,
            ExpiresAt = order.ExpiresAt.ToUnixTimeSeconds(),
            FinalizingAt = null,
            CompletedAt = null,
            FailedAt = null,
            ExpiredAt = null,
            CancellingAt = null,
            CancelledAt = null,
            RequestCounts = new BatchCounts(0, 0, 0),
            Usage = null,
            Metadata = JsonElement.Parse(order.Metadata),
            ServiceTier = ServiceTiers.NameOf(order.Class),
            Job = null,
            PredictedAt = null,
            CostPicoUsd = 0,
            Key = order.Job,
        };

    private async Task<List<BatchView>> ReadAsync(NpgsqlCommand command, CancellationToken stop)
    {
        await using (command)
        {
            await using var reader = await command.ExecuteReaderAsync(stop);
            var batches = new List<BatchView>();
            while (await reader.ReadAsync(stop))
            {
                batches.Add(Read(reader));
            }

            return batches;
        }
    }

    private BatchView Read(NpgsqlDataReader reader)
    {
        var job = new JobId(reader.GetGuid(0));
        JobState? state = reader.IsDBNull(19) ? null : JobStates.ParseJobState(reader.GetString(19));
        var (finished, cancelling) = (Seconds(12), Seconds(11));
        var errors = Text(3) is { } json ? JsonSerializer.Deserialize<BatchErrors>(json, ApiJson.Options) : null;
        var status = Status(state, errors is not null, finished is not null, cancelling is not null);
        var tasks = reader.GetInt32(23);
        var (succeeded, ended) = (reader.GetInt32(24), reader.GetInt32(24) + reader.GetInt32(25));
        var lines = reader.IsDBNull(13) ? 0 : reader.GetInt32(13);
        return new BatchView
        {
            Id = BatchIds.Of(job),
            Endpoint = reader.GetString(1),
            Model = Text(2),
            Errors = errors,
            InputFileId = new FileId(reader.GetGuid(4)).ToString(),
            CompletionWindow = reader.GetString(5),
            Status = status,
            OutputFileId = reader.IsDBNull(6) ? null : new FileId(reader.GetGuid(6)).ToString(),
            ErrorFileId = reader.IsDBNull(7) ? null : new FileId(reader.GetGuid(7)).ToString(),
            CreatedAt = Seconds(8)!.Value,
            InProgressAt = Seconds(20),
            ExpiresAt = Seconds(9)!.Value,
            FinalizingAt = Seconds(10),
            CompletedAt = status == "completed" ? finished : null,
            FailedAt = status == "failed" ? finished : null,
            ExpiredAt = status == "expired" ? finished : null,
            CancellingAt = cancelling,
            CancelledAt = status == "cancelled" ? finished : null,
            RequestCounts = reader.IsDBNull(14)
                ? new BatchCounts(lines, InLines(succeeded), InLines(ended - succeeded))
                : new BatchCounts(lines, reader.GetInt32(14), reader.GetInt32(15)),
            Usage = reader.IsDBNull(16) ? null : new BatchUsage(reader.GetInt64(16)),
            Metadata = JsonElement.Parse(reader.GetString(17)),
            ServiceTier = ServiceTiers.NameOf(
                LatencyClasses.TryParse(Text(27) ?? reader.GetString(18), out var latency) ? latency : LatencyClass.Bulk
            ),
            Job = state is null ? null : job,
            PredictedAt = state is JobState.Queued or JobState.Running ? Predicted(Time(21), Time(22), ended, tasks) : null,
            CostPicoUsd = reader.GetDecimal(26),
            Key = job,
        };

        string? Text(int column) => reader.IsDBNull(column) ? null : reader.GetString(column);

        DateTimeOffset? Time(int column) => reader.IsDBNull(column) ? null : reader.GetFieldValue<DateTimeOffset>(column);

        long? Seconds(int column) => Time(column)?.ToUnixTimeSeconds();

        // A line may be several tasks; until the lines themselves are counted, tasks stand for them.
        int InLines(int count) => tasks == 0 ? 0 : (int)((long)count * lines / tasks);
    }

    internal static string Status(JobState? job, bool failed, bool finished, bool cancelling) =>
        failed || (finished && job == JobState.Failed) ? "failed"
        : finished ? (job ?? JobState.Cancelled).Name()
        : cancelling || job is JobState.Cancelling or JobState.Cancelled ? "cancelling"
        : job switch
        {
            null or JobState.Receiving => "validating",
            JobState.Queued or JobState.Running => "in_progress",
            _ => "finalizing",
        };

    private long? Predicted(DateTimeOffset? startedAt, DateTimeOffset? predictedAt, int ended, int tasks)
    {
        var now = time.GetUtcNow();
        if (startedAt is { } started && ended > 0 && now - started >= PaceMin)
        {
            return (now + ((now - started) * ((double)(tasks - ended) / ended))).ToUnixTimeSeconds();
        }

        return predictedAt > now ? predictedAt.Value.ToUnixTimeSeconds() : null;
    }
}
