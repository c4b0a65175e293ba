using System.Collections.Concurrent;
using System.Diagnostics;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.Tests.Support.Telemetry;

/// <summary>The pipeline's own spans of this process that belong to one trace; what other tests do meanwhile is not recorded by it.</summary>
internal sealed class RecordedSpans : IDisposable
{
    private readonly ActivityListener _listener;

    /// <param name="traceIds">The traces to record.</param>
    public RecordedSpans(params ActivityTraceId[] traceIds)
    {
        _listener = new ActivityListener
        {
            ShouldListenTo = static source => source.Name == Traces.SourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> options) =>
                traceIds.Contains(options.TraceId) ? ActivitySamplingResult.AllDataAndRecorded : ActivitySamplingResult.None,
            ActivityStopped = Stopped.Enqueue,
        };
        ActivitySource.AddActivityListener(_listener);
    }

    /// <summary>Spans that have ended, in the order of their ends.</summary>
    public ConcurrentQueue<Activity> Stopped { get; } = new();

    /// <summary>A context that is recorded, as a job carries it.</summary>
    public static (string Traceparent, ActivityTraceId TraceId) NewTrace()
    {
        var trace = ActivityTraceId.CreateRandom();
        return ($"00-{trace}-{ActivitySpanId.CreateRandom()}-01", trace);
    }

    public void Dispose() => _listener.Dispose();
}
