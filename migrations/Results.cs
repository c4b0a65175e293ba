using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// How a task ended: written once, by <see cref="TaskEnds"/>, and never changed. The primary key is what makes a task end exactly once,
/// whatever was delivered or planned twice.
/// </summary>
public sealed class ResultRow
{
    public required JobId Job { get; set; }
    public required int Seq { get; set; }

    /// <summary>Number of the task's chunk.</summary>
    public required int Chunk { get; set; }
    public required string CustomId { get; set; }
    public required TaskOutcome Status { get; set; }
    public byte[]? Output { get; set; }
    public string? ContentType { get; set; }
    public string? ErrorCode { get; set; }
    public string? ErrorMessage { get; set; }

    /// <summary>The version that answered, <c>name@version</c>.</summary>
    public required string Model { get; set; }

    /// <summary>Model executions it took; none where the result is reused.</summary>
    public required short Turns { get; set; }

    /// <summary>Pico-USD of task work over all turns; waste is never in it.</summary>
    public required long CostPico { get; set; }
    public BatchId? Batch { get; set; }

    /// <summary>Its units as the worker counted them; 0 when it never came to a model.</summary>
    public int Units { get; set; }

    /// <summary>
    /// <c>job</c> or <c>cache</c> (<see cref="ReuseSource"/>): where a result comes from that was made for another task. It has no batch and
    /// no cost. Null for what ran, and for what did not succeed.
    /// </summary>
    public string? Reused { get; set; }

    /// <summary>Pico-USD that the task cost which made it; with <see cref="Reused"/> only.</summary>
    public long? SavedPico { get; set; }

    /// <summary>Microseconds from acceptance to dispatch, dispatch to device, on the device, and from acceptance to result.</summary>
    public required long QueuedUs { get; set; }
    public required int StagedUs { get; set; }
    public required int DeviceUs { get; set; }
    public required long TotalUs { get; set; }
    public required DateTimeOffset FinishedAt { get; set; }
}

/// <summary>
/// A partition a UTC day of job ids (<see cref="Partitions"/>). No foreign key (it costs 28 to 38 % of the insert rate) and no other
/// index over all rows (one on <c>custom_id</c> costs 8 to 17 %). EF Core knows no partitioned tables: the migration makes this one in SQL, and a test
/// holds it against this model column by column.
/// </summary>
internal sealed class ResultsTable : IEntityTypeConfiguration<ResultRow>
{
    public void Configure(EntityTypeBuilder<ResultRow> builder)
    {
        builder.ToTable(
            "results",
            t =>
            {
                t.HasCheckConstraint("ck_results_status", $"status IN ({Words.SqlList<TaskOutcome>(JobStates.Name)})");
                t.HasCheckConstraint(
                    "ck_results_error",
                    "(status = 'succeeded') = (error_code IS NULL) AND (error_code IS NULL) = (error_message IS NULL)"
                );
                t.HasCheckConstraint(
                    "ck_results_output",
                    "(status = 'succeeded') = (output IS NOT NULL) AND (output IS NULL) = (content_type IS NULL)"
                );
                t.HasCheckConstraint("ck_results_cost_pico", "cost_pico >= 0");
                t.HasCheckConstraint(
                    "ck_results_reused",
                    "(reused IS NULL) = (saved_pico IS NULL) AND (reused IS NULL "
                        + "OR reused IN ('job', 'cache') AND saved_pico >= 0 AND status = 'succeeded' AND cost_pico = 0 AND batch IS NULL)"
                );
            }
        );
        builder.Property(r => r.Units).HasDefaultValue(0);
        builder.HasKey(r => new { r.Job, r.Seq });

        // Failures by job and so by time, to be grouped without a look at the table. Rows that did not fail are not in it.
        builder
            .HasIndex(r => new { r.Job, r.Seq }, "ix_results_failed")
            .HasFilter("status = 'failed'")
            .IncludeProperties(r => new { r.ErrorCode, r.Model });
    }
}
