using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// Nexus (SOSP'19): the target batch is the largest whose time is half of what is promised, so that a task which just missed a batch
/// waits for it and runs in the next. A free device takes what waits, up to the target, models in turn; before that a window of the
/// target's size slides over the queue, and heads are dropped that cannot end with the full window (early drop): serving them in a
/// batch too small to pay would cost more tasks behind them.
/// Its planner, which packs models onto devices, is left out: here every device may run every model.
/// </summary>
/// <param name="sloShare">The share of the target that a batch may take.</param>
internal sealed class NexusPolicy(BaselineSetup setup, double sloShare = 0.5) : Baseline(setup)
{
    private int _turn;

    protected override void Decide()
    {
        for (var skipped = 0; Idle.Count > 0 && skipped < Models.Count; )
        {
            var model = Models[_turn++ % Models.Count];
            skipped = IdleFor(model) is { } device && Serve(model, device) ? 0 : skipped + 1;
        }
    }

    private bool Serve(BaselineModel model, BaselineDevice device)
    {
        var bulk = BulkTasks(model, device);
        DropEarly(model, device);
        var tasks = Math.Min(model.BatchTasks(bulk), TargetTasks(model, device));
        if (model.ExpressFirst())
        {
            // What is due later fills the batch only as far as its head allows.
            tasks = Math.Min(tasks, model.TasksWithin(model.Due() - Now, device));
        }

        return Send(device, Batch(model).TakeDue(tasks, bulk), "nexus.window") is not null;
    }

    private int TargetTasks(BaselineModel model, BaselineDevice device)
    {
        var target = Setup.Target(model.ExpressFirst() ? LatencyClass.Express : LatencyClass.Bulk);
        return Math.Max(1, model.TasksWithin((long)(target * sloShare), device));
    }

    private void DropEarly(BaselineModel model, BaselineDevice device)
    {
        var target = TargetTasks(model, device);
        while (!model.Express.IsEmpty && Hopeless(model, device, Math.Min(target, model.Express.Tasks)))
        {
            Drop(model.Express.Head, message: "It could not end in time with a full batch.");
        }

        DropHeads(model.Standard, c => c.Due < Now + model.Latency(1, device));
        DropHeads(model.Bulk, c => c.Due < Now + model.Latency(1, device));
    }

    private bool Hopeless(BaselineModel model, BaselineDevice device, int window) =>
        model.Express.Head.Due < Now + model.Latency(window, device);
}
