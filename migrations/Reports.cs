using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>A report as it was made: it can be read again, byte for byte, whatever is rolled up or excluded later.</summary>
public sealed class ReportRow
{
    public required Guid Id { get; set; }

    /// <summary>Who asked for it, or whom it was made for.</summary>
    public required TenantId Tenant { get; set; }

    /// <summary>True where it is about all tenants; then <see cref="Tenant"/> is an operator's.</summary>
    public required bool AllTenants { get; set; }

    /// <summary>Why it was made: <c>request</c>, <c>week</c> or <c>month</c>.</summary>
    public required string Occasion { get; set; }
    public required DateTimeOffset FromAt { get; set; }
    public required DateTimeOffset ToAt { get; set; }
    public required string TimeZone { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }

    /// <summary>The document as JSON, as UTF-8.</summary>
    public required byte[] Body { get; set; }
}

internal sealed class ReportsTable : IEntityTypeConfiguration<ReportRow>
{
    public void Configure(EntityTypeBuilder<ReportRow> builder)
    {
        builder.ToTable(
            "reports",
            t =>
            {
                t.HasCheckConstraint("ck_reports_occasion", "occasion IN ('request', 'week', 'month')");
                t.HasCheckConstraint("ck_reports_window", "from_at < to_at");
            }
        );
        builder.HasKey(r => r.Id);
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(r => r.Tenant).OnDelete(DeleteBehavior.Cascade);
        builder.HasIndex(r => new { r.Tenant, r.Id }, "ix_reports_tenant").IsDescending(false, true);

        // One of each week and month: who comes second finds it made.
        builder
            .HasIndex(
                r => new
                {
                    r.Tenant,
                    r.AllTenants,
                    r.Occasion,
                    r.FromAt,
                    r.TimeZone,
                },
                "ux_reports_period"
            )
            .IsUnique()
            .HasFilter("occasion <> 'request'");
    }
}
