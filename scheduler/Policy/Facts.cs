using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>Something that happened. Facts may come twice, late, or about what is unknown: none of it is an error.</summary>
internal abstract record Fact;

/// <summary>What the policy knows of a chunk; the payload stays in PostgreSQL.</summary>
/// <param name="Units">Units of all its tasks that are no copies of others, as estimated at the door.</param>
/// <param name="Remaining">Tasks without a result.</param>
/// <param name="Attempts">How often a worker died while it ran.</param>
internal readonly record struct ChunkHeader(
    JobId Job,
    int No,
    TenantId Tenant,
    ModelRef Model,
    LatencyClass Class,
    DateTimeOffset Deadline,
    DateTimeOffset QueuedAt,
    int Tasks,
    long Units,
    int UnitsMax,
    int Remaining,
    int Attempts
)
{
    public ChunkKey Key => new(Job, No);

    public static ChunkHeader From(ChunkSubmitted chunk) =>
        new(
            chunk.Job,
            chunk.No,
            chunk.Tenant,
            chunk.Model,
            chunk.Class,
            chunk.Deadline,
            chunk.QueuedAt,
            chunk.Tasks,
            chunk.Units,
            chunk.UnitsMax,
            chunk.Tasks,
            0
        );
}

/// <summary>A chunk waits.</summary>
internal sealed record ChunkArrived(ChunkHeader Chunk) : Fact;

/// <summary>The job's owner gave it up: what is not dispatched ends <c>cancelled</c>.</summary>
internal sealed record JobCancelled(JobId Job) : Fact;

/// <summary>Nothing more of the job is dispatched until it is resumed.</summary>
internal sealed record JobPaused(JobId Job) : Fact;

internal sealed record JobResumed(JobId Job) : Fact;

/// <summary>The job's class or deadline was changed: what waits of it stands by them from now on. What is in flight is not called back.</summary>
/// <param name="Since">From when its class's target counts.</param>
internal sealed record JobMoved(JobId Job, LatencyClass Class, DateTimeOffset Deadline, DateTimeOffset Since) : Fact;

/// <summary>What operators hold, all of it: what is not among them any more goes on.</summary>
internal sealed record HoldsKnown(Holds Holds) : Fact;

/// <summary>A worker gave a sign of life.</summary>
internal sealed record WorkerSeen(WorkerHeartbeat Heartbeat) : Fact;

/// <summary>PostgreSQL says that this worker lives; it has not been heard yet, and may hold work of an earlier scheduler.</summary>
internal sealed record WorkerExpected(WorkerId Worker) : Fact;

/// <summary>A worker's books are closed. What it held is free, and what it had begun is suspected.</summary>
/// <param name="Suspects">Chunks it had begun, with their attempts as counted now.</param>
internal sealed record WorkerGone(WorkerId Worker, IReadOnlyList<(ChunkKey Chunk, int Attempts)> Suspects) : Fact;

/// <summary>A dispatch ended on its worker.</summary>
internal sealed record DispatchEnded(DispatchFinished Report) : Fact;

/// <summary>A dispatch never reached its worker's queue.</summary>
/// <param name="WorkerUnreachable">True when the queue is gone; false when the broker could not be asked.</param>
internal sealed record DispatchReturned(DispatchId Dispatch, bool WorkerUnreachable) : Fact;

/// <summary>The worker's consumer threw: the dispatch is not done.</summary>
internal sealed record DispatchFaulted(DispatchId Dispatch, string Message) : Fact;

/// <summary>A registered model's limits, and what registration measured of it.</summary>
internal sealed record ModelProfileKnown(ModelRef Model, ModelProfile? Profile, LimitSpec Limits) : Fact;

/// <summary>A decision to end chunks was carried out.</summary>
internal sealed record ChunksEnded(IReadOnlyList<ChunkKey> Chunks) : Fact;

/// <summary>A decision to fail tasks was carried out.</summary>
internal sealed record TasksFailed(FailTasks Decision) : Fact;

/// <summary>A decision to end chunks or tasks could not be carried out; it has to be taken again.</summary>
internal sealed record EndingFailed(Decision Decision) : Fact;

/// <summary>The bounds changed.</summary>
internal sealed record LimitsChanged(PolicyOptions Options) : Fact;
