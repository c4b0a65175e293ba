using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// The hand-tuned batcher of MLPerf's Server scenario (NVIDIA's harness "LWIS"): a free device takes up to a maximum batch, first come
/// first served, and waits for it to fill until the first of it has waited for the dequeue timeout. It knows no deadlines.
/// <para>
/// Soft-drop spends the percentile that the promise allows to miss on the dearest tasks: while a batch's units are over a high quantile of
/// those seen, and fewer were deferred than the percentile allows of all that came, its longest task is taken out and runs when nothing
/// else waits. Where all tasks are alike no batch is over the quantile, and nothing is deferred.
/// </para>
/// Standard and bulk tasks run where no express batch is being formed, as in every baseline that is silent on them.
/// </summary>
/// <param name="batchTasksMax">
/// Tasks of a batch; 0: the most that take 0.6 of the target. Submitters tune it by hand; of six shares from 0.2 to 0.6 the last kept
/// the highest rate, or as good as, in each of six cells tried (two profiles, two targets, 1 and 8 devices, Poisson).
/// </param>
/// <param name="dequeueTimeout">How long a batch waits to fill; by default a quarter of the target (the submitters': 4 of 15 ms).</param>
/// <param name="percentile">Share of tasks that has to meet the target.</param>
/// <param name="lengthQuantile">Batches over this quantile of units are relieved; 0 turns soft-drop off.</param>
internal sealed class MlPerfPolicy(
    BaselineSetup setup,
    int batchTasksMax = 0,
    TimeSpan? dequeueTimeout = null,
    double percentile = 0.99,
    double lengthQuantile = 0.99
) : Baseline(setup, QueueOrder.Arrival)
{
    private const double BatchTimeShare = 0.6;

    private readonly Dictionary<BaselineModel, Lengths> _lengths = [];
    private readonly BaselineQueue _deferred = new(QueueOrder.Arrival);

    private long Timeout => dequeueTimeout?.Ticks ?? Setup.Target(LatencyClass.Express) / 4;

    /// <summary>Tasks that were taken out of a batch to be late.</summary>
    public int Deferred { get; private set; }

    protected override void OnArrived(BaselineChunk chunk)
    {
        if (chunk.Class == LatencyClass.Express)
        {
            LengthsOf(ModelOf(chunk.Model)).Arrived += chunk.Waiting;
        }
    }

    protected override void Decide()
    {
        while (Idle.Count > 0 && (SendFormed() || SendBulk(MayFill) || SendDeferred())) { }
    }

    /// <summary>Sends the oldest batch that is full or has waited long enough.</summary>
    private bool SendFormed()
    {
        (BaselineModel Model, BaselineDevice Device, int Tasks)? oldest = null;
        foreach (var model in Models)
        {
            if (model.Express.IsEmpty || IdleFor(model) is not { } device)
            {
                continue;
            }

            var tasks = BatchMax(model, device);
            if (model.Express.Tasks < tasks && model.Express.QueuedAt + Timeout > Now)
            {
                WakeAt(model.Express.QueuedAt + Timeout);
            }
            else if (oldest is not { } first || model.Express.QueuedAt < first.Model.Express.QueuedAt)
            {
                oldest = (model, device, tasks);
            }
        }

        if (oldest is not { } formed)
        {
            return false;
        }

        SoftDrop(formed.Model, formed.Tasks);
        Send(formed.Device, formed.Model, formed.Model.Express, formed.Tasks, "mlperf.batch");
        return true;
    }

    /// <summary>A device is left to the batch that is being formed; others may fill.</summary>
    private bool MayFill(BaselineDevice device)
    {
        var forming = 0;
        foreach (var model in Models)
        {
            forming += model.Express.IsEmpty ? 0 : 1;
        }

        return Idle.Count > forming;
    }

    private int BatchMax(BaselineModel model, BaselineDevice device)
    {
        var tasks =
            batchTasksMax > 0 ? batchTasksMax : model.TasksWithin((long)(Setup.Target(LatencyClass.Express) * BatchTimeShare), device);
        return Math.Clamp(tasks, 1, model.TasksMax);
    }

    private void SoftDrop(BaselineModel model, int tasksMax)
    {
        var lengths = LengthsOf(model);
        if (lengthQuantile <= 0 || !lengths.Vary(model.Express, tasksMax))
        {
            return;
        }

        var (total, longest) = LengthOf(model.Express, tasksMax);
        while (
            total > lengths.Quantile(lengthQuantile) && Deferred + 1 <= ((1 - percentile) * lengths.Arrived) - 1 && model.Express.Count > 1
        )
        {
            Deferred += longest.Waiting;
            model.Express.Remove(longest);
            _deferred.Add(longest);
            (total, longest) = LengthOf(model.Express, tasksMax);
        }

        lengths.See(total);
    }

    /// <summary>Units of the batch at the queue's head, and its longest chunk.</summary>
    private static (double Total, BaselineChunk Longest) LengthOf(BaselineQueue queue, int tasksMax)
    {
        var (total, tasks, longest) = (0.0, 0, queue.Head);
        for (var i = 0; i < queue.Count && tasks < tasksMax; i++)
        {
            var count = Math.Min(queue[i].Waiting, tasksMax - tasks);
            total += queue[i].UnitsPerTask * count;
            tasks += count;
            longest = queue[i].UnitsPerTask > longest.UnitsPerTask ? queue[i] : longest;
        }

        return (total, longest);
    }

    /// <summary>What was deferred runs when nothing else waits.</summary>
    private bool SendDeferred()
    {
        while (!_deferred.IsEmpty && _deferred.Head.GivenUp is not null)
        {
            _deferred.Remove(_deferred.Head);
        }

        if (_deferred.IsEmpty || ModelOf(_deferred.Head.Model) is not { Express.IsEmpty: true } model || IdleFor(model) is not { } device)
        {
            return false;
        }

        return Send(device, model, _deferred, _deferred.Head.Waiting, "mlperf.deferred", Lane.Bulk) is not null;
    }

    private Lengths LengthsOf(BaselineModel model)
    {
        if (!_lengths.TryGetValue(model, out var lengths))
        {
            _lengths[model] = lengths = new Lengths();
        }

        return lengths;
    }

    /// <summary>The total units of the last thousand batches of a model, in order of size.</summary>
    private sealed class Lengths
    {
        private const int Kept = 1000;
        private readonly List<double> _sorted = [];
        private readonly Queue<double> _inOrder = new();
        private double _taskUnits;
        private bool _vary;

        /// <summary>Express tasks that came.</summary>
        public long Arrived { get; set; }

        /// <summary>True once two tasks of different length were seen; until then lengths are not even added up.</summary>
        public bool Vary(BaselineQueue queue, int tasksMax)
        {
            _taskUnits = _taskUnits > 0 ? _taskUnits : queue.Head.UnitsPerTask;
            for (var i = 0; i < queue.Count && i < tasksMax && !_vary; i++)
            {
                _vary = queue[i].UnitsPerTask != _taskUnits;
            }

            return _vary;
        }

        public double Quantile(double share) =>
            _sorted.Count == 0 ? double.MaxValue : _sorted[Math.Min(_sorted.Count - 1, (int)(share * _sorted.Count))];

        public void See(double total)
        {
            Insert(total);
            _inOrder.Enqueue(total);
            if (_inOrder.Count > Kept)
            {
                _sorted.RemoveAt(_sorted.BinarySearch(_inOrder.Dequeue()));
            }
        }

        private void Insert(double total)
        {
            var at = _sorted.BinarySearch(total);
            _sorted.Insert(at >= 0 ? at : ~at, total);
        }
    }
}
