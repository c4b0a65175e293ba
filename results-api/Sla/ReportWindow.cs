using System.Globalization;
using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Sla;

/// <summary>A part of a window that counts.</summary>
internal readonly record struct Interval(DateTimeOffset From, DateTimeOffset To)
{
    public double Minutes => (To - From).TotalMinutes;

    /// <summary>What is left of a window without the others, in order of time.</summary>
    public static IReadOnlyList<Interval> Without(DateTimeOffset from, DateTimeOffset to, IEnumerable<Interval> excluded)
    {
        var left = new List<Interval>();
        var at = from;
        foreach (var hole in excluded.OrderBy(e => e.From).ThenBy(e => e.To))
        {
            if (hole.From > at && at < to)
            {
                left.Add(new Interval(at, hole.From < to ? hole.From : to));
            }

            at = hole.To > at ? hole.To : at;
        }

        if (at < to)
        {
            left.Add(new Interval(at, to));
        }

        return left;
    }

    public bool Contains(DateTimeOffset at) => at >= From && at < To;
}

/// <summary>What a report is asked about: a window in whole minutes, a time zone, and what its rows are summed by.</summary>
internal sealed record ReportWindow(
    DateTimeOffset From,
    DateTimeOffset To,
    TimeZoneInfo Zone,
    CalendarUnit Unit,
    bool ByClass,
    bool ByTenant,
    bool ByModel
)
{
    private const int DaysDefault = 30;
    private static readonly string[] Units = ["day", "week", "month"];

    /// <summary>What <c>by</c> may name: at most one unit of the calendar, and the keys of rows.</summary>
    public static readonly IReadOnlyList<string> Keys = [.. Units, "class", "tenant", "model"];

    /// <summary>
    /// Reads <c>from</c>, <c>to</c>, <c>tz</c> and <c>by</c>; what is wrong with them is kept in <paramref name="query"/>. A day means all of
    /// it by the zone's clocks, a moment needs its offset, since a local time may come twice or never.
    /// </summary>
    /// <param name="mayByTenant">False for who sees one tenant only.</param>
    public static ReportWindow Read(QueryParameters query, int daysMax, bool mayByTenant, DateTimeOffset now)
    {
        var zone = query.Value<ZoneChoice>(
            "tz",
            ReportCalendar.ZoneForm,
            text => ReportCalendar.Zone(text) is { } found ? new ZoneChoice(found) : null
        );
        var tz = zone?.Zone ?? TimeZoneInfo.Utc;
        const string Form = "a day (2026-11-30) or a moment with its offset (2026-11-30T12:00:00+01:00)";
        var to = query.Value<DateTimeOffset>("to", Form, text => Moment(text, tz, isEnd: true)) ?? now;
        to = SlaTables.Floor(SlaGrain.Minute, to);
        var from =
            query.Value<DateTimeOffset>(
                "from",
                $"{Form}, in the past, before to ({to:yyyy-MM-ddTHH:mmZ}) and at most {daysMax} days before it",
                text =>
                    Moment(text, tz, isEnd: false) is { } given
                    && SlaTables.Floor(SlaGrain.Minute, given) is var start
                    && start < to
                    && start < now
                    && to - start <= TimeSpan.FromDays(daysMax) + TimeSpan.FromHours(2)
                        ? start
                        : null
            ) ?? SlaTables.Floor(SlaGrain.Minute, Earlier(to, now).AddDays(-DaysDefault));
        var by = query.Words("by", mayByTenant ? Keys : [.. Keys.Where(key => key != "tenant")]) ?? ["class", "model"];
        var units = by.Where(Units.Contains).ToList();
        return new ReportWindow(
            from,
            to,
            tz,
            units.Count == 0 ? CalendarUnit.Day : (CalendarUnit)Array.IndexOf(Units, units[0]),
            by.Contains("class"),
            by.Contains("tenant"),
            by.Contains("model")
        );
    }

    private static DateTimeOffset Earlier(DateTimeOffset a, DateTimeOffset b) => a < b ? a : b;

    private static DateTimeOffset? Moment(string text, TimeZoneInfo zone, bool isEnd)
    {
        if (DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day))
        {
            return IsSane(day.Year) ? ReportCalendar.StartOf(isEnd ? day.AddDays(1) : day, zone) : null;
        }

        // Without an offset it would be read in this server's zone.
        var hasOffset = text.EndsWith('Z') || (text.Length > 6 && text[^6] is '+' or '-' && text[^3] == ':');
        return
            hasOffset
            && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.None, out var moment)
            && IsSane(moment.Year)
            ? moment.ToUniversalTime()
            : null;
    }

    /// <summary>Days and months are reckoned from moments, which must not leave the calendar.</summary>
    private static bool IsSane(int year) => year is > 1900 and < 9999;

    private readonly record struct ZoneChoice(TimeZoneInfo Zone);
}
