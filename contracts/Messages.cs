namespace Pipeline.Contracts;

// What travels on the broker. Every message carries a version; readers ignore fields they do not know, and fields are only ever added.

/// <summary>
/// A chunk is committed and waits for a device. Topic exchange, routing key <c>kept.&lt;class&gt;.&lt;model&gt;</c>, mandatory, confirmed. With
/// <see cref="ReplyTo"/> the key is <c>waited.…</c> and no disk is waited for: the broker may lose it, and its sender sends it again.
/// </summary>
public sealed record ChunkSubmitted
{
    public int Version { get; init; } = 1;
    public required JobId Job { get; init; }
    public required int No { get; init; }
    public required TenantId Tenant { get; init; }
    public required ModelRef Model { get; init; }
    public required LatencyClass Class { get; init; }

    /// <summary>When what has not ended expires.</summary>
    public required DateTimeOffset Deadline { get; init; }
    public required DateTimeOffset QueuedAt { get; init; }

    /// <summary>The job's sequence number of the chunk's first task.</summary>
    public required int FirstSeq { get; init; }
    public required int Tasks { get; init; }

    /// <summary>Units of all tasks, as estimated at the door.</summary>
    public required long Units { get; init; }

    /// <summary>Units of the longest task: with it padding can be foreseen.</summary>
    public required int UnitsMax { get; init; }

    /// <summary>The ingest instance that waits for the results; absent where nobody waits.</summary>
    public Guid? ReplyTo { get; init; }

    /// <summary>
    /// The chunk's payload as stored, where it is small and somebody waits: its worker then need not read the row. The row counts; this is
    /// a copy that may be dropped on the way.
    /// </summary>
    public byte[]? Payload { get; init; }

    /// <summary>Of a routed job, where <see cref="Payload"/> came along: the turn that its tasks take.</summary>
    public RouteStep? Step { get; init; }

    /// <summary>The trace its job belongs to (W3C); absent where none is recorded, and for all but the first chunks of a job.</summary>
    public string? Traceparent { get; init; }
}

/// <summary>
/// Chunks of one class and one model that nobody waits for, announced together: for many small jobs the broker has one message. Its key is
/// that of a chunk, <c>kept.&lt;class&gt;.&lt;model&gt;</c>.
/// </summary>
public sealed record ChunksSubmitted
{
    public int Version { get; init; } = 1;

    /// <summary>At least one.</summary>
    public required IReadOnlyList<ChunkSubmitted> Chunks { get; init; }
}

/// <summary>Tasks <c>[First, First + Count)</c> of a chunk, counted inside the chunk.</summary>
public sealed record Slice(JobId Job, int No, int First, int Count)
{
    public ChunkKey Chunk => new(Job, No);
}

/// <summary>What a dispatch tells of one of its slices: who waits for it, a copy of its chunk, its trace.</summary>
/// <param name="Slice">Place of the slice in <see cref="Dispatch.Slices"/>.</param>
/// <param name="ReplyTo">The ingest instance to send <see cref="TaskAnswered"/> to.</param>
/// <param name="FirstSeq">The job's sequence number of the chunk's first task.</param>
/// <param name="QueuedAt">When the job was accepted.</param>
/// <param name="Payload">The whole chunk as stored, when no task of it has run before; else the worker reads the row.</param>
/// <param name="Step">Of a routed job: the turn that the chunk's tasks take.</param>
/// <param name="Traceparent">As <see cref="ChunkSubmitted.Traceparent"/>.</param>
public sealed record SliceNote(
    int Slice,
    Guid? ReplyTo,
    int FirstSeq,
    DateTimeOffset QueuedAt,
    byte[]? Payload,
    RouteStep? Step = null,
    string? Traceparent = null
);

/// <summary>Work for one worker, one model version, on one lane. Direct exchange, key <c>&lt;worker&gt;.&lt;lane&gt;</c>, mandatory.</summary>
public sealed record Dispatch
{
    public int Version { get; init; } = 1;
    public required DispatchId Id { get; init; }

    /// <summary>The scheduler's fencing epoch; a worker hands back what is older than the one it knows.</summary>
    public required long Epoch { get; init; }
    public required WorkerId Worker { get; init; }
    public required Lane Lane { get; init; }
    public required ModelRef Model { get; init; }
    public required IReadOnlyList<Slice> Slices { get; init; }

    /// <summary>Bound on one batch's device time: an express task waits for at most one batch.</summary>
    public required TimeSpan BatchTimeMax { get; init; }

    /// <summary>Padded units a batch may hold, from the cost model and <see cref="BatchTimeMax"/>.</summary>
    public required long PaddedUnitsMax { get; init; }

    /// <summary>
    /// What one more batch costs, in padded units: its fixed device time over that of a unit (α ÷ β). The worker cuts another batch
    /// where that saves more padding. Absent: as few batches as can be.
    /// </summary>
    public double? BatchCostUnits { get; init; }

    /// <summary>Rows a commit may hold. Small for suspects: what crashed a worker is found by committing in ever smaller steps.</summary>
    public int? CommitRowsMax { get; init; }

    /// <summary>Why the policy sent it (its reason code).</summary>
    public required string Reason { get; init; }

    /// <summary>Of slices that somebody waits for. Added when it is sent; the policy leaves it out.</summary>
    public IReadOnlyList<SliceNote>? Notes { get; init; }
}

/// <summary>One task's result, as it was committed.</summary>
/// <param name="Status"><c>succeeded</c>, <c>failed</c>, <c>expired</c> or <c>cancelled</c>.</param>
/// <param name="Output">Bytes as stored; null when it did not succeed, and when they were too many to send: then read the row.</param>
/// <param name="Turns">Model executions it took.</param>
/// <param name="CostPico">Pico-USD.</param>
/// <param name="QueuedUs">Microseconds from acceptance to dispatch; then to the device, on the device, and from acceptance to result.</param>
/// <param name="Reused"><c>job</c> or <c>cache</c> where the result was made for another task; absent where it ran.</param>
public sealed record TaskAnswer(
    JobId Job,
    int Seq,
    string CustomId,
    string Status,
    byte[]? Output,
    string? ContentType,
    string? ErrorCode,
    string? ErrorMessage,
    string Model,
    int Turns,
    long CostPico,
    long QueuedUs,
    int StagedUs,
    int DeviceUs,
    long TotalUs,
    string? Reused = null
);

/// <summary>
/// Results are committed, to the ingest instance that waits for them. Direct exchange, key <c>&lt;instance&gt;</c>; not persistent. It may be
/// lost: who waits reads the rows before giving up.
/// </summary>
public sealed record TaskAnswered
{
    public int Version { get; init; } = 1;

    /// <summary>The instance, as <see cref="ChunkSubmitted.ReplyTo"/> named it.</summary>
    public required Guid ReplyTo { get; init; }
    public required IReadOnlyList<TaskAnswer> Answers { get; init; }
}

/// <summary>How a slice of a dispatch ended.</summary>
public enum SliceOutcome
{
    /// <summary>All its tasks have result rows, or have escalated to a chunk of their own.</summary>
    Done,

    /// <summary>Not run, or not wholly: plan it again.</summary>
    HandedBack,
}

/// <summary>One slice's outcome, with the tasks that still have no result (counted inside the chunk).</summary>
public sealed record SliceReport(JobId Job, int No, int First, int Count, SliceOutcome Outcome);

/// <summary>What one device call took: the cost model learns from it.</summary>
public sealed record BatchFact(int Rows, long Units, long PaddedUnits, long DeviceNs);

/// <summary>A dispatch has ended on its worker, after its commit.</summary>
public sealed record DispatchFinished
{
    public int Version { get; init; } = 1;
    public required DispatchId Id { get; init; }
    public required long Epoch { get; init; }
    public required WorkerId Worker { get; init; }
    public required Lane Lane { get; init; }
    public required ModelRef Model { get; init; }
    public required IReadOnlyList<SliceReport> Slices { get; init; }
    public required IReadOnlyList<BatchFact> Batches { get; init; }

    /// <summary>
    /// Chunks of tasks that escalated, committed with what this dispatch wrote: announced here, so that no further message is on the way.
    /// Absent where there are none. Should this be lost, the scheduler's sweep finds them in PostgreSQL.
    /// </summary>
    public IReadOnlyList<ChunkSubmitted>? Escalated { get; init; }

    /// <summary>Why the worker could not load the model; nothing was run then. Null when it could.</summary>
    public string? NotLoaded { get; init; }
}

/// <summary>A dispatch that a worker holds.</summary>
/// <param name="Begun">True when it is on or past the device; false while it is only staged.</param>
public sealed record HeldDispatch(DispatchId Id, long Epoch, Lane Lane, bool Begun, IReadOnlyList<Slice> Slices);

/// <summary>A model version as a worker has it.</summary>
public sealed record LoadedModel(ModelRef Model, string Provider, long MemoryBytes);

/// <summary>Sent every second to each scheduler's own temporary queue. Not persistent.</summary>
public sealed record WorkerHeartbeat
{
    public int Version { get; init; } = 1;
    public required WorkerId Worker { get; init; }
    public required string Name { get; init; }
    public required string Pool { get; init; }
    public required string Provider { get; init; }
    public required string Device { get; init; }
    public required long PricePerHourPico { get; init; }

    /// <summary>Nanoseconds on the process's monotonic clock: where its chain of intervals may be closed.</summary>
    public required long UptimeNs { get; init; }
    public required IReadOnlyList<LoadedModel> Models { get; init; }
    public required long MemoryBudgetBytes { get; init; }

    /// <summary>The newest scheduler epoch it knows.</summary>
    public required long Epoch { get; init; }
    public required IReadOnlyList<HeldDispatch> Held { get; init; }

    /// <summary>True when it is stopping: send it nothing more.</summary>
    public required bool Draining { get; init; }
}

/// <summary>Every scheduler sends one a second to the shared scheduler queue: who receives fresh ones is active.</summary>
public sealed record SchedulerTick
{
    public int Version { get; init; } = 1;
    public required Guid Instance { get; init; }
    public required DateTimeOffset SentAt { get; init; }
}

/// <summary>A scheduler has taken over under a new epoch. To every worker's and scheduler's own temporary queue.</summary>
public sealed record SchedulerChanged
{
    public int Version { get; init; } = 1;
    public required long Epoch { get; init; }
    public required Guid Instance { get; init; }
}

/// <summary>What changed about a job.</summary>
public enum JobChange
{
    Cancelled,
    Paused,
    Resumed,

    /// <summary>Its class, its deadline or both are others.</summary>
    Moved,
}

/// <summary>
/// A job's owner changed it; the row is committed. To the scheduler, which answers a request with <see cref="JobChangeObserved"/>.
/// </summary>
public sealed record JobChanged
{
    public int Version { get; init; } = 1;
    public required JobId Job { get; init; }
    public required JobChange Change { get; init; }

    /// <summary>Of one that was moved: its class, its deadline, and from when its class's target counts.</summary>
    public LatencyClass? Class { get; init; }
    public DateTimeOffset? Deadline { get; init; }
    public DateTimeOffset? Since { get; init; }
}

/// <summary>The active scheduler's answer: whatever it decides from now on, it decides by the change.</summary>
public sealed record JobChangeObserved
{
    public int Version { get; init; } = 1;
}

/// <summary>
/// An operator holds something, or lets it go; the row is committed. To the scheduler, which reads all that is held and answers a request with
/// <see cref="HoldsObserved"/>.
/// </summary>
public sealed record HoldsChanged
{
    public int Version { get; init; } = 1;
}

/// <summary>The active scheduler's answer: whatever it decides from now on, it decides by what is held.</summary>
public sealed record HoldsObserved
{
    public int Version { get; init; } = 1;
}

/// <summary>One pool's outlook for one model, from which completions are predicted.</summary>
/// <param name="Workers">Live workers of the pool.</param>
/// <param name="UnitsAhead">Units waiting or running ahead of newly submitted work of each class (express, standard, bulk).</param>
/// <param name="AlphaNs">Fixed device time of a batch, α of <c>l ≈ α + β · padded units</c>.</param>
/// <param name="BetaNs">Device time of one padded unit, β, in nanoseconds.</param>
/// <param name="UnitsPerBatch">Padded units of a typical full batch: α is spread over them.</param>
public sealed record PoolForecast(
    string Pool,
    ModelRef Model,
    int Workers,
    IReadOnlyList<long> UnitsAhead,
    double AlphaNs,
    double BetaNs,
    long UnitsPerBatch
)
{
    /// <summary>
    /// Nanoseconds of the device for a batch of 1, 2, 4, … units as the door estimates them, the last for <see cref="UnitsPerBatch"/>: a small batch
    /// takes longer than the line of full ones says. Absent from older senders.
    /// </summary>
    public IReadOnlyList<long>? BatchNs { get; init; }

    /// <summary>Tasks of a full batch at most. Absent from older senders.</summary>
    public int? RowsPerBatch { get; init; }

    /// <summary>By how much 95 % of the last batches took longer than estimated at most (0.1: a tenth). Absent from older senders.</summary>
    public double? ErrorBand { get; init; }

    /// <summary>By how much 95 % of them were quicker at most. Absent from older senders.</summary>
    public double? LowerBand { get; init; }

    /// <summary>Units that were real of those the device ran; the rest was padding. Absent from older senders.</summary>
    public double? RealShare { get; init; }

    /// <summary>Price of an hour of one worker, in pico-USD.</summary>
    public long? PricePerHourPico { get; init; }

    /// <summary>Tasks ahead, of all models, in the order of <see cref="UnitsAhead"/>: each is a row to be written, whatever ran it.</summary>
    public IReadOnlyList<long>? TasksAhead { get; init; }

    /// <summary>Nanoseconds that a row takes to be written; the time of work is that of its units or of its rows, whichever is longer.</summary>
    public double? RowNs { get; init; }

    /// <summary>As <see cref="ErrorBand"/>, of whole dispatches against what was reckoned for them.</summary>
    public double? RowBand { get; init; }

    /// <summary>When express work sent now would start on the worker that is free first; absent when none may work.</summary>
    public DateTimeOffset? ExpressFreeAt { get; init; }

    /// <summary>How long a bulk batch may hold a device of this pool now; shorter while express comes. Absent from older senders.</summary>
    public TimeSpan? BulkBatchTimeMax { get; init; }

    /// <summary>How long an express batch may. Absent from older senders.</summary>
    public TimeSpan? ExpressBatchTimeMax { get; init; }
}

/// <summary>Sent by the active scheduler to every ingest and results-api instance: each second, and sooner when something happened.</summary>
public sealed record Forecast
{
    public int Version { get; init; } = 1;
    public required DateTimeOffset At { get; init; }
    public required IReadOnlyList<PoolForecast> Pools { get; init; }
}

/// <summary>What was decided about a job? To the shared scheduler queue, so that the active scheduler answers with <see cref="JobDecisions"/>.</summary>
public sealed record AskJobDecisions
{
    public int Version { get; init; } = 1;
    public required JobId Job { get; init; }

    /// <summary>How many decisions at most; the newest.</summary>
    public required int Most { get; init; }
}

/// <summary>The active scheduler's answer: what it remembers of a job, newest first.</summary>
public sealed record JobDecisions
{
    public int Version { get; init; } = 1;
    public required JobId Job { get; init; }

    /// <summary>The epoch of the scheduler that answers: what earlier ones decided it does not know.</summary>
    public required long Epoch { get; init; }

    /// <summary>It remembers all that was decided after this time.</summary>
    public required DateTimeOffset Since { get; init; }
    public required IReadOnlyList<DecisionTold> Decisions { get; init; }
}

/// <summary>A decision, as far as it concerned one job, with its reason and the numbers behind it.</summary>
public sealed record DecisionTold
{
    public required DateTimeOffset At { get; init; }

    /// <summary><c>dispatch</c>, <c>end_chunks</c>, <c>fail_tasks</c>.</summary>
    public required string Kind { get; init; }

    /// <summary>The reason code.</summary>
    public required string Reason { get; init; }

    /// <summary>Tasks of this job in it, and of all jobs.</summary>
    public required int TasksOfJob { get; init; }
    public required int Tasks { get; init; }

    /// <summary>Units of all its tasks, as estimated at the door.</summary>
    public required long Units { get; init; }

    /// <summary>Device time they are estimated to take.</summary>
    public required TimeSpan Estimated { get; init; }

    /// <summary>Time from then until the most urgent of them is due; negative when it is late.</summary>
    public required TimeSpan Slack { get; init; }

    /// <summary>Chunks of the same model and class that waited.</summary>
    public required int ChunksWaiting { get; init; }

    /// <summary>Where a dispatch went; null for what is not dispatched.</summary>
    public WorkerId? Worker { get; init; }
    public Lane? Lane { get; init; }
    public DispatchId? Dispatch { get; init; }
}
