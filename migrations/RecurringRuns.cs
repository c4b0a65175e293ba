using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace Pipeline.Migrations;

/// <summary>
/// One run of recurring work. Without an end it is under way, or its process is gone: the next run of the same work ends it as
/// <c>interrupted</c>, for no two of one work go on at once.
/// </summary>
public sealed class RecurringRunRow
{
    public long Id { get; set; }

    /// <summary>The work's name, <c>retention</c>.</summary>
    public required string Name { get; set; }
    public required DateTimeOffset StartedAt { get; set; }
    public DateTimeOffset? EndedAt { get; set; }

    /// <summary><c>ok</c>, <c>failed</c> or <c>interrupted</c>; with the end.</summary>
    public string? Outcome { get; set; }

    /// <summary>What it did: a JSON object of counts.</summary>
    public string? Counts { get; set; }

    /// <summary>Why it failed; of no other.</summary>
    public string? Error { get; set; }

    /// <summary>Which process ran it.</summary>
    public required string Instance { get; set; }
}

internal sealed class RecurringRunsTable : IEntityTypeConfiguration<RecurringRunRow>
{
    public void Configure(EntityTypeBuilder<RecurringRunRow> builder)
    {
        builder.ToTable(
            "recurring_runs",
            t =>
            {
                t.HasCheckConstraint("ck_recurring_runs_outcome", "outcome IN ('ok', 'failed', 'interrupted')");
                t.HasCheckConstraint("ck_recurring_runs_ended", "(ended_at IS NULL) = (outcome IS NULL) AND ended_at >= started_at");
                t.HasCheckConstraint("ck_recurring_runs_counts", "(outcome IS NOT DISTINCT FROM 'ok') = (counts IS NOT NULL)");
                t.HasCheckConstraint("ck_recurring_runs_error", "(outcome IS NOT DISTINCT FROM 'failed') = (error IS NOT NULL)");
            }
        );
        builder.HasKey(r => r.Id);
        builder.Property(r => r.Id).UseIdentityAlwaysColumn();
        builder.Property(r => r.Counts).HasColumnType("jsonb");

        // The runs of one work, newest first.
        builder.HasIndex(r => new { r.Name, r.Id }, "ix_recurring_runs_name").IsDescending(false, true);
    }
}
