using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace Pipeline.Migrations;

/// <summary>A request with a known answer that is sent through the public door again and again.</summary>
public sealed class ProbeRow
{
    public required string Name { get; set; }

    /// <summary>A model, its version or a route, as a client names it.</summary>
    public required string Model { get; set; }

    /// <summary>The latency class it is sent in.</summary>
    public required string Class { get; set; }

    /// <summary>The task's input, as a client writes it.</summary>
    public required string Input { get; set; }

    /// <summary>Members that the output must have with these values, a JSON object; numbers within <see cref="Tolerance"/>.</summary>
    public required string Expect { get; set; }
    public required double Tolerance { get; set; }
    public required int EverySeconds { get; set; }

    /// <summary>An answer that took longer is slow.</summary>
    public required int SlowMs { get; set; }
    public required bool Enabled { get; set; }

    /// <summary>When it is sent next; moved on by the instance that takes it.</summary>
    public required DateTimeOffset DueAt { get; set; }
}

/// <summary>What became of one probe.</summary>
public sealed class ProbeRunRow
{
    public long Id { get; set; }
    public required string Probe { get; set; }
    public required DateTimeOffset At { get; set; }

    /// <summary><c>right</c>, <c>wrong</c>, <c>slow</c> (but right), <c>refused</c> (no capacity was promised) or <c>failed</c>.</summary>
    public required string Outcome { get; set; }
    public required int TookMs { get; set; }

    /// <summary>The model version that answered.</summary>
    public string? Model { get; set; }

    /// <summary>What was expected and given, or the error.</summary>
    public string? Detail { get; set; }
}

internal sealed class ProbesTable : IEntityTypeConfiguration<ProbeRow>
{
    public void Configure(EntityTypeBuilder<ProbeRow> builder)
    {
        builder.ToTable(
            "probes",
            t =>
            {
                t.HasCheckConstraint("ck_probes_class", "class IN ('express', 'standard', 'bulk')");
                t.HasCheckConstraint("ck_probes_bounds", "every_seconds > 0 AND slow_ms > 0 AND tolerance >= 0");
            }
        );
        builder.HasKey(p => p.Name);
        builder.Property(p => p.Input).HasColumnType("jsonb");
        builder.Property(p => p.Expect).HasColumnType("jsonb");
        builder.HasIndex(p => p.DueAt, "ix_probes_due").HasFilter("enabled");
    }
}

internal sealed class ProbeRunsTable : IEntityTypeConfiguration<ProbeRunRow>
{
    public void Configure(EntityTypeBuilder<ProbeRunRow> builder)
    {
        builder.ToTable(
            "probe_runs",
            t => t.HasCheckConstraint("ck_probe_runs_outcome", "outcome IN ('right', 'wrong', 'slow', 'refused', 'failed')")
        );
        builder.HasKey(r => r.Id);
        builder.Property(r => r.Id).UseIdentityAlwaysColumn();
        builder.HasOne<ProbeRow>().WithMany().HasForeignKey(r => r.Probe).OnDelete(DeleteBehavior.Cascade);
        builder.HasIndex(r => new { r.Probe, r.Id }, "ix_probe_runs_probe").IsDescending(false, true);
        builder.HasIndex(r => r.At, "ix_probe_runs_at");
    }
}
