using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// Standard and bulk share the bulk lane in one order of when they are due; standard's shorter target puts it first. A dispatch aims
/// at <see cref="PolicyOptions.DispatchTimeTarget"/> of device time; near the end of the work it is cut so that every idle worker gets a part.
/// </summary>
internal static class BulkRule
{
    /// <summary>Parts of the work that go to idle workers are no shorter than this: messages and trips cost a few milliseconds.</summary>
    private static readonly TimeSpan TailTimeMin = TimeSpan.FromMilliseconds(100);

    /// <summary>The standard and bulk queues of the model whose most urgent chunk is due first, or null when none waits.</summary>
    public static ClassQueue[]? Next(Backlog backlog, IReadOnlySet<ModelRef> passed)
    {
        ClassQueue[]? best = null;
        var bestDue = long.MaxValue;
        foreach (var queues in backlog.Queues)
        {
            var (standard, bulk) = (queues[(int)LatencyClass.Standard], queues[(int)LatencyClass.Bulk]);
            var due = Math.Min(standard.Due, bulk.Due);
            if ((!standard.IsEmpty || !bulk.IsEmpty) && due < bestDue && !passed.Contains(standard.Model))
            {
                (best, bestDue) = ([standard, bulk], due);
            }
        }

        return best;
    }

    /// <summary>How large the worker's next dispatch may be; null when it is too early to decide.</summary>
    public static DispatchBounds? Bounds(
        ClassQueue[] queues,
        FleetWorker worker,
        Fleet fleet,
        Pace pace,
        TimeSpan batchTimeMax,
        PolicyOptions options,
        long now
    )
    {
        var lane = worker.Lane(Lane.Bulk);
        var waiting = WaitingNs(queues, pace);
        if (lane.Flights.Count > 0)
        {
            var full =
                waiting >= options.DispatchTimeTarget.TotalNanoseconds
                || queues.Sum(q => q.Tasks) >= options.TasksMax
                || queues.Sum(q => (long)q.Chunks) >= options.SlicesMax;
            return full ? Of(options.DispatchTimeTarget, Reasons.BulkFull, batchTimeMax)
                : lane.Ahead(now) <= options.StageLead.Ticks ? Of(options.DispatchTimeTarget, Reasons.BulkNext, batchTimeMax)
                : null;
        }

        var idle = fleet.EmptyCount(Lane.Bulk, now);
        var share = waiting / Math.Max(1, idle);
        return share < options.DispatchTimeTarget.TotalNanoseconds && idle > 1
            ? Of(Max(TailTimeMin, TimeSpan.FromTicks((long)(share / TimeSpan.NanosecondsPerTick))), Reasons.BulkTail, batchTimeMax)
            : Of(
                options.DispatchTimeTarget,
                waiting < options.DispatchTimeTarget.TotalNanoseconds ? Reasons.BulkIdle : Reasons.BulkFull,
                batchTimeMax
            );
    }

    private static double WaitingNs(ClassQueue[] queues, Pace pace) => pace.Ns(queues.Sum(q => q.Units), queues.Sum(q => q.Tasks));

    private static DispatchBounds Of(TimeSpan time, string reason, TimeSpan batchTimeMax) => new(Lane.Bulk, time, batchTimeMax, reason);

    private static TimeSpan Max(TimeSpan a, TimeSpan b) => a > b ? a : b;
}
