using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Models;

/// <summary>
/// One model version, loaded on one device. The three steps of a batch run on different threads, so that the device never waits:
/// <see cref="Prepare"/> and <see cref="Pack"/> before it, <see cref="IRanBatch.Result"/> after it.
/// </summary>
internal interface IModel : IDisposable
{
    ModelManifest Manifest { get; }

    /// <summary>The provider that really loaded: <c>cuda</c>, <c>webgpu</c> or <c>cpu</c>.</summary>
    string Provider { get; }

    string Device { get; }

    /// <summary>Bytes the session holds, as measured when it was loaded.</summary>
    long MemoryBytes { get; }

    /// <summary>Rows a batch must have, where the graph's batch axis is fixed; shorter batches are filled up. 0 when any size goes.</summary>
    int FixedRows { get; }

    /// <summary>Turns a stored input into what will be stacked, and counts its units (tokens, or elements). Any thread.</summary>
    /// <param name="input">A task's input as <see cref="ChunkPayload.Input"/> gives it; must stay alive until the batch is packed.</param>
    /// <exception cref="TaskInputException">The input does not suit the model; only this task fails.</exception>
    PreparedTask Prepare(ReadOnlyMemory<byte> input);

    /// <summary>Stacks tasks into tensors over pooled memory. Any thread; all tasks have the same <see cref="PreparedTask.ShapeKey"/>.</summary>
    IPackedBatch Pack(ReadOnlySpan<PreparedTask> tasks);

    /// <summary>Runs the batch on the device. One caller at a time. Takes the batch over: do not dispose it after.</summary>
    /// <exception cref="OnnxRuntime.OnnxRuntimeException">The device or the graph failed; the whole batch has no result.</exception>
    IRanBatch Run(IPackedBatch batch, CancellationToken stop);
}

/// <summary>A task ready to be stacked.</summary>
internal abstract class PreparedTask
{
    /// <summary>What it costs the device, unpadded, at least 1.</summary>
    public required int Units { get; init; }

    /// <summary>Tasks stack only with tasks of the same key (0 where any two stack).</summary>
    public long ShapeKey { get; init; }
}

/// <summary>Tensors that wait for the device.</summary>
internal interface IPackedBatch : IDisposable
{
    int Rows { get; }

    /// <summary>Units of the tasks themselves.</summary>
    long Units { get; }

    /// <summary>Units the device really runs: rows (filled up where fixed) × the longest task.</summary>
    long PaddedUnits { get; }
}

/// <summary>Outputs of a batch that ran.</summary>
internal interface IRanBatch : IDisposable
{
    /// <summary>Post-processes one row. Any thread, rows in any order.</summary>
    TaskOutput Result(int row);
}

/// <summary>A task's output as it is stored.</summary>
/// <param name="Top">Score of the best label, and of the second (0 where there is none): by them a route accepts; NaN for other results.</param>
internal readonly record struct TaskOutput(byte[] Bytes, string ContentType, float Top = float.NaN, float Second = float.NaN);

/// <summary>An input that does not suit the model: what was expected, what was given.</summary>
internal sealed class TaskInputException(string message) : Exception(message);
