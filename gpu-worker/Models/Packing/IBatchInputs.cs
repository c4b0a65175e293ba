using Pipeline.GpuWorker.OnnxRuntime;

namespace Pipeline.GpuWorker.Models.Packing;

/// <summary>Turns tasks into the tensors of a batch; one implementation for text, one for tensors.</summary>
internal interface IBatchInputs
{
    /// <summary>Names of the graph's inputs, in the order of <see cref="BatchTensors.Values"/>.</summary>
    string[] Names { get; }

    /// <summary>
    /// Names of the dimensions that are filled up to the longest task: an output's dimension of the same name is cut back to the task's
    /// own size, which <see cref="BatchTensors.Sizes"/> has.
    /// </summary>
    IReadOnlyList<string> PaddedSymbols { get; }

    /// <exception cref="TaskInputException">The input does not suit the model.</exception>
    PreparedTask Prepare(ReadOnlyMemory<byte> input);

    /// <param name="tasks">At least one; all of the same <see cref="PreparedTask.ShapeKey"/>.</param>
    /// <param name="deviceRows">Rows of the batch: as many as tasks, or more; the rest is filled with the last task.</param>
    /// <param name="pool">Where the memory comes from.</param>
    BatchTensors Pack(ReadOnlySpan<PreparedTask> tasks, int deviceRows, TensorBufferPool pool);
}

/// <summary>The tensors of a batch, and the memory they lie in.</summary>
internal sealed class BatchTensors(OrtValue[] values, TensorBuffer?[] buffers) : IDisposable
{
    public OrtValue[] Values => values;

    /// <summary>Units that one row of the batch takes, padding included.</summary>
    public required long RowUnits { get; init; }

    /// <summary>Of each task, one after another: its own size of each of <see cref="IBatchInputs.PaddedSymbols"/>.</summary>
    public required long[] Sizes { get; init; }

    public void Dispose()
    {
        foreach (var value in values)
            value?.Dispose();
        foreach (var buffer in buffers)
            buffer?.Dispose();
    }
}
