using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
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
