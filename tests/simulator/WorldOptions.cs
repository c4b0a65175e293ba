using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Fleet;

namespace Pipeline.Simulator;

/// <summary>How long a message is on its way: a constant part, and a log-normal one of this mean and deviation of its logarithm.</summary>
internal readonly record struct Delay(TimeSpan Constant, TimeSpan JitterMean = default, double Sigma = 0.5)
{
    /// <summary>Ticks that were measured, drawn from evenly, on top of the constant part; null for none.</summary>
    public long[]? Measured { get; init; }

    public bool IsZero => Constant == TimeSpan.Zero && JitterMean == TimeSpan.Zero && Measured is null;

    /// <summary>As it was measured; nothing measured is no delay.</summary>
    public static Delay Of(IEnumerable<long> ticks)
    {
        long[] measured = [.. ticks.Select(t => Math.Max(0, t))];
        return measured.Length > 0 ? new Delay(TimeSpan.Zero) { Measured = measured } : default;
    }

    public long Draw(Chance chance) =>
        Constant.Ticks
        + (JitterMean == TimeSpan.Zero ? 0 : (long)(JitterMean.Ticks * chance.LogNormal(Sigma)))
        + (Measured is null ? 0 : Measured[(int)(chance.Uniform() * Measured.Length)]);
}

/// <summary>Everything that shapes a simulated world, beside the work and the policy.</summary>
internal sealed record WorldOptions
{
    public required IReadOnlyList<PoolSpec> Pools { get; init; }
    public required IReadOnlyList<ModelSpec> Models { get; init; }

    /// <summary>What the policy is told to keep to; its classes say when a task is due.</summary>
    public PolicyOptions Policy { get; init; } = new();
    public ulong Seed { get; init; } = 1;

    /// <summary>From a task's acceptance until the scheduler knows of its chunk.</summary>
    public Delay SubmitToScheduler { get; init; }

    /// <summary>From a dispatch's decision until it is staged on its worker: message, fetch, packing.</summary>
    public Delay SchedulerToWorker { get; init; }

    /// <summary>From a dispatch's last batch until the scheduler knows: commit and message. Heartbeats take as long.</summary>
    public Delay WorkerToScheduler { get; init; }

    /// <summary>From a batch's end until its results are there: unpacking and commit.</summary>
    public Delay DeviceToResult { get; init; }

    /// <summary>From the decision to end chunks until it is carried out.</summary>
    public TimeSpan EndingTime { get; init; }

    /// <summary>A send to a dead worker comes back after this (4 ms on RabbitMQ, DESIGN.md).</summary>
    public TimeSpan ReturnAfter { get; init; } = TimeSpan.FromMilliseconds(4);

    public TimeSpan HeartbeatEvery { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Tasks accepted before this are run but not counted: the world fills up first.</summary>
    public TimeSpan MeasureFrom { get; init; }

    /// <summary>Tasks accepted from here on are not counted; zero for no such end.</summary>
    public TimeSpan MeasureUntil { get; init; }

    /// <summary>The world ends here whatever is left; zero for when all has ended.</summary>
    public TimeSpan EndAt { get; init; }

    /// <summary>True to check the costly promises after every time stamp, too.</summary>
    public bool CheckAll { get; init; } = true;

    /// <summary>True to time the policy apart from the world; costs about 0.1 µs an event.</summary>
    public bool TimePolicy { get; init; }

    /// <summary>True to tell on the error stream, every few seconds, how far a long life has come.</summary>
    public bool Progress { get; init; }
}
