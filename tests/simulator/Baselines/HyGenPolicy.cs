using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// HyGen (NeurIPS'25): each step serves the online work first and is then filled with offline work for as long as its predicted latency
/// stays within a latency budget. The budget is profiled: searched so that the online target holds (<see cref="Search"/>). Offline work is
/// taken oldest first: its aging against starvation; its other order, by shared prefixes, has no object in stateless models.
/// </summary>
/// <param name="budget">Predicted latency of a step; null for what the setup gives an express
/// batch: a task waits for one step and runs in the next.</param>
internal sealed class HyGenPolicy(BaselineSetup setup, TimeSpan? budget = null) : Baseline(setup, QueueOrder.Arrival)
{
    protected override void Decide()
    {
        while (Idle.Count > 0 && Next() is { } model)
        {
            var device = IdleFor(model)!;
            var tasks = Math.Max(1, model.TasksWithin(budget?.Ticks ?? ExpressBatchTicks(), device));
            var batch = Batch(model).Take(model.Express, tasks);
            var lane = batch.Tasks > 0 ? Lane.Express : Lane.Bulk;
            while (batch.Tasks < tasks && Offline(model) is { } queue)
            {
                batch.Take(queue, Math.Min(queue.Head.Waiting, tasks - batch.Tasks));
            }

            Send(device, batch, lane == Lane.Express ? "hygen.step" : "hygen.offline", lane);
        }
    }

    /// <summary>The largest budget under which the online target holds, by bisection; a policy that meets it at one meets it below.</summary>
    /// <param name="meets">Runs the workload with a budget and says whether the target held.</param>
    public static TimeSpan Search(Func<TimeSpan, bool> meets, TimeSpan low, TimeSpan high, int steps = 6)
    {
        for (var step = 0; step < steps; step++)
        {
            var middle = (low + high) / 2;
            (low, high) = meets(middle) ? (middle, high) : (low, middle);
        }

        return low;
    }

    private BaselineModel? Next() =>
        FirstWaiting(LatencyClass.Express)
        ?? (FirstWaiting(LatencyClass.Standard), FirstWaiting(LatencyClass.Bulk)) switch
        {
            ({ } standard, { } bulk) => standard.Standard.Head.Arrival < bulk.Bulk.Head.Arrival ? standard : bulk,
            var (standard, bulk) => standard ?? bulk,
        };

    /// <summary>The queue of the oldest offline work.</summary>
    private static BaselineQueue? Offline(BaselineModel model) =>
        (model.Standard.IsEmpty, model.Bulk.IsEmpty) switch
        {
            (true, true) => null,
            (true, false) => model.Bulk,
            (false, true) => model.Standard,
            _ => model.Standard.Head.Arrival < model.Bulk.Head.Arrival ? model.Standard : model.Bulk,
        };
}
