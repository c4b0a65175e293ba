using System.Buffers.Text;
using System.Security.Cryptography;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Migrations;

/// <summary>A key that opens the API for a tenant. Only its hash is stored; a key has 256 random bits, so a plain hash is enough.</summary>
public sealed class ApiKeyRow
{
    public required Guid Id { get; set; }
    public required TenantId Tenant { get; set; }

    /// <summary>What its owner calls it.</summary>
    public required string Name { get; set; }

    /// <summary>SHA-256 of the key's text.</summary>
    public required byte[] Hash { get; set; }

    /// <summary>First characters of the key, to recognise it by.</summary>
    public required string Prefix { get; set; }

    /// <summary>True for who runs the service: sees what work costs, and sets prices and budgets.</summary>
    public bool Operator { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
    public DateTimeOffset? RevokedAt { get; set; }

    /// <summary>What it may ask of the express path; null for ingest's option. <see cref="ApiKeyLimits"/> says what they mean.</summary>
    public int? RatePerSecond { get; set; }
    public int? BurstMax { get; set; }
    public int? ConcurrentMax { get; set; }
}

internal sealed class ApiKeysTable : IEntityTypeConfiguration<ApiKeyRow>
{
    public void Configure(EntityTypeBuilder<ApiKeyRow> builder)
    {
        builder.ToTable(
            "api_keys",
            t =>
            {
                t.HasCheckConstraint("ck_api_keys_hash", "octet_length(hash) = 32");
                t.HasCheckConstraint(
                    "ck_api_keys_limits",
                    $"{Within("rate_per_second")} AND {Within("burst_max")} AND {Within("concurrent_max")}"
                );
            }
        );
        builder.HasKey(k => k.Id);
        builder.Property(k => k.Operator).HasDefaultValue(false);
        builder.HasIndex(k => k.Hash, "ux_api_keys_hash").IsUnique();
        builder.HasIndex(k => k.Tenant, "ix_api_keys_tenant");
        // Ingest reads them every few seconds: the few keys that have any.
        builder.HasIndex(k => k.Id, "ix_api_keys_limits").HasFilter(ApiKeyLimits.HasAny);
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(k => k.Tenant).OnDelete(DeleteBehavior.Cascade);
    }

    private static string Within(string column) => $"({column} IS NULL OR {column} BETWEEN 1 AND {ApiKeyLimits.Most})";
}

/// <summary>Makes keys; their form is <c>pk_</c> and 43 characters of base64url. <see cref="ApiKeys"/> recognises them.</summary>
public static class ApiKeyIssuer
{
    /// <summary>Characters that a key is told apart by where its text is not shown: nine of them are random, 54 bits.</summary>
    public const int PrefixLength = 12;

    /// <summary>Makes a key for the tenant and returns its text, which is shown once and stored nowhere.</summary>
    /// <param name="isOperator">True when its owner runs the service.</param>
    public static async Task<string> IssueAsync(
        NpgsqlDataSource dataSource,
        TenantId tenant,
        string name,
        bool isOperator = false,
        CancellationToken cancellationToken = default
    )
    {
        var key = $"pk_{Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32))}";
        await using var command = dataSource.CreateCommand(
            """
            INSERT INTO api_keys (id, tenant, name, hash, prefix, operator, created_at) VALUES ($1, $2, $3, $4, $5, $6, now())
            """
        );
        command.Parameters.Add(new() { Value = Guid.CreateVersion7() });
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = name });
        command.Parameters.Add(new() { Value = ApiKeys.Hash(key) });
        command.Parameters.Add(new() { Value = key[..PrefixLength] });
        command.Parameters.Add(new() { Value = isOperator });
        await command.ExecuteNonQueryAsync(cancellationToken);
        return key;
    }
}
