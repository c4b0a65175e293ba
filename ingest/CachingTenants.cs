using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>Which tenants have a cache of results, read again every few seconds: jobs of the others are never looked up.</summary>
internal sealed class CachingTenants(NpgsqlDataSource database, TimeProvider time) : IDisposable
{
    private readonly Recent<HashSet<TenantId>> _tenants = new(stop => TenantCaches.TenantsAsync(database, stop), time);

    public async ValueTask<bool> ContainsAsync(TenantId tenant, CancellationToken stop) => (await _tenants.GetAsync(stop)).Contains(tenant);

    /// <summary>Its next answer is read anew: a cache was turned on or off here.</summary>
    public void Forget() => _tenants.Forget();

    public void Dispose() => _tenants.Dispose();
}
