using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>What an operator did at the dashboard or with a key, or tried to. Its outcome is noted once; nothing else of a row ever changes.</summary>
public sealed class AuditRow
{
    /// <summary>A UUIDv7, so rows are in order of time.</summary>
    public required Guid Id { get; set; }
    public required DateTimeOffset At { get; set; }

    /// <summary>Who; null where nobody was signed in, and for what was done with a key. The name stays when the operator goes.</summary>
    public Guid? Operator { get; set; }
    public required string OperatorName { get; set; }

    /// <summary>What: <c>job.cancel</c>, <c>operator.sign_in</c>, <c>api.set_price</c>, ….</summary>
    public required string Action { get; set; }

    /// <summary>To what: <c>job</c>, <c>operator</c>, <c>bulk_action</c>; and its id or name.</summary>
    public required string SubjectKind { get; set; }
    public required string Subject { get; set; }
    public TenantId? Tenant { get; set; }

    /// <summary>Why, in the operator's words.</summary>
    public string? Reason { get; set; }

    /// <summary>False where it was refused; <see cref="Detail"/> then says why.</summary>
    public required bool Done { get; set; }
    public string? Detail { get; set; }

    /// <summary>How it was before and after, JSON objects.</summary>
    public string? Before { get; set; }
    public string? After { get; set; }

    /// <summary>The address the request came from.</summary>
    public string? Address { get; set; }
}

internal sealed class AuditTable : IEntityTypeConfiguration<AuditRow>
{
    public void Configure(EntityTypeBuilder<AuditRow> builder)
    {
        builder.ToTable("audit", t => t.HasCheckConstraint("ck_audit_action", "action ~ '^[a-z_]+[.][a-z_]+$'"));
        builder.HasKey(a => a.Id);

        // What was done to one thing, newest first; the whole list goes by the key.
        builder.HasIndex(a => new { a.Subject, a.Id }, "ix_audit_subject").IsDescending(false, true);
        builder.Property(a => a.Before).HasColumnType("jsonb");
        builder.Property(a => a.After).HasColumnType("jsonb");
    }
}
