using System.Text.Json.Serialization;

namespace Pipeline.Contracts;

/// <summary>
/// Where a job stands. The moves are drawn here, and the CHECK constraint on <c>jobs.state</c> guards the names:
/// <code>
/// receiving ─> queued ─> running ─> finalizing ─> completed
///     │          │          │
///     └──────────┴──────────┴──> failed | expired | cancelling ─> cancelled
/// </code>
/// <c>completed</c> means that every task ended, some perhaps <c>failed</c>. Paused is a flag, not a state.
/// </summary>
[JsonConverter(typeof(JsonStringEnumConverter<JobState>))]
public enum JobState
{
    [JsonStringEnumMemberName("receiving")]
    Receiving,

    [JsonStringEnumMemberName("queued")]
    Queued,

    [JsonStringEnumMemberName("running")]
    Running,

    [JsonStringEnumMemberName("finalizing")]
    Finalizing,

    [JsonStringEnumMemberName("completed")]
    Completed,

    [JsonStringEnumMemberName("failed")]
    Failed,

    [JsonStringEnumMemberName("expired")]
    Expired,

    [JsonStringEnumMemberName("cancelling")]
    Cancelling,

    [JsonStringEnumMemberName("cancelled")]
    Cancelled,
}

/// <summary>How a task ended. A task has a row in <c>results</c> only when it has ended.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<TaskOutcome>))]
public enum TaskOutcome
{
    [JsonStringEnumMemberName("succeeded")]
    Succeeded,

    [JsonStringEnumMemberName("failed")]
    Failed,

    [JsonStringEnumMemberName("expired")]
    Expired,

    [JsonStringEnumMemberName("cancelled")]
    Cancelled,
}

/// <summary>The table of moves, and the wire names of states and outcomes.</summary>
public static class JobStates
{
    public static IReadOnlyDictionary<JobState, IReadOnlyList<JobState>> Moves { get; } =
        new Dictionary<JobState, IReadOnlyList<JobState>>
        {
            [JobState.Receiving] = [JobState.Queued, JobState.Failed, JobState.Expired, JobState.Cancelling],
            [JobState.Queued] =
            [
                JobState.Running,
                JobState.Finalizing,
                JobState.Completed,
                JobState.Failed,
                JobState.Expired,
                JobState.Cancelling,
            ],
            [JobState.Running] = [JobState.Finalizing, JobState.Completed, JobState.Failed, JobState.Expired, JobState.Cancelling],
            [JobState.Finalizing] = [JobState.Completed],
            [JobState.Cancelling] = [JobState.Cancelled],
            [JobState.Completed] = [],
            [JobState.Failed] = [],
            [JobState.Expired] = [],
            [JobState.Cancelled] = [],
        };

    /// <summary>True for a state that is never left.</summary>
    public static bool IsEnd(this JobState state) => Moves[state].Count == 0;

    public static string Name(this JobState state) => Names[(int)state];

    public static string Name(this TaskOutcome outcome) => OutcomeNames[(int)outcome];

    /// <exception cref="FormatException">The text names no state.</exception>
    public static JobState ParseJobState(string text) =>
        Array.IndexOf(Names, text) is var at and >= 0 ? (JobState)at : throw new FormatException($"\"{text}\" is not a job state.");

    /// <exception cref="FormatException">The text names no outcome.</exception>
    public static TaskOutcome ParseTaskOutcome(string text) =>
        Array.IndexOf(OutcomeNames, text) is var at and >= 0
            ? (TaskOutcome)at
            : throw new FormatException($"\"{text}\" is not a task outcome.");

    private static readonly string[] Names =
    [
        "receiving",
        "queued",
        "running",
        "finalizing",
        "completed",
        "failed",
        "expired",
        "cancelling",
        "cancelled",
    ];

    private static readonly string[] OutcomeNames = ["succeeded", "failed", "expired", "cancelled"];
}
