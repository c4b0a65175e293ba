using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>How long a tenant's data is kept, where it differs from the options. What is null is decided elsewhere: by the row of all classes, then by the options.</summary>
public sealed class RetentionAgesRow
{
    public required TenantId Tenant { get; set; }

    /// <summary>A latency class, or <c>all</c>.</summary>
    public required string Class { get; set; }

    /// <summary>Ages, counted from the end of a job: what its tasks were given, what they gave, and events, deliveries.</summary>
    public TimeSpan? Inputs { get; set; }
    public TimeSpan? Outputs { get; set; }
    public TimeSpan? Logs { get; set; }
}

internal sealed class RetentionAgesTable : IEntityTypeConfiguration<RetentionAgesRow>
{
    public void Configure(EntityTypeBuilder<RetentionAgesRow> builder)
    {
        builder.ToTable(
            "retention_ages",
            t =>
            {
                t.HasCheckConstraint(
                    "ck_retention_ages_class",
                    $"class IN ('{RetentionAges.AllClasses}', {Words.SqlList<LatencyClass>(LatencyClasses.Name)})"
                );
                t.HasCheckConstraint("ck_retention_ages_some", "num_nonnulls(inputs, outputs, logs) > 0");
                t.HasCheckConstraint(
                    "ck_retention_ages_range",
                    "inputs >= interval '1 hour' AND outputs >= interval '1 hour' AND logs >= interval '1 hour'"
                );
            }
        );
        builder.HasKey(r => new { r.Tenant, r.Class });
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(r => r.Tenant).OnDelete(DeleteBehavior.Cascade);
    }
}

/// <summary>How long each kind of data is kept after its job has ended.</summary>
/// <param name="Inputs">What tasks were given.</param>
/// <param name="Outputs">Their results.</param>
/// <param name="Logs">Events of the job, and the deliveries that told of them.</param>
public sealed record KeptFor(TimeSpan? Inputs, TimeSpan? Outputs, TimeSpan? Logs)
{
    /// <summary>These, and where one is missing that of <paramref name="other"/>.</summary>
    public KeptFor Or(KeptFor? other) => new(Inputs ?? other?.Inputs, Outputs ?? other?.Outputs, Logs ?? other?.Logs);
}

/// <summary>Sets how long tenants' data is kept.</summary>
public static class RetentionAges
{
    /// <summary>In place of a class: each of them that has no age of its own.</summary>
    public const string AllClasses = "all";

    public static readonly TimeSpan AgeMin = TimeSpan.FromHours(1);
    public static readonly TimeSpan AgeMax = TimeSpan.FromDays(3650);

    /// <summary>Sets a tenant's ages of one class or of all; false when there is no such tenant.</summary>
    /// <param name="ofClass">A latency class, or <see cref="AllClasses"/>.</param>
    public static async Task<bool> SetAsync(
        NpgsqlDataSource database,
        string tenant,
        string ofClass,
        KeptFor ages,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            """
            INSERT INTO retention_ages (tenant, class, inputs, outputs, logs) SELECT id, $2, $3, $4, $5 FROM tenants WHERE name = $1
            ON CONFLICT (tenant, class) DO UPDATE SET inputs = excluded.inputs, outputs = excluded.outputs, logs = excluded.logs
            """
        );
        command.Parameters.Add(new() { Value = tenant });
        command.Parameters.Add(new() { Value = ofClass });
        command.Parameters.Add(Age(ages.Inputs));
        command.Parameters.Add(Age(ages.Outputs));
        command.Parameters.Add(Age(ages.Logs));
        return await command.ExecuteNonQueryAsync(stop) > 0;
    }

    /// <summary>Takes a tenant's ages of one class, or where null all of its ages, back. False when there is no such tenant.</summary>
    public static async Task<bool> RemoveAsync(NpgsqlDataSource database, string tenant, string? ofClass, CancellationToken stop = default)
    {
        await using var command = database.CreateCommand(
            """
            WITH removed AS (
              DELETE FROM retention_ages r USING tenants t WHERE t.name = $1 AND r.tenant = t.id AND ($2::text IS NULL OR r.class = $2)
            )
            SELECT EXISTS (SELECT FROM tenants WHERE name = $1)
            """
        );
        command.Parameters.Add(new() { Value = tenant });
        command.Parameters.Add(new() { Value = (object?)ofClass ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        return await command.ExecuteScalarAsync(stop) is true;
    }

    /// <summary>What is set for a tenant, by class or <see cref="AllClasses"/>; null when there is no such tenant.</summary>
    public static async Task<Dictionary<string, KeptFor>?> FindAsync(
        NpgsqlDataSource database,
        string tenant,
        CancellationToken stop = default
    )
    {
        await using var command = database.CreateCommand(
            """
            SELECT r.class, r.inputs, r.outputs, r.logs FROM tenants t LEFT JOIN retention_ages r ON r.tenant = t.id WHERE t.name = $1
            """
        );
        command.Parameters.Add(new() { Value = tenant });
        await using var reader = await command.ExecuteReaderAsync(stop);
        Dictionary<string, KeptFor>? set = null;
        while (await reader.ReadAsync(stop))
        {
            set ??= [];
            if (!await reader.IsDBNullAsync(0, stop))
            {
                set[reader.GetString(0)] = new(At(1), At(2), At(3));
            }
        }

        return set;

        TimeSpan? At(int column) => reader.IsDBNull(column) ? null : reader.GetTimeSpan(column);
    }

    private static NpgsqlParameter Age(TimeSpan? age) =>
        new() { Value = (object?)age ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Interval };
}
