using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Ingest.Storage;

/// <summary>What a job came to when its body had ended.</summary>
internal sealed record JobTotals(int Tasks, long Units, int Chunks);

/// <summary>The answer to remember under an <c>Idempotency-Key</c>, in the transaction that accepts the job.</summary>
internal sealed record KeptAnswer(string Key, byte[] Fingerprint, int Status, byte[] Body);

/// <summary>A job with all its chunks, to be stored and accepted at once.</summary>
internal sealed record QueuedJob(
    JobOrder Order,
    JobTotals Totals,
    IReadOnlyList<(ChunkHeader Header, byte[] Payload)> Chunks,
    IReadOnlyList<GroupedTask> Grouped,
    DateTimeOffset QueuedAt,
    KeptAnswer? Answer
);

/// <summary>
/// How jobs come into the tables. A short body is stored in one round trip and one transaction; a long one as a job that is
/// <c>receiving</c>, whose chunks are committed as they come, until one last transaction makes it <c>queued</c>.
/// </summary>
internal sealed class JobStore(NpgsqlDataSource database)
{
    /// <summary>Makes the row of a job whose body is still coming in.</summary>
    public async Task BeginAsync(JobOrder order, CancellationToken stop)
    {
        await using var batch = database.CreateBatch();
        batch.BatchCommands.Add(InsertJobs([(order, null, new JobTotals(0, 0, 0))]));
        await batch.ExecuteNonQueryAsync(stop);
    }

    /// <summary>Adds chunks to a job that is <c>receiving</c>. Packs each one right before it is written.</summary>
    /// <remarks>
    /// The commit does not wait for the disk: chunks count only once <see cref="QueueAsync"/> has committed, and that commit does wait,
    /// for all of the log before it.
    /// </remarks>
    public async Task CopyAsync(
        JobOrder order,
        IReadOnlyList<(ChunkHeader Header, ChunkPayloadWriter Tasks)> chunks,
        IReadOnlyList<GroupedTask> grouped,
        CancellationToken stop
    )
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        await using (var quick = new NpgsqlCommand("SET LOCAL synchronous_commit = off", connection, transaction))
        {
            await quick.ExecuteNonQueryAsync(stop);
        }

        await using (
            var copy = await connection.BeginBinaryImportAsync(
                "COPY chunks (job, no, first_seq, tasks, units, units_max, remaining, payload) FROM STDIN (FORMAT BINARY)",
                stop
            )
        )
        {
            foreach (var (header, tasks) in chunks)
            {
                await copy.StartRowAsync(stop);
                await copy.WriteAsync(order.Id.Value, NpgsqlDbType.Uuid, stop);
                await copy.WriteAsync(header.No, NpgsqlDbType.Integer, stop);
                await copy.WriteAsync(header.FirstSeq, NpgsqlDbType.Integer, stop);
                await copy.WriteAsync(header.Tasks, NpgsqlDbType.Integer, stop);
                await copy.WriteAsync(header.Units, NpgsqlDbType.Bigint, stop);
                await copy.WriteAsync(header.UnitsMax, NpgsqlDbType.Integer, stop);
                await copy.WriteAsync(header.Tasks, NpgsqlDbType.Integer, stop);
                await copy.WriteAsync(tasks.Finish(), NpgsqlDbType.Bytea, stop);
            }

            await copy.CompleteAsync(stop);
        }

        if (grouped.Count > 0)
        {
            await using var batch = new NpgsqlBatch(connection, transaction) { BatchCommands = { InsertGrouped(order, grouped) } };
            await batch.ExecuteNonQueryAsync(stop);
        }

        await transaction.CommitAsync(stop);
    }

    /// <summary>Accepts a job whose chunks are stored. False when it is gone: cancelled, or swept away.</summary>
    public async Task<bool> QueueAsync(
        JobOrder order,
        JobTotals totals,
        DateTimeOffset queuedAt,
        KeptAnswer? answer,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(
            """
            WITH queued AS (
              UPDATE jobs SET state = 'queued', tasks = $2, units = $3, chunks = $4, open_chunks = $4, queued_at = $5, predicted_at = $6,
                class = $12, deadline = $13, per_million_units_pico = $14, estimate_pico = $15,
                reserved_pico = reserve_budget(tenant, $5, $15),
                predicted_early_at = $16, predicted_late_at = $17, predicted_cost_pico = $18, forecast_us = $19, forecast_cost_pico = $20,
                forecast_wait_us = $21
              WHERE id = $1 AND state = 'receiving'
              RETURNING id, tenant
            ), told AS (
              INSERT INTO events (tenant, job, type, data, created_at) SELECT tenant, id, 'job.queued', $7, $5 FROM queued
            ), kept AS (
              UPDATE idempotency_keys k SET fingerprint = $9, job = $1, status = $10, response = $11, finished_at = $5
              FROM queued WHERE k.tenant = queued.tenant AND k.key = $8
            )
            SELECT count(*)::int FROM queued
            """
        );
        var p = command.Parameters;
        p.Add(new() { Value = order.Id.Value });
        p.Add(new() { Value = totals.Tasks });
        p.Add(new() { Value = totals.Units });
        p.Add(new() { Value = totals.Chunks });
        p.Add(Moment(queuedAt));
        p.Add(Moment(order.Predicted?.At));
        p.Add(new() { Value = QueuedData(order, totals), NpgsqlDbType = NpgsqlDbType.Jsonb });
        p.Add(new() { Value = (object?)answer?.Key ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        p.Add(new() { Value = (object?)answer?.Fingerprint ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Bytea });
        p.Add(new() { Value = (object?)answer?.Status ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Integer });
        p.Add(new() { Value = (object?)answer?.Body ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Bytea });
        p.Add(new() { Value = order.Class.Name() });
        p.Add(Moment(order.Deadline));
        p.Add(Amount(order.PerMillionUnitsPico));
        p.Add(Amount(order.EstimatePico));
        p.Add(Moment(order.Predicted?.Early));
        p.Add(Moment(order.Predicted?.Late));
        p.Add(Amount(order.Predicted?.CostPico));
        p.Add(Amount(order.Predicted?.Forecast.Us));
        p.Add(Amount(order.Predicted?.ForecastCostPico));
        p.Add(Amount(order.Predicted?.Forecast.WaitUs));
        return await command.ExecuteScalarAsync(stop) is 1;
    }

    /// <summary>
    /// Stores and accepts jobs with all their chunks, in one round trip and one transaction: all of them, or none. In the order of their
    /// tenants, since each may lock its tenant's month.
    /// </summary>
    /// <param name="onDisk">
    /// False: the commit does not wait for the disk. The next one that does, as that of results, waits for all of the log before it; until then
    /// a crash of the server may take the jobs back.
    /// </param>
    public async Task InsertQueuedAsync(IReadOnlyList<QueuedJob> jobs, bool onDisk, CancellationToken stop)
    {
        await using var batch = database.CreateBatch();
        AddTo(batch, jobs, onDisk);
        await batch.ExecuteNonQueryAsync(stop);
    }

    /// <summary>Does all that <see cref="InsertQueuedAsync"/> does, and takes it back.</summary>
    public async Task RehearseInsertAsync(QueuedJob job, CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        await using var batch = new NpgsqlBatch(connection, transaction);
        AddTo(batch, [job], onDisk: false);
        await batch.ExecuteNonQueryAsync(stop);
        await transaction.RollbackAsync(stop);
    }

    /// <summary>Returns when all that was committed before is on the disk.</summary>
    public async Task SettleAsync(CancellationToken stop)
    {
        // Something to commit, and nothing else: a message in the log that nobody reads.
        await using var command = database.CreateCommand("SELECT pg_logical_emit_message(true, 'pipeline', '')");
        await command.ExecuteNonQueryAsync(stop);
    }

    private static void AddTo(NpgsqlBatch batch, IReadOnlyList<QueuedJob> jobs, bool onDisk)
    {
        if (!onDisk)
        {
            batch.BatchCommands.Add(new("SELECT set_config('synchronous_commit', 'off', true)"));
        }

        var ordered = jobs.OrderBy(j => j.Order.Tenant.Value).ToArray();
        batch.BatchCommands.Add(InsertJobs(Array.ConvertAll(ordered, j => (j.Order, (DateTimeOffset?)j.QueuedAt, j.Totals))));
        var chunks = ordered.SelectMany(j => j.Chunks, (job, chunk) => (job.Order.Id, chunk.Header, chunk.Payload)).ToArray();
        batch.BatchCommands.Add(
            new(
                """
                INSERT INTO chunks (job, no, first_seq, tasks, units, units_max, remaining, payload)
                SELECT c.job, c.no, c.first_seq, c.tasks, c.units, c.units_max, c.tasks, c.payload
                FROM unnest($1, $2, $3, $4, $5, $6, $7) AS c (job, no, first_seq, tasks, units, units_max, payload)
                """
            )
            {
                Parameters =
                {
                    new() { Value = Array.ConvertAll(chunks, c => c.Id.Value) },
                    new() { Value = Array.ConvertAll(chunks, c => c.Header.No) },
                    new() { Value = Array.ConvertAll(chunks, c => c.Header.FirstSeq) },
                    new() { Value = Array.ConvertAll(chunks, c => c.Header.Tasks) },
                    new() { Value = Array.ConvertAll(chunks, c => c.Header.Units) },
                    new() { Value = Array.ConvertAll(chunks, c => c.Header.UnitsMax) },
                    new() { Value = Array.ConvertAll(chunks, c => c.Payload) },
                },
            }
        );
        foreach (var job in ordered.Where(j => j.Grouped.Count > 0))
        {
            batch.BatchCommands.Add(InsertGrouped(job.Order, job.Grouped));
        }

        batch.BatchCommands.Add(
            new(
                """
                INSERT INTO events (tenant, job, type, data, created_at)
                SELECT e.tenant, e.job, 'job.queued', e.data, e.at FROM unnest($1, $2, $3, $4) AS e (tenant, job, data, at)
                """
            )
            {
                Parameters =
                {
                    new() { Value = Array.ConvertAll(ordered, j => j.Order.Tenant.Value) },
                    new() { Value = Array.ConvertAll(ordered, j => j.Order.Id.Value) },
                    Json(Array.ConvertAll(ordered, j => QueuedData(j.Order, j.Totals))),
                    Moments(Array.ConvertAll(ordered, j => (DateTimeOffset?)j.QueuedAt)),
                },
            }
        );
        foreach (var job in ordered)
        {
            if (job.Answer is { } answer)
            {
                batch.BatchCommands.Add(Keep(job.Order.Tenant, answer, job.Order.Id, job.QueuedAt));
            }
        }
    }

    /// <summary>The statement that keeps an answer under its key, for the transaction that makes the answer true.</summary>
    public static NpgsqlBatchCommand Keep(TenantId tenant, KeptAnswer answer, JobId job, DateTimeOffset at) =>
        new(
            """
            UPDATE idempotency_keys SET fingerprint = $3, job = $4, status = $5, response = $6, finished_at = $7
            WHERE tenant = $1 AND key = $2
            """
        )
        {
            Parameters =
            {
                new() { Value = tenant.Value },
                new() { Value = answer.Key },
                new() { Value = answer.Fingerprint },
                new() { Value = job.Value },
                new() { Value = answer.Status },
                new() { Value = answer.Body },
                Moment(at),
            },
        };

    /// <summary>The statement that stores which tasks name a group of their own; a row for a chunk and a group.</summary>
    private static NpgsqlBatchCommand InsertGrouped(JobOrder order, IReadOnlyList<GroupedTask> grouped) =>
        new(
            """
            INSERT INTO task_groups (job, chunk, name, tenant, tasks)
            SELECT $1, g.chunk, g.name, $2, array_agg(g.task ORDER BY g.task)
            FROM unnest($3, $4, $5) AS g (chunk, name, task) GROUP BY g.chunk, g.name
            """
        )
        {
            Parameters =
            {
                new() { Value = order.Id.Value },
                new() { Value = order.Tenant.Value },
                new() { Value = grouped.Select(g => g.Chunk).ToArray() },
                new() { Value = grouped.Select(g => g.Group).ToArray() },
                new() { Value = grouped.Select(g => g.Task).ToArray() },
            },
        };

    /// <summary>Removes a job whose body never ended, with its chunks. One that was accepted after all stays.</summary>
    public async Task<bool> DeleteReceivingAsync(JobId job, CancellationToken stop)
    {
        await using var command = database.CreateCommand("DELETE FROM jobs WHERE id = $1 AND state = 'receiving'");
        command.Parameters.Add(new() { Value = job.Value });
        return await command.ExecuteNonQueryAsync(stop) > 0;
    }

    /// <param name="jobs">In the order in which their tenants' months are locked; without a moment, one whose body is still coming in.</param>
    private static NpgsqlBatchCommand InsertJobs((JobOrder Order, DateTimeOffset? QueuedAt, JobTotals Totals)[] jobs)
    {
        var insert = new NpgsqlBatchCommand(
            """
            INSERT INTO jobs (id, tenant, model, model_version, class, state, tasks, units, chunks, open_chunks, deadline, predicted_at,
                              webhook, metadata, max_cost_pico, retry_of, created_at, queued_at, per_million_units_pico,
                              estimate_pico, reserved_pico, predicted_early_at, predicted_late_at, predicted_cost_pico, group_name,
                              forecast_us, forecast_cost_pico, uses_cache, route, traceparent, forecast_wait_us)
            SELECT id, tenant, model, model_version, class, state, tasks, units, chunks, chunks, deadline, predicted_at,
                   webhook, metadata, max_cost_pico, retry_of, created_at, queued_at, per_million_units_pico,
                   estimate_pico, reserve_budget(tenant, queued_at, estimate_pico), predicted_early_at, predicted_late_at, predicted_cost_pico,
                   group_name, forecast_us, forecast_cost_pico, uses_cache, route, traceparent, forecast_wait_us
            FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
                        $26, $27, $28, $29)
              AS j (id, tenant, model, model_version, class, state, tasks, units, chunks, deadline, predicted_at, webhook, metadata,
                    max_cost_pico, retry_of, created_at, queued_at, per_million_units_pico, estimate_pico, predicted_early_at,
                    predicted_late_at, predicted_cost_pico, group_name, forecast_us, forecast_cost_pico, uses_cache, route, traceparent,
                    forecast_wait_us)
            """
        );
        var p = insert.Parameters;
        p.Add(new() { Value = Array.ConvertAll(jobs, j => j.Order.Id.Value) });
        p.Add(new() { Value = Array.ConvertAll(jobs, j => j.Order.Tenant.Value) });
        p.Add(new() { Value = Array.ConvertAll(jobs, j => j.Order.Model.Name) });
        p.Add(new() { Value = Array.ConvertAll(jobs, j => j.Order.Model.Version) });
        p.Add(new() { Value = Array.ConvertAll(jobs, j => j.Order.Class.Name()) });
        p.Add(new() { Value = Array.ConvertAll(jobs, j => (j.QueuedAt is null ? JobState.Receiving : JobState.Queued).Name()) });
        p.Add(new() { Value = Array.ConvertAll(jobs, j => j.Totals.Tasks) });
        p.Add(new() { Value = Array.ConvertAll(jobs, j => j.Totals.Units) });
        p.Add(new() { Value = Array.ConvertAll(jobs, j => j.Totals.Chunks) });
        p.Add(Moments(Array.ConvertAll(jobs, j => (DateTimeOffset?)j.Order.Deadline)));
        p.Add(Moments(Array.ConvertAll(jobs, j => j.Order.Predicted?.At)));
        p.Add(Texts(Array.ConvertAll(jobs, j => j.Order.Webhook)));
        p.Add(Json(Array.ConvertAll(jobs, j => (string?)JsonSerializer.Serialize(j.Order.Metadata))));
        p.Add(Amounts(Array.ConvertAll(jobs, j => j.Order.MaxCostPico)));
        p.Add(new() { Value = Array.ConvertAll(jobs, j => j.Order.RetryOf?.Value), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Uuid });
        p.Add(Moments(Array.ConvertAll(jobs, j => (DateTimeOffset?)j.Order.CreatedAt)));
        p.Add(Moments(Array.ConvertAll(jobs, j => j.QueuedAt)));
        p.Add(Amounts(Array.ConvertAll(jobs, j => j.Order.PerMillionUnitsPico)));
        p.Add(Amounts(Array.ConvertAll(jobs, j => j.Order.EstimatePico)));
        p.Add(Moments(Array.ConvertAll(jobs, j => j.Order.Predicted?.Early)));
        p.Add(Moments(Array.ConvertAll(jobs, j => j.Order.Predicted?.Late)));
        p.Add(Amounts(Array.ConvertAll(jobs, j => j.Order.Predicted?.CostPico)));
        p.Add(Texts(Array.ConvertAll(jobs, j => j.Order.Group)));
        p.Add(Amounts(Array.ConvertAll(jobs, j => j.Order.Predicted?.Forecast.Us)));
        p.Add(Amounts(Array.ConvertAll(jobs, j => j.Order.Predicted?.ForecastCostPico)));
        p.Add(new() { Value = Array.ConvertAll(jobs, j => j.Order.UsesCache) });
        p.Add(Json(Array.ConvertAll(jobs, j => j.Order.Route is { } route ? JsonSerializer.Serialize(route, ModelRoute.Json) : null)));
        p.Add(Texts(Array.ConvertAll(jobs, j => j.Order.Traceparent)));
        p.Add(Amounts(Array.ConvertAll(jobs, j => j.Order.Predicted?.Forecast.WaitUs)));
        return insert;
    }

    /// <summary>The event's data, in the form every <c>job.*</c> event has.</summary>
    private static string QueuedData(JobOrder order, JobTotals totals) =>
        JsonSerializer.Serialize(
            new
            {
                Job = order.Id,
                State = JobState.Queued,
                totals.Tasks,
            },
            ApiJson.Options
        );

    private static NpgsqlParameter Texts(string?[] texts) => new() { Value = texts, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text };

    private static NpgsqlParameter Json(string?[] texts) => new() { Value = texts, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Jsonb };

    private static NpgsqlParameter Amounts(long?[] amounts) =>
        new() { Value = amounts, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Bigint };

    private static NpgsqlParameter Moments(DateTimeOffset?[] moments) =>
        new()
        {
            Value = Array.ConvertAll(moments, m => m?.ToUniversalTime()),
            NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.TimestampTz,
        };

    private static NpgsqlParameter Amount(long? amount) =>
        new() { Value = (object?)amount ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Bigint };

    private static NpgsqlParameter Moment(DateTimeOffset? moment) =>
        new() { Value = (object?)moment?.ToUniversalTime() ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.TimestampTz };
}
