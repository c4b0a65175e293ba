using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Stages;

/// <summary>Turns what the device left into one end a task, off the device's thread, and lets the tensors go.</summary>
internal static class Unpack
{
    public static FinishedBatch Turn(RanWork work)
    {
        var ends = new TaskEnd[work.Tasks.Length];
        using (work.Ran)
        {
            for (var row = 0; row < ends.Length; row++)
            {
                ends[row] =
                    work.Known is { } known ? known[row]
                    : work.Ran is { } ran ? End(ran, row)
                    : new TaskEnd(default, work.Failure);
            }
        }

        work.Run.LetGo();
        var (tasks, leads) = WithFollowers(work);
        return new FinishedBatch(work.Run, tasks, ends, leads, work.Span, work.StartedAt, work.Gate);
    }

    /// <summary>Copies end where the task does that they are copies of: in the same batch of rows, hence in the same commit.</summary>
    private static (int[] Tasks, int[] Leads) WithFollowers(RanWork work)
    {
        if (work.Run.Followers.Count == 0)
        {
            return (work.Tasks, []);
        }

        var (tasks, leads) = (new List<int>(work.Tasks), new List<int>());
        for (var row = 0; row < work.Tasks.Length; row++)
        {
            foreach (var follower in work.Run.FollowersOf(work.Tasks[row]))
            {
                tasks.Add(follower);
                leads.Add(row);
            }
        }

        return ([.. tasks], [.. leads]);
    }

    private static TaskEnd End(Models.IRanBatch ran, int row)
    {
        try
        {
            return new TaskEnd(ran.Result(row), null);
        }
        catch (Exception e)
        {
            return new TaskEnd(default, new TaskFailure(FailureKind.ModelFailed, e.Message));
        }
    }
}
