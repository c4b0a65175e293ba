using System.Diagnostics.Metrics;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.ResultsApi;

/// <summary>A job's end, as far as metrics tell of it.</summary>
/// <param name="Seconds">From acceptance to end.</param>
/// <param name="Late">Expired, or ended after its deadline.</param>
internal readonly record struct JobEnd(
    string Class,
    string Model,
    string Outcome,
    int Succeeded,
    int Failed,
    int Expired,
    int Cancelled,
    double CostPico,
    bool Late,
    double Seconds
)
{
    /// <summary>Reads it from a row, in the order above but for the last three: cost, late, seconds.</summary>
    public static JobEnd Read(NpgsqlDataReader row, int at) =>
        new(
            row.GetString(at),
            row.GetString(at + 1),
            row.GetString(at + 2),
            Count(row, at + 3),
            Count(row, at + 4),
            Count(row, at + 5),
            Count(row, at + 6),
            row.IsDBNull(at + 7) ? 0 : row.GetDouble(at + 7),
            !row.IsDBNull(at + 8) && row.GetBoolean(at + 8),
            row.IsDBNull(at + 9) ? 0 : row.GetDouble(at + 9)
        );

    private static int Count(NpgsqlDataReader row, int at) => row.IsDBNull(at) ? 0 : row.GetInt32(at);
}

/// <summary>What results-api shows of jobs and webhooks; what each metric means is in <see cref="Metrics"/>.</summary>
internal sealed class ResultsMetrics : IDisposable
{
    private readonly ModelLabels _models;
    private readonly Meter _meter = new("Pipeline.ResultsApi");
    private readonly Counter<long> _jobs;
    private readonly Counter<long> _tasks;
    private readonly Histogram<double> _seconds;
    private readonly Counter<long> _late;
    private readonly Counter<double> _cost;
    private readonly Counter<long> _events;
    private readonly Histogram<double> _attempts;
    private StoredFigures _stored = new();

    public ResultsMetrics(ModelLabels models)
    {
        _models = models;
        _jobs = _meter.Counter<long>(Metrics.JobsEnded);
        _tasks = _meter.Counter<long>(Metrics.TasksEnded);
        _seconds = _meter.Histogram<double>(Metrics.JobDuration);
        _late = _meter.Counter<long>(Metrics.JobsLate);
        _cost = _meter.Counter<double>(Metrics.JobsCost);
        _events = _meter.Counter<long>(Metrics.WebhookEvents);
        _attempts = _meter.Histogram<double>(Metrics.WebhookDuration);
        _meter.Gauge(Metrics.JobsOpen, () => _stored.Open);
        _meter.Gauge(Metrics.OldestAge, () => _stored.Oldest);
        _meter.Gauge(Metrics.Unannounced, () => _stored.Unannounced);
        _meter.Gauge(Metrics.WebhooksPending, () => _stored.WebhooksPending);
        _meter.Gauge(Metrics.WebhooksOldest, () => _stored.WebhooksOldest);
        _meter.Gauge(Metrics.EventsWaiting, () => _stored.EventsWaiting);
    }

    public void Ended(in JobEnd job)
    {
        var latencyClass = new KeyValuePair<string, object?>(Metrics.Class, job.Class);
        var model = new KeyValuePair<string, object?>(Metrics.Model, _models.Of(job.Model));
        var outcome = new KeyValuePair<string, object?>(Metrics.Outcome, job.Outcome);
        _jobs.Add(1, latencyClass, model, outcome);
        _seconds.Record(job.Seconds, latencyClass, outcome);
        _cost.Add(job.CostPico / Cost.PicoPerUsd, latencyClass, model);
        _late.Add(job.Late ? 1 : 0, latencyClass);
        Tasks(job.Succeeded, TaskOutcome.Succeeded);
        Tasks(job.Failed, TaskOutcome.Failed);
        Tasks(job.Expired, TaskOutcome.Expired);
        Tasks(job.Cancelled, TaskOutcome.Cancelled);

        void Tasks(int count, TaskOutcome how)
        {
            if (count > 0)
            {
                _tasks.Add(count, latencyClass, model, new KeyValuePair<string, object?>(Metrics.Outcome, how.Name()));
            }
        }
    }

    /// <param name="type">Of the event; they are few.</param>
    public void FannedOut(string type) => _events.Add(1, new KeyValuePair<string, object?>(Metrics.EventType, type));

    /// <param name="state">What the attempt came to: <c>delivered</c>, <c>pending</c> or <c>failed</c>.</param>
    public void Attempted(string state, TimeSpan took) =>
        _attempts.Record(took.TotalSeconds, new KeyValuePair<string, object?>(Metrics.Outcome, state));

    /// <summary>What stands in PostgreSQL was read.</summary>
    public void Read(StoredFigures figures) => _stored = figures;

    public void Dispose() => _meter.Dispose();
}
