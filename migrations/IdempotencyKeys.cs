using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// One request that carried an <c>Idempotency-Key</c> (draft-ietf-httpapi-idempotency-key). Without a finish it is in progress;
/// with one, the same request gets the same answer again, and another request with the key is refused.
/// </summary>
public sealed class IdempotencyKeyRow
{
    public required TenantId Tenant { get; set; }
    public required string Key { get; set; }

    /// <summary>Hash of what makes two requests the same.</summary>
    public required byte[] Fingerprint { get; set; }
    public JobId? Job { get; set; }

    /// <summary>HTTP status of the answer.</summary>
    public int? Status { get; set; }

    /// <summary>Body of the answer.</summary>
    public byte[]? Response { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
    public DateTimeOffset? FinishedAt { get; set; }
}

internal sealed class IdempotencyKeysTable : IEntityTypeConfiguration<IdempotencyKeyRow>
{
    public void Configure(EntityTypeBuilder<IdempotencyKeyRow> builder)
    {
        builder.ToTable(
            "idempotency_keys",
            t =>
            {
                t.HasCheckConstraint("ck_idempotency_keys_key", "key <> ''");
                t.HasCheckConstraint(
                    "ck_idempotency_keys_finished",
                    "(finished_at IS NOT NULL) = (status IS NOT NULL) AND (status IS NOT NULL) = (response IS NOT NULL)"
                );
            }
        );
        builder.HasKey(k => new { k.Tenant, k.Key });
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(k => k.Tenant).OnDelete(DeleteBehavior.Cascade);

        // Old keys are swept by age.
        builder.HasIndex(k => k.CreatedAt, "ix_idempotency_keys_created_at");
    }
}
