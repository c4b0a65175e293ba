using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// A fixed batch size with a timeout: express tasks leave when the batch is full or its oldest task has waited long enough. The timeout
/// knows neither the target nor what the batch will take. Standard and bulk run whenever no express batch is ready.
/// </summary>
/// <param name="batchSize">Tasks of a full batch; null for what fits the setup's share of the express target.</param>
/// <param name="timeout">How long the oldest task waits for company; 5 ms by default.</param>
internal sealed class FixedBatchPolicy(BaselineSetup setup, int? batchSize = null, TimeSpan? timeout = null)
    : Baseline(setup, QueueOrder.Arrival)
{
    private readonly long _timeout = (timeout ?? TimeSpan.FromMilliseconds(5)).Ticks;

    protected override void Decide()
    {
        while (Idle.Count > 0 && (SendExpress() || SendBulk())) { }
    }

    private bool SendExpress()
    {
        foreach (var model in Models)
        {
            var queue = model.Express;
            if (queue.IsEmpty)
            {
                continue;
            }

            var device = IdleFor(model)!;
            var size = batchSize ?? ExpressTasks(model, device);
            var ripeAt = queue.QueuedAt + _timeout;
            if (queue.Tasks >= size || ripeAt <= Now)
            {
                Send(device, model, queue, size, queue.Tasks >= size ? "fixed.full" : "fixed.timeout");
                return true;
            }

            WakeAt(ripeAt);
        }

        return false;
    }
}
