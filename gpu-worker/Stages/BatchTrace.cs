using System.Diagnostics;
using Pipeline.Contracts;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.GpuWorker.Stages;

/// <summary>Batches in the traces of the jobs whose tasks they hold: a span is in one trace, and linked to all the others.</summary>
internal static class BatchTrace
{
    /// <summary>A device call begins. Null where nothing of its dispatch is traced.</summary>
    public static Activity? Start(PackedWork work)
    {
        var run = work.Run;
        if (run.Trace is null)
        {
            return null;
        }

        var jobs = work.Tasks.Select(task => run.Slices[run.Tasks[task].Slice].Traceparent);
        return Traces
            .Start($"infer {run.Dispatch.Model.Name}", run.Trace, links: Traces.LinksTo(jobs))
            ?.SetTag("gen_ai.operation.name", "infer")
            .SetTag("gen_ai.provider.name", "pipeline")
            .SetTag(Metrics.Model, run.Dispatch.Model.ToString())
            .SetTag(Metrics.Lane, run.Dispatch.Lane.Name())
            .SetTag(Traces.DispatchAttribute, run.Dispatch.Id.ToString())
            .SetTag(Traces.TasksAttribute, work.Tasks.Length)
            .SetTag("pipeline.units", work.Batch.Units)
            .SetTag("pipeline.padded_units", work.Batch.PaddedUnits);
    }

    /// <summary>A commit of batches begins, of any dispatches. Null where none of them is traced.</summary>
    public static Activity? StartWrite(IReadOnlyList<FinishedBatch> group)
    {
        for (var i = 0; i < group.Count; i++)
        {
            if (group[i].Run.Trace is { } first)
            {
                return Traces
                    .Start("write results", first, links: Traces.LinksTo(group.Select(batch => batch.Run.Trace)))
                    ?.SetTag(Traces.TasksAttribute, group.Sum(batch => batch.Tasks.Length));
            }
        }

        return null;
    }
}
