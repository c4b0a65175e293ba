using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Sla;

/// <summary>Why a job missed its target: what held it up longest beyond what is usual.</summary>
internal enum BreachCause
{
    /// <summary>Its callback was late, or given up.</summary>
    Callback,

    /// <summary>A worker was lost that ran it, or that it waited for.</summary>
    WorkerLost,

    /// <summary>Its owner held it back.</summary>
    Paused,

    /// <summary>It was announced to the scheduler long after it was accepted.</summary>
    Ingest,

    /// <summary>It expired by a deadline that left it less than its class's target.</summary>
    DeadlineTooTight,

    /// <summary>It waited, and its end was predicted beyond the target when it was accepted: too much was before it already.</summary>
    Overload,

    /// <summary>It waited longer than was predicted: others came before it.</summary>
    Waiting,

    /// <summary>At the worker, before the device.</summary>
    Staged,

    /// <summary>On the device, or behind others on a device that was slow.</summary>
    Device,

    /// <summary>Until the result was written.</summary>
    Writing,
}

/// <summary>What the stages of half of a class's and model's tasks take at most, in microseconds.</summary>
internal readonly record struct UsualTimes(long QueuedUs, long StagedUs, long DeviceUs, long WritingUs)
{
    /// <summary>In a window of nothing but trouble trouble is usual: a stage may take half of the target at most and pass for that.</summary>
    public static UsualTimes Of(SlaSums sums, long targetUs)
    {
        return new UsualTimes(P50(SlaTime.Queued), P50(SlaTime.Staged), P50(SlaTime.Device), P50(SlaTime.Writing));

        long P50(SlaTime time) => Math.Min((long)(sums[time].Percentile(50) ?? 0), targetUs / 2);
    }
}

/// <summary>
/// Finds causes from what is stored of a breach: how long each of them held the job up. A cause without which the job would have been in time
/// comes before one that only made it later, then the one that took longest.
/// </summary>
internal static class BreachCauses
{
    /// <summary>Devices differ by less from one day to the next; more is taken for a slow one.</summary>
    private const double SlowFrom = 1.25;

    public static BreachCause Of(SlaBreachRow breach, UsualTimes usual)
    {
        if (breach.Kind == "callback")
        {
            return BreachCause.Callback;
        }

        var delays = Delays(breach, usual);
        var (cause, delay) = Longest(delays, EnoughUs(breach)) ?? Longest(delays, 1) ?? (BreachCause.Waiting, 0);
        // Only what befell it, and took half of the time it had, excuses the deadline.
        var befell = cause is BreachCause.WorkerLost or BreachCause.Paused or BreachCause.Ingest && delay >= breach.TotalUs / 2;
        return IsTooTight(breach) && !befell ? BreachCause.DeadlineTooTight : cause;
    }

    public static string Name(this BreachCause cause) =>
        cause switch
        {
            BreachCause.Callback => "callback",
            BreachCause.WorkerLost => "worker_lost",
            BreachCause.Paused => "paused",
            BreachCause.Ingest => "ingest",
            BreachCause.DeadlineTooTight => "deadline_too_tight",
            BreachCause.Overload => "overload",
            BreachCause.Waiting => "waiting",
            BreachCause.Staged => "staged",
            BreachCause.Device => "device",
            _ => "writing",
        };

    /// <summary>What is left of the whole after the last task's other stages; a job's end may follow its last task's result, too.</summary>
    public static long WritingUs(SlaBreachRow breach) =>
        SlaSums.WritingUs(breach.QueuedUs, breach.StagedUs, breach.DeviceUs, breach.TotalUs);

    /// <summary>How long each held the job up. The parts of its wait that have a cause of their own are not waiting.</summary>
    private static (BreachCause Cause, long Us)[] Delays(SlaBreachRow breach, UsualTimes usual)
    {
        var events = breach.PausedUs + breach.LostUs + breach.AnnouncedUs;
        var slow = SlowUs(breach, Math.Max(0, breach.TotalUs - events));
        var waited = Math.Max(0, breach.QueuedUs - events - slow);
        var predictedUs = (breach.PredictedAt - breach.QueuedAt)?.Ticks / TimeSpan.TicksPerMicrosecond;
        return
        [
            (BreachCause.Paused, breach.PausedUs),
            (BreachCause.WorkerLost, breach.LostUs),
            (BreachCause.Ingest, breach.AnnouncedUs),
            (BreachCause.Device, Math.Max(slow, breach.DeviceUs - usual.DeviceUs)),
            (BreachCause.Staged, breach.StagedUs - usual.StagedUs),
            (BreachCause.Writing, WritingUs(breach) - usual.WritingUs),
            predictedUs > breach.TargetUs
                ? (BreachCause.Overload, waited)
                // What was predicted, and would have been in time, is no delay.
                : (BreachCause.Waiting, waited - Math.Max(predictedUs ?? 0, usual.QueuedUs)),
        ];
    }

    /// <summary>What a device as fast as usual would have saved of a time that was spent on it and behind others on it.</summary>
    private static long SlowUs(SlaBreachRow breach, long us)
    {
        var slowness = (double?)breach.UnitPs / breach.UsualUnitPs;
        return slowness >= SlowFrom ? (long)(us * (1 - (1 / slowness.Value))) : 0;
    }

    /// <summary>A delay that alone made the job late: without it the target was kept. A small part of a long time is never called its cause.</summary>
    private static long EnoughUs(SlaBreachRow breach) => Math.Max(breach.TotalUs - breach.TargetUs, breach.TotalUs / 10);

    private static bool IsTooTight(SlaBreachRow breach) =>
        breach.State == "expired" && breach.Deadline - breach.QueuedAt < TimeSpan.FromMicroseconds(breach.TargetUs);

    private static (BreachCause Cause, long Us)? Longest((BreachCause Cause, long Us)[] delays, long fromUs) =>
        delays.Where(d => d.Us >= fromUs).Select(d => ((BreachCause, long)?)d).MaxBy(d => d!.Value.Item2);
}
