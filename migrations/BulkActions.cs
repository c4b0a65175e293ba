using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// One action on many jobs, as an operator confirmed it: the jobs are chosen and stored with it, and results-api works them off one by
/// one, whatever becomes of the browser.
/// </summary>
public sealed class BulkActionRow
{
    /// <summary>A UUIDv7, so rows are in order of time.</summary>
    public required Guid Id { get; set; }

    /// <summary><c>cancel</c>, <c>pause</c>, <c>resume</c>, <c>change</c>, <c>retry-failed</c> or <c>dismiss</c>.</summary>
    public required string Action { get; set; }

    /// <summary>Of <c>change</c>: the <c>class</c>, the <c>deadline</c> or both that the jobs get, as the operator wrote them.</summary>
    public string? Change { get; set; }

    /// <summary>The query string that chose the jobs.</summary>
    public required string Query { get; set; }
    public required string Reason { get; set; }
    public required Guid Operator { get; set; }
    public required string OperatorName { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }

    /// <summary>Jobs in it, and how many of them were done or refused.</summary>
    public required int Items { get; set; }
    public int Done { get; set; }
    public int Refused { get; set; }

    /// <summary>True once somebody asked to leave out what is not begun.</summary>
    public bool Stopped { get; set; }
    public DateTimeOffset? FinishedAt { get; set; }
}

/// <summary>One job of a bulk action, and what came of it.</summary>
public sealed class BulkActionItemRow
{
    public required Guid BulkAction { get; set; }
    public required JobId Job { get; set; }
    public required TenantId Tenant { get; set; }

    /// <summary><c>waiting</c>, <c>done</c>, <c>refused</c>, or <c>left_out</c> where the action was stopped before it.</summary>
    public required string Outcome { get; set; }

    /// <summary>The new job of a retry, how many failures were dismissed, or why it was refused.</summary>
    public string? Detail { get; set; }
}

internal sealed class BulkActionsTable : IEntityTypeConfiguration<BulkActionRow>
{
    public void Configure(EntityTypeBuilder<BulkActionRow> builder)
    {
        builder.ToTable(
            "bulk_actions",
            t =>
            {
                t.HasCheckConstraint(
                    "ck_bulk_actions_action",
                    "action IN ('cancel', 'pause', 'resume', 'change', 'retry-failed', 'dismiss')"
                );
                t.HasCheckConstraint("ck_bulk_actions_change", "(action = 'change') = (change IS NOT NULL)");
                t.HasCheckConstraint("ck_bulk_actions_counts", "items > 0 AND done >= 0 AND refused >= 0 AND done + refused <= items");
            }
        );
        builder.HasKey(b => b.Id);
        builder.Property(b => b.Change).HasColumnType("jsonb");

        // What is to be worked off; empty as a rule.
        builder.HasIndex(b => b.Id, "ix_bulk_actions_open").HasFilter("finished_at IS NULL");
        builder.Property(b => b.Done).HasDefaultValue(0);
        builder.Property(b => b.Refused).HasDefaultValue(0);
        builder.Property(b => b.Stopped).HasDefaultValue(false);
    }
}

internal sealed class BulkActionItemsTable : IEntityTypeConfiguration<BulkActionItemRow>
{
    public void Configure(EntityTypeBuilder<BulkActionItemRow> builder)
    {
        builder.ToTable(
            "bulk_action_items",
            t => t.HasCheckConstraint("ck_bulk_action_items_outcome", "outcome IN ('waiting', 'done', 'refused', 'left_out')")
        );
        builder.HasKey(i => new { i.BulkAction, i.Job });
        builder.HasOne<BulkActionRow>().WithMany().HasForeignKey(i => i.BulkAction).OnDelete(DeleteBehavior.Cascade);
        builder.HasIndex(i => new { i.BulkAction, i.Job }, "ix_bulk_action_items_waiting").HasFilter("outcome = 'waiting'");
    }
}
