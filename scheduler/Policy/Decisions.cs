using System.Globalization;
using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>What to do now, with the reason and the numbers behind it. Carrying it out takes no further thought.</summary>
internal abstract record Decision(Why Why);

/// <summary>Send this to the worker it names.</summary>
internal sealed record SendDispatch(Dispatch Dispatch, Why Why) : Decision(Why);

/// <summary>End what is left of these chunks.</summary>
internal sealed record EndChunks(IReadOnlyList<ChunkKey> Chunks, TaskOutcome Outcome, FailureKind Kind, string Message, Why Why)
    : Decision(Why);

/// <summary>Fail the tasks of this slice that have no result.</summary>
/// <param name="FirstOnly">Fail the first of them alone, and set the chunk's attempts back: it is the culprit.</param>
internal sealed record FailTasks(Slice Slice, bool FirstOnly, FailureKind Kind, string Message, Why Why) : Decision(Why);

/// <summary>An express job that will not make its target goes on as standard work. Recorded, not carried out: the index has moved it.</summary>
internal sealed record RelegateJob(JobId Job, Why Why) : Decision(Why);

/// <summary>
/// A standard or bulk job has no more slack than its work takes: from now on it goes before all others of its class, and on the express
/// lane. Recorded, not carried out: the index has moved it.
/// </summary>
internal sealed record PromoteJob(JobId Job, Why Why) : Decision(Why);

/// <summary>A job was asked to go on in another class, or by another deadline. Recorded, not carried out: the index has moved it.</summary>
internal sealed record MoveJob(JobId Job, Why Why) : Decision(Why);

/// <summary>Close this worker's books and tell who has to be suspected.</summary>
internal sealed record DeclareLost(WorkerId Worker, Why Why) : Decision(Why);

/// <summary>A pool should have this many workers. Nothing is carried out: it is shown to whoever starts and stops workers.</summary>
internal sealed record WantWorkers(string Pool, int Workers, Why Why) : Decision(Why);

/// <summary>Reason codes: a closed vocabulary, explained in the README.</summary>
internal static class Reasons
{
    public const string ExpressFree = "express.free";
    public const string ExpressMerged = "express.merged";
    public const string ExpressHopeless = "express.hopeless";
    public const string Promoted = "promote.laxity";
    public const string Moved = "move.asked";
    public const string ExpressRelegated = "express.relegated";
    public const string BulkFull = "bulk.full";
    public const string BulkIdle = "bulk.idle";
    public const string BulkTail = "bulk.tail";
    public const string BulkNext = "bulk.next";
    public const string SuspectAlone = "suspect.alone";
    public const string SuspectApart = "suspect.apart";
    public const string FaultSmaller = "fault.smaller";
    public const string DeadlinePassed = "expire.deadline";
    public const string JobCancelled = "cancel.job";
    public const string SuspectFound = "fail.suspect";
    public const string FaultsSpent = "fail.faults";
    public const string LoadsSpent = "fail.loads";
    public const string WorkerSilent = "lost.silent";
    public const string WantDeadline = "want.deadline";
    public const string WantExpress = "want.express";
    public const string WantSpill = "want.spill";
    public const string WantNone = "want.none";
}

/// <summary>A reason code and the numbers behind it.</summary>
/// <param name="Code">One of <see cref="Reasons"/>.</param>
/// <param name="Tasks">Tasks the decision is about.</param>
/// <param name="Units">Their units, as estimated at the door.</param>
/// <param name="Estimated">Device time they are estimated to take.</param>
/// <param name="Slack">Time from now until the most urgent of them is due; negative when it is late.</param>
/// <param name="ChunksWaiting">Chunks of the same model and class that waited when it was decided.</param>
internal readonly record struct Why(
    string Code,
    int Tasks = 0,
    long Units = 0,
    TimeSpan Estimated = default,
    TimeSpan Slack = default,
    int ChunksWaiting = 0
)
{
    public override string ToString() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{Code}: {Tasks} tasks, {Units} units, estimated {Estimated.TotalMilliseconds:0.#} ms, slack {Slack.TotalSeconds:0.###} s, {ChunksWaiting} chunks waiting"
        );
}
