using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>Which alerts a list shows; all that is not null must hold.</summary>
internal sealed record AlertFilter(string[]? States, string[]? Severities, string[]? Rules, Guid? After);

/// <summary>An alert as the API shows it.</summary>
public sealed record AlertView
{
    public required Guid Id { get; init; }
    public string Object { get; } = "alert";
    public required string Rule { get; init; }

    /// <summary><c>critical</c>, <c>warning</c>, <c>trend</c> or <c>predictive</c>; null for a rule that is no more.</summary>
    public required string? Tier { get; init; }

    /// <summary>What it is about, such as <c>class</c>, <c>model</c>, <c>probe</c>.</summary>
    public required IReadOnlyDictionary<string, string> Labels { get; init; }

    /// <summary><c>firing</c> or <c>resolved</c>.</summary>
    public required string State { get; init; }
    public required Severity Severity { get; init; }

    /// <summary>One sentence with the numbers.</summary>
    public required string Summary { get; init; }

    /// <summary>The numbers it rests on, as they were when it was last found.</summary>
    public required JsonObject Evidence { get; init; }

    /// <summary>What to do.</summary>
    public required string? Next { get; init; }

    /// <summary>When it was first and last found, and when it fired.</summary>
    public required DateTimeOffset Since { get; init; }
    public required DateTimeOffset LastSeenAt { get; init; }
    public required DateTimeOffset? RaisedAt { get; init; }
    public required DateTimeOffset? AcknowledgedAt { get; init; }

    /// <summary>When it became critical because nobody had acknowledged it.</summary>
    public required DateTimeOffset? EscalatedAt { get; init; }
    public required DateTimeOffset? ResolvedAt { get; init; }

    /// <summary>The silence that keeps it quiet.</summary>
    public required string? SilencedBy { get; init; }

    /// <summary>What was said when it was acknowledged or resolved.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Note { get; init; }

    internal static AlertView Of(OpenAlert alert, string? note)
    {
        var rule = AlertRules.Find(alert.Rule);
        return new AlertView
        {
            Id = alert.Id,
            Rule = alert.Rule,
            Tier = rule?.Tier,
            Labels = alert.Labels,
            State = alert.State.Word(),
            Severity = alert.Severity,
            Summary = alert.Summary,
            Evidence = alert.Evidence,
            Next = rule?.Next,
            Since = alert.Since,
            LastSeenAt = alert.SeenAt,
            RaisedAt = alert.RaisedAt,
            AcknowledgedAt = alert.AcknowledgedAt,
            EscalatedAt = alert.EscalatedAt,
            ResolvedAt = alert.ResolvedAt,
            SilencedBy = alert.SilencedBy,
            Note = note,
        };
    }

    /// <summary>
    /// What receivers of <c>alert.raised</c> and <c>alert.resolved</c> are told of a rule's alerts: how many they are, the worst of them, and the
    /// first of the others, all without their evidence.
    /// </summary>
    internal static string EventData(IReadOnlyList<OpenAlert> alerts)
    {
        var ordered = alerts.OrderByDescending(a => a.Severity).ThenBy(a => a.Since).ThenBy(a => a.Id).ToList();
        var worst = ordered[0];
        return JsonSerializer.Serialize(
            new
            {
                alert = worst.Id,
                rule = worst.Rule,
                severity = worst.Severity,
                labels = worst.Labels,
                summary = worst.Summary,
                since = worst.Since,
                alerts = alerts.Count,
                others = ordered.Skip(1).Take(OthersMax).Select(Other),
                links = new { self = Link(worst), list = $"/v1/alerts?rule={worst.Rule}&state={worst.State.Word()}" },
            },
            ApiJson.Options
        );

        static object Other(OpenAlert alert) =>
            new
            {
                alert = alert.Id,
                severity = alert.Severity,
                labels = alert.Labels,
                summary = alert.Summary,
                links = new { self = Link(alert) },
            };

        static string Link(OpenAlert alert) => $"/v1/alerts/{alert.Id}";
    }

    private const int OthersMax = 20;
}

/// <summary>A rule as the API shows it.</summary>
public sealed record AlertRuleView
{
    public required string Name { get; init; }
    public string Object { get; } = "alert_rule";

    /// <summary><c>critical</c>, <c>warning</c>, <c>trend</c> or <c>predictive</c>.</summary>
    public required string Tier { get; init; }
    public required bool Enabled { get; init; }
    public required Severity Severity { get; init; }

    /// <summary>The number that decides, in <see cref="Unit"/>; null where the rule has none of its own.</summary>
    public required double? Threshold { get; init; }
    public required string? Unit { get; init; }

    /// <summary>For how long it must be found before it fires.</summary>
    public required int ForSeconds { get; init; }

    /// <summary>After how long a warning that nobody acknowledges is critical; null for never.</summary>
    public required int? EscalateSeconds { get; init; }
    public required string What { get; init; }
    public required string Next { get; init; }

    internal static AlertRuleView Of(RuleSetting set) =>
        new()
        {
            Name = set.Rule.Name,
            Tier = set.Rule.Tier,
            Enabled = set.Enabled,
            Severity = set.Severity,
            Threshold = set.Threshold,
            Unit = set.Rule.Unit,
            ForSeconds = (int)set.Timing.For.TotalSeconds,
            EscalateSeconds = (int?)set.Timing.EscalateAfter?.TotalSeconds,
            What = set.Rule.What,
            Next = set.Rule.Next,
        };
}

/// <summary>A silence as the API shows it.</summary>
public sealed record SilenceView
{
    public required Guid Id { get; init; }
    public string Object { get; } = "alert_silence";

    /// <summary>The rule whose alerts are silent; null for all.</summary>
    public required string? Rule { get; init; }

    /// <summary>Labels that an alert must have to be silent.</summary>
    public required IReadOnlyDictionary<string, string> Labels { get; init; }
    public required DateTimeOffset StartsAt { get; init; }
    public required DateTimeOffset EndsAt { get; init; }
    public required string Reason { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }
}

/// <summary>A silence that was ended.</summary>
public sealed record SilenceEnded(Guid Id)
{
    public string Object { get; } = "alert_silence";
    public bool Ended { get; } = true;
}

/// <summary>The words of the API and the tables.</summary>
internal static class AlertWords
{
    public static string Word(this Severity severity) =>
        severity switch
        {
            Severity.Info => "info",
            Severity.Warning => "warning",
            _ => "critical",
        };

    public static string Word(this AlertState state) =>
        state switch
        {
            AlertState.Pending => "pending",
            AlertState.Firing => "firing",
            _ => "resolved",
        };
}
