using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
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

    /// <summary>Jobs whose data it has taken on to remove.</summary>
    public int Jobs { get; set; }

    /// <summary>When nothing was left.</summary>
    public DateTimeOffset? FinishedAt { get; set; }
}

internal sealed class ErasuresTable : IEntityTypeConfiguration<ErasureRow>
{
    public void Configure(EntityTypeBuilder<ErasureRow> builder)
    {
        builder.ToTable("erasures", t => t.HasCheckConstraint("ck_erasures_reason", "reason <> '' AND jobs >= 0"));
        builder.HasKey(e => e.Id);
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(e => e.Tenant).OnDelete(DeleteBehavior.Restrict);
        builder.Property(e => e.Jobs).HasDefaultValue(0);

        // One at a time for a job, and for a tenant: who asks again gets the one that is open.
        builder
            .HasIndex(e => new { e.Tenant, e.Job }, "ux_erasures_open")
            .IsUnique()
            .AreNullsDistinct(false)
            .HasFilter("finished_at IS NULL");
    }
}
