using System.Diagnostics;
using OpenTelemetry.Trace;

namespace Pipeline.Hosting.Telemetry;

/// <summary>
/// Decides which traces are recorded. A trace begins at the door, with a request, or with work that has no request of its own and says so
/// (<see cref="ActivityKind.Internal"/>). Statements and messages of the background (ticks, heartbeats, sweeps) begin none: they would be
/// most of all traces, and tell of nobody's work.
/// </summary>
internal sealed class DoorSampler : Sampler
{
    private readonly TraceIdRatioBasedSampler _ratio;
    private readonly bool _followsCaller;

    public DoorSampler(double ratio, bool followsCaller)
    {
        _ratio = new TraceIdRatioBasedSampler(ratio);
        _followsCaller = followsCaller;
        Description = $"DoorSampler{{{_ratio.Description},followsCaller={followsCaller}}}";
    }

    public override SamplingResult ShouldSample(in SamplingParameters samplingParameters)
    {
        var parent = samplingParameters.ParentContext;
        var isRequest = samplingParameters.Kind == ActivityKind.Server;
        if (parent.TraceId != default && (_followsCaller || !isRequest))
        {
            return new SamplingResult(parent.TraceFlags.HasFlag(ActivityTraceFlags.Recorded));
        }

        return isRequest || samplingParameters.Kind == ActivityKind.Internal
            ? _ratio.ShouldSample(samplingParameters)
            : new SamplingResult(SamplingDecision.Drop);
    }
}
