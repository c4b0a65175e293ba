using System.Diagnostics.Metrics;
using Pipeline.Migrations;

namespace Pipeline.GpuWorker;

/// <summary>What the worker shows of itself; the README lists the names.</summary>
internal sealed class WorkerMetrics : IDisposable
{
    public const string MeterName = "Pipeline.GpuWorker";

    private readonly Meter _meter = new(MeterName);
    private readonly Counter<long> _reused;
    private readonly Counter<long> _saved;

    public WorkerMetrics()
    {
        _reused = _meter.CreateCounter<long>("pipeline.worker.reused", "results", "Results that were made for another task, by source");
        _saved = _meter.CreateCounter<long>("pipeline.worker.reused.saved", "pico-USD", "What those cost when they were made, by source");
    }

    /// <summary>Counts the reused rows of a commit.</summary>
    public void Reused(TaskEndRows rows, EndedTasks ended)
    {
        for (var row = 0; row < rows.Count; row++)
        {
            if (rows.ReusedOf(row) is var (source, savedPico) && ended.WasInserted(row))
            {
                var tag = new KeyValuePair<string, object?>("source", source);
                _reused.Add(1, tag);
                _saved.Add(savedPico, tag);
            }
        }
    }

    public void Dispose() => _meter.Dispose();
}
