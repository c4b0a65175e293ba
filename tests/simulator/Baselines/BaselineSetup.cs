using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Simulator.Baselines;

/// <summary>What every baseline is told: the classes with their targets, and how it treats work that its own idea says nothing about.</summary>
internal sealed record BaselineSetup
{
    /// <summary>The classes' targets, and how long a worker may be silent.</summary>
    public PolicyOptions Options { get; init; } = new();

    /// <summary>The epoch every dispatch carries.</summary>
    public long Epoch { get; init; } = 1;

    /// <summary>
    /// Device time of one batch of standard or bulk tasks, where the idea gives no size of its own. It is what an express task waits
    /// for at most, so it is smaller than the product's 250 ms: published systems have tight targets of tens of milliseconds.
    /// </summary>
    public TimeSpan BulkBatchTimeMax { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// Share of the express target that one express batch may take, where the idea gives no size of its own: how an operator tunes it.
    /// Null for 1 / (1 + min(1, 2 / N)) on N devices. On one device that is the eager rule: a task waits for one running batch and then
    /// for its own, 2 · l(b) ≤ S. Devices that become free in turn shorten the first part; searched on eight devices (Symphony's "resnet",
    /// 25 ms), the best cap was 12 or 13 tasks where the eager rule gives 6 and perfect staggering, (1 + 1/N) · l(b) ≤ S, gives 15.
    /// </summary>
    public double? ExpressBatchShare { get; init; }

    /// <summary>How long a device rests that handed work back unasked or whose dispatch faulted, so that a turn always ends.</summary>
    public TimeSpan DeviceRest { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>When a task is due: its class's target after it was queued, or its deadline if that is sooner. UTC ticks.</summary>
    public long Due(in ChunkHeader chunk)
    {
        var target = Options.Classes.TryGetValue(chunk.Class, out var options) ? options.Target : TimeSpan.Zero;
        var due = chunk.QueuedAt.UtcTicks + target.Ticks;
        return target > TimeSpan.Zero ? Math.Min(due, chunk.Deadline.UtcTicks) : chunk.Deadline.UtcTicks;
    }
}
