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
    private int _readings;

    /// <summary>As they were read last, without a query; null where they were not, or are forgotten.</summary>
    public T? Last => Current?.Rows;

    public async ValueTask<T> GetAsync(CancellationToken stop) => Fresh is { } known ? known.Rows : await ReadAsync(() => Fresh, stop);

    /// <summary>
    /// What <paramref name="find"/> finds among the rows. Where that is nothing it looks among rows that were not yet read when it was called:
    /// what somebody has just set is found. Any number of calls that find nothing share a reading.
    /// </summary>
    public async ValueTask<TFound?> FindAsync<TFound>(Func<T, TFound?> find, CancellationToken stop)
        where TFound : class
    {
        var readings = Volatile.Read(ref _readings);
        return find(await GetAsync(stop))
            ?? find(await ReadAsync(() => Current is { } known && known.Reading > readings ? known : null, stop));
    }

    /// <summary>What is asked next is read anew, also where a reading is under way: something was set here.</summary>
    public void Forget() => Interlocked.Increment(ref _forgotten);

    public void Dispose() => _reading.Dispose();

    private Known? Current => _known is { } known && known.Forgotten == Volatile.Read(ref _forgotten) ? known : null;

    private Known? Fresh => Current is { } known && time.GetElapsedTime(known.ReadAt) < _freshFor ? known : null;

    /// <param name="good">What is known, where that will do.</param>
    private async Task<T> ReadAsync(Func<Known?> good, CancellationToken stop)
    {
        await _reading.WaitAsync(stop);
        try
        {
            if (good() is { } known)
            {
                return known.Rows;
            }

            var (forgotten, at, reading) = (Volatile.Read(ref _forgotten), time.GetTimestamp(), Interlocked.Increment(ref _readings));
            var rows = await read(stop);
            _known = new Known(rows, at, forgotten, reading);
            return rows;
        }
        finally
        {
            _reading.Release();
        }
    }

    private sealed record Known(T Rows, long ReadAt, int Forgotten, int Reading);
}
