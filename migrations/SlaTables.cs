using System.Text.Json;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>How long the spans of a table are; all begin at whole ones of UTC.</summary>
public enum SlaGrain
{
    Minute,
    Hour,
    Day,
}

/// <summary>
/// What a tenant's tasks and jobs of a class and a model came to that ended in one span; kept by <see cref="Rollups"/>. Beside these keys
/// there is a column for each <see cref="SlaCount"/>, and one for each <see cref="SlaTime"/> with a <see cref="LatencyHistogram"/>. Hours and
/// days are the sums of their minutes, kept at the same time: a month of minutes is too much to read for one report.
/// </summary>
public abstract class SlaRow
{
    /// <summary>The beginning of the span.</summary>
    public required DateTimeOffset At { get; set; }
    public required TenantId Tenant { get; set; }
    public required LatencyClass Class { get; set; }
    public required string Model { get; set; }
}

public sealed class SlaMinuteRow : SlaRow;

public sealed class SlaHourRow : SlaRow;

public sealed class SlaDayRow : SlaRow;

internal sealed class SlaMinutesTable : SlaTable<SlaMinuteRow>
{
    protected override SlaGrain Grain => SlaGrain.Minute;
}

internal sealed class SlaHoursTable : SlaTable<SlaHourRow>
{
    protected override SlaGrain Grain => SlaGrain.Hour;
}

internal sealed class SlaDaysTable : SlaTable<SlaDayRow>
{
    protected override SlaGrain Grain => SlaGrain.Day;
}

internal abstract class SlaTable<T> : IEntityTypeConfiguration<T>
    where T : SlaRow
{
    protected abstract SlaGrain Grain { get; }

    public void Configure(EntityTypeBuilder<T> builder)
    {
        var table = SlaTables.Name(Grain);
        builder.ToTable(
            table,
            t => t.HasCheckConstraint($"ck_{table}_class", $"class IN ({Words.SqlList<LatencyClass>(LatencyClasses.Name)})")
        );

        // By time first: a window is a range of the key, whether of one tenant or of all. Models sort by bytes, so that an order never
        // depends on a server's language.
        builder.HasKey(s => new
        {
            s.At,
            s.Tenant,
            s.Class,
            s.Model,
        });
        builder.Property(s => s.Model).UseCollation("C");
        foreach (var count in SlaSums.Counts)
        {
            builder.Property<long>(count.ToString());
        }

        foreach (var time in SlaSums.Times)
        {
            builder.Property<byte[]>(time.ToString()).IsRequired();
        }
    }
}

/// <summary>The names of the tables and of their columns.</summary>
public static class SlaTables
{
    /// <summary>Columns beside the keys: the counts, then the times.</summary>
    public static readonly IReadOnlyList<string> Columns =
    [
        .. SlaSums.Counts.Select(count => Column(count.ToString())),
        .. SlaSums.Times.Select(time => Column(time.ToString())),
    ];

    public static string Name(SlaGrain grain) =>
        grain switch
        {
            SlaGrain.Minute => "sla_minutes",
            SlaGrain.Hour => "sla_hours",
            _ => "sla_days",
        };

    /// <summary>The column of a <see cref="SlaCount"/> or <see cref="SlaTime"/>.</summary>
    public static string Column(string name) => JsonNamingPolicy.SnakeCaseLower.ConvertName(name);

    /// <summary>The beginning of the span that a moment lies in.</summary>
    public static DateTimeOffset Floor(SlaGrain grain, DateTimeOffset at)
    {
        var ticks = Length(grain).Ticks;
        return new DateTimeOffset(at.UtcTicks - (at.UtcTicks % ticks), TimeSpan.Zero);
    }

    public static TimeSpan Length(SlaGrain grain) =>
        grain switch
        {
            SlaGrain.Minute => TimeSpan.FromMinutes(1),
            SlaGrain.Hour => TimeSpan.FromHours(1),
            _ => TimeSpan.FromDays(1),
        };
}
