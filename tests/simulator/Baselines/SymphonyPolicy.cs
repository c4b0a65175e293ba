using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// Symphony: deferred batch scheduling. Each model has one candidate, the most urgent tasks that can end together in time. It may start
/// not before d − l(b + 1), since until then one more task could join, and not after d − l(b), d being when its head is due. Devices so
/// stay idle on purpose: batches grow to what the load needs and start one after the other, and a task waits for the next start instead of a whole
/// batch. A device that becomes free takes the open candidate whose latest start comes first.
/// <para>
/// When all devices were busy the queue may hold more than can end with its head. Then heads are dropped until the head of the rest can
/// end with a batch of the target B*: the largest that is filled and run within the target, l(b) + b/r ≤ S. With n = r·l(b)/b devices
/// in use this is the staggered (1 + 1/n)·l(b) ≤ S. Until a rate is known it is 2·l(b) ≤ S.
/// </para>
/// <para>
/// Work without hurry: standard and bulk tasks fill an express batch up to B*, and form batches of their own within the setup's bound;
/// a batch that is full for either reason has nothing to wait for.
/// </para>
/// </summary>
/// <param name="taskTransfer">What each task of a batch takes to reach the device, off the target.</param>
internal sealed class SymphonyPolicy(BaselineSetup setup, TimeSpan taskTransfer = default) : Baseline(setup)
{
    private readonly Dictionary<BaselineModel, Pace> _paces = [];
    private bool _hadIdle = true;

    protected override void OnArrived(BaselineChunk chunk)
    {
        if (chunk.Class == LatencyClass.Express)
        {
            PaceOf(ModelOf(chunk.Model)).Arrive(chunk.Waiting, Now);
        }
    }

    protected override void Decide()
    {
        while (Idle.Count > 0 && Earliest() is { } next)
        {
            Send(next.Device, Batch(next.Model).TakeDue(next.Tasks, next.BulkTasks), "symphony.window");
        }

        _hadIdle = Idle.Count > 0;
    }

    /// <summary>The open candidate whose latest start comes first.</summary>
    private Candidate? Earliest()
    {
        Candidate? best = null;
        foreach (var model in Models)
        {
            if (model.First().IsEmpty || IdleFor(model) is not { } device || CandidateOf(model, device) is not { } candidate)
            {
                continue;
            }

            if (candidate.NotBefore > Now)
            {
                WakeAt(candidate.NotBefore);
            }
            else if (best is null || candidate.NotAfter < best.Value.NotAfter)
            {
                best = candidate;
            }
        }

        return best;
    }

    private Candidate? CandidateOf(BaselineModel model, BaselineDevice device)
    {
        DropLate(model, device);
        if (model.First().IsEmpty)
        {
            return null;
        }

        var bulk = model.ExpressFirst() ? FillTasks(model, device) : BulkTasks(model, device);
        var due = model.Due();
        var full = Math.Min(model.TasksWithin(due - Now, device), model.BatchTasks(bulk));
        var grows = full < model.TasksMax && (model.SlackTasks() == 0 || full < bulk);
        var notBefore = grows ? due - model.Latency(full + 1, device) : Now;
        return full < 1 ? null : new Candidate(model, device, full, bulk, notBefore, due - model.Latency(full, device));
    }

    /// <summary>
    /// Drops what cannot end. While a device was idle the candidate only grew, and goes as soon as it cannot: its head is never
    /// dropped for those behind it.
    /// </summary>
    private void DropLate(BaselineModel model, BaselineDevice device)
    {
        var target = _hadIdle ? 1 : TargetTasks(model, device);
        while (!model.Express.IsEmpty && Hopeless(model, device, Math.Min(target, model.Express.Tasks)))
        {
            Drop(model.Express.Head, message: "It could not end in time.");
        }

        DropHeads(model.Standard, c => c.Due < Now + model.Latency(1, device));
        DropHeads(model.Bulk, c => c.Due < Now + model.Latency(1, device));
    }

    private bool Hopeless(BaselineModel model, BaselineDevice device, int tasks) =>
        model.Express.Head.Due < Now + model.Latency(tasks, device);

    /// <summary>Tasks up to which others fill an express batch: at a low rate B* is small, and staggering with one other device will do.</summary>
    private int FillTasks(BaselineModel model, BaselineDevice device)
    {
        var half = model.TasksWithin(Setup.Target(LatencyClass.Express) / 2, device);
        return Math.Max(1, Math.Min(BulkTasks(model, device), Math.Max(half, TargetTasks(model, device))));
    }

    private int TargetTasks(BaselineModel model, BaselineDevice device)
    {
        var target = Setup.Target(LatencyClass.Express);
        var pace = PaceOf(model);
        if (pace.TicksPerTask(Now) is not { } gap)
        {
            return Math.Max(1, model.TasksWithin(target / 2, device));
        }

        if (pace.TargetFor == gap)
        {
            return pace.TargetTasks;
        }

        var (low, high) = (1, Math.Max(1, model.TasksWithin(target, device)));
        while (low < high)
        {
            var middle = (low + high + 1) / 2;
            var fits = model.Latency(middle, device) + (middle * (gap + taskTransfer.Ticks)) <= target;
            (low, high) = fits ? (middle, high) : (low, middle - 1);
        }

        (pace.TargetFor, pace.TargetTasks) = (gap, low);
        return low;
    }

    private Pace PaceOf(BaselineModel model)
    {
        if (!_paces.TryGetValue(model, out var pace))
        {
            _paces[model] = pace = new Pace();
        }

        return pace;
    }

    /// <param name="NotBefore">Until then one more task could join.</param>
    /// <param name="NotAfter">Its latest start.</param>
    private readonly record struct Candidate(
        BaselineModel Model,
        BaselineDevice Device,
        int Tasks,
        int BulkTasks,
        long NotBefore,
        long NotAfter
    );

    /// <summary>How quickly express tasks of a model come: counted over the last second, in tenths.</summary>
    private sealed class Pace
    {
        private const int Buckets = 10;
        private const long BucketTicks = TimeSpan.TicksPerSecond / Buckets;
        private readonly int[] _counts = new int[Buckets];
        private long _first = long.MinValue;
        private long _bucket = long.MinValue;
        private int _sum;

        public double? TargetFor { get; set; }
        public int TargetTasks { get; set; }

        public void Arrive(int tasks, long now)
        {
            Turn(now);
            _counts[_bucket % Buckets] += tasks;
        }

        /// <summary>Mean time between tasks over the whole tenths that passed; null while none has.</summary>
        public double? TicksPerTask(long now)
        {
            Turn(now);
            var passed = Math.Min(Buckets - 1, _bucket - _first);
            return passed < 1 || _sum == 0 ? null : (double)passed * BucketTicks / _sum;
        }

        private void Turn(long now)
        {
            var bucket = now / BucketTicks;
            if (bucket == _bucket)
            {
                return;
            }

            _first = _first == long.MinValue ? bucket : _first;
            for (var b = Math.Max(_bucket + 1, bucket - Buckets + 1); b <= bucket; b++)
            {
                _counts[b % Buckets] = 0;
            }

            _bucket = bucket;
            _sum = _counts.Sum();
        }
    }
}
