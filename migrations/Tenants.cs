using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>Who submits work. Jobs, keys and budgets belong to a tenant.</summary>
public sealed class TenantRow
{
    public required TenantId Id { get; set; }

    /// <summary>Unique name.</summary>
    public required string Name { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
}

internal sealed class TenantsTable : IEntityTypeConfiguration<TenantRow>
{
    public void Configure(EntityTypeBuilder<TenantRow> builder)
    {
        builder.ToTable("tenants", t => t.HasCheckConstraint("ck_tenants_name", "name <> ''"));
        builder.HasKey(t => t.Id);
        builder.HasIndex(t => t.Name, "ux_tenants_name").IsUnique();
    }
}

/// <summary>Everyday SQL of tenants.</summary>
public static class Tenants
{
    /// <summary>Returns the tenant of that name, made now if there is none. Safe to call from several processes at once.</summary>
    public static async Task<TenantId> EnsureAsync(NpgsqlDataSource dataSource, string name, CancellationToken cancellationToken = default)
    {
        // DO UPDATE rather than DO NOTHING, so that RETURNING also answers when the row was there.
        await using var command = dataSource.CreateCommand(
            """
            INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, now())
            ON CONFLICT (name) DO UPDATE SET name = excluded.name
            RETURNING id
            """
        );
        command.Parameters.Add(new() { Value = TenantId.New(DateTimeOffset.UtcNow).Value });
        command.Parameters.Add(new() { Value = name });
        return new TenantId((Guid)(await command.ExecuteScalarAsync(cancellationToken))!);
    }

    /// <summary>Makes a tenant; false where there is one of that name.</summary>
    public static async Task<bool> AddAsync(
        NpgsqlDataSource dataSource,
        TenantId id,
        string name,
        CancellationToken cancellationToken = default
    )
    {
        await using var command = dataSource.CreateCommand(
            "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, now()) ON CONFLICT (name) DO NOTHING"
        );
        command.Parameters.Add(new() { Value = id.Value });
        command.Parameters.Add(new() { Value = name });
        return await command.ExecuteNonQueryAsync(cancellationToken) == 1;
    }
}
