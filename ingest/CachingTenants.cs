using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.Ingest;

/// <summary>Which tenants have a cache of results, read again every few seconds: jobs of the others are never looked up.</summary>
internal sealed class CachingTenants(NpgsqlDataSource database, TimeProvider time) : IDisposable
{
    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(2);
    private readonly SemaphoreSlim _reading = new(1, 1);
    private HashSet<TenantId> _tenants = [];
    private long? _readAt;

    public async ValueTask<bool> ContainsAsync(TenantId tenant, CancellationToken stop)
    {
        if (!IsFresh)
        {
            await _reading.WaitAsync(stop);
            try
            {
                if (!IsFresh)
                {
                    var at = time.GetTimestamp();
                    _tenants = await TenantCaches.TenantsAsync(database, stop);
                    _readAt = at;
                }
            }
            finally
            {
                _reading.Release();
            }
        }

        return _tenants.Contains(tenant);
    }

    /// <summary>Its next answer is read anew: a cache was turned on or off here.</summary>
    public void Forget() => _readAt = null;

    public void Dispose() => _reading.Dispose();

    private bool IsFresh => _readAt is { } at && time.GetElapsedTime(at) < FreshFor;
}
