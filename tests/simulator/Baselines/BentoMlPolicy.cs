using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// BentoML's adaptive batching, the "cork": l(b) = a · b + b0 is fitted by least squares to the last 50 batches, together with how long
/// their first tasks waited on average. While n tasks wait and the newest is <c>age</c> old, they stay corked as long as
/// n · (age + tick + a) is below 0.95 of that average wait: one more task costs the n that wait more than it brings, once the arrivals
/// thin out. Heads that could not end in time with all that wait are cancelled. Read in its public dispatcher; kinder here in two
/// respects: nothing is polled, so no millisecond is lost, and what exceeds a batch is taken oldest first, not newest first.
/// </summary>
/// <param name="batchMax">Tasks of a batch; 100 by default, as its configuration has.</param>
/// <param name="latencyMax">The latency it aims below; null for the express target.</param>
internal sealed class BentoMlPolicy(BaselineSetup setup, int batchMax = 100, TimeSpan? latencyMax = null)
    : Baseline(setup, QueueOrder.Arrival)
{
    private const double Decay = 0.95;

    private readonly Dictionary<ModelRef, CorkOptimizer> _optimizers = [];

    private long LatencyMax => latencyMax?.Ticks ?? ExpressTarget;

    protected override void Decide()
    {
        foreach (var model in Models)
        {
            CancelHopeless(model);
            while (IdleFor(model) is { } device && SendExpress(model, device)) { }
        }

        while (SendBulk()) { }
    }

    protected override void OnEnded(BaselineFlight flight, DispatchFinished report)
    {
        if (flight.Class == LatencyClass.Express && report.Batches.Count > 0)
        {
            var ticks = report.Batches.Sum(b => b.DeviceNs) / TimeSpan.NanosecondsPerTick;
            Optimizer(flight.Model).Log(flight.Tasks, flight.SentAt - flight.Slices[0].Chunk.QueuedAt, ticks, Now);
        }
    }

    private bool SendExpress(BaselineModel model, BaselineDevice device)
    {
        var queue = model.Express;
        if (queue.IsEmpty)
        {
            return false;
        }

        var optimizer = Optimizer(model);
        // n · (age + tick + a) ≤ wait · decay, solved for the time at which it stops to hold.
        var corkedUntil =
            queue.Last.QueuedAt + (long)((optimizer.Wait * Decay / queue.Tasks) - optimizer.PerTask - TimeSpan.TicksPerMillisecond) + 1;
        if (queue.Tasks < batchMax && corkedUntil > Now)
        {
            WakeAt(corkedUntil);
            return false;
        }

        Send(device, model, queue, batchMax, "bentoml.release");
        return true;
    }

    /// <summary>Cancels heads for as long as the first would end too late in a batch of all that wait.</summary>
    private void CancelHopeless(BaselineModel model)
    {
        var (queue, optimizer) = (model.Express, Optimizer(model));
        while (!queue.IsEmpty)
        {
            var waited = Now - queue.QueuedAt;
            var estimated = queue.Tasks > 1 ? waited + (optimizer.PerTask * queue.Tasks) + optimizer.PerBatch : waited;
            if (estimated < LatencyMax)
            {
                // A single task is cancelled only once its time is over; until then an end or an arrival looks again.
                break;
            }

            Drop(queue.Head, message: "It could not end within the maximum latency.");
        }
    }

    private CorkOptimizer Optimizer(BaselineModel model)
    {
        if (!_optimizers.TryGetValue(model.Ref, out var optimizer))
        {
            _optimizers[model.Ref] = optimizer = new CorkOptimizer(LatencyMax);
        }

        return optimizer;
    }
}

/// <summary>What BentoML's dispatcher learns: device ticks per task and per batch, and how long a batch's first task waits on average.</summary>
internal sealed class CorkOptimizer(long latencyMax)
{
    private const int BatchesKept = 50;
    private const int BatchesSkipped = 2;
    private static readonly long RefreshAfter = TimeSpan.FromSeconds(5).Ticks;

    private readonly Queue<(int Tasks, long Wait, long Ticks)> _batches = new();
    private int _seen;
    private long _refreshAt = long.MinValue;

    /// <summary>Before anything is measured: 2/30 of the latency a task, 1/30 a batch, and 10 ms of wait.</summary>
    public double PerTask { get; private set; } = Math.Min(TimeSpan.FromSeconds(2).Ticks, latencyMax * 2.0 / 30);
    public double PerBatch { get; private set; } = Math.Min(TimeSpan.TicksPerSecond, latencyMax / 30.0);
    public double Wait { get; private set; } = TimeSpan.FromMilliseconds(10).Ticks;

    public void Log(int tasks, long wait, long ticks, long now)
    {
        if (++_seen <= BatchesSkipped)
        {
            return;
        }

        _batches.Enqueue((tasks, wait, ticks));
        if (_batches.Count > BatchesKept)
        {
            _batches.Dequeue();
        }

        // Its first few batches are a training of sizes one, two and three, each followed by a refresh.
        if (_seen <= BatchesSkipped + 3 || now >= _refreshAt)
        {
            _refreshAt = now + RefreshAfter;
            Refresh();
        }
    }

    private void Refresh()
    {
        var n = (double)_batches.Count;
        var (meanX, meanY) = (_batches.Sum(b => (double)b.Tasks) / n, _batches.Sum(b => (double)b.Ticks) / n);
        var spread = _batches.Sum(b => (b.Tasks - meanX) * (b.Tasks - meanX));
        // One size alone tells no slope; the least squares of least norm then pass through it.
        var slope = spread > 0 ? _batches.Sum(b => (b.Tasks - meanX) * (b.Ticks - meanY)) / spread : meanX * meanY / ((meanX * meanX) + 1);
        PerTask = Math.Max(10, slope);
        PerBatch = Math.Max(0, meanY - (slope * meanX));
        Wait = Math.Max(0, _batches.Sum(b => (double)b.Wait) / n);
    }
}
