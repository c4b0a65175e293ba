namespace Pipeline.Scheduler.Policy;

/// <summary>
/// The fewest workers that keep every deadline feasible: the largest, over deadlines, of the work due by then divided by the time left.
/// </summary>
internal static class DesiredWorkers
{
    /// <summary>Jobs looked at, the earliest deadlines first: it is asked every few seconds, and later ones weigh less.</summary>
    private const int JobsMax = 10_000;

    public static int For(Backlog backlog, CostBook costs, PolicyOptions options, DateTimeOffset now)
    {
        var (due, most) = (0.0, 0.0);
        foreach (var job in backlog.JobsByDeadline.Take(JobsMax))
        {
            if (job.Paused || job.TasksWaiting == 0)
            {
                continue;
            }

            var pace = costs.Pace(costs.Reference(job.Queue.Model), job.Queue.Model, options.BulkBatchTimeMax);
            due += pace.Ns(job.UnitsWaiting, job.TasksWaiting);
            var left = Math.Max(1, job.Deadline - now.UtcTicks) * (double)TimeSpan.NanosecondsPerTick;
            most = Math.Max(most, due / left);
        }

        return (int)Math.Min(Math.Ceiling(most), int.MaxValue);
    }
}
