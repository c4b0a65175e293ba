using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// Data of an ended job that is being removed. The row is written in the transaction that marks the job (<c>jobs.outputs_removed_at</c>
/// and its kin), so that nobody reads what is half gone, and goes when all is: whoever dies in between, the next one goes on.
/// </summary>
public sealed class JobRemovalRow
{
    public required JobId Job { get; set; }

    /// <summary><c>inputs</c>, <c>outputs</c> or <c>logs</c>.</summary>
    public required string Kind { get; set; }

    /// <summary>The first chunk or task of a large job that has not been looked at.</summary>
    public int Next { get; set; }

    /// <summary>The erasure that asked for it; null where its time had come.</summary>
    public Guid? Erasure { get; set; }
}

internal sealed class JobRemovalsTable : IEntityTypeConfiguration<JobRemovalRow>
{
    public void Configure(EntityTypeBuilder<JobRemovalRow> builder)
    {
        builder.ToTable(
            "job_removals",
            t => t.HasCheckConstraint("ck_job_removals_kind", "kind IN ('inputs', 'outputs', 'logs') AND next >= 0")
        );
        builder.HasKey(r => new { r.Job, r.Kind });
        builder.HasOne<JobRow>().WithMany().HasForeignKey(r => r.Job).OnDelete(DeleteBehavior.Cascade);
        builder.HasOne<ErasureRow>().WithMany().HasForeignKey(r => r.Erasure).OnDelete(DeleteBehavior.Restrict);
        builder.HasIndex(r => r.Erasure, "ix_job_removals_erasure").HasFilter("erasure IS NOT NULL");
        builder.Property(r => r.Next).HasDefaultValue(0);
    }
}

/// <summary>What of a job's data is removed by itself.</summary>
public enum RemovalKind
{
    /// <summary>Payloads of its chunks.</summary>
    Inputs,

    /// <summary>Results, with the turns before them and the order they ended in.</summary>
    Outputs,

    /// <summary>Its events, and the deliveries that told of them.</summary>
    Logs,
}

/// <summary>
/// Removes data of ended jobs: first marks a job, from when on its data is not shown any more, then removes the rows in steps that commit by
/// themselves. Only what has ended is touched, and only what the rollups have counted, so every sum stays as it is.
/// </summary>
public static class JobRemovals
{
    /// <summary>Jobs of one step.</summary>
    private const int JobsMax = 256;

    /// <summary>Rows that weigh as much as a chunk's payload.</summary>
    private const int RowsOfChunk = 64;

    /// <summary>True of a job <c>j</c> whose ends are all in the rollups.</summary>
    internal const string RolledUpSql = """
        NOT EXISTS (SELECT FROM endings n WHERE n.job = j.id AND n.xid > (SELECT xid FROM rollups))
        AND NOT EXISTS (SELECT FROM events v WHERE v.job = j.id AND v.type IN ('job.completed', 'job.expired')
                          AND v.xid > (SELECT xid FROM rollups))
        """;

    public static string Name(this RemovalKind kind) => kind.ToString().ToLowerInvariant();

    /// <summary>
    /// Marks jobs that ended longer ago than their tenant and class has this kind kept for, the oldest first: from then on it is not shown.
    /// Events and deliveries stay while one of them is still to be sent, results and inputs while output files are made of them.
    /// </summary>
    /// <remarks>By <c>ANY (ARRAY(…))</c>, since with a join the planner reads all of <c>jobs</c>, however few are due.</remarks>
    /// <param name="age">How long it is kept where the tenant has no age of its own.</param>
    /// <returns>How many; as long as it is <paramref name="jobsMax"/>, more may wait.</returns>
    public static async Task<int> MarkDueAsync(
        NpgsqlDataSource database,
        RemovalKind kind,
        TimeSpan age,
        int jobsMax,
        DateTimeOffset now,
        CancellationToken stop = default
    )
    {
        var name = kind.Name();
        var isFree = kind switch
        {
            RemovalKind.Inputs => NoFilesDueSql,
            RemovalKind.Outputs => $"{NoFilesDueSql} AND {RolledUpSql}",
            _ => $"{ToldSql} AND {RolledUpSql}",
        };
        await using var command = database.CreateCommand(
            $"""
            WITH due AS MATERIALIZED (
              SELECT d.id FROM {AgesSql(name)} CROSS JOIN LATERAL (
                SELECT j.id FROM jobs j
                WHERE j.tenant = a.tenant AND j.class = a.class AND j.finished_at < $2 - a.age AND j.{name}_removed_at IS NULL AND {isFree}
                ORDER BY j.finished_at LIMIT $3
              ) d LIMIT $3
            ), locked AS MATERIALIZED (
              SELECT id FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM due)) ORDER BY id FOR UPDATE
            ), marked AS (
              UPDATE jobs SET {name}_removed_at = $2 WHERE id = ANY (ARRAY(SELECT id FROM locked)) AND {name}_removed_at IS NULL
              RETURNING id
            ), waiting AS (
              INSERT INTO job_removals (job, kind) SELECT id, '{name}' FROM marked ON CONFLICT DO NOTHING
            )
            SELECT count(*)::int FROM marked
            """
        );
        command.CommandTimeout = 0;
        command.Parameters.Add(new() { Value = age, NpgsqlDbType = NpgsqlDbType.Interval });
        command.Parameters.Add(new() { Value = now.UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = jobsMax });
        return (int)(await command.ExecuteScalarAsync(stop))!;
    }

    /// <summary>
    /// Removes some of what was marked, in one transaction: all of several jobs, or a part of a large one. Several processes may be at it,
    /// each with jobs of its own.
    /// </summary>
    /// <param name="erasure">Only what this erasure has taken on; null for what was due.</param>
    /// <returns>The rows removed; null when nothing waits.</returns>
    public static async Task<long?> StepAsync(
        NpgsqlDataSource database,
        RemovalKind kind,
        Guid? erasure,
        int rowsMax,
        CancellationToken stop = default
    )
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        var span = kind == RemovalKind.Inputs ? Math.Max(1, rowsMax / RowsOfChunk) : rowsMax;
        if (await TakeAsync(connection, kind, erasure, span, stop) is not { } taken)
        {
            return null;
        }

        await using var batch = new NpgsqlBatch(connection, transaction) { Timeout = 0 };
        foreach (var sql in RemoveSql(kind, taken.IsLast))
        {
            batch.BatchCommands.Add(taken.Of(sql));
        }

        var removed = (long)await batch.ExecuteNonQueryAsync(stop);
        await using var note = new NpgsqlBatch(connection, transaction)
        {
            BatchCommands =
            {
                taken.IsLast
                    ? new("DELETE FROM job_removals WHERE job = ANY ($1) AND kind = $2")
                    {
                        Parameters =
                        {
                            new() { Value = taken.Jobs },
                            new() { Value = kind.Name() },
                        },
                    }
                    : new("UPDATE job_removals SET next = $3 WHERE job = ANY ($1) AND kind = $2")
                    {
                        Parameters =
                        {
                            new() { Value = taken.Jobs },
                            new() { Value = kind.Name() },
                            new() { Value = taken.To },
                        },
                    },
                new("UPDATE erasures SET rows = rows + $2 WHERE id = $1")
                {
                    Parameters =
                    {
                        new() { Value = (object?)erasure ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid },
                        new() { Value = removed },
                    },
                },
            },
        };
        await note.ExecuteNonQueryAsync(stop);
        await transaction.CommitAsync(stop);
        return removed;
    }

    /// <summary>Removes finished deliveries and events that belong to no job, of each tenant those older than its logs are kept.</summary>
    /// <remarks>The age is that of class bulk: where a tenant sets one for all classes, that is it. Ids begin with their time.</remarks>
    /// <returns>Rows removed, at most <paramref name="rowsMax"/> of each; as long as it is not 0, more may wait.</returns>
    public static async Task<long> RemoveJoblessLogsAsync(
        NpgsqlDataSource database,
        TimeSpan age,
        int rowsMax,
        DateTimeOffset now,
        CancellationToken stop = default
    )
    {
        var ages = AgesSql("logs");
        await using var command = database.CreateCommand(
            $"""
            WITH deliveries AS (
              DELETE FROM webhook_deliveries WHERE id IN (
                SELECT d.id FROM {ages} CROSS JOIN LATERAL (
                  SELECT id FROM webhook_deliveries
                  WHERE tenant = a.tenant AND job IS NULL AND state <> 'pending'
                    AND id < (lpad(to_hex(greatest(0, extract(epoch FROM $2 - a.age) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
                  ORDER BY id LIMIT $3
                ) d WHERE a.class = 'bulk' LIMIT $3)
              RETURNING id
            ), attempts AS (
              DELETE FROM webhook_attempts t USING deliveries d WHERE t.delivery = d.id
            ), old_events AS (
              DELETE FROM events WHERE id IN (
                SELECT e.id FROM events e JOIN {ages} ON a.tenant = e.tenant AND a.class = 'bulk'
                WHERE e.job IS NULL AND e.fanned_out AND e.created_at < $2 - a.age
                  AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.tenant = e.tenant AND d.state = 'pending' AND d.event = e.id)
                ORDER BY e.id LIMIT $3)
              RETURNING 1
            )
            SELECT (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM old_events)
            """
        );
        command.CommandTimeout = 0;
        command.Parameters.Add(new() { Value = age, NpgsqlDbType = NpgsqlDbType.Interval });
        command.Parameters.Add(new() { Value = now.UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = rowsMax });
        return (long)(await command.ExecuteScalarAsync(stop))!;
    }

    /// <summary>As many whole jobs as make up a step, or the next part of a large one.</summary>
    private static async Task<Taken?> TakeAsync(
        NpgsqlConnection connection,
        RemovalKind kind,
        Guid? erasure,
        int span,
        CancellationToken stop
    )
    {
        var size = kind switch
        {
            RemovalKind.Inputs => "j.chunks",
            RemovalKind.Outputs => "j.tasks",
            _ => "1",
        };
        await using var command = new NpgsqlCommand(
            $"""
            SELECT r.job, r.next, {size} FROM job_removals r JOIN jobs j ON j.id = r.job
            WHERE r.kind = $1 AND r.erasure IS NOT DISTINCT FROM $2
            ORDER BY r.job LIMIT $3 FOR UPDATE OF r SKIP LOCKED
            """,
            connection
        );
        command.Parameters.Add(new() { Value = kind.Name() });
        command.Parameters.Add(new() { Value = (object?)erasure ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        command.Parameters.Add(new() { Value = JobsMax });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var (jobs, sum) = (new List<Guid>(), 0L);
        while (await reader.ReadAsync(stop))
        {
            var (job, next, whole) = (reader.GetGuid(0), reader.GetInt32(1), reader.GetInt32(2));
            if (jobs.Count == 0 && (next > 0 || whole > span))
            {
                // Beyond its size there is nothing; the last part has no end, in case.
                return whole - next > span ? new Taken([job], next, next + span, false) : new Taken([job], next, int.MaxValue, true);
            }

            if (next > 0 || sum + whole > span)
            {
                break;
            }

            jobs.Add(job);
            sum += whole;
        }

        return jobs.Count > 0 ? new Taken([.. jobs], 0, int.MaxValue, true) : null;
    }

    /// <summary>How long each tenant <c>a.tenant</c> has a kind of data of class <c>a.class</c> kept: <c>a.age</c>; by default <c>$1</c>.</summary>
    private static string AgesSql(string kind) =>
        $"""
            (SELECT t.id AS tenant, c.class, coalesce(o.{kind}, e.{kind}, $1) AS age
             FROM tenants t CROSS JOIN unnest(ARRAY[{Words.SqlList<LatencyClass>(LatencyClasses.Name)}]) AS c (class)
             LEFT JOIN retention_ages o ON o.tenant = t.id AND o.class = c.class
             LEFT JOIN retention_ages e ON e.tenant = t.id AND e.class = '{RetentionAges.AllClasses}') a
            """;

    private const string NoFilesDueSql = "NOT EXISTS (SELECT FROM openai_batches b WHERE b.job = j.id AND b.finished_at IS NULL)";

    private const string ToldSql = """
        NOT EXISTS (SELECT FROM events v WHERE v.job = j.id AND NOT v.fanned_out AND v.type <> 'job.queued')
        AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.job = j.id AND d.state = 'pending')
        """;

    /// <summary>Of jobs <c>$1</c>, from <c>$2</c> to before <c>$3</c> (chunks or tasks); with the last part goes what has no such order.</summary>
    private static IReadOnlyList<string> RemoveSql(RemovalKind kind, bool isLast) =>
        (kind, isLast) switch
        {
            (RemovalKind.Inputs, _) =>
            [
                "UPDATE chunks SET payload = NULL WHERE job = ANY ($1) AND no >= $2 AND no < $3 AND payload IS NOT NULL",
            ],
            (RemovalKind.Outputs, false) =>
            [
                "DELETE FROM results WHERE job = ANY ($1) AND seq >= $2 AND seq < $3",
                "DELETE FROM turns WHERE job = ANY ($1) AND seq >= $2 AND seq < $3",
            ],
            (RemovalKind.Outputs, true) => [.. RemoveSql(kind, false), "DELETE FROM endings WHERE job = ANY ($1)"],
            // Locked first, so that a sender with one on its way has written its attempt, or writes none.
            _ =>
            [
                "SELECT FROM webhook_deliveries WHERE job = ANY ($1) ORDER BY id FOR UPDATE",
                "DELETE FROM webhook_attempts a USING webhook_deliveries d WHERE d.job = ANY ($1) AND a.delivery = d.id",
                "DELETE FROM webhook_deliveries WHERE job = ANY ($1)",
                "DELETE FROM events WHERE job = ANY ($1)",
            ],
        };

    /// <summary>What a step removes: of these jobs the range.</summary>
    /// <param name="IsLast">Nothing is left of them afterwards.</param>
    private sealed record Taken(Guid[] Jobs, int From, int To, bool IsLast)
    {
        public NpgsqlBatchCommand Of(string sql) =>
            new(sql)
            {
                Parameters =
                {
                    new() { Value = Jobs },
                    new() { Value = From },
                    new() { Value = To },
                },
            };
    }
}
