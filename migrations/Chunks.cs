using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>A run of consecutive tasks of a job: the unit stored, announced and counted.</summary>
public sealed class ChunkRow
{
    public required JobId Job { get; set; }
    public required int No { get; set; }

    /// <summary>The job's number of the chunk's first task.</summary>
    public required int FirstSeq { get; set; }
    public required int Tasks { get; set; }

    /// <summary>Units of all tasks and of the longest, as estimated at the door.</summary>
    public required long Units { get; set; }
    public required int UnitsMax { get; set; }

    /// <summary>Tasks without a result, and those with one, by outcome.</summary>
    public required int Remaining { get; set; }
    public int Succeeded { get; set; }
    public int Failed { get; set; }
    public int Expired { get; set; }
    public int Cancelled { get; set; }

    /// <summary>Pico-USD of its ended tasks.</summary>
    public long CostPico { get; set; }

    /// <summary>Units of its succeeded tasks, as the worker counted them: what is charged for.</summary>
    public long UnitsDone { get; set; }

    /// <summary>How often a worker died while it ran.</summary>
    public int Attempts { get; set; }

    /// <summary>When the broker confirmed its message; null until then, and the sweep publishes it again.</summary>
    public DateTimeOffset? AnnouncedAt { get; set; }

    /// <summary>The tasks, as <see cref="ChunkPayload"/> packs them. Compressed already, so its storage is <c>EXTERNAL</c>.</summary>
    public required byte[] Payload { get; set; }
}

internal sealed class ChunksTable : IEntityTypeConfiguration<ChunkRow>
{
    public void Configure(EntityTypeBuilder<ChunkRow> builder)
    {
        builder.ToTable(
            "chunks",
            t =>
            {
                t.HasCheckConstraint("ck_chunks_tasks", "tasks > 0 AND no >= 0 AND first_seq >= 0 AND units >= 0 AND units_max >= 0");
                t.HasCheckConstraint(
                    "ck_chunks_counts",
                    "remaining >= 0 AND succeeded >= 0 AND failed >= 0 AND expired >= 0 AND cancelled >= 0 "
                        + "AND remaining + succeeded + failed + expired + cancelled = tasks"
                );
                t.HasCheckConstraint("ck_chunks_cost_pico", "cost_pico >= 0");
                t.HasCheckConstraint("ck_chunks_units_done", "units_done >= 0");
                t.HasCheckConstraint("ck_chunks_attempts", "attempts >= 0");
            }
        );
        builder.HasKey(c => new { c.Job, c.No });
        builder.HasOne<JobRow>().WithMany().HasForeignKey(c => c.Job).OnDelete(DeleteBehavior.Cascade);

        // Both stay small however much is done: what the scheduler reads when it starts, and what the sweep publishes again.
        builder.HasIndex(c => new { c.Job, c.No }, "ix_chunks_open").HasFilter("remaining > 0");
        builder.HasIndex(c => new { c.Job, c.No }, "ix_chunks_unannounced").HasFilter("announced_at IS NULL");

        builder.Property(c => c.Succeeded).HasDefaultValue(0);
        builder.Property(c => c.Failed).HasDefaultValue(0);
        builder.Property(c => c.Expired).HasDefaultValue(0);
        builder.Property(c => c.Cancelled).HasDefaultValue(0);
        builder.Property(c => c.CostPico).HasDefaultValue(0L);
        builder.Property(c => c.UnitsDone).HasDefaultValue(0L);
        builder.Property(c => c.Attempts).HasDefaultValue(0);
    }
}
