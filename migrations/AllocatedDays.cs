using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// Whose tasks a pool's account <c>task</c> was spent on. The day is that of the booking, as in <see cref="DeviceDayRow"/> and not as in
/// <see cref="UsageDayRow"/>: so the costs here sum to that account to the pico-dollar, also across midnight. See <see cref="Rollups"/>.
/// </summary>
public sealed class AllocatedDayRow
{
    public required DateOnly Day { get; set; }
    public required string Pool { get; set; }

    /// <summary>What an hour of the device cost, in pico-USD.</summary>
    public required long PricePerHourPico { get; set; }
    public required TenantId Tenant { get; set; }
    public required LatencyClass Class { get; set; }

    /// <summary>The version that answered, <c>name@version</c>.</summary>
    public required string Model { get; set; }
    public required long Tasks { get; set; }
    public required long Units { get; set; }
    public required long CostPico { get; set; }
}

internal sealed class AllocatedDaysTable : IEntityTypeConfiguration<AllocatedDayRow>
{
    public void Configure(EntityTypeBuilder<AllocatedDayRow> builder)
    {
        builder.ToTable(
            "allocated_days",
            t => t.HasCheckConstraint("ck_allocated_days_class", $"class IN ({Words.SqlList<LatencyClass>(LatencyClasses.Name)})")
        );
        builder.HasKey(a => new
        {
            a.Day,
            a.Pool,
            a.PricePerHourPico,
            a.Tenant,
            a.Class,
            a.Model,
        });
    }
}
