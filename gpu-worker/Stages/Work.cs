using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;

namespace Pipeline.GpuWorker.Stages;

// What travels between the stages, in the order it is made. Tasks are places in DispatchRun.Tasks.

/// <summary>A packed batch that waits for the device.</summary>
internal sealed record PackedWork(DispatchRun Run, IModel Model, int[] Tasks, IPackedBatch Batch, CommitGate? Gate)
{
    public Lane Lane => Run.Dispatch.Lane;

    /// <summary>Gives it up without running it.</summary>
    public void Discard()
    {
        Batch.Dispose();
        Run.LetGo();
    }
}

/// <summary>A batch that ran, with its outputs still as the device left them; or tasks that failed without any.</summary>
/// <param name="Ran">Null when every task failed for the one reason in <paramref name="Failure"/>.</param>
/// <param name="Span">The device's time for it; null when it never was on the device, or what it took is booked as waste.</param>
/// <param name="Known">Ends that were known without running, in the order of <paramref name="Tasks"/>; null for what ran, or failed.</param>
internal sealed record RanWork(
    DispatchRun Run,
    int[] Tasks,
    IRanBatch? Ran,
    RanDevice? Span,
    TaskFailure? Failure,
    DateTimeOffset StartedAt,
    CommitGate? Gate,
    TaskEnd[]? Known = null
)
{
    /// <summary>Rows it comes to: its tasks, and those that end as they do.</summary>
    public int Rows => Run.Followers.Count == 0 ? Tasks.Length : Tasks.Sum(t => 1 + Run.FollowersOf(t).Length);

    /// <summary>Gives its outputs up.</summary>
    public void Discard()
    {
        Ran?.Dispose();
        Run.LetGo();
    }
}

/// <summary>A device call as it was measured.</summary>
internal sealed record RanDevice(DeviceSpan Span, BatchId Id, string Provider, long Units, long PaddedUnits, DateTimeOffset FinishedAt);

/// <summary>A batch whose rows are ready to be written.</summary>
/// <param name="Tasks">Those that ran (or failed without), and after them those that end as one of them does.</param>
/// <param name="Ends">One end for each that ran, in the order of <paramref name="Tasks"/>.</param>
/// <param name="Leads">For each of the others, the place in <paramref name="Ends"/> that is its end, too.</param>
internal sealed record FinishedBatch(
    DispatchRun Run,
    int[] Tasks,
    TaskEnd[] Ends,
    int[] Leads,
    RanDevice? Device,
    DateTimeOffset StartedAt,
    CommitGate? Gate
)
{
    /// <summary>Place in <see cref="Ends"/> of the row's end.</summary>
    public int EndOf(int row) => row < Ends.Length ? row : Leads[row - Ends.Length];
}

/// <summary>How one task ended: an output, or a failure.</summary>
/// <param name="Reused">Where it comes from, when another task came to it; null for what ran here.</param>
internal readonly record struct TaskEnd(TaskOutput Output, TaskFailure? Failure, ReusedEnd? Reused = null);

/// <summary>An end that was made for another task.</summary>
/// <param name="Units">That task's, as a worker counted them.</param>
/// <param name="SavedPico">What it cost.</param>
internal sealed record ReusedEnd(ReuseSource Source, int Units, long SavedPico);

/// <summary>Why a task failed.</summary>
internal sealed record TaskFailure(FailureKind Kind, string Message)
{
    /// <summary>Longer ones are cut: the reason of a batch may quote the whole graph.</summary>
    private const int MessageCharsMax = 2000;

    /// <summary>The text as it can be stored: without the character PostgreSQL's text cannot hold, and not too long.</summary>
    public string Message { get; } = (Message.Length > MessageCharsMax ? Message[..MessageCharsMax] : Message).Replace('\0', ' ');
}

/// <summary>Lets suspects run in small steps: the next batch is packed when the rows of the one before are committed.</summary>
internal sealed class CommitGate(int rows)
{
    private readonly TaskCompletionSource _open = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _rows = rows;

    public Task Opened => _open.Task;

    public void Committed(int rows)
    {
        if (Interlocked.Add(ref _rows, -rows) <= 0)
        {
            _open.TrySetResult();
        }
    }
}
