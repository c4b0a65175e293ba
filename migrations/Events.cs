using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// What happened to a job, written in the transaction that changed it (an outbox). Ids may commit out of order, so a reader takes only
/// <c>xid &lt; pg_snapshot_xmin(pg_current_snapshot())</c> and never skips one.
/// </summary>
public sealed class EventRow
{
    public long Id { get; set; }
    public ulong Xid { get; set; }
    public required TenantId Tenant { get; set; }
    public JobId? Job { get; set; }

    /// <summary>
    /// <c>job.queued</c>, <c>job.completed</c>, <c>job.failed</c>, <c>job.expired</c>, <c>job.cancelled</c>, <c>batch.completed</c>,
    /// <c>budget.warning</c>, …; <c>job.progress</c> where a webhook asks for it.
    /// </summary>
    public required string Type { get; set; }

    /// <summary>What a receiver needs to know, a JSON object.</summary>
    public required string Data { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }

    /// <summary>True once its webhook deliveries are written, in the transaction that writes them.</summary>
    public bool FannedOut { get; set; }
}

internal sealed class EventsTable : IEntityTypeConfiguration<EventRow>
{
    public void Configure(EntityTypeBuilder<EventRow> builder)
    {
        builder.ToTable("events", t => t.HasCheckConstraint("ck_events_type", "type ~ '^[a-z_]+[.][a-z_]+$'"));
        builder.HasKey(e => e.Id);
        builder.Property(e => e.Id).UseIdentityAlwaysColumn();
        builder.Property(e => e.Xid).HasColumnType("xid8").HasDefaultValueSql("pg_current_xact_id()");
        builder.Property(e => e.Data).HasColumnType("jsonb");
        builder.HasIndex(e => new { e.Job, e.Id }, "ix_events_job");

        // What the rollups walk: the ends of jobs that are scored against their prediction.
        builder.HasIndex(e => e.Xid, "ix_events_ends").HasFilter("type IN ('job.completed', 'job.expired')");
        // A flag rather than a mark: what commits late is found late and never skipped, and several instances share the work row by row.
        // The start of a job is told by no webhook: that half of all events costs nothing more.
        builder.Property(e => e.FannedOut).HasDefaultValue(false);
        builder.HasIndex(e => e.Id, "ix_events_fan_out").HasFilter("NOT fanned_out AND type <> 'job.queued'");
    }
}
