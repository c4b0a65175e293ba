using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Fleet;

namespace Pipeline.Simulator.Fidelity;

/// <summary>What one life of the real system was seen to do. All times are UTC ticks of the one machine's clock.</summary>
internal sealed record Observed
{
    /// <summary>What its scheduler kept to.</summary>
    public required PolicyOptions Policy { get; init; }

    /// <summary>The one model, with what registration measured of it.</summary>
    public required ModelSpec Model { get; init; }
    public required IReadOnlyList<SeenJob> Jobs { get; init; }
    public required IReadOnlyList<SeenBatch> Batches { get; init; }
}

/// <summary>A job of equal tasks.</summary>
/// <param name="Mark">What it was submitted for: <see cref="Warming"/>, <see cref="Calibration"/>, or the number of a pair.</param>
/// <param name="UnitsEach">Units of each task.</param>
/// <param name="ArrivedAt">When the scheduler knew of it; 0 where that is not known.</param>
/// <param name="EndedAt">When its last task ended.</param>
/// <param name="Succeeded">True when all its tasks did.</param>
internal sealed record SeenJob(
    int Mark,
    LatencyClass Class,
    int Tasks,
    int UnitsEach,
    long QueuedAt,
    long ArrivedAt,
    long EndedAt,
    bool Succeeded
)
{
    public const int Warming = -2;
    public const int Calibration = -1;

    /// <summary>The mark of the short stream before a pair, of its kind.</summary>
    public static int Before(int pair) => -10 - pair;
}

/// <summary>A device call, and the way of its dispatch.</summary>
/// <param name="DecidedAt">When its dispatch was decided; 0 where that is not known.</param>
/// <param name="ReceivedAt">When its dispatch reached the worker.</param>
/// <param name="ResultAt">When its results were there.</param>
/// <param name="KnownAt">When the scheduler knew of its dispatch's end; 0 where that is not known.</param>
internal sealed record SeenBatch(
    DispatchId Dispatch,
    Lane Lane,
    int Rows,
    long PaddedUnits,
    long DeviceNs,
    long DecidedAt,
    long ReceivedAt,
    long StartedAt,
    long FinishedAt,
    long ResultAt,
    long KnownAt
);
