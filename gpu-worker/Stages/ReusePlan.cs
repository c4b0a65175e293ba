using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Which tasks of a dispatch run, and which end as another does. A copy whose original lacks a result in the same dispatch follows it. Of
/// copies whose original is elsewhere the first leads and the others follow it: it takes the original's result, or where there is
/// none yet, runs itself. So a copy never depends on work that somebody else has in hand. Pure.
/// </summary>
/// <param name="ToRun">Tasks that are no copies.</param>
/// <param name="Elsewhere">Leading copies, with the job's number of their original.</param>
/// <param name="Followers">For a task that leads, those that end as it does.</param>
internal sealed record ReusePlan(int[] ToRun, IReadOnlyList<(int Task, int Original)> Elsewhere, IReadOnlyDictionary<int, int[]> Followers)
{
    /// <param name="run">With its slices unpacked and its tasks listed.</param>
    public static ReusePlan Of(DispatchRun run)
    {
        var all = Enumerable.Range(0, run.Tasks.Length);
        if (!Array.Exists(run.Slices, s => s.Unpacked is { HasCopies: true }))
        {
            return new ReusePlan([.. all], [], new Dictionary<int, int[]>());
        }

        var originals = run.Tasks.Select(t => OriginalOf(run, t)).ToArray();
        int[] toRun = [.. all.Where(t => originals[t] is null)];
        var leads = toRun.ToDictionary(t => (Job(run, t), run.Tasks[t].Seq));
        var elsewhere = new List<(int, int)>();
        var followers = new Dictionary<int, List<int>>();
        foreach (var task in all)
        {
            if (originals[task] is not { } original)
            {
                continue;
            }

            if (!leads.TryGetValue((Job(run, task), original), out var lead))
            {
                leads[(Job(run, task), original)] = task;
                elsewhere.Add((task, original));
                continue;
            }

            if (!followers.TryGetValue(lead, out var of))
            {
                followers[lead] = of = [];
            }

            of.Add(task);
        }

        return new ReusePlan(toRun, elsewhere, followers.ToDictionary(f => f.Key, f => f.Value.ToArray()));
    }

    private static JobId Job(DispatchRun run, int task) => run.Slices[run.Tasks[task].Slice].Slice.Job;

    private static int? OriginalOf(DispatchRun run, TaskRef task)
    {
        var slice = run.Slices[task.Slice];
        return slice.Unpacked!.CopyOf(task.Seq - slice.FirstSeq);
    }
}
