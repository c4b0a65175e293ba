using Pipeline.Contracts;
using Pipeline.Simulator.Fleet;

namespace Pipeline.Simulator;

/// <summary>The promises of DESIGN.md, checked from outside the policy. The cheap ones are asked where they could break; these after every time stamp.</summary>
internal sealed class Promises(WorldOptions options)
{
    public void Require(bool holds, string promise)
    {
        if (!holds)
        {
            throw new PromiseBrokenException($"{promise} (seed {options.Seed})");
        }
    }

    /// <summary>Whatever happens, these hold at every time stamp.</summary>
    public void Check(Measures measures, SimWorker[] workers, long now)
    {
        Require(measures.TasksEnded <= measures.TasksSubmitted, "No more ends than was submitted.");
        foreach (var worker in workers)
        {
            Require(worker.Running is null || worker.BatchEnd > now, "A batch ends when its time is over.");
            Require(
                worker.Running is not null || worker.Next is null || !worker.Alive,
                "A device does not stand still beside work that is staged for it."
            );
        }
    }

    /// <summary>At the end the sums close: what was submitted has ended, or is still here.</summary>
    public void CheckSums(Measures measures, ChunkStore chunks, Store<SimDispatch> dispatches)
    {
        var open = 0L;
        var live = 0L;
        for (var slot = 0; slot < chunks.Slots; slot++)
        {
            ref var chunk = ref chunks[slot];
            open += chunk.Tasks - chunk.EndedTasks;
            live += chunk.Job == 0 ? 0 : chunk.Live.Count(0, chunk.Tasks);
        }

        Require(measures.TasksSubmitted == measures.TasksEnded + open, "What was submitted has ended, or is still here.");
        var dispatched = dispatches.All.Sum(d => d.Message.Slices.Where((_, i) => d.Slots[i] >= 0).Sum(s => (long)s.Count));
        Require(live == dispatched, "What is in flight is in a dispatch.");
    }
}
