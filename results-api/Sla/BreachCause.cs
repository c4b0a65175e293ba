using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Sla;

/// <summary>Why a job missed its target. The first that fits is the cause, in this order.</summary>
internal enum BreachCause
{
    /// <summary>Its callback was late, or given up.</summary>
    Callback,

    /// <summary>A worker was lost while it ran one of its chunks.</summary>
    WorkerLost,

    /// <summary>Its owner held it back.</summary>
    Paused,

    /// <summary>It expired by a deadline that left it less than its class's target.</summary>
    DeadlineTooTight,

    /// <summary>When it was accepted, its end was predicted beyond the target already: too much was waiting.</summary>
    Overload,

    /// <summary>Else the stage that took most of its last task's time: before a worker had it, at the worker, on the device, being written.</summary>
    Waiting,
    Staged,
    Device,
    Writing,
}

/// <summary>Finds causes from what is stored of a breach.</summary>
internal static class BreachCauses
{
    public static BreachCause Of(SlaBreachRow breach)
    {
        if (breach.Kind == "callback")
        {
            return BreachCause.Callback;
        }

        if (breach.WorkerLosses > 0)
        {
            return BreachCause.WorkerLost;
        }

        if (breach.Paused)
        {
            return BreachCause.Paused;
        }

        var target = TimeSpan.FromMicroseconds(breach.TargetUs);
        if (breach.State == "expired" && breach.Deadline - breach.QueuedAt < target)
        {
            return BreachCause.DeadlineTooTight;
        }

        return breach.PredictedAt - breach.QueuedAt > target ? BreachCause.Overload : LongestStage(breach);
    }

    public static string Name(this BreachCause cause) =>
        cause switch
        {
            BreachCause.Callback => "callback",
            BreachCause.WorkerLost => "worker_lost",
            BreachCause.Paused => "paused",
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

    private static BreachCause LongestStage(SlaBreachRow breach)
    {
        (long Us, BreachCause Cause)[] stages =
        [
            (breach.QueuedUs, BreachCause.Waiting),
            (breach.StagedUs, BreachCause.Staged),
            (breach.DeviceUs, BreachCause.Device),
            (WritingUs(breach), BreachCause.Writing),
        ];
        return stages.MaxBy(stage => stage.Us).Cause;
    }
}
