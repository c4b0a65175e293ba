using Pipeline.Contracts;
using Pipeline.GpuWorker.OnnxRuntime;
using Xunit;

namespace Pipeline.Tests.Integration.OnnxRuntime;

public sealed class TensorBufferPoolTests
{
    [Fact]
    public void Lends_the_same_memory_again_once_it_came_back()
    {
        using var pool = new TensorBufferPool();
        var first = pool.Rent(10_000);
        var pointer = first.Pointer;
        first.Dispose();
        first.Dispose();

        using var second = pool.Rent(9_000);
        using var third = pool.Rent(9_000);

        Assert.Equal(pointer, second.Pointer);
        Assert.NotEqual(pointer, third.Pointer);
        Assert.Throws<ObjectDisposedException>(() => first.Pointer);
    }

    [Fact]
    public void Lends_aligned_memory_of_at_least_the_length_asked_for()
    {
        using var pool = new TensorBufferPool();

        Assert.All(
            new long[] { 0, 1, 4096, 4097, 1_000_000 },
            length =>
            {
                using var buffer = pool.Rent(length);
                Assert.Equal(0, buffer.Pointer % 64);
                Assert.True(buffer.Length >= length);
            }
        );
    }

    [Fact]
    public void Keeps_no_more_idle_memory_than_it_may()
    {
        using var pool = new TensorBufferPool(idleBytesMax: 10_000);
        var buffers = Enumerable.Range(0, 5).Select(_ => pool.Rent(4096)).ToList();

        buffers.ForEach(buffer => buffer.Dispose());

        Assert.Equal(2 * 4096, pool.IdleBytes);
    }

    [Fact]
    public void A_value_outlives_the_pool_its_memory_came_from()
    {
        var pool = new TensorBufferPool();
        var buffer = pool.Rent(4);
        buffer.Elements<float>()[0] = 1.5f;
        using var value = buffer.AsValue(TensorElementType.Float32, [1]);

        pool.Dispose();
        buffer.Dispose();

        Assert.Equal(0, pool.IdleBytes);
        Assert.Equal([1.5f], value.Floats());
        Assert.Throws<ObjectDisposedException>(() => pool.Rent(1));
    }
}
