using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// A model's three class queues read as one, earliest due first: systems that know deadlines need no classes, since bulk work is just
/// work that is due later. Ties go to the more urgent class.
/// </summary>
internal static class DueOrder
{
    /// <summary>The queue whose head is due first; an empty one when nothing waits.</summary>
    public static BaselineQueue First(this BaselineModel model)
    {
        var first = model.Express;
        first = model.Standard.Due < first.Due ? model.Standard : first;
        return model.Bulk.Due < first.Due ? model.Bulk : first;
    }

    /// <summary>When the most urgent task is due; <see cref="long.MaxValue"/> when nothing waits.</summary>
    public static long Due(this BaselineModel model) => model.First().Due;

    /// <summary>Tasks that are not express.</summary>
    public static int SlackTasks(this BaselineModel model) => model.Standard.Tasks + model.Bulk.Tasks;

    /// <summary>True when the most urgent task is express.</summary>
    public static bool ExpressFirst(this BaselineModel model) => !model.Express.IsEmpty && model.First() == model.Express;

    /// <summary>
    /// The most tasks a batch may hold now. Standard and bulk tasks join up to so many that the bound on a bulk batch's device time
    /// holds; express tasks alone may be more.
    /// </summary>
    public static int BatchTasks(this BaselineModel model, int slackBatchTasks)
    {
        var mixed = Math.Min(model.Express.Tasks + model.SlackTasks(), slackBatchTasks);
        return Math.Min(model.TasksMax, model.ExpressFirst() ? Math.Max(model.Express.Tasks, mixed) : mixed);
    }

    /// <summary>Takes tasks in order of due time; express alone where they are more than a batch with others may hold.</summary>
    public static BaselineBatch TakeDue(this BaselineBatch batch, int tasks, int slackBatchTasks)
    {
        if (tasks > slackBatchTasks)
        {
            return batch.Take(batch.Model.Express, tasks);
        }

        while (batch.Tasks < tasks && batch.Model.First() is { IsEmpty: false } first)
        {
            var before = batch.Tasks;
            batch.Take(first, Math.Min(tasks - batch.Tasks, first.Head.Waiting));
            if (batch.Tasks == before)
            {
                break;
            }
        }

        return batch;
    }

    /// <summary>The class's target in ticks; unbounded where the class is not known.</summary>
    public static long Target(this BaselineSetup setup, LatencyClass latencyClass) =>
        setup.Options.Classes.TryGetValue(latencyClass, out var promise) ? promise.Target.Ticks : long.MaxValue / 4;
}
