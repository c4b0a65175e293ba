using System.Runtime.InteropServices;
using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;

namespace Pipeline.Tests.Integration.OnnxRuntime;

/// <summary>Values for tests, each over native memory of its own that goes with it.</summary>
internal static class Tensors
{
    public static OrtValue Floats(long[] shape, params ReadOnlySpan<float> elements) => Of(TensorElementType.Float32, shape, elements);

    public static OrtValue Of<T>(TensorElementType type, long[] shape, params ReadOnlySpan<T> elements)
        where T : unmanaged
    {
        // A pool that keeps nothing idle: the buffer goes when the value over it goes.
        using var pool = new TensorBufferPool(idleBytesMax: 0);
        using var buffer = pool.Rent(MemoryMarshal.AsBytes(elements).Length);
        elements.CopyTo(buffer.Elements<T>());
        return buffer.AsValue(type, shape);
    }

    public static float[] Floats(this OrtValue value) => value.Elements<float>().ToArray();
}
