using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace Pipeline.Migrations;

/// <summary>The fencing counter of schedulers: who takes over raises it. The table has exactly one row, there from the start
/// with epoch 0.</summary>
public sealed class SchedulerEpochRow
{
    /// <summary>Always true; the key that allows one row.</summary>
    public bool One { get; set; } = true;
    public required long Epoch { get; set; }

    /// <summary>The instance that took over last.</summary>
    public required Guid Instance { get; set; }
    public required DateTimeOffset TakenAt { get; set; }
}

internal sealed class SchedulerEpochTable : IEntityTypeConfiguration<SchedulerEpochRow>
{
    public void Configure(EntityTypeBuilder<SchedulerEpochRow> builder)
    {
        builder.ToTable(
            "scheduler_epoch",
            t =>
            {
                t.HasCheckConstraint("ck_scheduler_epoch_one", "one");
                t.HasCheckConstraint("ck_scheduler_epoch_epoch", "epoch >= 0");
            }
        );
        builder.HasKey(e => e.One);
        builder.Property(e => e.One).HasDefaultValue(true).ValueGeneratedNever();
    }
}
