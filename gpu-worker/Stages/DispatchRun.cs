using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.Migrations;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// One dispatch on its way through the stages: which of its tasks still lack a result, and who waits to hear how it ended.
/// <code>
/// staged ──> begun (on or past the device) ──> finished
///    └─────> dropped (given back unrun) ─────> finished
/// </code>
/// </summary>
internal sealed class DispatchRun(Dispatch dispatch, DateTimeOffset receivedAt)
{
    private const int Staged = 0;
    private const int HasBegun = 1;
    private const int WasDropped = 2;

    private readonly TaskCompletionSource<DispatchFinished?> _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<BatchFact> _batches = [];
    private readonly List<ChunkSubmitted> _escalated = [];
    private IModelLease? _lease;
    private ChunkPayload[] _payloads = [];
    private int _stage;
    private int _users;

    public Dispatch Dispatch { get; } = dispatch;

    /// <summary>When it reached this worker.</summary>
    public DateTimeOffset ReceivedAt { get; } = receivedAt;

    /// <summary>
    /// The trace that its steps belong to (W3C): of the message it came with, or, where the scheduler did not know, of the first traced slice.
    /// Null where nothing is recorded.
    /// </summary>
    public string? Trace { get; set; }

    /// <summary>Its slices in the dispatch's order; set by the fetch.</summary>
    public SliceRun[] Slices { get; set; } = [];

    /// <summary>Its tasks that lack a result; set by the pack stage.</summary>
    public TaskRef[] Tasks { get; set; } = [];

    /// <summary>For a task, the copies of it that end as it does; set by the pack stage.</summary>
    public IReadOnlyDictionary<int, int[]> Followers { get; set; } = new Dictionary<int, int[]>();

    public int[] FollowersOf(int task) => Followers.TryGetValue(task, out var followers) ? followers : [];

    /// <summary>Ends when the dispatch before it in its lane has: what that one ran is committed then.</summary>
    public Task Before { get; set; } = Task.CompletedTask;

    /// <summary>How it ended; null when nobody is to be told, because this worker's life has been closed.</summary>
    public Task<DispatchFinished?> Finished => _finished.Task;

    public bool Begun => Volatile.Read(ref _stage) == HasBegun;

    /// <summary>True when its waiting batches must not run any more.</summary>
    public bool Dropped => Volatile.Read(ref _stage) == WasDropped || _finished.Task.IsCompleted;

    /// <summary>Tasks it was sent for that have no result yet and are on their way.</summary>
    public int Open => Slices.Sum(s => s.Open);

    /// <summary>Takes it onto the device. False when it has been dropped, or had begun before.</summary>
    public bool TryBegin() => Interlocked.CompareExchange(ref _stage, HasBegun, Staged) == Staged;

    /// <summary>Gives it back unrun, unless it has begun.</summary>
    public void Drop()
    {
        if (Interlocked.CompareExchange(ref _stage, WasDropped, Staged) == Staged)
        {
            Finish();
        }
    }

    /// <summary>These tasks are committed. True with the last of them.</summary>
    public bool Committed(ReadOnlySpan<int> tasks, BatchFact? batch)
    {
        foreach (var task in tasks)
        {
            Slices[Tasks[task].Slice].Open--;
        }

        if (batch is not null)
        {
            _batches.Add(batch);
        }

        return Open == 0;
    }

    /// <summary>Takes note of a chunk that was made for tasks that left one of its own.</summary>
    /// <returns>False when it has no slice of the chunk that they left.</returns>
    public bool Escalated(OpenedChunk opened)
    {
        if (Array.Find(Slices, s => s.Slice.Chunk == opened.From) is not { } slice)
        {
            return false;
        }

        _escalated.Add(opened.Chunk with { ReplyTo = slice.ReplyTo, Traceparent = slice.Traceparent });
        return true;
    }

    /// <summary>Reports what is done, and gives back what is not.</summary>
    public void Finish() => _finished.TrySetResult(Report());

    /// <summary>The model could not be loaded here: all of it goes back, for another worker or a later time.</summary>
    public void GiveBack(ModelNotLoadedException reason) => _finished.TrySetResult(Report() with { NotLoaded = reason.Message });

    /// <summary>It cannot be done here; whoever waits gets the reason.</summary>
    public void Fail(Exception reason) => _finished.TrySetException(reason);

    /// <summary>Nobody is told: the scheduler has given this worker up.</summary>
    public void Forget() => _finished.TrySetResult(null);

    /// <summary>Hands over the model and the unpacked chunks; they are kept until the last user has let go.</summary>
    public void Keep(IModelLease lease, ChunkPayload[] payloads) => (_lease, _payloads, _users) = (lease, payloads, 1);

    /// <summary>One more stage works with the model and the inputs.</summary>
    public void Use() => Interlocked.Increment(ref _users);

    /// <summary>One stage less does. The last lets the model and the inputs go.</summary>
    public void LetGo()
    {
        if (Interlocked.Decrement(ref _users) != 0)
        {
            return;
        }

        foreach (var payload in _payloads)
        {
            payload.Dispose();
        }

        _lease?.Dispose();
    }

    private DispatchFinished Report() =>
        new()
        {
            Id = Dispatch.Id,
            Epoch = Dispatch.Epoch,
            Worker = Dispatch.Worker,
            Lane = Dispatch.Lane,
            Model = Dispatch.Model,
            Slices =
                Slices.Length > 0
                    ? [.. Slices.Select(s => s.Report())]
                    : [.. Dispatch.Slices.Select(s => new SliceReport(s.Job, s.No, s.First, s.Count, SliceOutcome.HandedBack))],
            Batches = [.. _batches],
            Escalated = _escalated.Count > 0 ? [.. _escalated] : null,
        };
}

/// <summary>A slice as the fetch found it.</summary>
internal sealed class SliceRun(Slice slice)
{
    public Slice Slice { get; } = slice;

    /// <summary>The job's number of the first task of the chunk's run.</summary>
    public int FirstSeq { get; set; }

    /// <summary>Places of the chunk's tasks in its run; null where they are the run, so that task <c>i</c> is at place <c>i</c>.</summary>
    public int[]? Places { get; set; }

    /// <summary>The chunk that has the run, where it is not this one.</summary>
    public int? Root { get; set; }

    /// <summary>Tasks have left it for the next variant, in a dispatch before this one.</summary>
    public bool HasEscalated { get; set; }

    /// <summary>The turn its tasks take; null where their job has no route.</summary>
    public RouteStep? Step { get; set; }

    /// <summary>When the job was accepted.</summary>
    public DateTimeOffset QueuedAt { get; set; }

    /// <summary>The ingest instance that waits for its results; null where nobody is known to.</summary>
    public Guid? ReplyTo { get; set; }

    /// <summary>Its job's trace (W3C); null where it is not traced.</summary>
    public string? Traceparent { get; set; }

    /// <summary>The run's tasks; null when nothing of the slice is to be run.</summary>
    public byte[]? Payload { get; set; }

    /// <summary>The same, unpacked; lives as long as the dispatch is used.</summary>
    public ChunkPayload? Unpacked { get; set; }

    /// <summary>Tasks (counted inside the chunk) that have a result already, or have left it; null where there are none.</summary>
    public HashSet<int>? Ended { get; set; }

    /// <summary>Not to be run now: its job was cancelled.</summary>
    public bool HandedBack { get; set; }

    /// <summary>The tenant whose cache may answer its tasks and takes their results; null where none does.</summary>
    public TenantId? Cache { get; set; }

    /// <summary>Its job is stopped when it comes to more than its budget.</summary>
    public bool HasBudget { get; set; }

    /// <summary>Tasks on their way.</summary>
    public int Open { get; set; }

    /// <summary>Where task <paramref name="index"/> of the chunk stands in its run.</summary>
    public int PlaceOf(int index) => Places?[index] ?? index;

    /// <summary>Whether task <paramref name="index"/> of the chunk must run.</summary>
    public bool Lacks(int index) => Ended is null || !Ended.Contains(index);

    public SliceReport Report() =>
        new(Slice.Job, Slice.No, Slice.First, Slice.Count, HandedBack || Open > 0 ? SliceOutcome.HandedBack : SliceOutcome.Done);
}

/// <summary>One task of a dispatch.</summary>
/// <param name="Slice">Place of its slice in the dispatch.</param>
/// <param name="Seq">Its number in the job.</param>
/// <param name="Prepared">What will be stacked; null before it is, when its input does not suit the model, and for what need not run.</param>
/// <param name="CacheKey">What its result is cached under; null where it is not.</param>
internal readonly record struct TaskRef(int Slice, int Seq, string CustomId, PreparedTask? Prepared, byte[]? CacheKey = null);
