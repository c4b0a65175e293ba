using Npgsql;
using Pipeline.Migrations;

namespace Pipeline.Ingest.Routes;

/// <summary>The newest versions of the routes, read again every few seconds and whenever a name is asked for that is not known yet.</summary>
internal sealed class RouteCatalog(NpgsqlDataSource database, TimeProvider time) : IDisposable
{
    private readonly Recent<IReadOnlyList<StoredRoute>> _routes = new(async stop => await ModelRoutes.ReadAllAsync(database, stop), time);

    /// <summary>The route of that name, or null.</summary>
    public ValueTask<StoredRoute?> FindAsync(string name, CancellationToken stop) => _routes.FindAsync(routes => Find(routes, name), stop);

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
