using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>What a tenant's tasks of a class and a model came to on one UTC day, by the time they finished; see <see cref="Rollups"/>.</summary>
public sealed class UsageDayRow
{
    public required DateOnly Day { get; set; }
    public required TenantId Tenant { get; set; }
    public required LatencyClass Class { get; set; }

    /// <summary>The version that ran, <c>name@version</c>. A task counts for the one that answered, its turns for the models they ran on.</summary>
    public required string Model { get; set; }

    /// <summary>Tasks, by outcome.</summary>
    public required long Succeeded { get; set; }
    public required long Failed { get; set; }
    public required long Expired { get; set; }
    public required long Cancelled { get; set; }

    /// <summary>Units of all turns, as workers counted them.</summary>
    public required long Units { get; set; }

    /// <summary>Model executions.</summary>
    public required long Turns { get; set; }

    /// <summary>
    /// Their share of the device time of the batches they ran in, in nanoseconds: by units over padded units, rounded down for each
    /// chunk's tasks of a batch. Padding is not in it.
    /// </summary>
    public required long DeviceNs { get; set; }

    /// <summary>Pico-USD of all turns: over all models the sum of what <c>results</c> say, once the tasks have ended.</summary>
    public required long CostPico { get; set; }

    /// <summary>Of the succeeded: results that came from another task of the job, and from the tenant's cache.</summary>
    public long ReusedJob { get; set; }
    public long ReusedCache { get; set; }

    /// <summary>Pico-USD that those cost when they were made.</summary>
    public long SavedPico { get; set; }
}

internal sealed class UsageDaysTable : IEntityTypeConfiguration<UsageDayRow>
{
    public void Configure(EntityTypeBuilder<UsageDayRow> builder)
    {
        builder.ToTable(
            "usage_days",
            t => t.HasCheckConstraint("ck_usage_days_class", $"class IN ({Words.SqlList<LatencyClass>(LatencyClasses.Name)})")
        );

        builder.Property(u => u.ReusedJob).HasDefaultValue(0L);
        builder.Property(u => u.ReusedCache).HasDefaultValue(0L);
        builder.Property(u => u.SavedPico).HasDefaultValue(0L);

        // By tenant first: a report is one tenant's, over a range of days.
        builder.HasKey(u => new
        {
            u.Tenant,
            u.Day,
            u.Class,
            u.Model,
        });
    }
}
