using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// TensorFlow Serving's batch scheduler with mixed priorities, policy <c>low_priority_padding_with_max_batch_size</c>: a high-priority
/// batch goes when it is full or its oldest task timed out, and in the second case low-priority tasks fill it up. A batch of low-priority
/// tasks alone goes only while nothing of high priority waits, and then when it is full or timed out. It knows no deadlines. Express is
/// high priority, standard and bulk are low, in that order.
/// </summary>
/// <param name="batchMax">Tasks of a batch that has express tasks; null for what fits the setup's share of the express target.</param>
/// <param name="timeout">How long the oldest express task waits; 1 ms by default.</param>
/// <param name="lowTimeout">The same for low priority; 100 ms by default.</param>
internal sealed class TfServingPolicy(BaselineSetup setup, int? batchMax = null, TimeSpan? timeout = null, TimeSpan? lowTimeout = null)
    : Baseline(setup, QueueOrder.Arrival)
{
    private readonly long _timeout = (timeout ?? TimeSpan.FromMilliseconds(1)).Ticks;
    private readonly long _lowTimeout = (lowTimeout ?? TimeSpan.FromMilliseconds(100)).Ticks;

    protected override void Decide()
    {
        foreach (var model in Models)
        {
            while (IdleFor(model) is { } device && (SendHigh(model, device) || SendLow(model, device))) { }
        }
    }

    private bool SendHigh(BaselineModel model, BaselineDevice device)
    {
        var queue = model.Express;
        if (queue.IsEmpty)
        {
            return false;
        }

        var size = batchMax ?? ExpressTasks(model, device);
        var ripeAt = queue.QueuedAt + _timeout;
        if (queue.Tasks < size && ripeAt > Now)
        {
            WakeAt(ripeAt);
            return false;
        }

        var full = queue.Tasks >= size;
        var batch = Batch(model).Take(queue, size);
        batch.Take(model.Standard, size - batch.Tasks).Take(model.Bulk, size - batch.Tasks);
        Send(device, batch, full ? "tfserving.full" : "tfserving.padded");
        return true;
    }

    private bool SendLow(BaselineModel model, BaselineDevice device)
    {
        var waiting = model.Standard.Tasks + model.Bulk.Tasks;
        if (!model.Express.IsEmpty || waiting == 0)
        {
            return false;
        }

        var size = BulkTasks(model, device);
        var ripeAt = Math.Min(model.Standard.QueuedAt, model.Bulk.QueuedAt) + _lowTimeout;
        if (waiting < size && ripeAt > Now)
        {
            WakeAt(ripeAt);
            return false;
        }

        var batch = Batch(model).Take(model.Standard, size);
        Send(device, batch.Take(model.Bulk, size - batch.Tasks), "tfserving.low", Lane.Bulk);
        return true;
    }
}
