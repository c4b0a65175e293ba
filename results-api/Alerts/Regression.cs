namespace Pipeline.ResultsApi.Alerts;

/// <summary>What counts as slower than before.</summary>
/// <param name="Window">The minutes that are judged. Half of them at a new level are enough to see it.</param>
/// <param name="Reference">How much time just before them they are compared with.</param>
/// <param name="EventsMin">Events that each side needs.</param>
/// <param name="ShiftMin">By how much the median must have risen: 0.1 is a tenth.</param>
/// <param name="SuperiorityMin">How likely a value of now must be larger than one of before; 0.5 is no difference.</param>
/// <param name="ZMin">Standard errors that the difference must be away from none. 5 is one false alarm in three million looks, were they apart.</param>
public sealed record RegressionBounds(
    TimeSpan Window,
    TimeSpan Reference,
    long EventsMin,
    double ShiftMin,
    double SuperiorityMin,
    double ZMin
)
{
    /// <summary>Five minutes against the hour before: a fifth more is seen within four minutes at ten events a second.</summary>
    public static RegressionBounds Default { get; } = new(TimeSpan.FromMinutes(5), TimeSpan.FromHours(1), 500, 0.1, 0.54, 5);
}

/// <summary>A distribution that moved up.</summary>
/// <param name="From">Start of what it is compared with.</param>
/// <param name="To">Its end: where the new level is thought to begin, at the latest.</param>
/// <param name="Yesterday">The comparison with the same time of the day before; null when too little happened then.</param>
public sealed record Regressed(DateTimeOffset From, DateTimeOffset To, RankComparison Before, RankComparison? Yesterday);

/// <summary>
/// Whether values became larger: those of the last minutes against those of the time just before, and, so that a day's rhythm is not taken
/// for a fault, also against the same time of yesterday where there is one.
/// </summary>
public static class Regression
{
    private static readonly TimeSpan Day = TimeSpan.FromDays(1);

    /// <param name="between">The bins of the values in [from, to), in ascending order of value.</param>
    /// <param name="now">The end of the last whole minute.</param>
    /// <param name="began">
    /// When it was first found, while it lasts: the comparison stays with the time before that, else the new level would become its own
    /// reference and the finding would vanish.
    /// </param>
    public static Regressed? Of(
        Func<DateTimeOffset, DateTimeOffset, IReadOnlyList<Weighted>> between,
        DateTimeOffset now,
        DateTimeOffset? began,
        RegressionBounds bounds
    )
    {
        var from = now - bounds.Window;
        var to = began is { } since && since < from ? since : from;
        var recent = between(from, now);
        var before = RankComparison.Of(between(to - bounds.Reference, to), recent);
        if (before is null || !IsHigher(before, bounds))
        {
            return null;
        }

        // A day ago is before the change only within a day of it.
        var past = to + Day > now ? RankComparison.Of(between(from - Day - bounds.Window, now - Day + bounds.Window), recent) : null;
        var yesterday = past?.First >= bounds.EventsMin ? past : null;
        return yesterday is null || IsHigher(yesterday, bounds) ? new Regressed(to - bounds.Reference, to, before, yesterday) : null;
    }

    /// <summary>Whether the second sample is larger by these bounds.</summary>
    public static bool IsHigher(RankComparison compared, RegressionBounds bounds) =>
        Math.Min(compared.First, compared.Second) >= bounds.EventsMin
        && compared.Shift >= bounds.ShiftMin
        && compared.Superiority >= bounds.SuperiorityMin
        && compared.Z >= bounds.ZMin;
}
