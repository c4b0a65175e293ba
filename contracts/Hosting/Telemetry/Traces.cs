using System.Diagnostics;

namespace Pipeline.Hosting.Telemetry;

/// <summary>
/// Spans of the pipeline's own steps. A job that is traced carries its <c>traceparent</c> (W3C): in its row, in the messages of its first
/// chunks, and with the slices a worker has of it. One that is not carries nothing, and nothing is made for it.
/// </summary>
public static class Traces
{
    public const string SourceName = "Pipeline";

    // Attributes that OpenTelemetry's conventions have no name for.
    public const string JobAttribute = "pipeline.job.id";
    public const string DispatchAttribute = "pipeline.dispatch.id";
    public const string TasksAttribute = "pipeline.tasks";

    private static readonly ActivitySource Source = new(SourceName);

    /// <summary>The context to carry along, where what runs now is recorded; else null. (That its caller records says nothing of us.)</summary>
    public static string? Current => IsRecording && Activity.Current!.IdFormat == ActivityIdFormat.W3C ? Activity.Current.Id : null;

    /// <summary>Begins a step of what runs now. Null where that is not recorded.</summary>
    public static Activity? Start(string name) => IsRecording ? Source.StartActivity(name, ActivityKind.Internal) : null;

    /// <summary>Begins a step of a traced job, wherever it runs. Null without a context.</summary>
    /// <param name="traceparent">Of the job; null where it is not traced.</param>
    public static Activity? Start(
        string name,
        string? traceparent,
        ActivityKind kind = ActivityKind.Internal,
        IEnumerable<ActivityLink>? links = null,
        DateTimeOffset startedAt = default
    ) =>
        Source.HasListeners() && TryParse(traceparent, out var parent)
            ? Source.StartActivity(name, kind, parent, tags: null, links, startedAt)
            : null;

    /// <summary>Begins a trace of its own, for work that nobody's request carries; whether it is recorded the sampler says.</summary>
    public static Activity? Begin(string name)
    {
        Activity.Current = null;
        return Source.HasListeners() ? Source.StartActivity(name, ActivityKind.Internal) : null;
    }

    /// <summary>A step that is over, as it was measured.</summary>
    public static void Add(string name, string? traceparent, DateTimeOffset from, DateTimeOffset to)
    {
        using var span = Start(name, traceparent, startedAt: from);
        span?.SetEndTime(to.UtcDateTime);
    }

    /// <summary>Links to the traces of these jobs, each once.</summary>
    public static IReadOnlyList<ActivityLink> LinksTo(IEnumerable<string?> traceparents)
    {
        var links = new List<ActivityLink>();
        foreach (var traceparent in traceparents.Distinct())
        {
            if (TryParse(traceparent, out var context))
            {
                links.Add(new ActivityLink(context));
            }
        }

        return links;
    }

    private static bool IsRecording => Source.HasListeners() && Activity.Current is { Recorded: true, IsAllDataRequested: true };

    private static bool TryParse(string? traceparent, out ActivityContext context)
    {
        context = default;
        return traceparent is not null && ActivityContext.TryParse(traceparent, null, isRemote: true, out context);
    }
}
