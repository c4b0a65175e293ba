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
