using Npgsql;
using Pipeline.Migrations;

namespace Pipeline.Ingest.Routes;

/// <summary>The newest versions of the routes, read again every few seconds and whenever a name is asked for that is not known yet.</summary>
internal sealed class RouteCatalog(NpgsqlDataSource database, TimeProvider time) : IDisposable
{
    /// <summary>Requests for a route that does not exist read the table this often at most.</summary>
    private static readonly TimeSpan ReadAgainAfter = TimeSpan.FromMilliseconds(100);

    private readonly Recent<IReadOnlyList<StoredRoute>> _routes = new(async stop => await ModelRoutes.ReadAllAsync(database, stop), time);

    /// <summary>The route of that name, or null.</summary>
    public async ValueTask<StoredRoute?> FindAsync(string name, CancellationToken stop) =>
        Find(await _routes.GetAsync(stop), name) ?? Find(await _routes.GetAsync(stop, ReadAgainAfter), name);

    /// <summary>As it was read last, without a query; null where it was not there then.</summary>
    public StoredRoute? Remembered(string name) => Find(_routes.Last ?? [], name);

    /// <summary>Every route, for a message that says what exists.</summary>
    public async ValueTask<IReadOnlyList<string>> NamesAsync(CancellationToken stop) =>
        [.. (await _routes.GetAsync(stop)).Select(r => r.Route.Name)];

    /// <summary>What is known is out of date: a route was set here.</summary>
    public void Forget() => _routes.Forget();

    public void Dispose() => _routes.Dispose();

    private static StoredRoute? Find(IReadOnlyList<StoredRoute> routes, string name) => routes.FirstOrDefault(r => r.Route.Name == name);
}
