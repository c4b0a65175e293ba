using System.Text.Json.Nodes;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>Something that is wrong now.</summary>
/// <param name="Rule">The rule that found it.</param>
/// <param name="Labels">What it is about: <c>class</c>, <c>model</c>, <c>pool</c>, <c>probe</c>, …; with the rule they tell it from others.</param>
/// <param name="Summary">One sentence with the numbers.</param>
/// <param name="Evidence">The numbers it rests on.</param>
public sealed record Finding(
    string Rule,
    Severity Severity,
    IReadOnlyDictionary<string, string> Labels,
    string Summary,
    JsonObject Evidence
)
{
    /// <summary>The same for the same thing found again.</summary>
    public string Fingerprint => AlertLabels.Fingerprint(Rule, Labels);
}

/// <summary>Labels in one order.</summary>
public static class AlertLabels
{
    public static string Fingerprint(string rule, IReadOnlyDictionary<string, string> labels) =>
        $"{rule}{{{string.Join(',', labels.OrderBy(l => l.Key, StringComparer.Ordinal).Select(l => $"{l.Key}={l.Value}"))}}}";

    /// <summary>Whether all of <paramref name="wanted"/> are among the labels.</summary>
    public static bool Match(IReadOnlyDictionary<string, string> wanted, IReadOnlyDictionary<string, string> labels) =>
        wanted.All(w => labels.TryGetValue(w.Key, out var value) && value == w.Value);
}

/// <summary>
/// Where an alert stands.
/// <code>
/// (found) -> pending -> firing -> resolved
///               |                    ^
///               +-- (gone again)     +-- by itself, or by an operator
/// </code>
/// </summary>
public enum AlertState
{
    /// <summary>Found, but not yet for as long as its rule wants; nobody is told.</summary>
    Pending,
    Firing,
    Resolved,
}

/// <summary>An alert that is not resolved.</summary>
public sealed record OpenAlert
{
    public required Guid Id { get; init; }
    public required string Rule { get; init; }
    public required IReadOnlyDictionary<string, string> Labels { get; init; }
    public required AlertState State { get; init; }
    public required Severity Severity { get; init; }
    public required string Summary { get; init; }
    public required JsonObject Evidence { get; init; }

    /// <summary>When it was first found.</summary>
    public required DateTimeOffset Since { get; init; }

    /// <summary>When it was last found.</summary>
    public required DateTimeOffset SeenAt { get; init; }
    public DateTimeOffset? RaisedAt { get; init; }
    public DateTimeOffset? AcknowledgedAt { get; init; }

    /// <summary>When its severity was raised because nobody had looked.</summary>
    public DateTimeOffset? EscalatedAt { get; init; }
    public DateTimeOffset? ResolvedAt { get; init; }

    /// <summary>When somebody was last told that it fires: only then is anybody told of its end.</summary>
    public DateTimeOffset? ToldAt { get; init; }

    /// <summary>The silence or maintenance window that keeps it quiet.</summary>
    public string? SilencedBy { get; init; }

    public string Fingerprint => AlertLabels.Fingerprint(Rule, Labels);
}

/// <summary>How findings of a rule become alerts.</summary>
/// <param name="For">How long it must be found before it fires.</param>
/// <param name="Clear">How long it must not be found before it is resolved: what flickers is one alert.</param>
/// <param name="EscalateAfter">How long a warning may fire unacknowledged before it is critical; null for never.</param>
public sealed record AlertTiming(TimeSpan For, TimeSpan Clear, TimeSpan? EscalateAfter);

/// <summary>A time in which matching alerts tell nobody.</summary>
public sealed record Quiet(string Id, string? Rule, IReadOnlyDictionary<string, string> Labels, DateTimeOffset From, DateTimeOffset To)
{
    public bool Covers(string rule, IReadOnlyDictionary<string, string> labels, DateTimeOffset at) =>
        From <= at && at < To && (Rule is null || Rule == rule) && AlertLabels.Match(Labels, labels);
}

/// <summary>What one look changed.</summary>
/// <param name="Tell">True when receivers are told: raised, worse, or over.</param>
public sealed record AlertChange(OpenAlert Alert, bool Tell);

/// <summary>
/// Turns what is found at each look into alerts: one for each thing, told once when it fires, once more when it gets worse, and once when it is
/// over. Those of a rule are a group: what one look tells of it is one notification, and what fires within the window after it waits for the
/// next one, unless it is worse than all that was told. Pure: what is open and what is found in, changes out. A look that failed must not be
/// judged: no findings mean that all is well.
/// </summary>
public static class AlertBook
{
    /// <param name="groupWindow">How long after a notification the next one of its group is held back.</param>
    /// <param name="newId">Makes the id of a new alert.</param>
    /// <returns>
    /// The alerts as they stand now, those that ended with <see cref="AlertState.Resolved"/>. A pending one that is not found any more is
    /// returned resolved and untold; it never was an alert.
    /// </returns>
    public static IReadOnlyList<AlertChange> Judge(
        IReadOnlyList<OpenAlert> open,
        IReadOnlyList<Finding> findings,
        Func<string, AlertTiming> timing,
        IReadOnlyList<Quiet> quiet,
        TimeSpan groupWindow,
        DateTimeOffset now,
        Func<Guid> newId
    )
    {
        var changes = new List<AlertChange>();
        var told = open.Where(a => now - a.ToldAt < groupWindow).ToLookup(a => a.Rule, a => a.Severity);
        // Two rows of one thing, such as a rule's two severities, are one: the worse.
        var found = findings.GroupBy(f => f.Fingerprint).ToDictionary(g => g.Key, g => g.MaxBy(f => f.Severity)!);
        foreach (var alert in open)
        {
            changes.Add(
                found.Remove(alert.Fingerprint, out var finding)
                    ? Seen(alert, finding, timing(alert.Rule), quiet, told[alert.Rule], now)
                    : Missed(alert, timing(alert.Rule), now)
            );
        }

        foreach (var finding in found.Values.OrderBy(f => f.Fingerprint, StringComparer.Ordinal))
        {
            var alert = new OpenAlert
            {
                Id = newId(),
                Rule = finding.Rule,
                Labels = finding.Labels,
                State = AlertState.Pending,
                Severity = finding.Severity,
                Summary = finding.Summary,
                Evidence = finding.Evidence,
                Since = now,
                SeenAt = now,
            };
            changes.Add(Seen(alert, finding, timing(finding.Rule), quiet, told[finding.Rule], now));
        }

        return changes;
    }

    /// <param name="groupTold">The severities of those of its group that were told of within the window.</param>
    private static AlertChange Seen(
        OpenAlert alert,
        Finding finding,
        AlertTiming timing,
        IReadOnlyList<Quiet> quiet,
        IEnumerable<Severity> groupTold,
        DateTimeOffset now
    )
    {
        var silencedBy = quiet.FirstOrDefault(q => q.Covers(alert.Rule, alert.Labels, now))?.Id;
        var fires = alert.State == AlertState.Firing || now - alert.Since >= timing.For;
        var raisedAt = alert.RaisedAt ?? (fires ? now : null);
        // An escalated alert stays so; one whose finding became milder does not become milder while it fires.
        var severity = finding.Severity > alert.Severity ? finding.Severity : alert.Severity;
        var escalatedAt = alert.EscalatedAt;
        if (severity < Severity.Critical && alert.AcknowledgedAt is null && now - raisedAt >= timing.EscalateAfter)
        {
            (severity, escalatedAt) = (Severity.Critical, now);
        }

        var isNews = alert.ToldAt is null ? groupTold.All(other => severity > other) : severity > alert.Severity;
        var tell = fires && silencedBy is null && isNews;
        return new AlertChange(
            alert with
            {
                State = fires ? AlertState.Firing : AlertState.Pending,
                Severity = severity,
                Summary = finding.Summary,
                Evidence = finding.Evidence,
                SeenAt = now,
                RaisedAt = raisedAt,
                EscalatedAt = escalatedAt,
                // Acknowledged was the milder one.
                AcknowledgedAt = severity > alert.Severity ? null : alert.AcknowledgedAt,
                ToldAt = tell ? now : alert.ToldAt,
                SilencedBy = silencedBy,
            },
            tell
        );
    }

    private static AlertChange Missed(OpenAlert alert, AlertTiming timing, DateTimeOffset now)
    {
        var over = alert.State == AlertState.Pending || now - alert.SeenAt >= timing.Clear;
        return over
            ? new AlertChange(alert with { State = AlertState.Resolved, ResolvedAt = now }, Tell: alert.ToldAt is not null)
            : new AlertChange(alert, Tell: false);
    }
}
