using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>Express goes out at once when a lane has room, most urgent model first; what waits while all are taken travels merged.</summary>
internal static class ExpressRule
{
    /// <summary>The express queue whose most urgent task is due first, or null when none waits.</summary>
    public static ClassQueue? Next(Backlog backlog)
    {
        ClassQueue? best = null;
        var bestDue = long.MaxValue;
        foreach (var queues in backlog.Queues)
        {
            var queue = queues[(int)LatencyClass.Express];
            if (queue.Due < bestDue)
            {
                (best, bestDue) = (queue, queue.Due);
            }
        }

        return best;
    }

    public static DispatchBounds Bounds(ClassQueue queue, FleetWorker worker, PolicyOptions options) =>
        new(
            Lane.Express,
            options.ExpressDispatchTimeMax,
            options.ExpressBatchTimeMax,
            queue.Chunks > 1 || worker.Lane(Lane.Express).Flights.Count > 0 ? Reasons.ExpressMerged : Reasons.ExpressFree
        );
}
