using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace Pipeline.Migrations;

/// <summary>Something that was found wrong, from its first sight to its end.</summary>
public sealed class AlertRow
{
    public required Guid Id { get; set; }
    public required string Rule { get; set; }

    /// <summary>Rule and labels in one order: one thing has one open alert.</summary>
    public required string Fingerprint { get; set; }

    /// <summary>What it is about, a JSON object of strings.</summary>
    public required string Labels { get; set; }

    /// <summary><c>pending</c>, <c>firing</c> or <c>resolved</c>.</summary>
    public required string State { get; set; }

    /// <summary><c>info</c>, <c>warning</c> or <c>critical</c>.</summary>
    public required string Severity { get; set; }
    public required string Summary { get; set; }

    /// <summary>The numbers it rests on, a JSON object.</summary>
    public required string Evidence { get; set; }

    /// <summary>When it was first and last found.</summary>
    public required DateTimeOffset Since { get; set; }
    public required DateTimeOffset SeenAt { get; set; }
    public DateTimeOffset? RaisedAt { get; set; }
    public DateTimeOffset? AcknowledgedAt { get; set; }
    public DateTimeOffset? EscalatedAt { get; set; }
    public DateTimeOffset? ResolvedAt { get; set; }

    /// <summary>When receivers were last told that it fires; null before.</summary>
    public DateTimeOffset? ToldAt { get; set; }
    public string? SilencedBy { get; set; }

    /// <summary>True when an operator ended it: what it found is taken for normal from then on.</summary>
    public bool ByHand { get; set; }

    /// <summary>What was said when it was acknowledged or resolved by hand.</summary>
    public string? Note { get; set; }
}

/// <summary>A time in which matching alerts tell nobody.</summary>
public sealed class AlertSilenceRow
{
    public required Guid Id { get; set; }

    /// <summary>Null for every rule.</summary>
    public string? Rule { get; set; }

    /// <summary>Labels that an alert must have, a JSON object of strings.</summary>
    public required string Labels { get; set; }
    public required DateTimeOffset StartsAt { get; set; }
    public required DateTimeOffset EndsAt { get; set; }
    public required string Reason { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
}

/// <summary>What operators changed of a rule; null where its default stands.</summary>
public sealed class AlertRuleRow
{
    public required string Name { get; set; }
    public bool? Enabled { get; set; }
    public string? Severity { get; set; }
    public double? Threshold { get; set; }
    public int? ForSeconds { get; set; }
    public required DateTimeOffset ChangedAt { get; set; }
}

internal sealed class AlertsTable : IEntityTypeConfiguration<AlertRow>
{
    public void Configure(EntityTypeBuilder<AlertRow> builder)
    {
        builder.ToTable(
            "alerts",
            t =>
            {
                t.HasCheckConstraint("ck_alerts_state", "state IN ('pending', 'firing', 'resolved')");
                t.HasCheckConstraint("ck_alerts_severity", "severity IN ('info', 'warning', 'critical')");
                t.HasCheckConstraint("ck_alerts_raised", "(state = 'pending') = (raised_at IS NULL)");
                t.HasCheckConstraint("ck_alerts_resolved", "(state = 'resolved') = (resolved_at IS NOT NULL)");
            }
        );
        builder.HasKey(a => a.Id);
        builder.Property(a => a.Labels).HasColumnType("jsonb");
        builder.Property(a => a.ByHand).HasDefaultValue(false);
        builder.Property(a => a.Evidence).HasColumnType("jsonb");
        builder.HasIndex(a => a.Fingerprint, "ux_alerts_open").IsUnique().HasFilter("state <> 'resolved'");
        builder.HasIndex(a => a.ResolvedAt, "ix_alerts_resolved").HasFilter("state = 'resolved'");
    }
}

internal sealed class AlertSilencesTable : IEntityTypeConfiguration<AlertSilenceRow>
{
    public void Configure(EntityTypeBuilder<AlertSilenceRow> builder)
    {
        builder.ToTable("alert_silences", t => t.HasCheckConstraint("ck_alert_silences_time", "starts_at < ends_at"));
        builder.HasKey(s => s.Id);
        builder.Property(s => s.Labels).HasColumnType("jsonb");
        builder.HasIndex(s => s.EndsAt, "ix_alert_silences_ends");
    }
}

internal sealed class AlertRulesTable : IEntityTypeConfiguration<AlertRuleRow>
{
    public void Configure(EntityTypeBuilder<AlertRuleRow> builder)
    {
        builder.ToTable(
            "alert_rules",
            t =>
            {
                t.HasCheckConstraint("ck_alert_rules_severity", "severity IN ('info', 'warning', 'critical')");
                t.HasCheckConstraint("ck_alert_rules_for", "for_seconds >= 0");
            }
        );
        builder.HasKey(r => r.Name);
    }
}
