using Npgsql;
using Pipeline.Migrations;

namespace Pipeline.Ingest.Routes;

/// <summary>The newest versions of the routes, read again every few seconds and whenever a name is asked for that is not known yet.</summary>
internal sealed class RouteCatalog(NpgsqlDataSource database, TimeProvider time) : IDisposable
{
    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(2);

    /// <summary>Requests for a route that does not exist read the table this often at most.</summary>
    private static readonly TimeSpan ReadAgainAfter = TimeSpan.FromMilliseconds(100);

    private readonly SemaphoreSlim _reading = new(1, 1);
    private Known _known = new([], null);

    /// <summary>The route of that name, or null.</summary>
    public async ValueTask<StoredRoute?> FindAsync(string name, CancellationToken stop) =>
        Find(await ReadAsync(FreshFor, stop), name) ?? Find(await ReadAsync(ReadAgainAfter, stop), name);

    /// <summary>As it was read last, without a query; null where it was not there then.</summary>
    public StoredRoute? Remembered(string name) => Find(_known.Routes, name);

    /// <summary>Every route, for a message that says what exists.</summary>
    public async ValueTask<IReadOnlyList<string>> NamesAsync(CancellationToken stop) =>
        [.. (await ReadAsync(FreshFor, stop)).Select(r => r.Route.Name)];

    /// <summary>What is known is out of date: a route was set here.</summary>
    public void Forget() => _known = new([], null);

    public void Dispose() => _reading.Dispose();

    private async ValueTask<IReadOnlyList<StoredRoute>> ReadAsync(TimeSpan freshFor, CancellationToken stop)
    {
        if (_known is var known && known.IsFresh(freshFor, time))
        {
            return known.Routes;
        }

        await _reading.WaitAsync(stop);
        try
        {
            if (!_known.IsFresh(freshFor, time))
            {
                var at = time.GetTimestamp();
                _known = new Known(await ModelRoutes.ReadAllAsync(database, stop), at);
            }

            return _known.Routes;
        }
        finally
        {
            _reading.Release();
        }
    }

    private static StoredRoute? Find(IReadOnlyList<StoredRoute> routes, string name) => routes.FirstOrDefault(r => r.Route.Name == name);

    private sealed record Known(IReadOnlyList<StoredRoute> Routes, long? ReadAt)
    {
        public bool IsFresh(TimeSpan freshFor, TimeProvider time) => ReadAt is { } at && time.GetElapsedTime(at) < freshFor;
    }
}
