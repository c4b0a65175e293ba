using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// First come, first served, whatever its class: a free device takes the oldest tasks at once, at most <c>batchMax</c> of them. With
/// batches of one it is what KServe does by default, a request at a time on each replica.
/// </summary>
/// <param name="batchMax">Tasks of a batch; null for what fits the setup's share of the express target.</param>
internal sealed class FifoPolicy(BaselineSetup setup, int? batchMax = 1) : Baseline(setup, QueueOrder.Arrival)
{
    protected override void Decide()
    {
        while (Idle.Count > 0 && Oldest() is { } oldest)
        {
            var (model, _) = oldest;
            var device = IdleFor(model)!;
            var left = batchMax ?? ExpressTasks(model, device);
            var batch = Batch(model);
            while (batch.Tasks < left && OldestOf(model) is { } queue && batch.Tasks < model.TasksMax)
            {
                batch.Take(queue, Math.Min(queue.Head.Waiting, left - batch.Tasks));
            }

            Send(device, batch, "fifo.next");
        }
    }

    private (BaselineModel Model, BaselineQueue Queue)? Oldest()
    {
        (BaselineModel Model, BaselineQueue Queue)? oldest = null;
        foreach (var model in Models)
        {
            if (OldestOf(model) is { } queue && (oldest is null || queue.Head.Arrival < oldest.Value.Queue.Head.Arrival))
            {
                oldest = (model, queue);
            }
        }

        return oldest;
    }

    private static BaselineQueue? OldestOf(BaselineModel model)
    {
        BaselineQueue? oldest = null;
        foreach (var latencyClass in (ReadOnlySpan<LatencyClass>)[LatencyClass.Express, LatencyClass.Standard, LatencyClass.Bulk])
        {
            var queue = model.Queue(latencyClass);
            oldest = !queue.IsEmpty && (oldest is null || queue.Head.Arrival < oldest.Head.Arrival) ? queue : oldest;
        }

        return oldest;
    }
}
