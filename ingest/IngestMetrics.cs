using System.Diagnostics.Metrics;
using Pipeline.Contracts;
using Pipeline.Hosting.Telemetry;
using Pipeline.Ingest.Express;

namespace Pipeline.Ingest;

/// <summary>What the door shows of itself; what each metric means is in <see cref="Metrics"/>.</summary>
internal sealed class IngestMetrics : IDisposable
{
    public const string MeterName = "Pipeline.Ingest";

    private readonly ModelLabels _models;
    private readonly Meter _meter;
    private readonly Counter<long> _jobs;
    private readonly Counter<long> _tasks;
    private readonly Histogram<double> _answered;
    private readonly Histogram<double> _disconnects;
    private readonly Counter<long> _lost;
    private readonly Histogram<int> _commits;

    public IngestMetrics(ModelLabels models, Waiters waiters)
    {
        _models = models;
        // Of several doors in one process it tells which one measured.
        _meter = new Meter(new MeterOptions(MeterName) { Scope = this });
        _jobs = _meter.Counter<long>(Metrics.JobsAccepted);
        _tasks = _meter.Counter<long>(Metrics.TasksAccepted);
        _answered = _meter.Histogram<double>(Metrics.RequestDuration);
        _disconnects = _meter.Histogram<double>(Metrics.Disconnects);
        _lost = _meter.Counter<long>(Metrics.LostAnswers);
        _commits = _meter.Histogram<int>(Metrics.CommitJobs);
        _meter.Gauge(Metrics.ExpressWaiting, () => waiters.Count);
    }

    public void Accepted(JobOrder order, int tasks)
    {
        var (latencyClass, model) = (Class(order.Class), Model(order.Model.Ref));
        _jobs.Add(1, latencyClass, model);
        _tasks.Add(tasks, latencyClass, model);
    }

    /// <param name="outcome"><c>answered</c>, <c>accepted</c> (202), or <c>late</c> where the protocol knows no 202.</param>
    public void Answered(ExpressAccepted accepted, TimeSpan waited, string outcome) =>
        _answered.Record(waited.TotalSeconds, Model(accepted.Job.Model), new(Metrics.Outcome, outcome));

    public void Disconnected(TimeSpan waited) => _disconnects.Record(waited.TotalSeconds);

    public void FoundLost(int results) => _lost.Add(results);

    public void Committed(int jobs) => _commits.Record(jobs);

    public void Dispose() => _meter.Dispose();

    private static KeyValuePair<string, object?> Class(LatencyClass latencyClass) => new(Metrics.Class, latencyClass.Name());

    private KeyValuePair<string, object?> Model(ModelRef model) => new(Metrics.Model, _models.Of(model));
}
