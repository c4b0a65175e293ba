using System.Globalization;

namespace Pipeline.ResultsApi.Sla;

/// <summary>What a window is cut into.</summary>
internal enum CalendarUnit
{
    Day,
    Week,
    Month,
}

/// <summary>A day, an ISO week (from Monday) or a month of a time zone, or as much of it as a window has.</summary>
/// <param name="Name"><c>2026-10-25</c>, <c>2026-W43</c>, <c>2026-10</c>.</param>
internal sealed record CalendarPeriod(string Name, DateTimeOffset From, DateTimeOffset To)
{
    /// <summary>Hours it really has: a day has 23 or 25 where clocks change.</summary>
    public double Hours => (To - From).TotalHours;
}

/// <summary>Days, weeks and months by the clocks of a time zone, as moments.</summary>
internal static class ReportCalendar
{
    public const string ZoneForm = "a time zone's IANA name (Europe/Berlin)";

    /// <summary>The zone of that IANA name; null where there is none.</summary>
    public static TimeZoneInfo? Zone(string name) =>
        name.Contains('/', StringComparison.Ordinal) || name is "UTC" or "GMT"
            ? TimeZoneInfo.TryFindSystemTimeZoneById(name, out var zone)
                ? zone
                : null
            : null;

    /// <summary>
    /// The first moment of a day. Where clocks go forward at midnight it is the first that exists, where they go back over midnight the
    /// earlier of two.
    /// </summary>
    public static DateTimeOffset StartOf(DateOnly day, TimeZoneInfo zone)
    {
        var local = day.ToDateTime(TimeOnly.MinValue);
        while (zone.IsInvalidTime(local))
        {
            local = local.AddMinutes(1);
        }

        var offset = zone.IsAmbiguousTime(local) ? zone.GetAmbiguousTimeOffsets(local).Max() : zone.GetUtcOffset(local);
        return new DateTimeOffset(local, offset).ToUniversalTime();
    }

    public static DateOnly DayOf(DateTimeOffset at, TimeZoneInfo zone) =>
        DateOnly.FromDateTime(TimeZoneInfo.ConvertTime(at, zone).DateTime);

    /// <summary>The periods that a window touches, in order, cut to it.</summary>
    public static IReadOnlyList<CalendarPeriod> Periods(CalendarUnit unit, DateTimeOffset from, DateTimeOffset to, TimeZoneInfo zone)
    {
        var periods = new List<CalendarPeriod>();
        for (var first = FirstDay(unit, DayOf(from, zone)); StartOf(first, zone) < to; first = Next(unit, first))
        {
            var (start, end) = (StartOf(first, zone), StartOf(Next(unit, first), zone));
            if (end > from)
            {
                periods.Add(new CalendarPeriod(Name(unit, first), start < from ? from : start, end > to ? to : end));
            }
        }

        return periods;
    }

    /// <summary>What a period of that name is.</summary>
    public static CalendarUnit UnitOf(string name) =>
        name.Contains('W', StringComparison.Ordinal) ? CalendarUnit.Week
        : name.Length == "2026-10".Length ? CalendarUnit.Month
        : CalendarUnit.Day;

    /// <summary>The last whole period before a moment.</summary>
    public static CalendarPeriod JustEnded(CalendarUnit unit, DateTimeOffset now, TimeZoneInfo zone)
    {
        var current = FirstDay(unit, DayOf(now, zone));
        var first = FirstDay(unit, current.AddDays(-1));
        return new CalendarPeriod(Name(unit, first), StartOf(first, zone), StartOf(current, zone));
    }

    private static DateOnly FirstDay(CalendarUnit unit, DateOnly day) =>
        unit switch
        {
            CalendarUnit.Day => day,
            CalendarUnit.Week => day.AddDays(-(((int)day.DayOfWeek + 6) % 7)),
            _ => new DateOnly(day.Year, day.Month, 1),
        };

    private static DateOnly Next(CalendarUnit unit, DateOnly first) =>
        unit switch
        {
            CalendarUnit.Day => first.AddDays(1),
            CalendarUnit.Week => first.AddDays(7),
            _ => first.AddMonths(1),
        };

    private static string Name(CalendarUnit unit, DateOnly first) =>
        unit switch
        {
            CalendarUnit.Day => first.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
            CalendarUnit.Week => string.Create(
                CultureInfo.InvariantCulture,
                $"{ISOWeek.GetYear(first.ToDateTime(TimeOnly.MinValue))}-W{ISOWeek.GetWeekOfYear(first.ToDateTime(TimeOnly.MinValue)):00}"
            ),
            _ => first.ToString("yyyy-MM", CultureInfo.InvariantCulture),
        };
}
