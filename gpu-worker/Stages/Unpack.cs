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
                ends[row] = work.Ran is { } ran ? End(ran, row) : new TaskEnd(default, work.Failure);
            }
        }

        work.Run.LetGo();
        return new FinishedBatch(work.Run, work.Tasks, ends, work.Span, work.StartedAt, work.Gate);
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
