using System.Runtime.InteropServices;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// Native memory for tensors, aligned for vector instructions and never moved, rented from a <see cref="TensorBufferPool"/>. Disposing it
/// gives it back as soon as no value over it is left, bound ones included: nobody else writes there while a run may still read.
/// </summary>
internal sealed unsafe class TensorBuffer : SafeHandle
{
    private readonly TensorBufferPool _pool;
    private readonly NativeBlock _block;

    internal TensorBuffer(TensorBufferPool pool, NativeBlock block)
        : base(0, ownsHandle: true)
    {
        _pool = pool;
        _block = block;
        SetHandle(block.Pointer);
    }

    /// <summary>Where it starts: a multiple of 64.</summary>
    public nint Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return handle;
        }
    }

    /// <summary>How many bytes there are: at least those asked for. They hold whatever the last renter left.</summary>
    public long Length => _block.Length;

    /// <summary>All bytes, or the first 2 GiB of them.</summary>
    public Span<byte> Bytes => Elements<byte>();

    /// <summary>All whole elements of <typeparamref name="T"/>.</summary>
    public Span<T> Elements<T>()
        where T : unmanaged => new((void*)Pointer, (int)Math.Min(Length / sizeof(T), int.MaxValue));

    /// <summary>A tensor over the first bytes, as many as the shape needs; nothing is copied.</summary>
    /// <exception cref="OnnxRuntimeException">The shape needs more than there is.</exception>
    public OrtValue AsValue(TensorElementType elementType, ReadOnlySpan<long> shape) =>
        OrtValue.FromMemory(elementType, shape, Pointer, Length, memory: this);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        _pool.Return(_block);
        return true;
    }
}
