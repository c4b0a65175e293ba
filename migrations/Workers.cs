using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>Whether a worker process lives, and how it ended.</summary>
public enum WorkerState
{
    Alive,

    /// <summary>Ended in an orderly way, its books closed by itself.</summary>
    Stopped,

    /// <summary>Fell silent; its books were closed at its last sign of life.</summary>
    Lost,
}

/// <summary>Wire names of worker states.</summary>
public static class WorkerStates
{
    public static string Name(this WorkerState state) =>
        state switch
        {
            WorkerState.Alive => "alive",
            WorkerState.Stopped => "stopped",
            _ => "lost",
        };
}

/// <summary>One life of a worker process.</summary>
public sealed class WorkerRow
{
    public required WorkerId Id { get; set; }
    public required string Name { get; set; }
    public required string Pool { get; set; }
    public required string Provider { get; set; }
    public required string Device { get; set; }
    public required long PricePerHourPico { get; set; }
    public required WorkerState State { get; set; }
    public required DateTimeOffset StartedAt { get; set; }
    public required DateTimeOffset LastSeen { get; set; }

    /// <summary>Its monotonic clock at the last heartbeat, in nanoseconds.</summary>
    public long UptimeNs { get; set; }

    /// <summary>Up to where its ledger reaches on that clock; extended by compare-and-set (<see cref="Ledger"/>).</summary>
    public long AccountedNs { get; set; }

    /// <summary>Slices on or past the device, a JSON array: who must be suspected if it dies.</summary>
    public required string Begun { get; set; }
    public DateTimeOffset? EndedAt { get; set; }
}

internal sealed class WorkersTable : IEntityTypeConfiguration<WorkerRow>
{
    public void Configure(EntityTypeBuilder<WorkerRow> builder)
    {
        builder.ToTable(
            "workers",
            t =>
            {
                t.HasCheckConstraint("ck_workers_state", $"state IN ({Words.SqlList<WorkerState>(WorkerStates.Name)})");
                t.HasCheckConstraint("ck_workers_ended_at", "(state = 'alive') = (ended_at IS NULL)");
                t.HasCheckConstraint("ck_workers_clock", "uptime_ns >= 0 AND accounted_ns >= 0 AND price_per_hour_pico >= 0");
                t.HasCheckConstraint("ck_workers_begun", "jsonb_typeof(begun) = 'array'");
            }
        );
        builder.HasKey(w => w.Id);
        builder.HasIndex(w => w.Id, "ix_workers_alive").HasFilter("ended_at IS NULL");
        builder.Property(w => w.UptimeNs).HasDefaultValue(0L);
        builder.Property(w => w.AccountedNs).HasDefaultValue(0L);
        builder.Property(w => w.Begun).HasColumnType("jsonb").HasDefaultValueSql("'[]'");
    }
}
