using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// A result that may answer later tasks of its tenant with the same model and input. Each tenant has its own, also of the same input: how
/// soon an answer comes would else tell what others have asked.
/// </summary>
public sealed class CachedResultRow
{
    public required TenantId Tenant { get; set; }

    /// <summary><see cref="CacheKey"/>.</summary>
    public required byte[] Key { get; set; }

    /// <summary>The version that answered, <c>name@version</c>.</summary>
    public required string Model { get; set; }
    public required byte[] Output { get; set; }
    public required string ContentType { get; set; }
    public required int Units { get; set; }

    /// <summary>Pico-USD that the task cost which made it: what each use saves.</summary>
    public required long CostPico { get; set; }

    /// <summary>What it counts for: its output, and <see cref="ResultCache.EntryBytes"/> for the rest of the row and its indexes.</summary>
    public required int Bytes { get; set; }
    public required DateTimeOffset MadeAt { get; set; }
    public required DateTimeOffset ExpiresAt { get; set; }
}

internal sealed class CachedResultsTable : IEntityTypeConfiguration<CachedResultRow>
{
    public void Configure(EntityTypeBuilder<CachedResultRow> builder)
    {
        builder.ToTable("cached_results", t => t.HasCheckConstraint("ck_cached_results_key", "octet_length(key) = 32"));
        builder.HasKey(c => new { c.Tenant, c.Key });

        // Its cache, not its tenant: turning a cache off removes what is in it.
        builder.HasOne<TenantCacheRow>().WithMany().HasForeignKey(c => c.Tenant).OnDelete(DeleteBehavior.Cascade);
        builder.HasIndex(c => new { c.Tenant, c.MadeAt }, "ix_cached_results_made_at");
        builder.HasIndex(c => c.ExpiresAt, "ix_cached_results_expires_at");
    }
}

/// <summary>A committed result that may be cached.</summary>
/// <param name="Model">The version that answered, as the key has it.</param>
public sealed record CacheEntry(TenantId Tenant, byte[] Key, string Model, JobId Job, int Seq);

/// <summary>Looking results up, keeping them, and making room.</summary>
public static class ResultCache
{
    /// <summary>
    /// Bytes of an entry beside its output: measured are 312 (200,000 outputs of 120 bytes, its three indexes included), and some room that
    /// removed ones leave behind.
    /// </summary>
    public const int EntryBytes = 400;

    /// <summary>
    /// Looks keys up, all at once. Gives <c>at</c> (from 1), <c>output</c>, <c>content_type</c>, <c>units</c>, <c>cost_pico</c> of those
    /// that are there. Each by the primary key, whatever the statistics say (<c>OFFSET 0</c>).
    /// </summary>
    public static NpgsqlBatchCommand Find(IReadOnlyList<TenantId> tenants, IReadOnlyList<byte[]> keys) =>
        new(
            """
            SELECT k.at, c.output, c.content_type, c.units, c.cost_pico
            FROM unnest($1, $2) WITH ORDINALITY AS k (tenant, key, at)
            CROSS JOIN LATERAL (
              SELECT output, content_type, units, cost_pico FROM cached_results
              WHERE tenant = k.tenant AND key = k.key AND expires_at > now() OFFSET 0
            ) c
            """
        )
        {
            Parameters = { Array(NpgsqlDbType.Uuid, tenants.Select(t => t.Value)), Array(NpgsqlDbType.Bytea, keys) },
        };

    /// <summary>
    /// Keeps committed results: those that succeeded by a model execution of their own, are not too large, and whose tenant has room. The
    /// output is copied inside the server. What is lost when the server dies is only not cached, so nobody waits for the disk.
    /// </summary>
    /// <param name="outputBytesMax">A larger output is not kept.</param>
    /// <returns>How many were kept; the others were there, were too large, or found no room.</returns>
    public static async Task<int> KeepAsync(
        NpgsqlDataSource database,
        IReadOnlyList<CacheEntry> entries,
        int outputBytesMax,
        CancellationToken stop
    )
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var transaction = await connection.BeginTransactionAsync(stop);
        await using var batch = new NpgsqlBatch(connection, transaction);
        batch.BatchCommands.Add(new("SET LOCAL synchronous_commit = off"));
        batch.BatchCommands.Add(
            new(KeepSql)
            {
                Parameters =
                {
                    Array(NpgsqlDbType.Uuid, entries.Select(e => e.Tenant.Value)),
                    Array(NpgsqlDbType.Bytea, entries.Select(e => e.Key)),
                    Array(NpgsqlDbType.Text, entries.Select(e => e.Model)),
                    Array(NpgsqlDbType.Uuid, entries.Select(e => e.Job.Value)),
                    Array(NpgsqlDbType.Integer, entries.Select(e => e.Seq)),
                    new() { Value = outputBytesMax },
                    new() { Value = EntryBytes },
                },
            }
        );
        // The SET gives no rows, so the first answer is that of the second statement.
        var kept = (int)(await batch.ExecuteScalarAsync(stop))!;
        await transaction.CommitAsync(stop);
        return kept;
    }

    /// <summary>
    /// Removes entries whose time has passed, and of a cache that is more than nine tenths full the oldest until it is not: so there is room
    /// as a rule, and where there is none nothing is added until the next sweep.
    /// </summary>
    /// <param name="rowsMax">Entries one statement removes at most.</param>
    /// <returns>How many were removed; as long as it is not 0, more may wait.</returns>
    public static async Task<long> SweepAsync(NpgsqlDataSource database, int rowsMax, CancellationToken stop = default)
    {
        await using var batch = database.CreateBatch();
        foreach (var sql in (ReadOnlySpan<string>)[ExpireSql, EvictSql])
        {
            batch.BatchCommands.Add(new(sql) { Parameters = { new() { Value = (long)rowsMax } } });
        }

        var removed = 0L;
        await using var reader = await batch.ExecuteReaderAsync(stop);
        do
        {
            await reader.ReadAsync(stop);
            removed += reader.GetInt64(0);
        } while (await reader.NextResultAsync(stop));

        return removed;
    }

    // Keys in order, so that two workers with the same keys wait for each other rather than deadlock.
    private const string KeepSql = """
        WITH kept AS (
          INSERT INTO cached_results (tenant, key, model, output, content_type, units, cost_pico, bytes, made_at, expires_at)
          SELECT a.tenant, a.key, a.model, r.output, r.content_type, r.units, r.cost_pico, octet_length(r.output) + $7, now(), now() + t.ttl
          FROM unnest($1, $2, $3, $4, $5) AS a (tenant, key, model, job, seq)
          JOIN tenant_caches t ON t.tenant = a.tenant AND t.bytes < t.bytes_max AND t.entries < t.entries_max
          CROSS JOIN LATERAL (
            SELECT model, output, content_type, units, cost_pico FROM results
            WHERE job = a.job AND seq = a.seq AND status = 'succeeded' AND reused IS NULL OFFSET 0
          ) r
          WHERE r.model = a.model AND octet_length(r.output) <= $6
          ORDER BY a.tenant, a.key
          ON CONFLICT DO NOTHING
          RETURNING tenant, bytes
        ), counted AS (
          UPDATE tenant_caches t SET entries = t.entries + k.entries, bytes = t.bytes + k.bytes
          FROM (SELECT tenant, count(*) AS entries, sum(bytes) AS bytes FROM kept GROUP BY tenant) AS k WHERE t.tenant = k.tenant
        )
        SELECT count(*)::int FROM kept
        """;

    /// <summary>Ends a statement that has removed entries as <c>gone (tenant, bytes)</c>: takes them off the cache, and says how many they were.</summary>
    internal const string CountRemovedSql = """
        counted AS (
          UPDATE tenant_caches t SET entries = t.entries - g.entries, bytes = t.bytes - g.bytes
          FROM (SELECT tenant, count(*) AS entries, sum(bytes) AS bytes FROM gone GROUP BY tenant) AS g WHERE t.tenant = g.tenant
        )
        SELECT count(*) FROM gone
        """;

    private const string ExpireSql = $"""
        WITH gone AS (
          DELETE FROM cached_results c USING (
            SELECT tenant, key FROM cached_results WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
          ) AS o WHERE c.tenant = o.tenant AND c.key = o.key
          RETURNING c.tenant, c.bytes
        ), {CountRemovedSql}
        """;

    private const string EvictSql = $"""
        WITH crowded AS (
          SELECT tenant, entries - entries_max * 9 / 10 AS entries, bytes - bytes_max / 10 * 9 AS bytes
          FROM tenant_caches WHERE entries > entries_max * 9 / 10 OR bytes > bytes_max / 10 * 9
        ), oldest AS (
          SELECT o.tenant, o.key FROM crowded c CROSS JOIN LATERAL (
            SELECT p.tenant, p.key, row_number() OVER age AS place, sum(p.bytes) OVER age - p.bytes AS bytes_before
            FROM (SELECT tenant, key, bytes, made_at FROM cached_results WHERE tenant = c.tenant ORDER BY made_at, key LIMIT $1) AS p
            WINDOW age AS (ORDER BY p.made_at, p.key)
          ) AS o WHERE o.place <= c.entries OR o.bytes_before < c.bytes
        ), gone AS (
          DELETE FROM cached_results c USING oldest o WHERE c.tenant = o.tenant AND c.key = o.key RETURNING c.tenant, c.bytes
        ), {CountRemovedSql}
        """;

    private static NpgsqlParameter Array<T>(NpgsqlDbType element, IEnumerable<T> values) =>
        new() { Value = values.ToArray(), NpgsqlDbType = NpgsqlDbType.Array | element };
}
