using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>A tenant's cache of results: its bounds, and how full it is. A tenant without a row has none.</summary>
public sealed class TenantCacheRow
{
    public required TenantId Tenant { get; set; }

    /// <summary>How long an entry is good for.</summary>
    public required TimeSpan Ttl { get; set; }
    public required long BytesMax { get; set; }
    public required long EntriesMax { get; set; }

    /// <summary>What is in it; kept by whoever adds or removes entries, in the same statement.</summary>
    public long Bytes { get; set; }
    public long Entries { get; set; }
}

internal sealed class TenantCachesTable : IEntityTypeConfiguration<TenantCacheRow>
{
    public void Configure(EntityTypeBuilder<TenantCacheRow> builder)
    {
        builder.ToTable(
            "tenant_caches",
            t =>
            {
                t.HasCheckConstraint("ck_tenant_caches_bounds", "ttl > interval '0' AND bytes_max > 0 AND entries_max > 0");
                t.HasCheckConstraint("ck_tenant_caches_sums", "bytes >= 0 AND entries >= 0");
            }
        );
        builder.HasKey(c => c.Tenant);
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(c => c.Tenant).OnDelete(DeleteBehavior.Cascade);
        builder.Property(c => c.Bytes).HasDefaultValue(0L);
        builder.Property(c => c.Entries).HasDefaultValue(0L);
    }
}

/// <summary>Turns tenants' caches on and off.</summary>
public static class TenantCaches
{
    public static readonly TimeSpan TtlMin = TimeSpan.FromSeconds(1);
    public static readonly TimeSpan TtlMax = TimeSpan.FromDays(30);

    /// <summary>A smaller cache would be emptied by every sweep.</summary>
    public const long BytesMin = 1024 * 1024;
    public const long BytesMax = 100L * 1024 * 1024 * 1024;
    public const long BytesDefault = 256L * 1024 * 1024;
    public const long EntriesMin = 100;
    public const long EntriesMax = 10_000_000;
    public const long EntriesDefault = 1_000_000;

    /// <summary>The bounds of a tenant's cache; null where it has none, or there is no such tenant.</summary>
    public static async Task<(TimeSpan Ttl, long BytesMax, long EntriesMax)?> FindAsync(
        NpgsqlDataSource database,
        string tenant,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            "SELECT c.ttl, c.bytes_max, c.entries_max FROM tenant_caches c JOIN tenants t ON t.id = c.tenant WHERE t.name = $1"
        );
        command.Parameters.Add(new() { Value = tenant });
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? (reader.GetTimeSpan(0), reader.GetInt64(1), reader.GetInt64(2)) : null;
    }

    /// <summary>Turns a tenant's cache on, or sets its bounds. Entries keep the time they were made for. False when there is no such tenant.</summary>
    public static async Task<bool> SetAsync(
        NpgsqlDataSource database,
        string tenant,
        TimeSpan ttl,
        long bytesMax,
        long entriesMax,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            """
            INSERT INTO tenant_caches (tenant, ttl, bytes_max, entries_max) SELECT id, $2, $3, $4 FROM tenants WHERE name = $1
            ON CONFLICT (tenant) DO UPDATE SET ttl = excluded.ttl, bytes_max = excluded.bytes_max, entries_max = excluded.entries_max
            """
        );
        command.Parameters.Add(new() { Value = tenant });
        command.Parameters.Add(new() { Value = ttl, NpgsqlDbType = NpgsqlDbType.Interval });
        command.Parameters.Add(new() { Value = bytesMax });
        command.Parameters.Add(new() { Value = entriesMax });
        return await command.ExecuteNonQueryAsync(stop) > 0;
    }

    /// <summary>Turns a tenant's cache off and removes what is in it. False when there is no such tenant.</summary>
    public static async Task<bool> RemoveAsync(NpgsqlDataSource database, string tenant, CancellationToken stop = default)
    {
        await using var command = database.CreateCommand(
            """
            WITH removed AS (DELETE FROM tenant_caches c USING tenants t WHERE t.name = $1 AND c.tenant = t.id)
            SELECT EXISTS (SELECT FROM tenants WHERE name = $1)
            """
        );
        // Its entries go with it, and may be millions.
        command.CommandTimeout = 0;
        command.Parameters.Add(new() { Value = tenant });
        return await command.ExecuteScalarAsync(stop) is true;
    }

    /// <summary>Every tenant that has one.</summary>
    public static async Task<HashSet<TenantId>> TenantsAsync(NpgsqlDataSource database, CancellationToken stop = default)
    {
        await using var command = database.CreateCommand("SELECT tenant FROM tenant_caches");
        await using var reader = await command.ExecuteReaderAsync(stop);
        var tenants = new HashSet<TenantId>();
        while (await reader.ReadAsync(stop))
        {
            tenants.Add(new TenantId(reader.GetGuid(0)));
        }

        return tenants;
    }
}
