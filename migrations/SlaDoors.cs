using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// How requests for work were answered in a minute, as one instance of ingest counted them. It writes its own rows as they stand, not what
/// was added, so a write that is repeated changes nothing.
/// </summary>
public sealed class SlaDoorRow
{
    /// <summary>The minute in which the answer was given.</summary>
    public required DateTimeOffset At { get; set; }

    /// <summary>Whose request it was; all zeros where nobody could tell, since the keys could not be read.</summary>
    public required TenantId Tenant { get; set; }
    public required LatencyClass Class { get; set; }

    /// <summary>
    /// <c>name@version</c> of the model that was asked for, of a route that of its first variant. Empty where the request named none that is
    /// registered or was answered before that was read, as a batch is before its file, and in rows from before there was this column.
    /// </summary>
    public required string Model { get; set; }

    /// <summary>A life of an ingest process.</summary>
    public required Guid Instance { get; set; }

    /// <summary>Requests by their answer: taken; refused for lack of capacity or by a limit (429); a fault of the client; a fault of ours.</summary>
    public required long Accepted { get; set; }
    public required long Limited { get; set; }
    public required long ClientFaults { get; set; }
    public required long Failed { get; set; }

    /// <summary>Clients that were gone before the answer, by how long they had waited: the bands of <see cref="SlaSums.BandsUs"/>.</summary>
    public required long[] Disconnects { get; set; }
}

internal sealed class SlaDoorsTable : IEntityTypeConfiguration<SlaDoorRow>
{
    public void Configure(EntityTypeBuilder<SlaDoorRow> builder)
    {
        builder.ToTable(
            "sla_doors",
            t =>
            {
                t.HasCheckConstraint("ck_sla_doors_class", $"class IN ({Words.SqlList<LatencyClass>(LatencyClasses.Name)})");
                t.HasCheckConstraint("ck_sla_doors_disconnects", $"cardinality(disconnects) = {SlaSums.BandsUs.Count + 1}");
            }
        );
        builder.HasKey(d => new
        {
            d.At,
            d.Tenant,
            d.Class,
            d.Model,
            d.Instance,
        });
        builder.Property(d => d.Model).UseCollation("C");
    }
}
