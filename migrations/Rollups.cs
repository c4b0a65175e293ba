using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;

namespace Pipeline.Migrations;

/// <summary>Up to which transaction usage has been rolled up. The table has exactly one row, there from the start with transaction 0.</summary>
public sealed class RollupsRow
{
    /// <summary>Always true; the key that allows one row.</summary>
    public bool One { get; set; } = true;

    /// <summary>The last transaction that is in the rollups; all before it are, too.</summary>
    public required ulong Xid { get; set; }
    public required DateTimeOffset At { get; set; }
}

internal sealed class RollupsTable : IEntityTypeConfiguration<RollupsRow>
{
    public void Configure(EntityTypeBuilder<RollupsRow> builder)
    {
        builder.ToTable("rollups", t => t.HasCheckConstraint("ck_rollups_one", "one"));
        builder.HasKey(r => r.One);
        builder.Property(r => r.One).HasDefaultValue(true).ValueGeneratedNever();
        builder.Property(r => r.Xid).HasColumnType("xid8");
    }
}

/// <summary>What a turn did.</summary>
public enum RollupTurn
{
    /// <summary>Another instance is at it, or nothing is there.</summary>
    Nothing,

    /// <summary>All that was committed is in.</summary>
    Done,

    /// <summary>So many transactions are in, and more wait.</summary>
    MoreWaits,
}

/// <summary>
/// Keeps <c>usage_days</c>, <c>device_days</c> and <c>allocated_days</c>, <c>groups</c>, <c>calibration_days</c>, the sums of
/// <see cref="SlaTables"/> and <c>sla_breaches</c> up to date with <c>endings</c>, <c>ledger</c> and the ends of jobs in <c>events</c>. Work is taken
/// by the number of its transaction, below the oldest that is still open: nothing can commit there any more, so each transaction is
/// counted once and none is skipped, however late it commits. Sums and the mark move in one transaction, so a crash undoes both.
/// A task's result and its device time are written in one transaction (the worker's), hence are always rolled up together.
/// </summary>
public static class Rollups
{
    /// <summary>Rolls up the next transactions, whole ones.</summary>
    /// <param name="rowsMax">Rows of <c>endings</c> (a chunk each), and of <c>ledger</c>, after which no further transaction is begun.</param>
    public static async Task<RollupTurn> TurnAsync(NpgsqlDataSource database, int rowsMax, CancellationToken cancellationToken = default)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        if (await WindowAsync(connection, transaction, rowsMax, cancellationToken) is not var (after, through, more))
        {
            return RollupTurn.Nothing;
        }

        var ended = await ReadEndedAsync(connection, transaction, after, through, cancellationToken);
        await SlaStore.MergeAsync(connection, transaction, ended.Added, cancellationToken);
        await using var batch = new NpgsqlBatch(connection, transaction)
        {
            BatchCommands =
            {
                Windowed(DevicesSql, after, through),
                Windowed(GroupsSql, after, through),
                Windowed(CalibrationSql, after, through),
            },
        };
        if (ended.HasBreaches)
        {
            batch.BatchCommands.Add(Windowed(SlaRollup.BreachesSql, after, through, SlaRollup.Classes, SlaRollup.TargetsUs));
        }

        batch.BatchCommands.Add(Windowed(MoveSql, after, through));
        await batch.ExecuteNonQueryAsync(cancellationToken);
        if (batch.BatchCommands[^1].RecordsAffected != 1)
        {
            throw new InvalidOperationException(
                $"The rollups' mark was moved from transaction {after} by somebody who does not hold their lock."
            );
        }

        await transaction.CommitAsync(cancellationToken);
        return more ? RollupTurn.MoreWaits : RollupTurn.Done;
    }

    /// <summary>The transactions to take, or null when another instance is at it or nothing is there. Reads only: see <see cref="TasksSql"/>.</summary>
    private static async Task<(ulong After, ulong Through, bool More)?> WindowAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        int rowsMax,
        CancellationToken cancellationToken
    )
    {
        await using var command = new NpgsqlCommand(WindowSql, connection, transaction);
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = rowsMax - 1 });
        await using (
            var lockIt = new NpgsqlCommand("SELECT pg_try_advisory_xact_lock(hashtextextended('rollups', 0))", connection, transaction)
        )
        {
            if (await lockIt.ExecuteScalarAsync(cancellationToken) is not true)
            {
                return null;
            }
        }

        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        return await reader.ReadAsync(cancellationToken)
            ? (reader.GetFieldValue<ulong>(0), reader.GetFieldValue<ulong>(1), reader.GetBoolean(2))
            : null;
    }

    /// <summary>Rolls tasks up, and reads by the minute what ended: each result is looked at once for all of it.</summary>
    private static async Task<SlaRollup> ReadEndedAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        ulong after,
        ulong through,
        CancellationToken cancellationToken
    )
    {
        await using var batch = new NpgsqlBatch(connection, transaction)
        {
            BatchCommands = { Windowed(TasksSql, after, through, SlaRollup.ClientFaults), Windowed(SlaRollup.JobsSql, after, through) },
        };
        await using var reader = await batch.ExecuteReaderAsync(cancellationToken);
        var ended = new SlaRollup();
        await ended.ReadTasksAsync(reader, cancellationToken);
        await reader.NextResultAsync(cancellationToken);
        await ended.ReadJobsAsync(reader, cancellationToken);
        return ended;
    }

    private static NpgsqlBatchCommand Windowed(string sql, ulong after, ulong through, params IReadOnlyList<Array> values)
    {
        var command = new NpgsqlBatchCommand(sql)
        {
            Parameters =
            {
                new() { Value = after, NpgsqlDbType = NpgsqlDbType.Xid8 },
                new() { Value = through, NpgsqlDbType = NpgsqlDbType.Xid8 },
            },
        };
        foreach (var value in values)
        {
            command.Parameters.Add(new() { Value = value });
        }

        return command;
    }

    // No row when nothing waits: an idle database is left alone. There are no aggregates of xid8 before PostgreSQL 16, hence the sorting.
    private const string WindowSql = """
        WITH closed AS (
          SELECT r.xid AS after, pg_snapshot_xmin(pg_current_snapshot()) AS open FROM rollups r
        ), ends AS (
          (SELECT e.xid FROM closed c CROSS JOIN LATERAL
             (SELECT xid FROM endings WHERE xid > c.after AND xid < c.open ORDER BY xid OFFSET $1 LIMIT 1) e)
          UNION ALL
          (SELECT l.xid FROM closed c CROSS JOIN LATERAL
             (SELECT xid FROM ledger WHERE xid > c.after AND xid < c.open ORDER BY xid OFFSET $1 LIMIT 1) l)
        ), full_turn AS (
          SELECT xid FROM ends ORDER BY xid LIMIT 1
        )
        SELECT c.after, coalesce((SELECT xid FROM full_turn), ((c.open::text::bigint - 1)::text)::xid8), EXISTS (SELECT FROM full_turn)
        FROM closed c
        WHERE EXISTS (SELECT FROM endings WHERE xid > c.after AND xid < c.open)
           OR EXISTS (SELECT FROM ledger WHERE xid > c.after AND xid < c.open)
           OR EXISTS (SELECT FROM events WHERE type IN ('job.completed', 'job.expired') AND xid > c.after AND xid < c.open)
        """;

    /// <summary>
    /// The subqueries with <c>OFFSET 0</c> are walked by their keys, whatever the statistics say: a plan that reads all of
    /// <c>results</c> would be right once and ruinous ever after. Tasks are summed before batches and jobs are looked up, so a chunk
    /// costs as many look-ups as it had batches. All of it is read before the first row is written: until then this transaction has no
    /// number, and holds back nobody who reads in order of transactions. Days are of UTC. Tasks are grouped with their times first, which
    /// those of a batch share: so what is handed over to be summed up by the minute is a row for each, not one a task. That is done ending by
    /// ending: all of a turn's tasks at once would be sorted, on disk where they are many.
    /// <para>
    /// A turn that a task escalated from counts when it ran, for the model that ran: its units, its turn, its cost. What a result says of
    /// earlier turns is taken off there, so that nothing counts twice; only the last turn's model has the task.
    /// </para>
    /// </summary>
    private const string TasksSql = """
        WITH timed AS MATERIALIZED (
          SELECT e.job, e.xid, e.chunk, r.*
          FROM endings e
          CROSS JOIN LATERAL (
            SELECT c.first_seq, octet_length(e.tasks) * 8 AS span, c.turn FROM chunks c WHERE c.job = e.job AND c.no = e.chunk OFFSET 0
          ) c
          CROSS JOIN LATERAL (
            SELECT r.batch, r.model, r.finished_at, r.queued_us, r.staged_us, r.device_us, r.total_us,
                   count(*) FILTER (WHERE r.status = 'succeeded') AS succeeded, count(*) FILTER (WHERE r.status = 'failed') AS failed,
                   count(*) FILTER (WHERE r.status = 'failed' AND r.error_code = ANY ($3)) AS client_faults,
                   count(*) FILTER (WHERE r.status = 'expired') AS expired, count(*) FILTER (WHERE r.status = 'cancelled') AS cancelled,
                   sum(r.units) AS units, coalesce(sum(r.units) FILTER (WHERE r.status = 'succeeded'), 0) AS units_done,
                   sum(r.turns - (c.turn - 1)) AS turns,
                   sum(r.cost_pico - CASE WHEN c.turn > 1 THEN (
                     SELECT coalesce(sum(t.cost_pico), 0) FROM turns t WHERE t.job = e.job AND t.seq = r.seq
                   ) ELSE 0 END) AS cost_pico,
                   count(*) FILTER (WHERE r.reused = 'job') AS reused_job, count(*) FILTER (WHERE r.reused = 'cache') AS reused_cache,
                   coalesce(sum(r.saved_pico), 0) AS saved_pico
            FROM results r
            WHERE r.job = e.job AND r.seq >= c.first_seq AND r.seq < c.first_seq + c.span AND get_bit(e.tasks, r.seq - c.first_seq) = 1
            GROUP BY r.batch, r.model, r.finished_at, r.queued_us, r.staged_us, r.device_us, r.total_us
          ) r
          WHERE e.xid > $1 AND e.xid <= $2
        ), ended AS MATERIALIZED (
          SELECT job, xid, batch, model, finished_at, (finished_at AT TIME ZONE 'UTC')::date AS day, sum(succeeded)::bigint AS succeeded,
                 sum(failed)::bigint AS failed, sum(client_faults)::bigint AS client_faults, sum(expired)::bigint AS expired,
                 sum(cancelled)::bigint AS cancelled, sum(units)::bigint AS units, sum(units_done)::bigint AS units_done,
                 sum(turns)::bigint AS turns, sum(cost_pico)::bigint AS cost_pico, sum(reused_job)::bigint AS reused_job,
                 sum(reused_cache)::bigint AS reused_cache, sum(saved_pico)::bigint AS saved_pico, array_agg(succeeded) AS tasks,
                 array_agg(queued_us) AS queued_us, array_agg(staged_us::bigint) AS staged_us, array_agg(device_us::bigint) AS device_us,
                 array_agg(total_us) AS total_us
          FROM timed GROUP BY job, xid, chunk, batch, model, finished_at
          UNION ALL
          SELECT t.job, t.xid, t.batch, t.model, t.finished_at, (t.finished_at AT TIME ZONE 'UTC')::date, 0, 0, 0, 0, 0, sum(t.units), 0,
                 count(*), sum(t.cost_pico)::bigint, 0, 0, 0, '{}', '{}', '{}', '{}', '{}'
          FROM turns t
          WHERE t.xid > $1 AND t.xid <= $2
          GROUP BY t.job, t.xid, t.chunk, t.batch, t.model, t.finished_at
        ), placed AS MATERIALIZED (
          SELECT n.*, j.tenant, j.class, j.per_million, b.pool, b.price_per_hour_pico, coalesce(b.booked, n.day) AS booked,
                 coalesce(b.device_ns / b.padded_units * n.units + b.device_ns % b.padded_units * n.units / b.padded_units, 0) AS device_ns,
                 coalesce(b.padded_units::numeric * n.units / nullif(b.units, 0), 0)::bigint AS padded_units, coalesce(b.rows, 0) AS rows
          FROM ended n
          CROSS JOIN LATERAL (
            SELECT tenant, class, coalesce(per_million_units_pico, 0) AS per_million FROM jobs WHERE id = n.job OFFSET 0
          ) j
          LEFT JOIN LATERAL (
            SELECT w.pool, p.price_per_hour_pico, b.device_ns, b.rows, b.units, nullif(b.padded_units, 0) AS padded_units,
                   (i.at AT TIME ZONE 'UTC')::date AS booked
            FROM batches b JOIN workers w ON w.id = b.worker
            LEFT JOIN LATERAL (SELECT l.at, l.from_ns FROM ledger l WHERE l.xid = n.xid AND l.worker = w.id LIMIT 1) i ON true
            CROSS JOIN LATERAL (
              SELECT s.price_per_hour_pico FROM device_prices(w.pool, w.started_at, w.price_per_hour_pico) s
              WHERE s.from_ns <= coalesce(i.from_ns, 0) ORDER BY s.from_ns DESC LIMIT 1
            ) p
            WHERE b.id = n.batch OFFSET 0
          ) b ON true
        ), used AS (
          INSERT INTO usage_days AS u (day, tenant, class, model, succeeded, failed, expired, cancelled, units, turns, device_ns, cost_pico,
                                      reused_job, reused_cache, saved_pico)
          SELECT day, tenant, class, model, sum(succeeded), sum(failed), sum(expired), sum(cancelled), sum(units), sum(turns),
                 sum(device_ns), sum(cost_pico), sum(reused_job), sum(reused_cache), sum(saved_pico)
          FROM placed GROUP BY day, tenant, class, model
          ON CONFLICT (tenant, day, class, model) DO UPDATE SET
            succeeded = u.succeeded + excluded.succeeded, failed = u.failed + excluded.failed, expired = u.expired + excluded.expired,
            cancelled = u.cancelled + excluded.cancelled, units = u.units + excluded.units, turns = u.turns + excluded.turns,
            device_ns = u.device_ns + excluded.device_ns, cost_pico = u.cost_pico + excluded.cost_pico,
            reused_job = u.reused_job + excluded.reused_job, reused_cache = u.reused_cache + excluded.reused_cache,
            saved_pico = u.saved_pico + excluded.saved_pico
        ), allocated AS (
          INSERT INTO allocated_days AS a (day, pool, price_per_hour_pico, tenant, class, model, tasks, units, cost_pico)
          SELECT booked, pool, price_per_hour_pico, tenant, class, model, sum(succeeded + failed + expired + cancelled), sum(units),
                 sum(cost_pico)
          FROM placed WHERE pool IS NOT NULL GROUP BY booked, pool, price_per_hour_pico, tenant, class, model
          ON CONFLICT (day, pool, price_per_hour_pico, tenant, class, model) DO UPDATE SET
            tasks = a.tasks + excluded.tasks, units = a.units + excluded.units, cost_pico = a.cost_pico + excluded.cost_pico
        )
        SELECT finished_at, tenant, class, model, succeeded, failed, client_faults, expired, cancelled, reused_job, reused_cache, turns,
               units, padded_units, rows * turns, cost_pico, div(units_done::numeric * per_million, 1000000)::bigint, saved_pico,
               tasks, queued_us, staged_us, device_us, total_us
        FROM placed
        """;

    private const string DevicesSql = """
        INSERT INTO device_days AS d (day, pool, price_per_hour_pico, account, detail, ns, pico)
        SELECT (l.at AT TIME ZONE 'UTC')::date, w.pool, p.price_per_hour_pico, l.account, coalesce(l.detail, ''), sum(l.ns), sum(l.pico)
        FROM ledger l JOIN workers w ON w.id = l.worker
        CROSS JOIN LATERAL (
          SELECT s.price_per_hour_pico FROM device_prices(w.pool, w.started_at, w.price_per_hour_pico) s
          WHERE s.from_ns <= l.from_ns ORDER BY s.from_ns DESC LIMIT 1
        ) p
        WHERE l.xid > $1 AND l.xid <= $2
        GROUP BY 1, 2, 3, 4, 5
        ON CONFLICT (day, pool, price_per_hour_pico, account, detail) DO UPDATE SET ns = d.ns + excluded.ns, pico = d.pico + excluded.pico
        """;

    /// <summary>
    /// A task belongs to the group it names, else to its job's. Chunks without grouped tasks cost a look at their job and one at
    /// <c>task_groups</c>; of the others the results are read once more. Each task ends once, so it is in one ending.
    /// </summary>
    private const string GroupsSql = """
        WITH grouped AS MATERIALIZED (
          SELECT e.job, e.tasks AS ended, c.no, c.first_seq, octet_length(e.tasks) * 8 AS span, j.*
          FROM endings e
          CROSS JOIN LATERAL (
            SELECT tenant, class, queued_at, coalesce(per_million_units_pico, 0) AS per_million, group_name,
                   (route ->> 'name') || '@' || (route ->> 'version') AS route
            FROM jobs WHERE id = e.job OFFSET 0
          ) j
          CROSS JOIN LATERAL (
            SELECT coalesce(root, no) AS no, first_seq FROM chunks WHERE job = e.job AND no = e.chunk OFFSET 0
          ) c
          WHERE e.xid > $1 AND e.xid <= $2
            AND (j.group_name IS NOT NULL OR EXISTS (SELECT FROM task_groups t WHERE t.job = e.job AND t.chunk = c.no))
        ), named AS MATERIALIZED (
          SELECT g.job, g.first_seq + o.task AS seq, t.name
          FROM grouped g JOIN task_groups t ON t.job = g.job AND t.chunk = g.no
          CROSS JOIN LATERAL unnest(t.tasks) AS o (task)
          WHERE get_bit(g.ended, o.task) = 1
        ), ended AS (
          SELECT g.tenant, coalesce(n.name, g.group_name) AS name, g.class, g.route, g.queued_at, g.per_million, r.*
          FROM grouped g
          CROSS JOIN LATERAL (
            SELECT seq, status = 'succeeded' AS succeeded, model, finished_at, units, turns, cost_pico FROM results
            WHERE job = g.job AND seq >= g.first_seq AND seq < g.first_seq + g.span OFFSET 0
          ) r
          LEFT JOIN named n ON n.job = g.job AND n.seq = r.seq
          WHERE get_bit(g.ended, r.seq - g.first_seq) = 1
        )
        INSERT INTO groups AS g (tenant, name, first_at, last_at, requests, succeeded, turns, cost_pico, price_millionths, models, classes,
                                 routes)
        SELECT tenant, name, min(queued_at), max(finished_at), count(*), count(*) FILTER (WHERE succeeded), sum(turns), sum(cost_pico),
               coalesce(sum(units::numeric * per_million) FILTER (WHERE succeeded), 0),
               array_agg(DISTINCT model COLLATE "C" ORDER BY model COLLATE "C"), array_agg(DISTINCT class COLLATE "C" ORDER BY class COLLATE "C"),
               coalesce(array_agg(DISTINCT route COLLATE "C" ORDER BY route COLLATE "C") FILTER (WHERE route IS NOT NULL), '{}')
        FROM ended WHERE name IS NOT NULL GROUP BY tenant, name
        ON CONFLICT (tenant, name) DO UPDATE SET
          first_at = least(g.first_at, excluded.first_at), last_at = greatest(g.last_at, excluded.last_at),
          requests = g.requests + excluded.requests, succeeded = g.succeeded + excluded.succeeded, turns = g.turns + excluded.turns,
          cost_pico = g.cost_pico + excluded.cost_pico, price_millionths = g.price_millionths + excluded.price_millionths,
          models = ARRAY(SELECT DISTINCT m COLLATE "C" FROM unnest(g.models || excluded.models) AS m ORDER BY 1),
          classes = ARRAY(SELECT DISTINCT c COLLATE "C" FROM unnest(g.classes || excluded.classes) AS c ORDER BY 1),
          routes = ARRAY(SELECT DISTINCT r COLLATE "C" FROM unnest(g.routes || excluded.routes) AS r ORDER BY 1)
        """;

    /// <summary>
    /// Scores jobs that ended against what was predicted when they were accepted. One that expired had a completion predicted and none
    /// happened: it is not covered, and as late as its end at least. Those that their owner held back or moved to another class are left out, as are cancelled ones.
    /// Cost is compared where all of it was spent. (PostgreSQL may divide before it looks at the condition beside.)
    /// </summary>
    private const string CalibrationSql = """
        INSERT INTO calibration_days AS c
          (day, class, model, jobs, covered, time_error, time_error_absolute, cost_jobs, cost_error, cost_error_absolute)
        SELECT (j.finished_at AT TIME ZONE 'UTC')::date, j.class, j.model || '@' || j.model_version, count(*),
               count(*) FILTER (WHERE j.state = 'completed' AND j.finished_at BETWEEN j.predicted_early_at AND j.predicted_late_at),
               sum(t.error), sum(abs(t.error)), count(k.error), coalesce(sum(k.error), 0), coalesce(sum(abs(k.error)), 0)
        FROM events e
        JOIN jobs j ON j.id = e.job
        CROSS JOIN LATERAL (
          SELECT extract(epoch FROM j.predicted_at - j.queued_at)::float8 / nullif(extract(epoch FROM j.finished_at - j.queued_at), 0)::float8 - 1 AS error
          WHERE j.finished_at > j.queued_at
        ) t
        LEFT JOIN LATERAL (
          SELECT j.predicted_cost_pico::float8 / nullif(j.cost_pico, 0)::float8 - 1 AS error
          WHERE j.state = 'completed' AND j.cost_pico > 0 AND j.predicted_cost_pico IS NOT NULL
        ) k ON true
        WHERE e.type IN ('job.completed', 'job.expired') AND e.xid > $1 AND e.xid <= $2 AND j.predicted_late_at IS NOT NULL AND j.route IS NULL AND j.class_since IS NULL
          AND NOT EXISTS (SELECT FROM events p WHERE p.job = j.id AND p.type = 'job.paused')
        GROUP BY 1, 2, 3
        ON CONFLICT (day, class, model) DO UPDATE SET
          jobs = c.jobs + excluded.jobs, covered = c.covered + excluded.covered, time_error = c.time_error + excluded.time_error,
          time_error_absolute = c.time_error_absolute + excluded.time_error_absolute, cost_jobs = c.cost_jobs + excluded.cost_jobs,
          cost_error = c.cost_error + excluded.cost_error, cost_error_absolute = c.cost_error_absolute + excluded.cost_error_absolute
        """;

    private const string MoveSql = "UPDATE rollups SET xid = $2, at = now() WHERE xid = $1";
}
