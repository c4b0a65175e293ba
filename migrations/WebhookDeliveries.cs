using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>One event on its way to one address, and afterwards the record of it. The body is made of the event when it is sent.</summary>
public sealed class WebhookDeliveryRow
{
    /// <summary>Also <c>webhook-id</c>, the same at every attempt.</summary>
    public required WebhookDeliveryId Id { get; set; }
    public required TenantId Tenant { get; set; }

    /// <summary>Whose queue it is in.</summary>
    public required WebhookEndpointId Endpoint { get; set; }

    /// <summary>The row of <c>events</c> it tells of.</summary>
    public required long Event { get; set; }
    public JobId? Job { get; set; }

    /// <summary>Of <c>task.completed</c>: the task, whose job's end is the event.</summary>
    public int? Seq { get; set; }

    /// <summary>As the receiver reads it, <c>job.completed</c>.</summary>
    public required string Type { get; set; }

    /// <summary>The address that the job named; null where it is the endpoint's.</summary>
    public string? Url { get; set; }

    /// <summary><c>pending</c>, <c>delivered</c> or <c>failed</c>; a failed one can be replayed.</summary>
    public required string State { get; set; }

    /// <summary>Why it failed: <c>attempts_exhausted</c>, <c>endpoint_disabled</c>, <c>gone</c> or <c>address_refused</c>.</summary>
    public string? Reason { get; set; }

    /// <summary>When it may be sent next. A claim moves it ahead, so that what a sender that died had claimed is sent by another.</summary>
    public DateTimeOffset? DueAt { get; set; }

    /// <summary>Attempts begun, and how many of them were made before its last replay, which starts the schedule anew.</summary>
    public int Attempts { get; set; }
    public int AttemptsBefore { get; set; }

    /// <summary>HTTP status of the last attempt, null where there was no answer; and what went wrong.</summary>
    public int? LastStatus { get; set; }
    public string? LastError { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
    public DateTimeOffset? FinishedAt { get; set; }
}

/// <summary>What came of one attempt. Of a sender that died before it could write there is none, and the number is missing.</summary>
public sealed class WebhookAttemptRow
{
    public required WebhookDeliveryId Delivery { get; set; }

    /// <summary>Counted from 1.</summary>
    public required int No { get; set; }
    public required DateTimeOffset At { get; set; }
    public required int DurationMs { get; set; }
    public int? Status { get; set; }
    public string? Error { get; set; }

    /// <summary>The beginning of the answer's body.</summary>
    public string? Response { get; set; }
}

internal sealed class WebhookDeliveriesTable : IEntityTypeConfiguration<WebhookDeliveryRow>
{
    public void Configure(EntityTypeBuilder<WebhookDeliveryRow> builder)
    {
        builder.ToTable(
            "webhook_deliveries",
            t =>
            {
                t.HasCheckConstraint("ck_webhook_deliveries_state", "state IN ('pending', 'delivered', 'failed')");
                t.HasCheckConstraint("ck_webhook_deliveries_due", "(state = 'pending') = (due_at IS NOT NULL)");
                t.HasCheckConstraint("ck_webhook_deliveries_finished", "(state = 'pending') = (finished_at IS NULL)");
                t.HasCheckConstraint("ck_webhook_deliveries_reason", "(state = 'failed') = (reason IS NOT NULL)");
                t.HasCheckConstraint("ck_webhook_deliveries_attempts", "attempts_before BETWEEN 0 AND attempts");
            }
        );
        builder.HasKey(d => d.Id);
        builder.HasOne<WebhookEndpointRow>().WithMany().HasForeignKey(d => d.Endpoint).OnDelete(DeleteBehavior.Restrict);

        // The queues: one after the other, each in order of time. Only what waits is in it.
        builder.HasIndex(d => new { d.Endpoint, d.DueAt }, "ix_webhook_deliveries_queue").HasFilter("state = 'pending'");

        // The lists, newest first: of a tenant, of an endpoint, of a job; and what a replay looks for.
        builder.HasIndex(d => new { d.Tenant, d.Id }, "ix_webhook_deliveries_tenant").IsDescending(false, true);
        builder.HasIndex(d => new { d.Endpoint, d.Id }, "ix_webhook_deliveries_endpoint").IsDescending(false, true);
        builder.HasIndex(d => d.Job, "ix_webhook_deliveries_job").HasFilter("job IS NOT NULL");
        builder.HasIndex(d => new { d.Endpoint, d.Id }, "ix_webhook_deliveries_failed").HasFilter("state = 'failed'");
        builder.Property(d => d.Attempts).HasDefaultValue(0);
        builder.Property(d => d.AttemptsBefore).HasDefaultValue(0);
    }
}

internal sealed class WebhookAttemptsTable : IEntityTypeConfiguration<WebhookAttemptRow>
{
    public void Configure(EntityTypeBuilder<WebhookAttemptRow> builder)
    {
        builder.ToTable("webhook_attempts", t => t.HasCheckConstraint("ck_webhook_attempts_no", "no > 0 AND duration_ms >= 0"));
        builder.HasKey(a => new { a.Delivery, a.No });
    }
}
