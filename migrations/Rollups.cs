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
/// Keeps <c>usage_days</c>, <c>device_days</c> and <c>allocated_days</c> up to date with <c>endings</c> and <c>ledger</c>. Work is taken
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

        await using var batch = new NpgsqlBatch(connection, transaction)
        {
            BatchCommands = { Windowed(TasksSql, after, through), Windowed(DevicesSql, after, through), Windowed(MoveSql, after, through) },
        };
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

    private static NpgsqlBatchCommand Windowed(string sql, ulong after, ulong through) =>
        new(sql)
        {
            Parameters =
            {
                new() { Value = after, NpgsqlDbType = NpgsqlDbType.Xid8 },
                new() { Value = through, NpgsqlDbType = NpgsqlDbType.Xid8 },
            },
        };

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
        """;

    /// <summary>
    /// The subqueries with <c>OFFSET 0</c> are walked by their keys, whatever the statistics say: a plan that reads all of
    /// <c>results</c> would be right once and ruinous ever after. Tasks are summed before batches and jobs are looked up, so a chunk
    /// costs as many look-ups as it had batches. All of it is read before the first row is written: until then this transaction has no
    /// number, and holds back nobody who reads in order of transactions. Days are of UTC.
    /// <para>
    /// A turn that a task escalated from counts when it ran, for the model that ran: its units, its turn, its cost. What a result says of
    /// earlier turns is taken off there, so that nothing counts twice; only the last turn's model has the task.
    /// </para>
    /// </summary>
    private const string TasksSql = """
        WITH ended AS MATERIALIZED (
          SELECT e.job, e.xid, r.batch, r.model, (r.finished_at AT TIME ZONE 'UTC')::date AS day,
                 count(*) FILTER (WHERE r.status = 'succeeded') AS succeeded, count(*) FILTER (WHERE r.status = 'failed') AS failed,
                 count(*) FILTER (WHERE r.status = 'expired') AS expired, count(*) FILTER (WHERE r.status = 'cancelled') AS cancelled,
                 sum(r.units) AS units, sum(r.turns - (c.turn - 1)) AS turns, sum(r.cost_pico - coalesce(t.cost_pico, 0)) AS cost_pico
          FROM endings e
          CROSS JOIN LATERAL (
            SELECT c.first_seq, octet_length(e.tasks) * 8 AS span, c.turn FROM chunks c WHERE c.job = e.job AND c.no = e.chunk OFFSET 0
          ) c
          CROSS JOIN LATERAL (
            SELECT seq, status, model, finished_at, units, turns, cost_pico, batch FROM results
            WHERE job = e.job AND seq >= c.first_seq AND seq < c.first_seq + c.span OFFSET 0
          ) r
          LEFT JOIN LATERAL (
            SELECT sum(cost_pico) AS cost_pico FROM turns WHERE c.turn > 1 AND job = e.job AND seq = r.seq
          ) t ON true
          WHERE e.xid > $1 AND e.xid <= $2 AND get_bit(e.tasks, r.seq - c.first_seq) = 1
          GROUP BY e.job, e.xid, e.chunk, r.batch, r.model, 5
          UNION ALL
          SELECT t.job, t.xid, t.batch, t.model, (t.finished_at AT TIME ZONE 'UTC')::date, 0, 0, 0, 0, sum(t.units), count(*), sum(t.cost_pico)
          FROM turns t
          WHERE t.xid > $1 AND t.xid <= $2
          GROUP BY t.job, t.xid, t.chunk, t.batch, t.model, 5
        ), placed AS MATERIALIZED (
          SELECT n.*, j.tenant, j.class, b.pool, b.price_per_hour_pico, coalesce(b.booked, n.day) AS booked,
                 coalesce(b.device_ns / b.padded_units * n.units + b.device_ns % b.padded_units * n.units / b.padded_units, 0) AS device_ns
          FROM ended n
          CROSS JOIN LATERAL (SELECT tenant, class FROM jobs WHERE id = n.job OFFSET 0) j
          LEFT JOIN LATERAL (
            SELECT w.pool, p.price_per_hour_pico, b.device_ns, nullif(b.padded_units, 0) AS padded_units,
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
          INSERT INTO usage_days AS u (day, tenant, class, model, succeeded, failed, expired, cancelled, units, turns, device_ns, cost_pico)
          SELECT day, tenant, class, model, sum(succeeded), sum(failed), sum(expired), sum(cancelled), sum(units), sum(turns),
                 sum(device_ns), sum(cost_pico)
          FROM placed GROUP BY day, tenant, class, model
          ON CONFLICT (tenant, day, class, model) DO UPDATE SET
            succeeded = u.succeeded + excluded.succeeded, failed = u.failed + excluded.failed, expired = u.expired + excluded.expired,
            cancelled = u.cancelled + excluded.cancelled, units = u.units + excluded.units, turns = u.turns + excluded.turns,
            device_ns = u.device_ns + excluded.device_ns, cost_pico = u.cost_pico + excluded.cost_pico
        )
        INSERT INTO allocated_days AS a (day, pool, price_per_hour_pico, tenant, class, model, tasks, units, cost_pico)
        SELECT booked, pool, price_per_hour_pico, tenant, class, model, sum(succeeded + failed + expired + cancelled), sum(units),
               sum(cost_pico)
        FROM placed WHERE pool IS NOT NULL GROUP BY booked, pool, price_per_hour_pico, tenant, class, model
        ON CONFLICT (day, pool, price_per_hour_pico, tenant, class, model) DO UPDATE SET
          tasks = a.tasks + excluded.tasks, units = a.units + excluded.units, cost_pico = a.cost_pico + excluded.cost_pico
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

    private const string MoveSql = "UPDATE rollups SET xid = $2, at = now() WHERE xid = $1";
}
