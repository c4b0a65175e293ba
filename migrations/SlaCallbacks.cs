using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>What became of a tenant's webhook deliveries, by the minute they ended in; written with the outcome of each, so each counts once.</summary>
public sealed class SlaCallbackRow
{
    public required DateTimeOffset At { get; set; }
    public required TenantId Tenant { get; set; }

    /// <summary>Delivered; of these, so soon after the event that they count as punctual; and given up.</summary>
    public required long Delivered { get; set; }
    public required long Punctual { get; set; }
    public required long Failed { get; set; }
}

internal sealed class SlaCallbacksTable : IEntityTypeConfiguration<SlaCallbackRow>
{
    public void Configure(EntityTypeBuilder<SlaCallbackRow> builder)
    {
        builder.ToTable(
            "sla_callbacks",
            t => t.HasCheckConstraint("ck_sla_callbacks_punctual", "punctual BETWEEN 0 AND delivered AND failed >= 0")
        );
        builder.HasKey(c => new { c.At, c.Tenant });
    }
}
