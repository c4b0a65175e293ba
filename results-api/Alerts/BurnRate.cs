namespace Pipeline.ResultsApi.Alerts;

/// <summary>Events of a stretch of time, and how many of them broke the objective.</summary>
public readonly record struct EventCount(long Total, long Bad)
{
    public double BadShare => Total > 0 ? (double)Bad / Total : 0;

    public static EventCount operator +(EventCount a, EventCount b) => new(a.Total + b.Total, a.Bad + b.Bad);
}

/// <summary>
/// One pair of windows of a multi-window, multi-burn-rate alert (Google, The Site Reliability Workbook, chapter 5). The long window says that
/// enough of the error budget is gone to matter, the short one that it is still going.
/// </summary>
/// <param name="Factor">How many times as fast as allowed the budget goes: 14.4 over an hour is 2 % of a 30-day budget.</param>
public sealed record BurnWindows(TimeSpan Long, TimeSpan Short, double Factor, Severity Severity)
{
    /// <summary>The workbook's pairs, and the slow one between them that Sloth ships, for a budget of 30 days; the fastest first.</summary>
    public static IReadOnlyList<BurnWindows> Defaults { get; } =
    [
        new(TimeSpan.FromHours(1), TimeSpan.FromMinutes(5), 14.4, Severity.Critical),
        new(TimeSpan.FromHours(6), TimeSpan.FromMinutes(30), 6, Severity.Critical),
        new(TimeSpan.FromDays(1), TimeSpan.FromHours(2), 3, Severity.Warning),
        new(TimeSpan.FromDays(3), TimeSpan.FromHours(6), 1, Severity.Warning),
    ];
}

/// <summary>A pair of windows of which both burn too fast.</summary>
/// <param name="LongBurn">Times the allowed rate, over the long window.</param>
public sealed record Burning(BurnWindows Windows, EventCount Long, EventCount Short, double LongBurn, double ShortBurn);

/// <summary>Whether an error budget is spent too fast.</summary>
public static class BurnRate
{
    /// <summary>
    /// The fastest pair of windows of which both burn faster than its factor; null when none does. A pair is judged only when its long window
    /// has <paramref name="eventsMin"/> events and <paramref name="badMin"/> bad ones, so that one late task of a quiet night wakes nobody.
    /// </summary>
    /// <param name="target">Share of events that must be good, from 0 to 1, without 1.</param>
    /// <param name="counts">Events of the last so much time.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="target"/> leaves no budget, or is none.</exception>
    public static Burning? Worst(
        double target,
        IReadOnlyList<BurnWindows> windows,
        Func<TimeSpan, EventCount> counts,
        long eventsMin,
        long badMin
    )
    {
        if (target is not (> 0 and < 1))
        {
            throw new ArgumentOutOfRangeException(
                nameof(target),
                target,
                "Expected a share between 0 and 1: without a budget nothing burns."
            );
        }

        var allowed = 1 - target;
        foreach (var pair in windows)
        {
            var (longer, shorter) = (counts(pair.Long), counts(pair.Short));
            var (longBurn, shortBurn) = (longer.BadShare / allowed, shorter.BadShare / allowed);
            if (longer.Total >= eventsMin && longer.Bad >= badMin && longBurn > pair.Factor && shortBurn > pair.Factor)
            {
                return new Burning(pair, longer, shorter, longBurn, shortBurn);
            }
        }

        return null;
    }
}
