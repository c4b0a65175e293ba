using System.Collections.Concurrent;
using System.Numerics;

namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>
/// Lends native memory for tensors and takes it back, so that batch after batch runs on the same pages. Blocks come in powers of two;
/// what is idle is bounded. Any thread may rent and return.
/// </summary>
/// <param name="idleBytesMax">The most memory that waits unused; a block that comes back beyond it is freed.</param>
internal sealed class TensorBufferPool(long idleBytesMax = TensorBufferPool.IdleBytesMaxDefault) : IDisposable
{
    /// <summary>The inputs and outputs of a few large batches: 512 rows of 2,048 elements of 4 bytes are 4 MiB.</summary>
    public const long IdleBytesMaxDefault = 256L << 20;

    /// <summary>One page: smaller blocks would save nothing.</summary>
    private const long BlockBytesMin = 4096;

    private readonly ConcurrentDictionary<long, ConcurrentStack<NativeBlock>> _idle = new();
    private long _idleBytes;
    private volatile bool _disposed;

    /// <summary>Memory that waits to be rented, in bytes.</summary>
    public long IdleBytes => Interlocked.Read(ref _idleBytes);

    /// <summary>Lends at least <paramref name="bytes"/> bytes with arbitrary content.</summary>
    public TensorBuffer Rent(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        ObjectDisposedException.ThrowIf(_disposed, this);
        var length = (long)BitOperations.RoundUpToPowerOf2((ulong)Math.Max(bytes, BlockBytesMin));
        return new TensorBuffer(this, TakeIdle(length) ?? new NativeBlock(length));
    }

    internal void Return(NativeBlock block)
    {
        if (Interlocked.Add(ref _idleBytes, block.Length) > idleBytesMax || _disposed)
        {
            Interlocked.Add(ref _idleBytes, -block.Length);
            block.Dispose();
            return;
        }
        _idle.GetOrAdd(block.Length, _ => new()).Push(block);
        if (_disposed)
            FreeIdle();
    }

    /// <summary>Frees what is idle; what is lent is freed when it comes back.</summary>
    public void Dispose()
    {
        _disposed = true;
        FreeIdle();
    }

    private NativeBlock? TakeIdle(long length)
    {
        if (!_idle.TryGetValue(length, out var blocks) || !blocks.TryPop(out var block))
            return null;
        Interlocked.Add(ref _idleBytes, -length);
        return block;
    }

    private void FreeIdle()
    {
        foreach (var length in _idle.Keys)
            while (TakeIdle(length) is { } block)
                block.Dispose();
    }
}
