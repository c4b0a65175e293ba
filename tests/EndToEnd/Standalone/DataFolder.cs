using Pipeline.Standalone;
using Pipeline.Tests.Support.Servers;

namespace Pipeline.Tests.EndToEnd.Standalone;

/// <summary>A host's data folder in a temporary place. Whatever PostgreSQL still runs in it goes with it, even when the tests are killed.</summary>
internal sealed class DataFolder : IAsyncDisposable
{
    private readonly Watchdog _watchdog;

    public DataFolder()
    {
        Path = TemporaryFolder.Create("pipeline-host-");
        var pid = $"{Path}/postgres/data/postmaster.pid";
        _watchdog = Watchdog.Start(
            "",
            $"[ -e {pid} ] && kill -QUIT $(head -n 1 {pid}); while [ -e {pid} ]; do sleep 0.1; done; rm -rf {Path}"
        );
    }

    public string Path { get; }

    public ValueTask DisposeAsync() => _watchdog.DisposeAsync();
}
