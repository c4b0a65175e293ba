using System.Text.Json.Serialization;

namespace Pipeline.ResultsApi.Recurring;

/// <summary>Recurring work: what it does, when it is due, and what became of it.</summary>
public sealed record RecurringView
{
    public required string Name { get; init; }
    public string Object { get; } = "recurring_work";

    /// <summary>
    /// <c>work</c>: one instance runs it when it is due. <c>loop</c>: each process that has it takes a turn that often, and its run is the last turn of any.
    /// </summary>
    public required string Kind { get; init; }

    /// <summary>What it does.</summary>
    public required string Purpose { get; init; }

    /// <summary>The time between runs, or a cron expression in UTC.</summary>
    public required string Schedule { get; init; }

    /// <summary>Runs only when asked to.</summary>
    public required bool Paused { get; init; }

    /// <summary>When it runs next; null while it is paused, or before an instance has taken it up.</summary>
    public required DateTimeOffset? NextRunAt { get; init; }

    /// <summary>Since when a run is under way.</summary>
    public required DateTimeOffset? RunningSince { get; init; }

    /// <summary>The last run that has ended.</summary>
    public required RecurringRunView? LastRun { get; init; }
}

/// <summary>One run of recurring work.</summary>
public sealed record RecurringRunView
{
    public required long Id { get; init; }
    public string Object { get; } = "recurring_run";

    [JsonIgnore]
    public string Name { get; init; } = "";
    public required DateTimeOffset StartedAt { get; init; }
    public required DateTimeOffset? EndedAt { get; init; }
    public double? DurationMs => EndedAt is { } ended ? Math.Round((ended - StartedAt).TotalMilliseconds, 3) : null;

    /// <summary><c>ok</c>; <c>failed</c>, see <c>error</c>; <c>interrupted</c>: its process stopped or died, and it was repeated. Null while it runs.</summary>
    public required string? Outcome { get; init; }

    /// <summary>What it did.</summary>
    public required IReadOnlyDictionary<string, long>? Counts { get; init; }

    /// <summary>Why it failed.</summary>
    public required string? Error { get; init; }

    /// <summary>The process that ran it.</summary>
    public required string Instance { get; init; }
}
