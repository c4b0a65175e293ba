using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// Ending tasks: the one sequence of statements by which a task gets its result, whoever ends it. Workers end what they ran, the
/// scheduler what never will. In the caller's transaction, in two round trips (five for a large write), by prepared statements:
/// planning anew would halve the rate of small groups. The second takes along what else the caller has to write.
/// <list type="number">
/// <item>lock the chunk rows in order; without that, two writers with the same tasks in another order deadlock;</item>
/// <item>insert the results, leaving out those that are there, and take the rows really inserted off each chunk's count;</item>
/// <item>note in <c>endings</c> which tasks ended in this transaction, so that they can be read as completed;</item>
/// <item>take each chunk that reached zero off its job's count; who brings that to zero finalises the job and writes its event.</item>
/// </list>
/// Tasks of a routed job whose answers were not accepted leave their chunk in the same sequence: a row in <c>turns</c> in place of one in
/// <c>results</c>, off the chunk's count as well, and a new chunk of the next variant, on its job's count before theirs is taken off. Both
/// kinds of row are written under the lock of the task's chunk, and each looks for the other: a task that was planned twice, and accepted
/// once and escalated once, goes the way of whoever was first.
/// Chunk rows are locked before job rows, everywhere: who holds a job's row lock must not ask for its chunks.
/// </summary>
public static class TaskEnds
{
    // From here on two round trips cost less than looking for a conflict with every row.
    private const int LargeWriteMin = 256;

    /// <summary>
    /// Planned for any values, once a connection. PostgreSQL plans statements whose arrays turn out short anew at every execution, and that takes
    /// longer than these do: 2 ms for an express request. Such a plan may be of a time when the tables were empty, so it may only be by index.
    /// </summary>
    private const string KeepPlansSql = """
        SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
               set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)
        """;

    private static readonly string InsertMissingSql = InsertSql("ON CONFLICT DO NOTHING");
    private static readonly string InsertRoutedSql = RoutedSql();

    /// <summary>Ends tasks. Each chunk may appear in one call per transaction.</summary>
    /// <param name="now">Time of the ends.</param>
    /// <param name="written">What the same writer has ended before; null where nothing is known of that.</param>
    /// <returns>Which rows were really inserted; the cost of the others is waste.</returns>
    /// <exception cref="InvalidOperationException">A row names a chunk that does not exist, or a task outside of it.</exception>
    public static async Task<EndedTasks> WriteAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        TaskEndRows rows,
        DateTimeOffset now,
        WrittenEnds? written = null,
        CancellationToken cancellationToken = default
    )
    {
        var ended = await InsertAsync(connection, transaction, rows, new EscalationRows(), now, written, cancellationToken);
        await using var batch = new NpgsqlBatch(connection, transaction);
        AddCounts(batch, ended, now);
        if (batch.BatchCommands.Count > 0)
        {
            await batch.PrepareAsync(cancellationToken);
            await batch.ExecuteNonQueryAsync(cancellationToken);
        }

        return ended;
    }

    /// <summary>
    /// Ends what has not ended of these chunks: a deadline has passed, a job was cancelled, or work cannot be done at all. A result
    /// that was committed first stands.
    /// </summary>
    /// <param name="outcome">Any but <see cref="TaskOutcome.Succeeded"/>.</param>
    /// <param name="kind">The error code of every task.</param>
    /// <param name="message">What is told to the client.</param>
    public static async Task<EndedTasks> EndRemainingAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        IReadOnlyList<ChunkKey> chunks,
        TaskOutcome outcome,
        FailureKind kind,
        string message,
        DateTimeOffset now,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentOutOfRangeException.ThrowIfEqual((int)outcome, (int)TaskOutcome.Succeeded, nameof(outcome));
        var rows = new TaskEndRows();
        await using var batch = new NpgsqlBatch(connection, transaction);
        batch.BatchCommands.Add(LockChunks(chunks));
        batch.BatchCommands.Add(ReadRemaining(chunks));
        await using (var reader = await batch.ExecuteReaderAsync(cancellationToken))
        {
            await reader.NextResultAsync(cancellationToken);
            while (await reader.ReadAsync(cancellationToken))
            {
                AddRemaining(rows, reader, outcome, kind.Info().Code, message, now);
            }
        }

        return await WriteAsync(connection, transaction, rows, now, cancellationToken: cancellationToken);
    }

    private static void AddRemaining(
        TaskEndRows rows,
        NpgsqlDataReader reader,
        TaskOutcome outcome,
        string code,
        string message,
        DateTimeOffset now
    )
    {
        var job = new JobId(reader.GetGuid(0));
        var firstSeq = reader.GetInt32(2);
        var waited = Math.Max(0, (now - reader.GetFieldValue<DateTimeOffset>(6)).Ticks / TimeSpan.TicksPerMicrosecond);
        var done = reader.GetFieldValue<int[]>(4).ToHashSet();
        var turn = reader.GetInt16(8);
        using var payload = ChunkPayload.Read(reader.GetFieldValue<byte[]>(3));
        var own = TaskBits.Places(reader.IsDBNull(7) ? null : reader.GetFieldValue<byte[]>(7)) ?? Enumerable.Range(0, payload.Count);
        foreach (var place in own)
        {
            if (!done.Contains(firstSeq + place))
            {
                rows.Add(
                    job,
                    reader.GetInt32(1),
                    firstSeq + place,
                    outcome,
                    customId: System.Text.Encoding.UTF8.GetString(payload.CustomId(place).Span),
                    output: null,
                    contentType: null,
                    errorCode: code,
                    errorMessage: message,
                    model: reader.GetString(5),
                    turns: (short)(turn - 1),
                    costPico: 0,
                    batch: null,
                    queuedUs: waited,
                    stagedUs: 0,
                    deviceUs: 0,
                    totalUs: waited,
                    routeTurn: reader.GetBoolean(9) ? turn : 0
                );
            }
        }
    }

    private static NpgsqlBatchCommand ReadRemaining(IReadOnlyList<ChunkKey> chunks) =>
        new(
            $"""
            SELECT c.job, c.no, c.first_seq, {ChunkSql.Payload},
                   CASE WHEN c.remaining = c.tasks THEN '{"{}"}' ELSE {ChunkSql.DoneSeqs} END,
                   {ChunkSql.Model}, coalesce(j.queued_at, j.created_at), c.own, c.turn, j.route IS NOT NULL
            FROM unnest($1, $2) AS k (job, no)
            JOIN chunks c ON c.job = k.job AND c.no = k.no
            JOIN jobs j ON j.id = c.job
            WHERE c.remaining > 0
            """
        )
        {
            Parameters = { Array(NpgsqlDbType.Uuid, Jobs(chunks)), Array(NpgsqlDbType.Integer, Numbers(chunks)) },
        };

    private static NpgsqlBatchCommand LockChunks(IReadOnlyList<ChunkKey> chunks) =>
        new(
            """
            SELECT c.job, c.no, c.first_seq, c.tasks - c.remaining FROM unnest($1, $2) AS k (job, no)
            JOIN chunks c ON c.job = k.job AND c.no = k.no
            ORDER BY c.job, c.no FOR UPDATE OF c
            """
        )
        {
            Parameters = { Array(NpgsqlDbType.Uuid, Jobs(chunks)), Array(NpgsqlDbType.Integer, Numbers(chunks)) },
        };

    /// <summary>
    /// Steps 1 and 2; <see cref="AddCounts"/> must follow in the same transaction. Each statement sees what was committed before it
    /// began, hence what the lock waited for. A large write looks at the locked chunks first: where it is sure that none of the rows is
    /// there already, they are copied, which takes half of the time.
    /// </summary>
    /// <param name="escalations">Turns after which tasks go on to the next variant of their route.</param>
    /// <inheritdoc cref="WriteAsync" path="/param|/returns|/exception"/>
    public static async Task<EndedTasks> InsertAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        TaskEndRows rows,
        EscalationRows escalations,
        DateTimeOffset now,
        WrittenEnds? written,
        CancellationToken cancellationToken
    )
    {
        if (rows.Count + escalations.Count == 0)
        {
            return EndedTasks.None;
        }

        await using var batch = new NpgsqlBatch(connection, transaction);
        if (rows.Count < LargeWriteMin || rows.AnyRouted || escalations.Count > 0)
        {
            batch.BatchCommands.Add(new(KeepPlansSql));
            batch.BatchCommands.Add(LockChunks([.. rows.Chunks.Union(escalations.From.Keys)]));
        }
        else
        {
            var counts = rows.CountByChunk();
            if (
                await LockMissingAsync(connection, transaction, rows.Chunks, counts, written ?? new(), cancellationToken)
                && rows.AreDistinct()
            )
            {
                return await CopyAsync(connection, transaction, rows, counts, now, cancellationToken);
            }
        }

        var locks = batch.BatchCommands.Count > 0;
        if (rows.Count > 0)
        {
            var insert = new NpgsqlBatchCommand(rows.AnyRouted ? InsertRoutedSql : InsertMissingSql);
            rows.AddTo(insert.Parameters);
            insert.Parameters.Add(Moment(now));
            batch.BatchCommands.Add(insert);
        }

        if (escalations.Count > 0)
        {
            var escalate = new NpgsqlBatchCommand(EscalateSql);
            escalations.AddTo(escalate.Parameters);
            escalate.Parameters.Add(Moment(now));
            batch.BatchCommands.Add(escalate);
        }

        await batch.PrepareAsync(cancellationToken);
        await using var reader = await batch.ExecuteReaderAsync(cancellationToken);
        if (locks)
        {
            await reader.NextResultAsync(cancellationToken);
            await reader.NextResultAsync(cancellationToken);
        }

        List<ChunkPart> ended = [];
        if (rows.Count > 0)
        {
            ended = await ReadPartsAsync(reader, cancellationToken);
            await reader.NextResultAsync(cancellationToken);
        }

        var left = escalations.Count > 0 ? await ReadPartsAsync(reader, cancellationToken) : [];
        return EndedTasks.From(rows, ended, escalations, left);
    }

    /// <summary>Step 2 for rows of which none is there.</summary>
    private static async Task<EndedTasks> CopyAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        TaskEndRows rows,
        IReadOnlyList<ChunkCounts> counts,
        DateTimeOffset now,
        CancellationToken cancellationToken
    )
    {
        await rows.CopyAsync(connection, now, cancellationToken);
        await using var command = new NpgsqlCommand(TakeCopiedSql, connection, transaction);
        Add(NpgsqlDbType.Uuid, c => c.Key.Job.Value);
        Add(NpgsqlDbType.Integer, c => c.Key.No);
        Add(NpgsqlDbType.Integer, c => c.Seqs.Count);
        Add(NpgsqlDbType.Bigint, c => c.CostPico);
        Add(NpgsqlDbType.Bigint, c => c.UnitsDone);
        Add(NpgsqlDbType.Integer, c => c.Of(TaskOutcome.Succeeded));
        Add(NpgsqlDbType.Integer, c => c.Of(TaskOutcome.Failed));
        Add(NpgsqlDbType.Integer, c => c.Of(TaskOutcome.Expired));
        Add(NpgsqlDbType.Integer, c => c.Of(TaskOutcome.Cancelled));
        await command.PrepareAsync(cancellationToken);
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var byKey = counts.ToDictionary(c => c.Key, c => c.Seqs);
        var parts = new List<ChunkPart>(counts.Count);
        while (await reader.ReadAsync(cancellationToken))
        {
            parts.Add(ChunkPart.Read(reader, byKey[ChunkPart.KeyOf(reader)]));
        }

        return EndedTasks.From(rows, parts, new EscalationRows(), []);

        void Add<T>(NpgsqlDbType element, Func<ChunkCounts, T> column) =>
            command.Parameters.Add(Array(element, counts.Select(column).ToArray()));
    }

    /// <summary>Locks the chunks; true when it is sure that no task that is to end has ended.</summary>
    private static async Task<bool> LockMissingAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        IReadOnlyList<ChunkKey> chunks,
        IReadOnlyList<ChunkCounts> counts,
        WrittenEnds written,
        CancellationToken cancellationToken
    )
    {
        await using var batch = new NpgsqlBatch(connection, transaction) { BatchCommands = { LockChunks(chunks) } };
        await batch.PrepareAsync(cancellationToken);
        await using var reader = await batch.ExecuteReaderAsync(cancellationToken);
        var seqs = counts.ToDictionary(c => c.Key, c => c.Seqs);
        var missing = true;
        while (await reader.ReadAsync(cancellationToken))
        {
            var key = ChunkPart.KeyOf(reader);
            missing = missing && written.Excludes(key, reader.GetInt32(2), reader.GetInt32(3), seqs[key]);
        }

        return missing;
    }

    private static async Task<List<ChunkPart>> ReadPartsAsync(NpgsqlDataReader reader, CancellationToken cancellationToken)
    {
        var parts = new List<ChunkPart>();
        while (await reader.ReadAsync(cancellationToken))
        {
            parts.Add(ChunkPart.Read(reader));
        }

        return parts;
    }

    private const string Rows = """
        SELECT r.*, $21
        FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) AS r
        """;

    /// <param name="rows">The query that gives the rows.</param>
    /// <param name="withCosts">Whether the answer has the costs of the inserted rows, too.</param>
    private static string InsertSql(string onConflict, string rows = Rows, bool withCosts = false) =>
        $"""
            WITH ended AS (
              INSERT INTO results (job, seq, chunk, custom_id, status, output, content_type, error_code, error_message,
                                   model, turns, cost_pico, batch, queued_us, staged_us, device_us, total_us, units, reused, saved_pico, finished_at)
              {rows}
              {onConflict}
              RETURNING job, seq, chunk, status, cost_pico, units
            ), counts AS (
              SELECT job, chunk, array_agg(seq) AS seqs, {(
                withCosts ? "array_agg(cost_pico) AS costs, " : ""
            )}count(*) AS ended, sum(cost_pico) AS cost_pico,
                     coalesce(sum(units) FILTER (WHERE status = 'succeeded'), 0) AS units_done,
                     count(*) FILTER (WHERE status = 'succeeded') AS succeeded,
                     count(*) FILTER (WHERE status = 'failed') AS failed,
                     count(*) FILTER (WHERE status = 'expired') AS expired,
                     count(*) FILTER (WHERE status = 'cancelled') AS cancelled
              FROM ended GROUP BY job, chunk
            ), {TakeSql(withCosts ? "n.seqs, n.costs" : "n.seqs")}
            """;

    /// <summary>Takes counts off their chunks, and tells of each what <see cref="ChunkPart.Read"/> reads.</summary>
    /// <param name="tasks">What is told of the tasks, last.</param>
    private static string TakeSql(string tasks) =>
        $"""
            taken AS (
              UPDATE chunks c SET
                remaining = c.remaining - n.ended, succeeded = c.succeeded + n.succeeded, failed = c.failed + n.failed,
                expired = c.expired + n.expired, cancelled = c.cancelled + n.cancelled, cost_pico = c.cost_pico + n.cost_pico,
                units_done = c.units_done + n.units_done
              FROM counts n WHERE c.job = n.job AND c.no = n.chunk
              RETURNING c.job, c.no, c.first_seq, {ChunkSql.Span} AS span, c.remaining
            )
            SELECT n.job, n.chunk, t.first_seq, t.span, t.remaining, j.state, j.max_cost_pico IS NOT NULL{(
                tasks.Length > 0 ? $", {tasks}" : ""
            )}
            FROM counts n
            LEFT JOIN taken t ON t.job = n.job AND t.no = n.chunk
            LEFT JOIN jobs j ON j.id = n.job
            """;

    private static readonly string TakeCopiedSql = $"""
        WITH counts AS (
          SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
            AS n (job, chunk, ended, cost_pico, units_done, succeeded, failed, expired, cancelled)
        ), {TakeSql("")}
        """;

    /// <summary>
    /// The same for a write with rows of routed jobs. What their earlier turns cost is added to what they cost; a row whose task has gone
    /// on to a later turn is left out. The other rows pay a comparison each.
    /// </summary>
    private static string RoutedSql() =>
        InsertSql(
            "ON CONFLICT DO NOTHING",
            """
            SELECT r.job, r.seq, r.chunk, r.custom_id, r.status, r.output, r.content_type, r.error_code, r.error_message, r.model,
                   r.turns, r.cost_pico + t.cost_pico, r.batch, r.queued_us, r.staged_us, r.device_us, r.total_us, r.units, r.reused,
                   r.saved_pico, $22
            FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) AS r
              (job, seq, chunk, custom_id, status, output, content_type, error_code, error_message, model, turns, cost_pico, batch,
               queued_us, staged_us, device_us, total_us, units, reused, saved_pico, turn)
            CROSS JOIN LATERAL (
              SELECT coalesce(sum(cost_pico), 0)::bigint AS cost_pico, coalesce(max(turn), 0) AS turn
              FROM turns WHERE r.turn > 0 AND job = r.job AND seq = r.seq
            ) AS t
            WHERE r.turn = 0 OR t.turn < r.turn
            """,
            withCosts: true
        );

    /// <summary>A task that has a result stays where it is.</summary>
    private const string EscalateSql = $"""
        WITH gone AS (
          INSERT INTO turns (job, seq, turn, chunk, model, batch, units, cost_pico, finished_at)
          SELECT t.*, $9 FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) AS t (job, seq, turn, chunk, model, batch, units, cost_pico)
          WHERE NOT EXISTS (SELECT FROM results r WHERE r.job = t.job AND r.seq = t.seq)
          ON CONFLICT DO NOTHING
          RETURNING job, seq, chunk
        ), counts AS (
          SELECT job, chunk, array_agg(seq) AS seqs, count(*) AS gone FROM gone GROUP BY job, chunk
        ), taken AS (
          UPDATE chunks c SET remaining = c.remaining - n.gone, escalated = c.escalated + n.gone
          FROM counts n WHERE c.job = n.job AND c.no = n.chunk
          RETURNING c.job, c.no, c.first_seq, {ChunkSql.Span} AS span, c.remaining
        )
        SELECT n.job, n.chunk, t.first_seq, t.span, t.remaining, j.state, j.max_cost_pico IS NOT NULL, n.seqs
        FROM counts n
        LEFT JOIN taken t ON t.job = n.job AND t.no = n.chunk
        LEFT JOIN jobs j ON j.id = n.job
        """;

    /// <summary>
    /// Adds steps 3 and 4 to a batch. Jobs are touched only by their first ending, where a chunk has closed or tasks have escalated, and
    /// where they have a budget. Where tasks have escalated, <see cref="EndedTasks.ReadOpenedAsync"/> reads the chunks made for them.
    /// </summary>
    /// <param name="worker">The worker that ended the tasks; null where none did.</param>
    public static void AddCounts(NpgsqlBatch batch, EndedTasks ended, DateTimeOffset now, WorkerId? worker = null)
    {
        var chunks = ended.Chunks;
        if (chunks.Count > 0)
        {
            batch.BatchCommands.Add(
                new("INSERT INTO endings (job, chunk, tasks, worker) SELECT e.*, $4 FROM unnest($1, $2, $3) AS e")
                {
                    Parameters =
                    {
                        Array(NpgsqlDbType.Uuid, chunks.Select(c => c.Key.Job.Value).ToArray()),
                        Array(NpgsqlDbType.Integer, chunks.Select(c => c.Key.No).ToArray()),
                        Array(NpgsqlDbType.Bytea, chunks.Select(c => c.Tasks).ToArray()),
                        new() { Value = (object?)worker?.Value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid },
                    },
                }
            );
        }

        // What escalates is counted after what ended in the same chunk, so a chunk is closed by one of them.
        var touched = chunks
            .Where(c => c.Closed || c.HasBudget || c.JobState == JobState.Queued)
            .Concat(ended.LeftChunks)
            .GroupBy(c => c.Key.Job)
            .Select(g => (Job: g.Key, Closed: g.Count(c => c.Closed)))
            .ToArray();
        if (touched.Length == 0)
        {
            return;
        }

        var jobs = touched.Select(t => t.Job.Value).ToArray();
        batch.BatchCommands.Add(
            new("SELECT FROM jobs WHERE id = ANY ($1) ORDER BY id FOR UPDATE") { Parameters = { Array(NpgsqlDbType.Uuid, jobs) } }
        );
        if (ended.Escalations.Count > 0)
        {
            batch.BatchCommands.Add(Escalation.Command(ended.Escalations, now));
        }

        batch.BatchCommands.Add(
            new(CloseSql)
            {
                Parameters =
                {
                    Array(NpgsqlDbType.Uuid, jobs),
                    Array(NpgsqlDbType.Integer, touched.Select(t => t.Closed).ToArray()),
                    Moment(now),
                },
            }
        );
    }

    /// <summary>
    /// The rows are locked by the statement before, and this one's snapshot is newer than the lock: so the sums over the chunks see
    /// every writer that came earlier, and exactly one writer sees the count reach zero. A job whose output files are still to be made
    /// is finalizing: who has made them completes it and writes its event. A job that has come to more than its budget is cancelled here:
    /// since the sums of such a job are made at its every write, under its lock, none later than the first that passes the budget.
    /// </summary>
    private static readonly string CloseSql = $$"""
        WITH counted AS (
          SELECT j.id, j.open_chunks - t.closed AS open_chunks, j.state AS before, j.max_cost_pico IS NOT NULL AS has_budget
          FROM unnest($1, $2) AS t (job, closed) JOIN jobs j ON j.id = t.job
        ), totals AS (
          SELECT c.job, sum(c.succeeded) AS succeeded, sum(c.failed) AS failed, sum(c.expired) AS expired,
                 sum(c.cancelled) AS cancelled, sum(c.cost_pico) AS cost_pico, sum(c.units_done) AS units_done
          FROM chunks c WHERE c.job IN (SELECT id FROM counted WHERE open_chunks = 0 OR has_budget) GROUP BY c.job
        ), ruled AS (
          SELECT n.*, n.open_chunks > 0 AND n.before IN ('queued', 'running')
                 AND {{JobSql.Price("s.units_done", "j")}} > j.max_cost_pico AS exceeds
          FROM counted n JOIN jobs j ON j.id = n.id LEFT JOIN totals s ON s.job = n.id
        ), closed AS (
          UPDATE jobs j SET
            open_chunks = n.open_chunks,
            started_at = coalesce(j.started_at, CASE WHEN j.state IN ('queued', 'running') THEN $3 END),
            cancel_reason = CASE WHEN n.exceeds THEN 'budget_exceeded' ELSE j.cancel_reason END,
            state = CASE WHEN n.exceeds THEN 'cancelling'
                         WHEN n.open_chunks > 0 THEN CASE j.state WHEN 'queued' THEN 'running' ELSE j.state END
                         WHEN j.state = 'cancelling' THEN 'cancelled'
                         WHEN s.expired > 0 THEN 'expired'
                         WHEN EXISTS (SELECT FROM openai_batches b WHERE b.job = j.id) THEN 'finalizing'
                         ELSE 'completed' END,
            succeeded = s.succeeded, failed = s.failed, expired = s.expired, cancelled = s.cancelled, cost_pico = s.cost_pico,
            units_done = s.units_done,
            finished_at = CASE WHEN n.open_chunks = 0 AND (j.state = 'cancelling' OR s.expired > 0
              OR NOT EXISTS (SELECT FROM openai_batches b WHERE b.job = j.id)) THEN $3 END
          FROM ruled n LEFT JOIN totals s ON s.job = n.id AND n.open_chunks = 0
          WHERE j.id = n.id
          RETURNING j.*, n.exceeds
        ), settled AS (
          UPDATE tenant_months m SET spent_pico = m.spent_pico + c.pico
          FROM (SELECT tenant, date_trunc('month', queued_at AT TIME ZONE 'UTC')::date AS month,
                       sum({{JobSql.Price("c.units_done", "c")}} - c.reserved_pico) AS pico
                FROM closed c WHERE c.open_chunks = 0 AND c.reserved_pico IS NOT NULL GROUP BY 1, 2) AS c
          WHERE m.tenant = c.tenant AND m.month = c.month
        )
        INSERT INTO events (tenant, job, type, data, created_at)
        SELECT tenant, id, 'job.' || state,
               CASE WHEN exceeds THEN jsonb_build_object('job', id, 'state', state, 'reason', cancel_reason)
                    ELSE jsonb_build_object('job', id, 'state', state, 'tasks', tasks, 'succeeded', succeeded, 'failed', failed,
                                            'expired', expired, 'cancelled', cancelled, 'cost_pico_usd', cost_pico)
                         || CASE WHEN cancel_reason IS NULL THEN '{}' ELSE jsonb_build_object('reason', cancel_reason) END END,
               $3
        FROM closed WHERE finished_at IS NOT NULL OR exceeds
        """;

    private static List<Guid> Jobs(IReadOnlyList<ChunkKey> chunks) => [.. chunks.Select(c => c.Job.Value)];

    private static List<int> Numbers(IReadOnlyList<ChunkKey> chunks) => [.. chunks.Select(c => c.No)];

    private static NpgsqlParameter Moment(DateTimeOffset at) =>
        new() { Value = at.ToUniversalTime(), NpgsqlDbType = NpgsqlDbType.TimestampTz };

    private static NpgsqlParameter Array(NpgsqlDbType element, object values) =>
        new() { Value = values, NpgsqlDbType = NpgsqlDbType.Array | element };
}
