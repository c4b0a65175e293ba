using Pipeline.Standalone.Client;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Standalone;

/// <summary>One host for the tests that only use one. Each has its own jobs and models.</summary>
public sealed class StandaloneHost : IAsyncLifetime
{
    public const string Collection = "standalone host";
    private readonly DataFolder _folder = new();
    private HostProcess? _host;

    internal HostProcess Process => _host!;

    internal PipelineClient Client => Process.Client;

    internal string Folder => _folder.Path;

    public async ValueTask InitializeAsync()
    {
        // Webhooks go to receivers in the test's process.
        _host = await HostProcess.StartAsync(
            _folder.Path,
            environment: [("WEBHOOKS__ALLOWHTTP", "true"), ("WEBHOOKS__ALLOWADDRESSES__0", "127.0.0.0/8")]
        );
        var slow = NewFolder();
        SlowEncoder.Write(slow);
        (await RunAsync("models", "add", slow)).Ended(0);
    }

    public async ValueTask DisposeAsync()
    {
        if (_host is not null)
        {
            await _host.DisposeAsync();
        }

        await _folder.DisposeAsync();
    }

    /// <summary>A folder for a test's files, gone with the host's.</summary>
    internal string NewFolder() => Directory.CreateDirectory(Path.Combine(Folder, "tests", Guid.NewGuid().ToString("N"))).FullName;

    /// <summary>Runs a client command against this host.</summary>
    internal Task<ToolRun> RunAsync(params IEnumerable<string> arguments) => ToolRun.RunAsync([.. arguments, "--data", Folder]);
}

[CollectionDefinition(StandaloneHost.Collection)]
public sealed class StandaloneCollection : ICollectionFixture<StandaloneHost>;
