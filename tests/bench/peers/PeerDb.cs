using Microsoft.EntityFrameworkCore;

namespace Pipeline.Bench.Peers;

/// <summary>What a straightforward service would store: one row a result, saved with EF Core.</summary>
internal sealed class PeerDb(DbContextOptions<PeerDb> options) : DbContext(options)
{
    public DbSet<PeerResult> Results => Set<PeerResult>();

    protected override void OnModelCreating(ModelBuilder modelBuilder) =>
        modelBuilder.Entity<PeerResult>().ToTable("peer_results").HasKey(r => r.CustomId);
}

internal sealed class PeerResult
{
    public required string CustomId { get; set; }
    public required string Output { get; set; }
    public required DateTimeOffset FinishedAt { get; set; }
}

/// <summary>One task as one message, the usual way.</summary>
public sealed record PeerTask
{
    public required string CustomId { get; init; }
    public required string Input { get; init; }
}
