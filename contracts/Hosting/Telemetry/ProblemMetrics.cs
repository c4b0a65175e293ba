using System.Diagnostics.Metrics;

namespace Pipeline.Hosting.Telemetry;

/// <summary>Counts the problems that requests were answered with.</summary>
public sealed class ProblemMetrics : IDisposable
{
    private readonly Meter _meter = new("Pipeline.Http");
    private readonly Counter<long> _refused;

    public ProblemMetrics() => _refused = _meter.Counter<long>(Metrics.Refused);

    /// <param name="code">Of the problem; there are as many as there are failure kinds.</param>
    public void Answered(string code) => _refused.Add(1, new KeyValuePair<string, object?>(Metrics.Error, code));

    public void Dispose() => _meter.Dispose();
}
