namespace Pipeline.ResultsApi.Webhooks;

/// <summary>What an endpoint may be told of.</summary>
internal static class EventTypes
{
    public const string JobProgress = "job.progress";
    public const string TaskCompleted = "task.completed";

    /// <summary>Sent to one endpoint when its owner asks for a test; never subscribed to.</summary>
    public const string Test = "webhook.test";

    /// <summary>An endpoint was disabled; told to the tenant's others.</summary>
    public const string EndpointDisabled = "webhook_endpoint.disabled";

    /// <summary>What an endpoint is told of when it does not say.</summary>
    public static readonly IReadOnlyList<string> Default =
    [
        "job.completed",
        "job.failed",
        "job.expired",
        "job.cancelled",
        "batch.completed",
        "batch.failed",
        "batch.expired",
        "batch.cancelled",
        "budget.threshold",
        "alert.raised",
        "alert.resolved",
        Sla.SlaReports.ReadyEvent,
        EndpointDisabled,
    ];

    /// <summary>All; the last two may be many, and are told only to who names them.</summary>
    public static readonly IReadOnlyList<string> All = [.. Default, JobProgress, TaskCompleted];
}
