using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// One account's share of one interval of a worker's clock. The intervals of a worker form one gap-free chain, and the rows of an
/// interval sum to its length and its price exactly: so the books close. Corrections are new rows.
/// </summary>
public sealed class LedgerRow
{
    public long Id { get; set; }
    public required WorkerId Worker { get; set; }
    public required LedgerAccount Account { get; set; }

    /// <summary>The interval on the worker's monotonic clock, in nanoseconds.</summary>
    public required long FromNs { get; set; }
    public required long ToNs { get; set; }

    /// <summary>Time of the interval in this account.</summary>
    public required long Ns { get; set; }

    /// <summary>Pico-USD of the interval in this account.</summary>
    public required long Pico { get; set; }

    /// <summary>What kind of it: <c>lost</c>, <c>duplicate</c>, <c>bisected</c>, ….</summary>
    public string? Detail { get; set; }
    public required DateTimeOffset At { get; set; }
}

internal sealed class LedgerTable : IEntityTypeConfiguration<LedgerRow>
{
    public void Configure(EntityTypeBuilder<LedgerRow> builder)
    {
        builder.ToTable(
            "ledger",
            t =>
            {
                t.HasCheckConstraint("ck_ledger_account", $"account IN ({Words.SqlList<LedgerAccount>(LedgerAccounts.Name)})");
                t.HasCheckConstraint("ck_ledger_interval", "from_ns >= 0 AND to_ns >= from_ns");
            }
        );
        builder.HasKey(l => l.Id);
        builder.Property(l => l.Id).UseIdentityAlwaysColumn();
        builder.HasOne<WorkerRow>().WithMany().HasForeignKey(l => l.Worker).OnDelete(DeleteBehavior.Cascade);

        // A worker's chain in order: what the check of the books walks.
        builder.HasIndex(l => new { l.Worker, l.FromNs }, "ix_ledger_worker");
    }
}
