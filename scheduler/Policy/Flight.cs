using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>A dispatch that was sent, or that a worker was found to hold. Times are UTC ticks (of 100 ns).</summary>
internal sealed class Flight(DispatchId id, long epoch, WorkerId worker, string pool, Lane lane, ModelRef? model, long sentAt)
{
    public DispatchId Id { get; } = id;
    public long Epoch { get; } = epoch;
    public WorkerId Worker { get; } = worker;
    public string Pool { get; } = pool;
    public Lane Lane { get; } = lane;

    /// <summary>Null when a worker holds it and none of its chunks is known here any more.</summary>
    public ModelRef? Model { get; } = model;

    public long SentAt { get; } = sentAt;

    public List<(WaitingChunk Chunk, TaskRange Range)> Slices { get; } = [];

    public int Tasks { get; set; }

    /// <summary>Its units as estimated at the door, and the device time they are estimated to take.</summary>
    public long Units { get; set; }
    public long EstimatedTicks { get; set; }

    /// <summary>Device time of one of its batches at most: what express waits for when it runs. Zero when it runs as one batch.</summary>
    public long BatchTicks { get; set; }

    /// <summary>The part of <see cref="EstimatedTicks"/> for loading its model; zero where the worker has it.</summary>
    public long LoadTicks { get; set; }

    /// <summary>How often its only chunk had faulted when it was sent.</summary>
    public int Faults { get; set; }

    /// <summary>True when it carries promoted work.</summary>
    public bool Promoted { get; set; }

    /// <summary>True when its worker may hold nothing else.</summary>
    public bool Apart { get; set; }

    /// <summary>When a heartbeat last listed it (or when it was sent).</summary>
    public long ListedAt { get; set; } = sentAt;

    /// <summary>
    /// When it was first on the device, as far as known; while it waits there, when it is expected to. Moved on by what the other lane
    /// takes of the device meanwhile, so that <see cref="EndsAt"/> stays the estimate of its end.
    /// </summary>
    public long StartedAt { get; set; } = sentAt;
    public bool Begun { get; set; }

    /// <summary>When it ends, if the estimate holds.</summary>
    public long EndsAt => StartedAt + EstimatedTicks;

    /// <summary>The first time after <paramref name="now"/> at which a batch of it ends and the express lane comes first.</summary>
    public long NextBoundary(long now)
    {
        var batch = BatchTicks > 0 ? Math.Min(BatchTicks, Math.Max(1, EstimatedTicks)) : Math.Max(1, EstimatedTicks);
        // Batches are counted from the start, also before it and when the dispatch is overdue: at worst one batch's time is waited for.
        var ran = now - StartedAt;
        var batches = ran >= 0 ? ran / batch : -((-ran + batch - 1) / batch);
        return StartedAt + ((batches + 1) * batch);
    }
}
