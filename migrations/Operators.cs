using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace Pipeline.Migrations;

/// <summary>What a person may do at the dashboard; each role may do what those before it may.</summary>
public enum OperatorRole
{
    /// <summary>Sees everything, changes nothing.</summary>
    Viewer,

    /// <summary>Cancels, pauses, resumes, retries.</summary>
    Operator,

    /// <summary>Invites and disables operators, too.</summary>
    Admin,
}

/// <summary>Names of roles, as the table has them.</summary>
public static class OperatorRoles
{
    public static string Name(this OperatorRole role) =>
        role switch
        {
            OperatorRole.Viewer => "viewer",
            OperatorRole.Operator => "operator",
            _ => "admin",
        };

    public static OperatorRole? Parse(string? text) =>
        text switch
        {
            "viewer" => OperatorRole.Viewer,
            "operator" => OperatorRole.Operator,
            "admin" => OperatorRole.Admin,
            _ => null,
        };
}

/// <summary>A person who may sign in to the dashboard. API keys (<see cref="ApiKeyRow"/>) are another matter: programs have those.</summary>
public sealed class OperatorRow
{
    public required Guid Id { get; set; }

    /// <summary>What they sign in with, in small letters.</summary>
    public required string Name { get; set; }
    public required OperatorRole Role { get; set; }

    /// <summary>Salted hash of the password; null for who comes through the company's sign-on only.</summary>
    public string? Password { get; set; }

    /// <summary>Wrong passwords since the last right one, and until when no more are taken.</summary>
    public int Failures { get; set; }
    public DateTimeOffset? LockedUntil { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
    public DateTimeOffset? DisabledAt { get; set; }
}

/// <summary>A browser that is signed in. The row is the session: deleting it signs out, whichever instance is asked next.</summary>
public sealed class OperatorSessionRow
{
    /// <summary>SHA-256 of the cookie's random token.</summary>
    public required byte[] Token { get; set; }
    public required Guid Operator { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }

    /// <summary>Moved ahead while it is used, to within a minute.</summary>
    public required DateTimeOffset LastSeen { get; set; }
}

/// <summary>A link that works once: its bearer chooses a password, as a new operator or for one who is there.</summary>
public sealed class OperatorLinkRow
{
    /// <summary>SHA-256 of the link's random token.</summary>
    public required byte[] Token { get; set; }

    /// <summary>The role that a new operator gets; null where the link is for <see cref="Operator"/>.</summary>
    public OperatorRole? Role { get; set; }
    public Guid? Operator { get; set; }
    public required DateTimeOffset CreatedAt { get; set; }
    public required DateTimeOffset ExpiresAt { get; set; }
}

internal sealed class OperatorsTable : IEntityTypeConfiguration<OperatorRow>
{
    public void Configure(EntityTypeBuilder<OperatorRow> builder)
    {
        builder.ToTable(
            "operators",
            t =>
            {
                t.HasCheckConstraint("ck_operators_name", "name = lower(name) AND length(name) BETWEEN 1 AND 100");
                t.HasCheckConstraint("ck_operators_role", $"role IN ({Words.SqlList<OperatorRole>(OperatorRoles.Name)})");
                t.HasCheckConstraint("ck_operators_failures", "failures >= 0");
            }
        );
        builder.HasKey(o => o.Id);
        builder.HasIndex(o => o.Name, "ux_operators_name").IsUnique();
        builder.Property(o => o.Role).HasConversion(role => role.Name(), text => OperatorRoles.Parse(text) ?? OperatorRole.Viewer);
        builder.Property(o => o.Failures).HasDefaultValue(0);
    }
}

internal sealed class OperatorSessionsTable : IEntityTypeConfiguration<OperatorSessionRow>
{
    public void Configure(EntityTypeBuilder<OperatorSessionRow> builder)
    {
        builder.ToTable("operator_sessions", t => t.HasCheckConstraint("ck_operator_sessions_token", "octet_length(token) = 32"));
        builder.HasKey(s => s.Token);
        builder.HasOne<OperatorRow>().WithMany().HasForeignKey(s => s.Operator).OnDelete(DeleteBehavior.Cascade);
        builder.HasIndex(s => s.Operator, "ix_operator_sessions_operator");
    }
}

internal sealed class OperatorLinksTable : IEntityTypeConfiguration<OperatorLinkRow>
{
    public void Configure(EntityTypeBuilder<OperatorLinkRow> builder)
    {
        builder.ToTable(
            "operator_links",
            t =>
            {
                t.HasCheckConstraint("ck_operator_links_token", "octet_length(token) = 32");
                t.HasCheckConstraint("ck_operator_links_role", $"role IN ({Words.SqlList<OperatorRole>(OperatorRoles.Name)})");
                t.HasCheckConstraint("ck_operator_links_whose", "(role IS NULL) <> (operator IS NULL)");
            }
        );
        builder.HasKey(l => l.Token);
        builder.HasOne<OperatorRow>().WithMany().HasForeignKey(l => l.Operator).OnDelete(DeleteBehavior.Cascade);
        builder.HasIndex(l => l.Operator, "ix_operator_links_operator");
        builder.Property(l => l.Role).HasConversion(role => role!.Value.Name(), text => OperatorRoles.Parse(text));
    }
}
