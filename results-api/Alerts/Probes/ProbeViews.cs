using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pipeline.ResultsApi.Alerts.Probes;

/// <summary>A probe as the API shows it.</summary>
public sealed record ProbeView
{
    public required string Name { get; init; }
    public string Object { get; } = "probe";

    /// <summary>The model, version or route that is asked.</summary>
    public required string Model { get; init; }

    /// <summary>The latency class it is asked in.</summary>
    public required string Class { get; init; }
    public required JsonElement Input { get; init; }

    /// <summary>Members that the output must have.</summary>
    public required JsonElement Expect { get; init; }

    /// <summary>By how much numbers may differ.</summary>
    public required double Tolerance { get; init; }
    public required int EverySeconds { get; init; }

    /// <summary>An answer that takes longer, in milliseconds, is slow.</summary>
    public required int SlowMs { get; init; }
    public required bool Enabled { get; init; }
    public required DateTimeOffset NextAt { get; init; }

    /// <summary>Its last run; null before the first.</summary>
    public required ProbeRunView? LastRun { get; init; }

    /// <summary>Share of its last 100 runs whose answer was right; null before the first.</summary>
    public required double? RightShare { get; init; }
}

/// <summary>One run of a probe.</summary>
public sealed record ProbeRunView
{
    public string Object { get; } = "probe_run";
    public required long Id { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary><c>right</c>, <c>wrong</c>, <c>slow</c> (right, but late), <c>refused</c> (no capacity was promised) or <c>failed</c>.</summary>
    public required string Outcome { get; init; }
    public required int TookMs { get; init; }

    /// <summary>The model version that answered.</summary>
    public required string? Model { get; init; }

    /// <summary>What was expected and given, or the error.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Detail { get; init; }
}

/// <summary>A probe that is no more.</summary>
public sealed record ProbeDeleted(string Name)
{
    public string Object { get; } = "probe";
    public bool Deleted { get; } = true;
}

/// <summary>What became of a probe.</summary>
internal sealed record ProbeOutcome(string Outcome, int TookMs, string? Model = null, string? Detail = null)
{
    public const string Right = "right";
    public const string Wrong = "wrong";
    public const string Slow = "slow";
    public const string Refused = "refused";
    public const string Failed = "failed";
}
