using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace Pipeline.Migrations;

/// <summary>
/// Time that reports leave out, such as announced maintenance: what ended in it counts for no figure. It is never removed, only withdrawn, so
/// that it can be told why an older report says something else.
/// </summary>
public sealed class SlaExclusionRow
{
    public required Guid Id { get; set; }

    /// <summary>Whole minutes; the end is not in it.</summary>
    public required DateTimeOffset FromAt { get; set; }
    public required DateTimeOffset ToAt { get; set; }
    public required string Reason { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
    public DateTimeOffset? WithdrawnAt { get; set; }
}

internal sealed class SlaExclusionsTable : IEntityTypeConfiguration<SlaExclusionRow>
{
    public void Configure(EntityTypeBuilder<SlaExclusionRow> builder)
    {
        builder.ToTable(
            "sla_exclusions",
            t =>
            {
                t.HasCheckConstraint(
                    "ck_sla_exclusions_minutes",
                    "from_at < to_at AND extract(second FROM from_at) = 0 AND extract(second FROM to_at) = 0"
                );
                t.HasCheckConstraint("ck_sla_exclusions_reason", "reason <> ''");
            }
        );
        builder.HasKey(e => e.Id);
        builder.HasIndex(e => e.FromAt, "ix_sla_exclusions_from_at");
    }
}
