using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>
/// One door for the tests of a class (a start and an end cost more than most of them): <see cref="NewTenantAsync"/> gives each what is
/// its own. Who changes what all tenants share, or needs other settings, starts an <see cref="IngestHost"/>.
/// </summary>
public class IngestDoor : IAsyncLifetime
{
    private IngestHost? _host;

    internal IngestHost Host => _host!;

    /// <summary>Configuration, as for <see cref="IngestHost.StartAsync"/>.</summary>
    private protected virtual (string Key, string Value)[] Settings => [];

    internal Task<IngestHost> NewTenantAsync() => Host.ForNewTenantAsync();

    /// <summary>Another door of the same settings.</summary>
    internal Task<IngestHost> StartAsync() => IngestHost.StartAsync(Settings);

    public virtual async ValueTask InitializeAsync() => _host = await StartAsync();

    public async ValueTask DisposeAsync()
    {
        if (_host is not null)
        {
            await _host.DisposeAsync();
        }

        GC.SuppressFinalize(this);
    }
}
