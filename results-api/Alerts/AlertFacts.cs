using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>What series of numbers are told apart by.</summary>
public readonly record struct SeriesKey(LatencyClass Class, string Model);

/// <summary>Sums by span and series, over all tenants, for a stretch of time.</summary>
public sealed class SlaHistory
{
    private readonly SortedDictionary<DateTimeOffset, Dictionary<SeriesKey, SlaSums>> _spans = [];

    /// <summary>All series that something was counted for, in order.</summary>
    public IEnumerable<SeriesKey> Keys =>
        _spans.Values.SelectMany(s => s.Keys).Distinct().OrderBy(k => k.Class).ThenBy(k => k.Model, StringComparer.Ordinal);

    /// <summary>The sums of a span and a series, to add to.</summary>
    public SlaSums Of(DateTimeOffset at, SeriesKey key)
    {
        if (!_spans.TryGetValue(at, out var series))
        {
            _spans[at] = series = [];
        }

        return Of(series, key);
    }

    /// <summary>Forgets the spans that begin in [from, to).</summary>
    public void Forget(DateTimeOffset from, DateTimeOffset to)
    {
        foreach (var at in _spans.Keys.Where(at => from <= at && at < to).ToList())
        {
            _spans.Remove(at);
        }
    }

    /// <summary>What a series came to in the spans that begin in [from, to).</summary>
    public SlaSums Sum(SeriesKey key, DateTimeOffset from, DateTimeOffset to) => Sum(k => k == key, from, to);

    /// <summary>What the chosen series came to together.</summary>
    public SlaSums Sum(Func<SeriesKey, bool> chosen, DateTimeOffset from, DateTimeOffset to)
    {
        var sum = new SlaSums();
        foreach (var (at, series) in _spans)
        {
            if (from <= at && at < to)
            {
                foreach (var (key, sums) in series)
                {
                    if (chosen(key))
                    {
                        sum.Add(sums);
                    }
                }
            }
        }

        return sum;
    }

    /// <summary>The times of a series in the spans that begin in [from, to), as bins.</summary>
    public IReadOnlyList<Weighted> Between(SeriesKey key, SlaTime time, DateTimeOffset from, DateTimeOffset to)
    {
        var sum = new LatencyHistogram();
        foreach (var (at, series) in _spans)
        {
            if (from <= at && at < to && series.TryGetValue(key, out var sums))
            {
                sum.Add(sums[time]);
            }
        }

        return Bins(sum);
    }

    public static IReadOnlyList<Weighted> Bins(LatencyHistogram histogram) =>
        [.. histogram.Bins().Select(b => new Weighted(b.Microseconds, b.Count))];

    private static SlaSums Of(Dictionary<SeriesKey, SlaSums> series, SeriesKey key) =>
        series.TryGetValue(key, out var sums) ? sums : series[key] = new SlaSums();
}

/// <summary>How requests were answered at the door.</summary>
public readonly record struct DoorCount(long Accepted, long Failed);

/// <summary>The last runs of a probe, newest first.</summary>
public sealed record ProbeFacts(string Probe, string Model, IReadOnlyList<(string Outcome, string? Detail)> Runs);

/// <summary>A job whose predicted end is after its deadline.</summary>
public sealed record LateJob(JobId Job, SeriesKey Key, DateTimeOffset Deadline, DateTimeOffset Predicted);

/// <summary>An objective whose error budget is watched.</summary>
/// <param name="Labels">Its SLO and its own name, and the class, model and tenant that it is of.</param>
/// <param name="Target">Share of events that must be good.</param>
/// <param name="Count">Events of the last so much time, for every length of <see cref="BurnWindows"/>.</param>
public sealed record WatchedObjective(IReadOnlyDictionary<string, string> Labels, double Target, Func<TimeSpan, EventCount> Count);

/// <summary>All that one look judges; times are whole minutes of UTC.</summary>
public sealed record AlertFacts
{
    /// <summary>The end of the last minute that is counted.</summary>
    public required DateTimeOffset Now { get; init; }

    /// <summary>The last minutes, and those around the same time yesterday.</summary>
    public required SlaHistory Minutes { get; init; }

    /// <summary>Whole hours of the last two days.</summary>
    public required SlaHistory Hours { get; init; }

    public required IReadOnlyList<WatchedObjective> Objectives { get; init; }

    /// <summary>The last five minutes.</summary>
    public required DoorCount Door { get; init; }
    public required IReadOnlyList<ProbeFacts> Probes { get; init; }
    public required IReadOnlyList<LateJob> LateJobs { get; init; }

    /// <summary>Since when what fires has been found, by rule and labels.</summary>
    public required IReadOnlyDictionary<string, DateTimeOffset> Open { get; init; }

    /// <summary>Until when an operator has taken a level for normal, by rule and labels: what was before does not count.</summary>
    public required IReadOnlyDictionary<string, DateTimeOffset> Accepted { get; init; }
}
