using System.Text;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;

namespace Pipeline.Tests.Integration.ResultsApi;

/// <summary>A queued job as ingest leaves it, whose tasks a test ends as a worker would.</summary>
internal sealed class SeededJob
{
    private static readonly byte[] DefaultOutput = """{"labels":[{"label":"en","score":0.98}]}"""u8.ToArray();

    public JobId Id { get; private init; }
    public int Tasks { get; init; } = 10;
    public int ChunkTasks { get; init; } = 4;
    public string Model { get; init; } = "language-id";
    public LatencyClass Class { get; init; } = LatencyClass.Bulk;
    public string Metadata { get; init; } = "{}";
    public DateTimeOffset CreatedAt { get; init; } = DateTimeOffset.UtcNow;
    public DateTimeOffset? PredictedAt { get; init; }

    /// <summary>Stores the job with its chunks and the event that it is queued.</summary>
    public static async Task<SeededJob> CreateAsync(TestDatabase database, TenantId tenant, SeededJob? like = null)
    {
        like ??= new SeededJob();
        var job = new SeededJob
        {
            Id = JobId.New(like.CreatedAt),
            Tasks = like.Tasks,
            ChunkTasks = like.ChunkTasks,
            Model = like.Model,
            Class = like.Class,
            Metadata = like.Metadata,
            CreatedAt = like.CreatedAt,
            PredictedAt = like.PredictedAt,
        };
        await using var connection = await database.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await job.InsertAsync(connection, tenant);
        await transaction.CommitAsync();
        return job;
    }

    public int ChunkOf(int seq) => seq / ChunkTasks;

    /// <summary>A row for one task, as a worker adds it.</summary>
    public void Add(TaskEndRows rows, int seq, TaskOutcome outcome = TaskOutcome.Succeeded, byte[]? output = null, string? type = null)
    {
        var succeeded = outcome == TaskOutcome.Succeeded;
        rows.Add(
            Id,
            ChunkOf(seq),
            seq,
            outcome,
            CustomId(seq),
            succeeded ? output ?? DefaultOutput : null,
            succeeded ? type ?? "application/json" : null,
            succeeded ? null : FailureKind.ModelFailed.Info().Code,
            succeeded ? null : "The \"model\" failed\non this input.",
            $"{Model}@1.0.0",
            turns: 1,
            costPico: succeeded ? 556_000 : 0,
            batch: null,
            queuedUs: 12_100,
            stagedUs: 800,
            deviceUs: 405,
            totalUs: 15_000
        );
    }

    /// <summary>Ends tasks in one transaction.</summary>
    public Task EndAsync(TestDatabase database, params int[] seqs) => EndAsync(database, seqs, TaskOutcome.Succeeded);

    public async Task EndAsync(TestDatabase database, int[] seqs, TaskOutcome outcome, byte[]? output = null, string? type = null)
    {
        await using var connection = await database.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await EndAsync(connection, transaction, seqs, outcome, output, type);
        await transaction.CommitAsync();
    }

    /// <summary>Ends tasks in the caller's transaction, which may stay open.</summary>
    public async Task EndAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        int[] seqs,
        TaskOutcome outcome = TaskOutcome.Succeeded,
        byte[]? output = null,
        string? type = null
    )
    {
        var rows = new TaskEndRows();
        foreach (var seq in seqs)
        {
            Add(rows, seq, outcome, output, type);
        }

        await TaskEnds.WriteAsync(connection, transaction, rows, DateTimeOffset.UtcNow);
    }

    public Task EndAllAsync(TestDatabase database) => EndAsync(database, [.. Enumerable.Range(0, Tasks)]);

    public static string CustomId(int seq) => $"task \"{seq}\" é";

    private async Task InsertAsync(NpgsqlConnection connection, TenantId tenant)
    {
        var chunks = (Tasks + ChunkTasks - 1) / ChunkTasks;
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(
            new NpgsqlBatchCommand(
                """
                INSERT INTO jobs (id, tenant, model, model_version, class, state, tasks, units, chunks, open_chunks, deadline,
                                  predicted_at, metadata, created_at, queued_at)
                VALUES ($1, $2, $3, '1.0.0', $4, 'queued', $5, $5 * 10, $6, $6, $7 + interval '1 day', $8, $9, $7, $7)
                """
            )
            {
                Parameters =
                {
                    new() { Value = Id.Value },
                    new() { Value = tenant.Value },
                    new() { Value = Model },
                    new() { Value = Class.Name() },
                    new() { Value = Tasks },
                    new() { Value = chunks },
                    new() { Value = CreatedAt },
                    new() { Value = (object?)PredictedAt ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.TimestampTz },
                    new() { Value = Metadata, NpgsqlDbType = NpgsqlDbType.Jsonb },
                },
            }
        );
        for (var no = 0; no < chunks; no++)
        {
            batch.BatchCommands.Add(InsertChunk(no));
        }

        batch.BatchCommands.Add(
            new NpgsqlBatchCommand("INSERT INTO events (tenant, job, type, data, created_at) VALUES ($1, $2, 'job.queued', '{}', $3)")
            {
                Parameters =
                {
                    new() { Value = tenant.Value },
                    new() { Value = Id.Value },
                    new() { Value = CreatedAt },
                },
            }
        );
        await batch.ExecuteNonQueryAsync();
    }

    private NpgsqlBatchCommand InsertChunk(int no)
    {
        var writer = new ChunkPayloadWriter();
        var first = no * ChunkTasks;
        var count = Math.Min(ChunkTasks, Tasks - first);
        for (var seq = first; seq < first + count; seq++)
        {
            writer.Add(Encoding.UTF8.GetBytes(CustomId(seq)), "some text"u8, 10);
        }

        return new NpgsqlBatchCommand(
            """
            INSERT INTO chunks (job, no, first_seq, tasks, units, units_max, remaining, payload)
            VALUES ($1, $2, $3, $4, $4 * 10, 10, $4, $5)
            """
        )
        {
            Parameters =
            {
                new() { Value = Id.Value },
                new() { Value = no },
                new() { Value = first },
                new() { Value = count },
                new() { Value = writer.Finish() },
            },
        };
    }
}
