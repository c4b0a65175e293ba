using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>A request to erase the data of a job, or all of a tenant's up to the moment of asking; afterwards the record that it was done.</summary>
public sealed class ErasureRow
{
    public required Guid Id { get; set; }
    public required TenantId Tenant { get; set; }

    /// <summary>Null for the whole tenant.</summary>
    public JobId? Job { get; set; }

    /// <summary>Why, as whoever asked put it.</summary>
    public required string Reason { get; set; }

    /// <summary>Whose key it was asked with.</summary>
    public required TenantId AskedBy { get; set; }

    /// <summary>Jobs that were made later are not concerned.</summary>
    public required DateTimeOffset AskedAt { get; set; }

    /// <summary>The last job it has taken on; of the tenant's, in the order of their ids, all before it are, too.</summary>
    public JobId? Through { get; set; }

    /// <summary>Jobs it has taken on, and rows it has removed of them so far.</summary>
    public int Jobs { get; set; }
    public long Rows { get; set; }

    /// <summary>When nothing was left.</summary>
    public DateTimeOffset? FinishedAt { get; set; }
}

internal sealed class ErasuresTable : IEntityTypeConfiguration<ErasureRow>
{
    public void Configure(EntityTypeBuilder<ErasureRow> builder)
    {
        builder.ToTable("erasures", t => t.HasCheckConstraint("ck_erasures_reason", "reason <> '' AND jobs >= 0 AND rows >= 0"));
        builder.HasKey(e => e.Id);
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(e => e.Tenant).OnDelete(DeleteBehavior.Restrict);
        builder.Property(e => e.Jobs).HasDefaultValue(0);
        builder.Property(e => e.Rows).HasDefaultValue(0L);

        // One at a time for a job, and for a tenant: who asks again gets the one that is open.
        builder
            .HasIndex(e => new { e.Tenant, e.Job }, "ux_erasures_open")
            .IsUnique()
            .AreNullsDistinct(false)
            .HasFilter("finished_at IS NULL");
    }
}

/// <summary>An erasure, as it stands.</summary>
/// <param name="Tenant">The tenant's name.</param>
/// <param name="Left">Removals that it has taken on and not ended: up to three a job.</param>
public sealed record Erasure(
    Guid Id,
    TenantId TenantId,
    string Tenant,
    JobId? Job,
    string Reason,
    DateTimeOffset AskedAt,
    int Jobs,
    long Rows,
    long Left,
    DateTimeOffset? FinishedAt
);

/// <summary>
/// Erases what clients sent and got: inputs, outputs, custom ids, metadata, groups, files, idempotency keys, cached results, events and
/// deliveries. Numbers stay: the job's row with its counts and sums, the ledger, batches and rollups.
/// </summary>
public static class Erasures
{
    private const string FileIsFreeSql = """
        NOT EXISTS (SELECT FROM openai_batches b WHERE b.input_file = files.id AND b.finished_at IS NULL)
        """;

    /// <summary>Jobs whose owner is still waiting for something: an erasure would take it from under them.</summary>
    private const string UnfinishedSql = """
        j.finished_at IS NULL OR EXISTS (SELECT FROM openai_batches b WHERE b.job = j.id AND b.finished_at IS NULL)
        """;

    /// <summary>The jobs of a tenant, or that one of them, that have not ended: at most <paramref name="rows"/> of them.</summary>
    public static async Task<List<JobId>> FindUnfinishedAsync(
        NpgsqlDataSource database,
        TenantId tenant,
        JobId? job,
        int rows,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT id FROM (
              (SELECT j.id FROM jobs j WHERE j.tenant = $1 AND ($2::uuid IS NULL OR j.id = $2) AND ({UnfinishedSql}) ORDER BY j.id LIMIT $3)
              UNION
              (SELECT b.job FROM openai_batches b WHERE b.tenant = $1 AND ($2::uuid IS NULL OR b.job = $2) AND b.finished_at IS NULL LIMIT $3)
            ) u ORDER BY id LIMIT $3
            """
        );
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(Uuid(job?.Value));
        command.Parameters.Add(new() { Value = rows });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var jobs = new List<JobId>();
        while (await reader.ReadAsync(stop))
        {
            jobs.Add(new JobId(reader.GetGuid(0)));
        }

        return jobs;
    }

    /// <summary>Asks for an erasure; where one of the same is open already, gives that one.</summary>
    public static async Task<Guid> AskAsync(
        NpgsqlDataSource database,
        TenantId tenant,
        JobId? job,
        string reason,
        TenantId askedBy,
        DateTimeOffset now,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            """
            INSERT INTO erasures AS e (id, tenant, job, reason, asked_by, asked_at) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (tenant, job) WHERE finished_at IS NULL DO UPDATE SET reason = e.reason
            RETURNING id
            """
        );
        command.Parameters.Add(new() { Value = Guid.CreateVersion7(now) });
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(Uuid(job?.Value));
        command.Parameters.Add(new() { Value = reason });
        command.Parameters.Add(new() { Value = askedBy.Value });
        command.Parameters.Add(Moment(now));
        return (Guid)(await command.ExecuteScalarAsync(stop))!;
    }

    /// <summary>One erasure, or null.</summary>
    public static async Task<Erasure?> FindAsync(NpgsqlDataSource database, Guid id, CancellationToken stop = default) =>
        (await ReadAsync(database, "WHERE e.id = $1", id, stop)).FirstOrDefault();

    /// <summary>Those that are not finished, the oldest first.</summary>
    public static Task<List<Erasure>> ReadOpenAsync(NpgsqlDataSource database, CancellationToken stop = default) =>
        ReadAsync(database, "WHERE e.finished_at IS NULL ORDER BY e.asked_at, e.id", null, stop);

    /// <summary>
    /// Takes on the next jobs, in one transaction: nobody sees their data any more, what their rows hold of it is gone, and the rest waits
    /// in <c>job_removals</c>. A job that has not ended after all, or whose ends are not in the rollups yet, holds the others up: its results are still needed.
    /// </summary>
    /// <returns>How many jobs were taken on, and whether there are more.</returns>
    public static async Task<(int Jobs, bool More)> TakeAsync(
        NpgsqlDataSource database,
        Erasure erasure,
        int rowsMax,
        DateTimeOffset now,
        CancellationToken stop = default
    )
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        var (jobs, more) = await NextAsync(connection, erasure, rowsMax, stop);
        if (jobs.Length > 0)
        {
            await using var batch = new NpgsqlBatch(connection, transaction);
            foreach (var sql in TakeSql)
            {
                batch.BatchCommands.Add(
                    new(sql)
                    {
                        Parameters =
                        {
                            new() { Value = jobs },
                            new() { Value = erasure.Id },
                            Moment(now),
                        },
                    }
                );
            }

            await batch.ExecuteNonQueryAsync(stop);
            await transaction.CommitAsync(stop);
        }

        return (jobs.Length, more);
    }

    /// <summary>
    /// Removes what lies beside the jobs, a bounded step of it: of a tenant its files, keys, cached results, groups and the events that have
    /// no job; of a job what the tenant's cache took while it ran.
    /// </summary>
    /// <returns>Rows removed; as long as it is not 0, more may wait.</returns>
    public static async Task<long> RemoveBesideAsync(
        NpgsqlDataSource database,
        Erasure erasure,
        int rowsMax,
        CancellationToken stop = default
    )
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        var removed = 0L;
        foreach (var sql in erasure.Job is null ? BesideTenantSql : BesideJobSql)
        {
            await using var command = new NpgsqlCommand(sql, connection, transaction) { CommandTimeout = 0 };
            command.Parameters.Add(new() { Value = erasure.TenantId.Value });
            command.Parameters.Add(Uuid(erasure.Job?.Value));
            command.Parameters.Add(Moment(erasure.AskedAt));
            command.Parameters.Add(new() { Value = (long)rowsMax });
            removed += (long)(await command.ExecuteScalarAsync(stop))!;
        }

        await using var count = new NpgsqlCommand("UPDATE erasures SET rows = rows + $2 WHERE id = $1", connection, transaction);
        count.Parameters.Add(new() { Value = erasure.Id });
        count.Parameters.Add(new() { Value = removed });
        await count.ExecuteNonQueryAsync(stop);
        await transaction.CommitAsync(stop);
        return removed;
    }

    /// <summary>Finishes an erasure that has taken on all and of which nothing is left; false where something is: a file that a later batch reads, too.</summary>
    public static async Task<bool> FinishAsync(NpgsqlDataSource database, Guid id, DateTimeOffset now, CancellationToken stop = default)
    {
        await using var command = database.CreateCommand(
            """
            UPDATE erasures e SET finished_at = $2
            WHERE id = $1 AND finished_at IS NULL AND NOT EXISTS (SELECT FROM job_removals WHERE erasure = $1)
              AND (job IS NOT NULL OR NOT EXISTS (SELECT FROM files f WHERE f.tenant = e.tenant AND f.created_at <= e.asked_at))
            """
        );
        command.Parameters.Add(new() { Value = id });
        command.Parameters.Add(Moment(now));
        return await command.ExecuteNonQueryAsync(stop) == 1;
    }

    /// <summary>The next jobs, up to the first that has not ended or whose ends are not in the rollups.</summary>
    private static async Task<(Guid[] Jobs, bool More)> NextAsync(
        NpgsqlConnection connection,
        Erasure erasure,
        int rowsMax,
        CancellationToken stop
    )
    {
        await using var command = new NpgsqlCommand(
            $"""
            SELECT j.id, j.finished_at IS NOT NULL AND {JobRemovals.RolledUpSql}
            FROM erasures e JOIN jobs j ON j.tenant = e.tenant AND (e.job IS NULL OR j.id = e.job) AND (e.through IS NULL OR j.id > e.through)
            WHERE e.id = $1 AND j.created_at <= e.asked_at
            ORDER BY j.id LIMIT $2
            """,
            connection
        );
        command.Parameters.Add(new() { Value = erasure.Id });
        command.Parameters.Add(new() { Value = rowsMax });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var jobs = new List<Guid>();
        while (await reader.ReadAsync(stop))
        {
            if (!reader.GetBoolean(1))
            {
                return ([.. jobs], true);
            }

            jobs.Add(reader.GetGuid(0));
        }

        return ([.. jobs], jobs.Count == rowsMax);
    }

    private static async Task<List<Erasure>> ReadAsync(NpgsqlDataSource database, string which, Guid? id, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT e.id, e.tenant, t.name, e.job, e.reason, e.asked_at, e.jobs, e.rows,
                   (SELECT count(*) FROM job_removals r WHERE r.erasure = e.id), e.finished_at
            FROM erasures e JOIN tenants t ON t.id = e.tenant {which}
            """
        );
        if (id is { } one)
        {
            command.Parameters.Add(new() { Value = one });
        }

        await using var reader = await command.ExecuteReaderAsync(stop);
        var erasures = new List<Erasure>();
        while (await reader.ReadAsync(stop))
        {
            erasures.Add(
                new Erasure(
                    reader.GetGuid(0),
                    new TenantId(reader.GetGuid(1)),
                    reader.GetString(2),
                    await reader.IsDBNullAsync(3, stop) ? null : new JobId(reader.GetGuid(3)),
                    reader.GetString(4),
                    reader.GetFieldValue<DateTimeOffset>(5),
                    reader.GetInt32(6),
                    reader.GetInt64(7),
                    reader.GetInt64(8),
                    await reader.IsDBNullAsync(9, stop) ? null : reader.GetFieldValue<DateTimeOffset>(9)
                )
            );
        }

        return erasures;
    }

    private static NpgsqlParameter Uuid(Guid? id) => new() { Value = (object?)id ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid };

    private static NpgsqlParameter Moment(DateTimeOffset moment) =>
        new() { Value = moment.UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz };

    /// <summary>Of jobs <c>$1</c>, by erasure <c>$2</c>, at <c>$3</c>. The job rows come first, in their order, as everybody locks them.</summary>
    private static readonly string[] TakeSql =
    [
        "SELECT FROM jobs WHERE id = ANY ($1) ORDER BY id FOR UPDATE",
        """
            UPDATE jobs SET metadata = '{}', webhook = NULL, group_name = NULL, error = error - 'message',
              inputs_removed_at = coalesce(inputs_removed_at, $3), outputs_removed_at = coalesce(outputs_removed_at, $3),
              logs_removed_at = coalesce(logs_removed_at, $3)
            WHERE id = ANY ($1)
            """,
        """
            INSERT INTO job_removals (job, kind, erasure)
            SELECT job, kind, $2 FROM unnest($1) AS j (job) CROSS JOIN unnest(ARRAY['inputs', 'outputs', 'logs']) AS k (kind)
            ON CONFLICT (job, kind) DO UPDATE SET erasure = excluded.erasure
            """,
        "DELETE FROM task_groups WHERE job = ANY ($1)",
        """
            DELETE FROM idempotency_keys k USING jobs j WHERE j.id = ANY ($1) AND k.tenant = j.tenant AND k.job = j.id
            """,
        // The input file goes, too, unless another batch of the tenant was made of it and is not erased.
        """
            WITH batches AS (
              UPDATE openai_batches SET metadata = '{}', errors = CASE WHEN errors IS NOT NULL THEN '{"object": "list", "data": []}'::jsonb END
              WHERE job = ANY ($1) RETURNING job, tenant, input_file, output_file, error_file
            )
            DELETE FROM files f USING batches b
            WHERE f.tenant = b.tenant AND (f.id IN (b.output_file, b.error_file)
              OR f.id = b.input_file
                 AND NOT EXISTS (SELECT FROM openai_batches o WHERE o.tenant = b.tenant AND o.input_file = f.id AND o.job <> ALL ($1)))
            """,
        """
            UPDATE erasures SET jobs = jobs + cardinality($1), through = $1[cardinality($1)] WHERE id = $2
            """,
    ];

    // Of tenant $1 (or its job $2), asked at $3, at most $4 rows; each gives how many it removed.
    private static readonly string[] BesideJobSql =
    [
        $"""
            WITH gone AS (
              DELETE FROM cached_results c USING (
                SELECT c.tenant, c.key FROM jobs j JOIN cached_results c
                  ON c.tenant = j.tenant AND c.made_at BETWEEN j.queued_at AND j.finished_at + interval '5 minutes'
                WHERE j.tenant = $1 AND j.id = $2 AND j.uses_cache LIMIT $4
              ) AS o WHERE c.tenant = o.tenant AND c.key = o.key
              RETURNING c.tenant, c.bytes
            ), {ResultCache.CountRemovedSql}
            """,
        Limited(
            "alerts",
            "id",
            "seen_at <= $3 AND jsonb_path_exists(evidence, '$.first[*].job ? (@ == $job)', jsonb_build_object('job', $2::text))"
        ),
    ];

    private static readonly string[] BesideTenantSql =
    [
        $"""
            WITH gone AS (
              DELETE FROM cached_results c USING (
                SELECT tenant, key FROM cached_results WHERE tenant = $1 AND made_at <= $3 LIMIT $4
              ) AS o WHERE c.tenant = o.tenant AND c.key = o.key
              RETURNING c.tenant, c.bytes
            ), {ResultCache.CountRemovedSql}
            """,
        // Of requests that are under way the keys stay, and of batches the files: they are no longer of the time before.
        Limited("idempotency_keys", "tenant, key", "tenant = $1 AND created_at <= $3 AND finished_at IS NOT NULL"),
        Limited("files", "id", $"tenant = $1 AND created_at <= $3 AND {FileIsFreeSql}", "least($4, 20)"),
        Limited("groups", "tenant, name", "tenant = $1 AND coalesce(last_at, reported_at) <= $3"),
        Limited("reports", "id", "tenant = $1 AND NOT all_tenants AND created_at <= $3"),
        // An alert's labels name a tenant, its evidence jobs.
        Limited(
            "alerts",
            "id",
            "seen_at <= $3 AND (labels ->> 'tenant' = (SELECT name FROM tenants WHERE id = $1) "
                + "OR EXISTS (SELECT FROM jsonb_path_query(evidence, '$.first[*].job') AS f (job) "
                + "JOIN jobs j ON j.id = (f.job #>> '{}')::uuid AND j.tenant = $1))"
        ),
        // Others' reports are of all tenants: what they say of this one stays, its name does not. Names in them are written as members of JSON.
        """
            WITH named AS (
              SELECT r.id, n.member FROM reports r
              CROSS JOIN LATERAL (SELECT '"tenant":' || to_jsonb(name)::text AS member FROM tenants WHERE id = $1 AND name <> 'erased') n
              WHERE r.all_tenants AND r.created_at <= $3 AND position(convert_to(n.member, 'UTF8') IN r.body) > 0 LIMIT least($4, 20)
            ), emptied AS (
              UPDATE reports r SET body = convert_to(replace(convert_from(r.body, 'UTF8'), n.member, '"tenant":"erased"'), 'UTF8')
              FROM named n WHERE r.id = n.id RETURNING 1
            )
            SELECT count(*) FROM emptied
            """,
        Limited("webhook_deliveries", "id", "tenant = $1 AND job IS NULL AND created_at <= $3", deliveries: true),
        Limited("events", "id", "tenant = $1 AND job IS NULL AND created_at <= $3"),
        """
            WITH emptied AS (
              UPDATE openai_batches SET metadata = '{}', errors = CASE WHEN errors IS NOT NULL THEN '{"object": "list", "data": []}'::jsonb END
              WHERE job IN (SELECT job FROM openai_batches b
                            WHERE tenant = $1 AND created_at <= $3 AND finished_at IS NOT NULL
                              AND (metadata <> '{}' OR errors <> '{"object": "list", "data": []}'::jsonb) LIMIT $4)
              RETURNING 1
            )
            SELECT count(*) FROM emptied
            """,
    ];

    private static string Limited(string table, string key, string where, string limit = "$4", bool deliveries = false) =>
        $"""
            WITH gone AS (
              DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {where} LIMIT {limit})
              RETURNING {key}
            ){(deliveries ? ", attempts AS (DELETE FROM webhook_attempts a USING gone g WHERE a.delivery = g.id)" : "")}
            SELECT count(*) FROM gone
            """;
}
