using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// Clipper (NSDI'17): the batch cap is learned by additive increase, multiplicative decrease. A batch that filled its cap and stayed within
/// the latency objective raises it by a constant; one that missed it lowers it by 10 %. The queue is in order of deadline and what is
/// already late is dropped, as in its released code. The objective is set against a batch's own latency, and a task waits for the batch
/// before it as well: so it is
/// the setup's share of the express target here (half of it on one device), what an operator could ask for without missing under load.
/// </summary>
/// <param name="step">Tasks that a met objective adds to the cap.</param>
/// <param name="backOff">Factor that a miss applies to the cap.</param>
/// <param name="objective">Latency a batch may take; null for the setup's share of the express target.</param>
internal sealed class ClipperPolicy(BaselineSetup setup, int step = 1, double backOff = 0.9, TimeSpan? objective = null) : Baseline(setup)
{
    private readonly Dictionary<(ModelRef Model, WorkerId Worker), int> _caps = [];

    /// <summary>The batch cap of a model on a device; each replica learns its own.</summary>
    public int Cap(ModelRef model, WorkerId worker) => _caps.GetValueOrDefault((model, worker), 1);

    protected override void Decide()
    {
        foreach (var model in Models)
        {
            DropHeads(model.Express, chunk => chunk.Due <= Now);
        }

        while (Idle.Count > 0 && FirstWaiting(LatencyClass.Express) is { } model)
        {
            var device = IdleFor(model)!;
            Send(device, model, model.Express, Cap(model.Ref, device.Id), "clipper.cap");
        }

        while (SendBulk()) { }
    }

    protected override void OnEnded(BaselineFlight flight, DispatchFinished report)
    {
        if (flight.Class != LatencyClass.Express || report.Batches.Count == 0)
        {
            return;
        }

        var key = (flight.Model.Ref, flight.Device.Id);
        var cap = Cap(key.Ref, key.Id);
        var ticks = report.Batches.Sum(b => b.DeviceNs) / TimeSpan.NanosecondsPerTick;
        if (ticks > (objective?.Ticks ?? ExpressBatchTicks()))
        {
            _caps[key] = Math.Max(1, (int)(cap * backOff));
        }
        else if (flight.Tasks >= cap)
        {
            _caps[key] = Math.Min(cap + step, flight.Model.TasksMax);
        }
    }
}
