using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace Pipeline.Migrations;

/// <summary>
/// A loop that takes a turn every few seconds or less in each process that has it, which is too often for a row a run: how its last turn went, in whichever process,
/// and what operators ask of it.
/// </summary>
public sealed class RecurringLoopRow
{
    /// <summary>The loop's name, <c>usage-rollups</c>.</summary>
    public required string Name { get; set; }

    /// <summary>What it does, a sentence; and the time between turns, as the process set it that wrote last.</summary>
    public required string Purpose { get; set; }
    public required TimeSpan Every { get; set; }

    /// <summary>The last turn; null before the first.</summary>
    public DateTimeOffset? StartedAt { get; set; }
    public DateTimeOffset? EndedAt { get; set; }

    /// <summary>Why it failed; null where it did not.</summary>
    public string? Error { get; set; }

    /// <summary>Which process took it.</summary>
    public string? Instance { get; set; }

    /// <summary>Turns taken, and those that failed, since the row was made, by all processes.</summary>
    public long Turns { get; set; }
    public long Failures { get; set; }

    /// <summary>True while no turn is taken but by request.</summary>
    public bool Paused { get; set; }

    /// <summary>When a turn was last asked for; each process takes one.</summary>
    public DateTimeOffset? AskedAt { get; set; }
}

internal sealed class RecurringLoopsTable : IEntityTypeConfiguration<RecurringLoopRow>
{
    public void Configure(EntityTypeBuilder<RecurringLoopRow> builder)
    {
        builder.ToTable(
            "recurring_loops",
            t =>
            {
                t.HasCheckConstraint(
                    "ck_recurring_loops_turn",
                    "num_nonnulls(started_at, ended_at, instance) IN (0, 3) AND ended_at >= started_at"
                );
                t.HasCheckConstraint("ck_recurring_loops_counts", "failures BETWEEN 0 AND turns");
            }
        );
        builder.HasKey(l => l.Name);
        builder.Property(l => l.Turns).HasDefaultValue(0L);
        builder.Property(l => l.Failures).HasDefaultValue(0L);
        builder.Property(l => l.Paused).HasDefaultValue(false);
    }
}
