using System.Text;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Tests.Support.Worker;

/// <summary>A job that stands in PostgreSQL as ingest leaves it: queued, its chunks packed.</summary>
internal sealed record SeededJob(JobId Id, IReadOnlyList<string> Inputs, int ChunkTasks)
{
    /// <summary>Its tenant; one of its own unless another job's was asked for.</summary>
    public TenantId Tenant { get; init; } = new(Id.Value);

    /// <summary>Whether an input that came before is marked as a copy.</summary>
    public bool MarksCopies { get; init; }

    public int Chunks => (Inputs.Count + ChunkTasks - 1) / ChunkTasks;

    /// <summary>All of it.</summary>
    public IReadOnlyList<Slice> Slices =>
        [.. Enumerable.Range(0, Chunks).Select(c => new Slice(Id, c, 0, Math.Min(ChunkTasks, Inputs.Count - (c * ChunkTasks))))];

    /// <summary>Puts a job there. Tasks are called <c>t-0</c>, <c>t-1</c>, ….</summary>
    /// <param name="usesCache">Whether its tenant's cache may answer it.</param>
    public static async Task<SeededJob> CreateAsync(
        NpgsqlDataSource database,
        IReadOnlyList<string> inputs,
        int chunkTasks = 8,
        string state = "queued",
        ModelRef? model = null,
        bool marksCopies = false,
        bool usesCache = false,
        TenantId? tenant = null
    )
    {
        var job = new SeededJob(JobId.New(DateTimeOffset.UtcNow), inputs, chunkTasks) { MarksCopies = marksCopies };
        job = tenant is { } given ? job with { Tenant = given } : job;
        var name = model ?? FakeModels.Name;
        await using var connection = await database.OpenConnectionAsync();
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(
            new(
                """
                WITH t AS (INSERT INTO tenants (id, name, created_at) VALUES ($8, $8::text, now())
                           ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id)
                INSERT INTO jobs (id, tenant, model, model_version, class, state, tasks, units, chunks, open_chunks, deadline,
                                  created_at, queued_at, started_at, uses_cache)
                SELECT $1, t.id, $2, $3, 'bulk', $7, $4, $5, $6, $6, now() + interval '1 hour', now(), now(),
                       CASE WHEN $7 = 'running' THEN now() END, $9 FROM t
                """
            )
            {
                Parameters =
                {
                    new() { Value = job.Id.Value },
                    new() { Value = name.Name },
                    new() { Value = name.Version },
                    new() { Value = inputs.Count },
                    new() { Value = (long)inputs.Sum(i => i.Length) },
                    new() { Value = job.Chunks },
                    new() { Value = state },
                    new() { Value = job.Tenant.Value },
                    new() { Value = usesCache },
                },
            }
        );
        foreach (var slice in job.Slices)
        {
            batch.BatchCommands.Add(InsertChunk(job, slice));
        }

        await batch.ExecuteNonQueryAsync();
        return job;
    }

    private static NpgsqlBatchCommand InsertChunk(SeededJob job, Slice slice)
    {
        var first = slice.No * job.ChunkTasks;
        var writer = new ChunkPayloadWriter();
        for (var seq = first; seq < first + slice.Count; seq++)
        {
            var original = job.MarksCopies ? job.Inputs.ToList().IndexOf(job.Inputs[seq]) : seq;
            writer.Add(
                Encoding.UTF8.GetBytes($"t-{seq}"),
                Encoding.UTF8.GetBytes(job.Inputs[seq]),
                Math.Max(1, job.Inputs[seq].Length),
                original < seq ? original : null
            );
        }

        var (units, unitsMax) = (writer.UnitsToRun, writer.UnitsMax);
        return new(
            """
            INSERT INTO chunks (job, no, first_seq, tasks, units, units_max, remaining, announced_at, payload)
            VALUES ($1, $2, $3, $4, $5, $6, $4, now(), $7)
            """
        )
        {
            Parameters =
            {
                new() { Value = job.Id.Value },
                new() { Value = slice.No },
                new() { Value = first },
                new() { Value = slice.Count },
                new() { Value = units },
                new() { Value = unitsMax },
                new() { Value = writer.Finish(), NpgsqlDbType = NpgsqlDbType.Bytea },
            },
        };
    }
}
