using System.Diagnostics.Metrics;

namespace Pipeline.Ingest;

/// <summary>What the door shows of itself; the README lists the names.</summary>
internal sealed class IngestMetrics : IDisposable
{
    public const string MeterName = "Pipeline.Ingest";

    private readonly Meter _meter = new(MeterName);
    private readonly Histogram<double> _answered;
    private readonly Histogram<double> _disconnects;
    private readonly Counter<long> _lost;
    private readonly Histogram<int> _groups;

    public IngestMetrics()
    {
        _answered = _meter.CreateHistogram<double>(
            "pipeline.ingest.infer.duration",
            "ms",
            "Time of an inference that was waited for, by outcome"
        );
        _disconnects = _meter.CreateHistogram<double>(
            "pipeline.ingest.infer.disconnects",
            "ms",
            "Clients that closed the connection, by how long they had waited"
        );
        _lost = _meter.CreateCounter<long>("pipeline.ingest.infer.lost_answers", description: "Results found in the rows, not by message");
        _groups = _meter.CreateHistogram<int>("pipeline.ingest.infer.group", "jobs", "Express jobs that shared a commit");
    }

    /// <param name="outcome"><c>answered</c>, <c>accepted</c> (202), or <c>late</c> where the protocol knows no 202.</param>
    public void Answered(TimeSpan waited, string outcome) =>
        _answered.Record(waited.TotalMilliseconds, new KeyValuePair<string, object?>("outcome", outcome));

    public void Disconnected(TimeSpan waited) => _disconnects.Record(waited.TotalMilliseconds);

    public void FoundLost(int results) => _lost.Add(results);

    public void Stored(int jobs) => _groups.Record(jobs);

    public void Dispose() => _meter.Dispose();
}
