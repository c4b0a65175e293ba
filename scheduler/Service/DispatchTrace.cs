using System.Diagnostics;
using Pipeline.Contracts;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.Scheduler.Service;

/// <summary>A dispatch in the traces of the jobs it carries.</summary>
internal static class DispatchTrace
{
    /// <summary>
    /// Ends the waiting of every traced job in it, and begins the sending: in the first one's trace, linked to the others. Null where none
    /// is traced, as is known without looking at its slices.
    /// </summary>
    public static Activity? Start(Dispatch dispatch, DateTimeOffset now)
    {
        if (
            dispatch.Notes?.Where(note => note.Traceparent is not null).DistinctBy(note => note.Traceparent).ToList()
            is not [var first, ..] traced
        )
        {
            return null;
        }

        foreach (var note in traced)
        {
            Traces.Add("queue", note.Traceparent, note.QueuedAt, now);
        }

        return Traces
            .Start("dispatch", first.Traceparent, links: Traces.LinksTo(traced.Select(note => note.Traceparent)))
            ?.SetTag(Traces.DispatchAttribute, dispatch.Id.ToString())
            .SetTag(Metrics.Lane, dispatch.Lane.Name())
            .SetTag(Metrics.Model, dispatch.Model.ToString())
            .SetTag(Metrics.Reason, dispatch.Reason)
            .SetTag(Traces.TasksAttribute, dispatch.Slices.Sum(slice => slice.Count));
    }
}
