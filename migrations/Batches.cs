using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>One device call: what ran together, how much of it was padding, and what it cost as a whole.</summary>
public sealed class BatchRow
{
    public required BatchId Id { get; set; }
    public required WorkerId Worker { get; set; }
    public required DispatchId Dispatch { get; set; }
    public required Lane Lane { get; set; }

    /// <summary>The version that ran, <c>name@version</c>.</summary>
    public required string Model { get; set; }

    /// <summary>Execution provider of the engine (<c>cpu</c>, <c>cuda</c>, …).</summary>
    public required string Provider { get; set; }
    public required int Rows { get; set; }
    public required long Units { get; set; }

    /// <summary>Units the device really ran, padding included.</summary>
    public required long PaddedUnits { get; set; }
    public required long DeviceNs { get; set; }

    /// <summary>Pico-USD of the whole batch.</summary>
    public required long CostPico { get; set; }

    /// <summary>What of that is padding.</summary>
    public required long PaddingPico { get; set; }

    /// <summary>How that was split over its tasks.</summary>
    public required SplitMethod SplitMethod { get; set; }
    public required DateTimeOffset StartedAt { get; set; }
    public required DateTimeOffset FinishedAt { get; set; }
}

internal sealed class BatchesTable : IEntityTypeConfiguration<BatchRow>
{
    public void Configure(EntityTypeBuilder<BatchRow> builder)
    {
        builder.ToTable(
            "batches",
            t =>
            {
                t.HasCheckConstraint("ck_batches_lane", $"lane IN ({Words.SqlList<Lane>(LatencyClasses.Name)})");
                t.HasCheckConstraint("ck_batches_units", "rows > 0 AND units >= 0 AND padded_units >= units");
                t.HasCheckConstraint("ck_batches_cost", "device_ns >= 0 AND cost_pico >= 0 AND padding_pico BETWEEN 0 AND cost_pico");
                t.HasCheckConstraint("ck_batches_split_method", $"split_method IN ({Words.SqlList<SplitMethod>(SplitMethods.Name)})");
            }
        );
        builder.HasKey(b => b.Id);

        builder.Property(b => b.PaddingPico).HasDefaultValue(0L);

        // What every batch was split by before there was a choice.
        builder.Property(b => b.SplitMethod).HasDefaultValueSql($"'{SplitMethod.Units.Name()}'").ValueGeneratedNever();
    }
}
