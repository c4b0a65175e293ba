using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// Which tasks of a chunk ended in one transaction. With it results are read as completed, by a cursor on <c>(xid, chunk)</c> that
/// never passes a transaction still open: a reader takes only <c>xid &lt; pg_snapshot_xmin(pg_current_snapshot())</c>.
/// </summary>
public sealed class EndingRow
{
    public required JobId Job { get; set; }

    /// <summary>The transaction (64 bits, never reused).</summary>
    public ulong Xid { get; set; }
    public required int Chunk { get; set; }

    /// <summary>Bit <c>i % 8</c> of byte <c>i / 8</c> stands for the chunk's task <c>i</c>, counted from 0.</summary>
    public required byte[] Tasks { get; set; }

    /// <summary>The worker that ended them; null where it was the scheduler. It is kept here since a task that failed may have no batch.</summary>
    public WorkerId? Worker { get; set; }
}

internal sealed class EndingsTable : IEntityTypeConfiguration<EndingRow>
{
    public void Configure(EntityTypeBuilder<EndingRow> builder)
    {
        builder.ToTable("endings", t => t.HasCheckConstraint("ck_endings_tasks", "octet_length(tasks) > 0"));
        builder.HasKey(e => new
        {
            e.Job,
            e.Xid,
            e.Chunk,
        });
        // What the rollups walk: an entry a chunk, not one a task.
        builder.HasIndex(e => e.Xid, "ix_endings_xid");
        builder.Property(e => e.Xid).HasColumnType("xid8").HasDefaultValueSql("pg_current_xact_id()");
    }
}
