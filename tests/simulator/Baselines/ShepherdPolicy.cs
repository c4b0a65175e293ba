using Pipeline.Scheduler.Policy;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// Shepherd's online algorithm Flex (NSDI'23). For each model the candidate is the longest run of the most urgent tasks that all end
/// in time: one more joins while the earliest due time allows the larger batch. A device that becomes free takes the largest
/// candidate of all models. A task that arrives while all are busy may stop one: where the candidate of its model, or of the running
/// one with what runs, is at least λ times the running batch, that batch is killed, its tasks wait again, and the device time it
/// spent is lost. λ = 3.03 is what the authors prove their bound for. As their re-implementers note, the published pseudocode is
/// meant with the size <i>after</i> joining, and the earliest due time in the batch.
/// </summary>
internal sealed class ShepherdPolicy(BaselineSetup setup, double lambda = 3.03) : Baseline(setup)
{
    private readonly List<BaselineModel> _arrived = [];

    protected override void OnArrived(BaselineChunk chunk)
    {
        var model = ModelOf(chunk.Model);
        if (_arrived.Count == 0 || _arrived[^1] != model)
        {
            _arrived.Add(model);
        }
    }

    protected override void Decide()
    {
        while (Idle.Count > 0 && SendLargest()) { }

        foreach (var model in _arrived)
        {
            PreemptFor(model);
        }

        _arrived.Clear();
    }

    private bool SendLargest()
    {
        (BaselineModel Model, BaselineDevice Device, int Tasks)? best = null;
        foreach (var model in Models)
        {
            if (model.First().IsEmpty || IdleFor(model) is not { } device)
            {
                continue;
            }

            DropLate(model, device);
            var tasks = model.First().IsEmpty ? 0 : Candidate(model, device);
            best = tasks > (best?.Tasks ?? 0) ? (model, device, tasks) : best;
        }

        if (best is not { } largest)
        {
            return false;
        }

        var batch = Batch(largest.Model).TakeDue(largest.Tasks, BulkTasks(largest.Model, largest.Device));
        return Send(largest.Device, batch, "shepherd.largest") is not null;
    }

    private void DropLate(BaselineModel model, BaselineDevice device)
    {
        var last = Now + model.Latency(1, device);
        foreach (var queue in (ReadOnlySpan<BaselineQueue>)[model.Express, model.Standard, model.Bulk])
        {
            DropHeads(queue, c => c.Due < last);
        }
    }

    private int Candidate(BaselineModel model, BaselineDevice device) =>
        Math.Min(model.BatchTasks(BulkTasks(model, device)), model.TasksWithin(model.Due() - Now, device));

    private void PreemptFor(BaselineModel model)
    {
        foreach (var device in Devices)
        {
            // What waits has to make up for all that λ asks beyond the running batch.
            if (device.Flights is not [{ Preempted: false } running] || model.BatchTasks(int.MaxValue) < (lambda - 1) * running.Tasks)
            {
                continue;
            }

            var tasks = model == running.Model ? CandidateWith(running) : CandidateOnceLateAreDropped(model, device);
            if (tasks >= lambda * running.Tasks)
            {
                running.Preempted = true;
                var why = new Why(
                    "shepherd.preempt",
                    tasks,
                    0,
                    new TimeSpan(model.Latency(tasks, device)),
                    new TimeSpan(model.Due() - Now)
                );
                Issue(new Preempt(running.Id, why));
                return;
            }
        }
    }

    private int CandidateOnceLateAreDropped(BaselineModel model, BaselineDevice device)
    {
        DropLate(model, device);
        return model.First().IsEmpty ? 0 : Candidate(model, device);
    }

    /// <summary>The candidate when what runs waited again. What is due first, waiting or running, has to allow it.</summary>
    private int CandidateWith(BaselineFlight running)
    {
        var model = running.Model;
        DropLate(model, running.Device);
        if (model.First().IsEmpty)
        {
            // All that waited was too late: what runs is all there is.
            return running.Tasks;
        }

        var bulk = BulkTasks(model, running.Device);
        var all = Math.Min(model.TasksMax, running.Tasks + model.BatchTasks(bulk));
        return Math.Min(all, model.TasksWithin(Math.Min(running.Due, model.Due()) - Now, running.Device));
    }
}
