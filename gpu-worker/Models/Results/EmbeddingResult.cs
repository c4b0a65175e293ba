using System.Buffers;
using System.Runtime.InteropServices;
using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;

namespace Pipeline.GpuWorker.Models.Results;

/// <summary>
/// One vector a task: the output itself, or pooled from token vectors, and scaled to unit length where asked. It is stored as a pack of
/// one float32 tensor named <c>embedding</c>.
/// </summary>
internal sealed class EmbeddingResult(Pooling pooling, bool normalize) : IResultMaker
{
    public const string TensorName = "embedding";

    public TaskOutput Make(BatchOutputs outputs, int row)
    {
        var shape = outputs.Shape(0, row, stackalloc long[outputs.Rank(0)]);
        var type = outputs.Plan(0).Type;
        var count = BatchOutputs.Elements(shape);
        var room = ArrayPool<byte>.Shared.Rent(count * (type.Size() + sizeof(float)));
        try
        {
            var bytes = room.AsSpan(0, count * type.Size());
            var numbers = MemoryMarshal.Cast<byte, float>(room.AsSpan(bytes.Length))[..count];
            outputs.CopyTo(bytes, 0, row, shape);
            Reals.Read(type, bytes, numbers);
            var vector = Pool(numbers, shape, outputs.Size(row), outputs.Plan(0).Name);
            if (normalize)
                UnitLength.Scale(vector);
            return Pack(vector);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(room);
        }
    }

    /// <summary>The vector, at the start of the numbers it is made from.</summary>
    /// <param name="numbers">Token after token, or the vector itself.</param>
    /// <param name="shape">The task's shape.</param>
    /// <param name="tokens">How many tokens are the task's own; −1 when all are.</param>
    /// <param name="name">The output's name.</param>
    private Span<float> Pool(Span<float> numbers, ReadOnlySpan<long> shape, long tokens, string name)
    {
        if (pooling == Pooling.None)
            return numbers;
        if (shape.Length != 2 || shape[0] == 0)
            throw new OnnxRuntimeException(
                OrtErrorCode.RuntimeException,
                $"The output {name} came as [{string.Join(", ", shape.ToArray())}] a task; expected tokens × numbers to pool."
            );

        var width = (int)shape[1];
        var vector = numbers[..width];
        if (pooling == Pooling.Cls)
            return vector;
        // A graph of fixed length gives vectors for the padding as well; only the task's own count.
        var own = tokens < 0 ? shape[0] : Math.Min(tokens, shape[0]);
        for (var token = 1; token < own; token++)
        {
            var next = numbers.Slice(token * width, width);
            for (var i = 0; i < width; i++)
                vector[i] += next[i];
        }
        for (var i = 0; i < width; i++)
            vector[i] /= own;
        return vector;
    }

    private static TaskOutput Pack(ReadOnlySpan<float> vector)
    {
        var pack = new ArrayBufferWriter<byte>((vector.Length * sizeof(float)) + 32);
        PackedTensors.WriteCount(pack, 1);
        PackedTensors.WriteTensor(pack, TensorName, TensorElementType.Float32, [vector.Length], MemoryMarshal.AsBytes(vector));
        return new TaskOutput(pack.WrittenSpan.ToArray(), PackedTensors.ContentType);
    }
}
