using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// An address that is told of a tenant's events, with its health. What jobs name in <c>webhook</c> has a row for each scheme, host and
/// port (<see cref="Callback"/>), so that it queues by itself; its deliveries have the whole address.
/// </summary>
public sealed class WebhookEndpointRow
{
    public required WebhookEndpointId Id { get; set; }
    public required TenantId Tenant { get; set; }

    /// <summary>True for the calls that jobs ask for; the row is made with the first of them.</summary>
    public bool Callback { get; set; }

    /// <summary>Whole address; of a callback row only scheme, host and port.</summary>
    public required string Url { get; set; }

    /// <summary>What its owner calls it.</summary>
    public required string Description { get; set; }

    /// <summary>What it is told of; empty for a callback row, whose jobs' ends are told.</summary>
    public required string[] EventTypes { get; set; }

    /// <summary><c>enabled</c>, <c>disabled</c>, or <c>deleted</c> until its deliveries are swept.</summary>
    public required string State { get; set; }

    /// <summary><c>by_owner</c>, <c>gone</c> (it answered 410) or <c>failing</c> (for days).</summary>
    public string? DisabledReason { get; set; }

    /// <summary>Since when every attempt has failed, and how many; null and 0 after one that did not.</summary>
    public DateTimeOffset? FailingSince { get; set; }
    public int Failures { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
}

/// <summary>
/// A key that signs deliveries. It is kept as it is, since every delivery needs it: who can read this table can sign as this service.
/// </summary>
public sealed class WebhookSecretRow
{
    public long Id { get; set; }

    /// <summary>The endpoint's id; of what jobs call, the tenant's.</summary>
    public required Guid Owner { get; set; }

    /// <summary><c>hmac_sha256</c> or <c>ed25519</c>.</summary>
    public required string Signing { get; set; }

    /// <summary>The secret's bytes; of Ed25519 the private key's seed.</summary>
    public required byte[] Key { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }

    /// <summary>Until when it still signs; null for the current one.</summary>
    public DateTimeOffset? ExpiresAt { get; set; }
}

internal sealed class WebhookEndpointsTable : IEntityTypeConfiguration<WebhookEndpointRow>
{
    public void Configure(EntityTypeBuilder<WebhookEndpointRow> builder)
    {
        builder.ToTable(
            "webhook_endpoints",
            t =>
            {
                t.HasCheckConstraint("ck_webhook_endpoints_state", "state IN ('enabled', 'disabled', 'deleted')");
                t.HasCheckConstraint("ck_webhook_endpoints_reason", "(state = 'disabled') = (disabled_reason IS NOT NULL)");
                t.HasCheckConstraint("ck_webhook_endpoints_failing", "(failing_since IS NOT NULL) = (failures > 0) AND failures >= 0");
                t.HasCheckConstraint("ck_webhook_endpoints_callback", "callback = (cardinality(event_types) = 0)");
            }
        );
        builder.HasKey(e => e.Id);
        builder.HasOne<TenantRow>().WithMany().HasForeignKey(e => e.Tenant).OnDelete(DeleteBehavior.Restrict);
        builder.HasIndex(e => new { e.Tenant, e.Id }, "ix_webhook_endpoints_tenant").IsDescending(false, true);
        builder.HasIndex(e => new { e.Tenant, e.Url }, "ux_webhook_endpoints_callback").IsUnique().HasFilter("callback");
        builder.Property(e => e.Callback).HasDefaultValue(false);
        builder.Property(e => e.Failures).HasDefaultValue(0);
    }
}

internal sealed class WebhookSecretsTable : IEntityTypeConfiguration<WebhookSecretRow>
{
    public void Configure(EntityTypeBuilder<WebhookSecretRow> builder)
    {
        builder.ToTable(
            "webhook_secrets",
            t => t.HasCheckConstraint("ck_webhook_secrets_signing", "signing IN ('hmac_sha256', 'ed25519')")
        );
        builder.HasKey(s => s.Id);
        builder.Property(s => s.Id).UseIdentityAlwaysColumn();
        builder.HasIndex(s => s.Owner, "ix_webhook_secrets_owner");
        builder.HasIndex(s => s.Owner, "ux_webhook_secrets_current").IsUnique().HasFilter("expires_at IS NULL");
    }
}
