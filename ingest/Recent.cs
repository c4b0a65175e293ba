namespace Pipeline.Ingest;

/// <summary>Rows that every request may ask for: read when asked for, and again once they are a few seconds old. Who asks meanwhile waits for it.</summary>
/// <param name="freshFor">Null: 2 s, which is how soon an instance knows what operators set at another.</param>
internal sealed class Recent<T>(Func<CancellationToken, Task<T>> read, TimeProvider time, TimeSpan? freshFor = null) : IDisposable
    where T : class
{
    private readonly TimeSpan _freshFor = freshFor ?? TimeSpan.FromSeconds(2);
    private readonly SemaphoreSlim _reading = new(1, 1);
    private volatile Known? _known;
    private int _forgotten;

    /// <summary>As they were read last, without a query; null where they were not, or are forgotten.</summary>
    public T? Last => _known is { } known && known.Forgotten == Volatile.Read(ref _forgotten) ? known.Rows : null;

    /// <param name="freshFor">Another age than usual: who misses a row looks again sooner.</param>
    public async ValueTask<T> GetAsync(CancellationToken stop, TimeSpan? freshFor = null)
    {
        var most = freshFor ?? _freshFor;
        if (Fresh(most) is { } known)
        {
            return known.Rows;
        }

        await _reading.WaitAsync(stop);
        try
        {
            if (Fresh(most) is { } now)
            {
                return now.Rows;
            }

            var (forgotten, at) = (Volatile.Read(ref _forgotten), time.GetTimestamp());
            var rows = await read(stop);
            _known = new Known(rows, at, forgotten);
            return rows;
        }
        finally
        {
            _reading.Release();
        }
    }

    /// <summary>What is asked next is read anew, also where a reading is under way: something was set here.</summary>
    public void Forget() => Interlocked.Increment(ref _forgotten);

    public void Dispose() => _reading.Dispose();

    private Known? Fresh(TimeSpan most) =>
        _known is { } known && known.Forgotten == Volatile.Read(ref _forgotten) && time.GetElapsedTime(known.ReadAt) < most ? known : null;

    private sealed record Known(T Rows, long ReadAt, int Forgotten);
}
