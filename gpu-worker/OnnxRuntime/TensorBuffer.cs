using Pipeline.Contracts;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// Native memory for tensors, aligned for vector instructions and never moved, rented from a <see cref="TensorBufferPool"/>. Disposing it
/// gives it back: from then on another renter writes there, so values over it must not run any more.
/// </summary>
internal sealed unsafe class TensorBuffer : IDisposable
{
    private readonly TensorBufferPool _pool;
    private NativeBlock? _block;

    internal TensorBuffer(TensorBufferPool pool, NativeBlock block)
    {
        _pool = pool;
        _block = block;
    }

    /// <summary>Where it starts: a multiple of 64.</summary>
    public nint Pointer => Block.Pointer;

    /// <summary>How many bytes there are: at least those asked for. They hold whatever the last renter left.</summary>
    public long Length => Block.Length;

    /// <summary>All bytes, or the first 2 GiB of them.</summary>
    public Span<byte> Bytes => new((void*)Pointer, (int)Math.Min(Length, int.MaxValue));

    /// <summary>All whole elements of <typeparamref name="T"/>.</summary>
    public Span<T> Elements<T>()
        where T : unmanaged => new((void*)Pointer, (int)Math.Min(Length / sizeof(T), int.MaxValue));

    /// <summary>A tensor over the first bytes, as many as the shape needs; nothing is copied.</summary>
    /// <exception cref="OnnxRuntimeException">The shape needs more than there is.</exception>
    public OrtValue AsValue(TensorElementType elementType, ReadOnlySpan<long> shape) =>
        OrtValue.FromMemory(elementType, shape, Pointer, Length, Block);

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _block, null) is { } block)
            _pool.Return(block);
    }

    private NativeBlock Block => _block ?? throw new ObjectDisposedException(nameof(TensorBuffer));
}
