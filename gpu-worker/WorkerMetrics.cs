using System.Diagnostics.Metrics;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Stages;
using Pipeline.Hosting.Telemetry;
using Pipeline.Migrations;

namespace Pipeline.GpuWorker;

/// <summary>What the worker shows of itself; what each metric means is in <see cref="Metrics"/>.</summary>
internal sealed class WorkerMetrics : IDisposable
{
    public const string MeterName = "Pipeline.GpuWorker";

    private readonly ModelLabels _models;
    private readonly string _pool;
    private readonly Meter _meter = new(MeterName);
    private readonly Counter<long> _tasks;
    private readonly Histogram<int> _batchSize;
    private readonly Histogram<double> _batchTime;
    private readonly Histogram<double> _batchFill;
    private readonly Counter<long> _units;
    private readonly Counter<double> _deviceTime;
    private readonly Histogram<double> _writeTime;
    private readonly Histogram<int> _writeRows;
    private readonly Counter<long> _reused;
    private readonly Counter<double> _saved;
    private Unwritten? _unwritten;

    public WorkerMetrics(WorkerOptions options, ModelLabels models)
    {
        (_models, _pool) = (models, options.Pool);
        _tasks = _meter.Counter<long>(Metrics.TasksRun);
        _batchSize = _meter.Histogram<int>(Metrics.BatchSize);
        _batchTime = _meter.Histogram<double>(Metrics.BatchDuration);
        _batchFill = _meter.Histogram<double>(Metrics.BatchFill);
        _units = _meter.Counter<long>(Metrics.Units);
        _deviceTime = _meter.Counter<double>(Metrics.DeviceTime);
        _writeTime = _meter.Histogram<double>(Metrics.WriteDuration);
        _writeRows = _meter.Histogram<int>(Metrics.WriteRows);
        _reused = _meter.Counter<long>(Metrics.Reused);
        _saved = _meter.Counter<double>(Metrics.ReusedSaved);
        _meter.Gauge(Metrics.Unwritten, () => _unwritten?.Rows ?? 0);
    }

    /// <summary>The rows of the present life that are on their way.</summary>
    public void Watch(Unwritten unwritten) => _unwritten = unwritten;

    /// <summary>A commit took so long, retries not counted.</summary>
    public void Wrote(int rows, TimeSpan took)
    {
        _writeRows.Record(rows);
        _writeTime.Record(took.TotalSeconds);
    }

    /// <summary>A batch that ran is committed.</summary>
    public void Ran(Dispatch dispatch, int tasks, RanDevice device)
    {
        var (model, lane) = (Model(dispatch), Lane(dispatch));
        _batchSize.Record(tasks, model, lane);
        _batchTime.Record(device.Span.Ns / 1e9, model, lane);
        _batchFill.Record(Math.Min(1, (double)device.PaddedUnits / Math.Max(1, dispatch.PaddedUnitsMax)), model, lane);
        _units.Add(device.Units, model, Real);
        _units.Add(Math.Max(0, device.PaddedUnits - device.Units), model, Padding);
    }

    /// <summary>So many tasks of a dispatch ended in one way, or escalated.</summary>
    public void Ended(Dispatch dispatch, string outcome, int tasks)
    {
        if (tasks > 0)
        {
            _tasks.Add(tasks, Model(dispatch), Lane(dispatch), new KeyValuePair<string, object?>(Metrics.Outcome, outcome));
        }
    }

    /// <summary>Device time was booked in the ledger.</summary>
    public void Booked(LedgerExtension extension)
    {
        foreach (var entry in extension.Entries)
        {
            _deviceTime.Add(entry.Ns / 1e9, new(Metrics.Account, entry.Account.Name()), new(Metrics.Pool, _pool));
        }
    }

    /// <summary>Counts the reused rows of a commit.</summary>
    public void Reused(TaskEndRows rows, EndedTasks ended)
    {
        for (var row = 0; row < rows.Count; row++)
        {
            if (rows.ReusedOf(row) is var (source, savedPico) && ended.WasInserted(row))
            {
                var tag = new KeyValuePair<string, object?>(Metrics.Source, source);
                _reused.Add(1, tag);
                _saved.Add((double)savedPico / Cost.PicoPerUsd, tag);
            }
        }
    }

    public void Dispose() => _meter.Dispose();

    private static readonly KeyValuePair<string, object?> Real = new(Metrics.UnitKind, "real");
    private static readonly KeyValuePair<string, object?> Padding = new(Metrics.UnitKind, "padding");

    private static KeyValuePair<string, object?> Lane(Dispatch dispatch) => new(Metrics.Lane, dispatch.Lane.Name());

    private KeyValuePair<string, object?> Model(Dispatch dispatch) => new(Metrics.Model, _models.Of(dispatch.Model));
}
