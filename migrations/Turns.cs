using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// A turn that a task escalated from: it ran, and its answer was not accepted. The turn that ended the task is its row in <c>results</c>.
/// Written once, by <see cref="TaskEnds"/>, under the lock of the task's chunk: the key is what makes a task escalate once, whatever was
/// delivered or planned twice.
/// </summary>
public sealed class TurnRow
{
    public required JobId Job { get; set; }
    public required int Seq { get; set; }

    /// <summary>From 1: the place of its variant in the route.</summary>
    public required short Turn { get; set; }

    /// <summary>The chunk it left.</summary>
    public required int Chunk { get; set; }

    /// <summary>The version that ran, <c>name@version</c>.</summary>
    public required string Model { get; set; }
    public required BatchId Batch { get; set; }

    /// <summary>Its units as the worker counted them.</summary>
    public required int Units { get; set; }

    /// <summary>Pico-USD of this turn; <c>results.cost_pico</c> has it, too, once the task has ended.</summary>
    public required long CostPico { get; set; }
    public required DateTimeOffset FinishedAt { get; set; }

    /// <summary>The transaction, by which it is rolled up (<see cref="Rollups"/>).</summary>
    public ulong Xid { get; set; }
}

/// <summary>No foreign key, as <c>results</c> has none. Job ids are in order of time, so the turns of old jobs are a range of the key.</summary>
internal sealed class TurnsTable : IEntityTypeConfiguration<TurnRow>
{
    public void Configure(EntityTypeBuilder<TurnRow> builder)
    {
        builder.ToTable("turns", t => t.HasCheckConstraint("ck_turns_turn", "turn >= 1 AND units >= 0 AND cost_pico >= 0"));
        builder.HasKey(t => new
        {
            t.Job,
            t.Seq,
            t.Turn,
        });
        builder.Property(t => t.Xid).HasColumnType("xid8").HasDefaultValueSql("pg_current_xact_id()");
        builder.HasIndex(t => t.Xid, "ix_turns_xid");
    }
}
