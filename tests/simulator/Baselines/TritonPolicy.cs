using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>What Triton does with a request that waited longer than its level's timeout.</summary>
internal enum QueueTimeoutAction
{
    /// <summary>It fails.</summary>
    Reject,

    /// <summary>It goes behind all of its level that are not late yet, so it may wait for ever.</summary>
    Delay,
}

/// <summary>A priority level's queue policy. Time in the queue alone counts: nothing is subtracted for execution.</summary>
internal readonly record struct QueueTimeout(TimeSpan After, QueueTimeoutAction Action = QueueTimeoutAction.Reject);

/// <summary>
/// Triton's dynamic batcher, by its documentation (user guide, "Batchers"): a free instance takes a batch of the largest preferred size
/// that the queue can form; when none can be formed the oldest request waits at most the queue delay, then what is there goes. Levels are
/// strict, express before standard before bulk: a batch is filled from the highest level down, so lower levels get what is left of a
/// batch and, when the higher ones fill every batch, nothing. Neither the delay nor the timeouts subtract what a batch takes.
/// </summary>
/// <param name="batchMax">Tasks of a batch; null for what fits the setup's share of the express target.</param>
/// <param name="delay">Max queue delay; 1 ms by default, as NVIDIA's MLPerf ResNet-50 configuration has.</param>
/// <param name="preferred">Preferred sizes; none by default, then only the largest batch goes without delay.</param>
/// <param name="timeouts">Queue timeouts of levels that have one.</param>
internal sealed class TritonPolicy(
    BaselineSetup setup,
    int? batchMax = null,
    TimeSpan? delay = null,
    IReadOnlyList<int>? preferred = null,
    IReadOnlyDictionary<LatencyClass, QueueTimeout>? timeouts = null
) : Baseline(setup, QueueOrder.Arrival)
{
    private static readonly LatencyClass[] Levels = [LatencyClass.Express, LatencyClass.Standard, LatencyClass.Bulk];

    private readonly long _delay = (delay ?? TimeSpan.FromMilliseconds(1)).Ticks;
    private readonly int[] _preferred = [.. (preferred ?? []).Where(size => size > 0).Order()];
    private readonly Dictionary<(ModelRef Model, LatencyClass Level), BaselineQueue> _delayed = [];

    protected override void Decide()
    {
        foreach (var model in Models)
        {
            ApplyTimeouts(model);
            while (IdleFor(model) is { } device && Form(model, device)) { }
        }
    }

    /// <summary>Sends a batch when one is due.</summary>
    private bool Form(BaselineModel model, BaselineDevice device)
    {
        var waiting = 0;
        var oldest = long.MaxValue;
        foreach (var queue in Queues(model))
        {
            waiting += queue.Tasks;
            oldest = Math.Min(oldest, queue.QueuedAt);
        }

        if (waiting == 0)
        {
            return false;
        }

        var max = Math.Min(batchMax ?? ExpressTasks(model, device), model.TasksMax);
        var size = Size(waiting, max);
        var late = oldest + _delay <= Now;
        if (size == 0 && !late)
        {
            WakeAt(oldest + _delay);
            return false;
        }

        var batch = Batch(model);
        foreach (var queue in Queues(model))
        {
            batch.Take(queue, (size > 0 ? size : Math.Min(waiting, max)) - batch.Tasks);
        }

        Send(device, batch, size > 0 ? "triton.preferred" : "triton.delay");
        return true;
    }

    /// <summary>The size that goes without delay; 0 when none can be formed.</summary>
    private int Size(int waiting, int max)
    {
        var best = waiting >= max ? max : 0;
        foreach (var size in _preferred)
        {
            best = best < max && size <= Math.Min(waiting, max) ? size : best;
        }

        return best;
    }

    /// <summary>Levels from the highest, each with its delayed requests behind the others.</summary>
    private IEnumerable<BaselineQueue> Queues(BaselineModel model)
    {
        foreach (var level in Levels)
        {
            yield return model.Queue(level);
            if (_delayed.TryGetValue((model.Ref, level), out var delayed))
            {
                yield return delayed;
            }
        }
    }

    private void ApplyTimeouts(BaselineModel model)
    {
        foreach (var level in Levels)
        {
            if (timeouts is null || !timeouts.TryGetValue(level, out var timeout))
            {
                continue;
            }

            var queue = model.Queue(level);
            while (!queue.IsEmpty && queue.QueuedAt + timeout.After.Ticks <= Now)
            {
                Punish(queue, timeout.Action, (model.Ref, level));
            }

            if (!queue.IsEmpty)
            {
                WakeAt(queue.QueuedAt + timeout.After.Ticks);
            }
        }
    }

    private void Punish(BaselineQueue queue, QueueTimeoutAction action, (ModelRef, LatencyClass) level)
    {
        var chunk = queue.Head;
        if (action == QueueTimeoutAction.Reject)
        {
            Drop(chunk, message: "It waited longer than its level's queue timeout.");
            return;
        }

        if (!_delayed.TryGetValue(level, out var delayed))
        {
            _delayed[level] = delayed = new BaselineQueue(QueueOrder.Arrival);
        }

        queue.Remove(chunk);
        delayed.Add(chunk);
    }
}
