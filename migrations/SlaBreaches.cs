using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// A job that missed its class's target or expired, or whose callback was late: what is needed to say why. Kept by <see cref="Rollups"/>, and
/// callbacks by the sender of webhooks. The cause is found when it is reported, so that a better method finds better ones.
/// </summary>
public sealed class SlaBreachRow
{
    public required JobId Job { get; set; }

    /// <summary><c>job</c> or <c>callback</c>.</summary>
    public required string Kind { get; set; }

    /// <summary>When the job, or the last attempt of its callback, ended.</summary>
    public required DateTimeOffset At { get; set; }
    public required TenantId Tenant { get; set; }
    public required LatencyClass Class { get; set; }

    /// <summary>The version the job was accepted for, <c>name@version</c>.</summary>
    public required string Model { get; set; }

    /// <summary>The job's state; of a callback <c>delivered</c> or <c>failed</c>.</summary>
    public required string State { get; set; }
    public required DateTimeOffset QueuedAt { get; set; }
    public required DateTimeOffset Deadline { get; set; }

    /// <summary>Completion predicted when it was accepted; null where nobody knew.</summary>
    public DateTimeOffset? PredictedAt { get; set; }

    /// <summary>Microseconds it might take, and took: from acceptance to the job's end, or from there to the callback's.</summary>
    public required long TargetUs { get; set; }
    public required long TotalUs { get; set; }
    public required int Tasks { get; set; }
    public required int Failed { get; set; }
    public required int Expired { get; set; }

    /// <summary>Where the time of its last task went, in microseconds; 0 for a callback.</summary>
    public required long QueuedUs { get; set; }
    public required long StagedUs { get; set; }
    public required long DeviceUs { get; set; }

    /// <summary>How often a worker was lost while it ran one of its chunks; of a callback how often it was tried in vain.</summary>
    public required int WorkerLosses { get; set; }

    /// <summary>Microseconds that its owner held it back.</summary>
    public long PausedUs { get; set; }

    /// <summary>From acceptance until its last task's chunk was announced.</summary>
    public long AnnouncedUs { get; set; }

    /// <summary>
    /// Microseconds before its last task's dispatch that went with a lost worker: all from the last sign of life of one that had begun the
    /// task's chunk; of another of the pool the silence until it was given up, or, where it had been the only one, until there was one again.
    /// </summary>
    public long LostUs { get; set; }

    /// <summary>Picoseconds of device time per unit of its last large batches, and of its tenant's tasks of this class and model in the week before; null where nothing tells.</summary>
    public long? UnitPs { get; set; }
    public long? UsualUnitPs { get; set; }
}

internal sealed class SlaBreachesTable : IEntityTypeConfiguration<SlaBreachRow>
{
    public void Configure(EntityTypeBuilder<SlaBreachRow> builder)
    {
        builder.ToTable(
            "sla_breaches",
            t =>
            {
                t.HasCheckConstraint("ck_sla_breaches_kind", "kind IN ('job', 'callback')");
                t.HasCheckConstraint("ck_sla_breaches_class", $"class IN ({Words.SqlList<LatencyClass>(LatencyClasses.Name)})");
            }
        );
        builder.HasKey(b => new { b.Job, b.Kind });
        builder.Property(b => b.PausedUs).HasDefaultValue(0L);
        builder.Property(b => b.AnnouncedUs).HasDefaultValue(0L);
        builder.Property(b => b.LostUs).HasDefaultValue(0L);

        // A report's window, of one tenant or of all.
        builder.HasIndex(b => b.At, "ix_sla_breaches_at");
    }
}
