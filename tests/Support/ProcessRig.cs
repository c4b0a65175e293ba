using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.Standalone;
using Pipeline.Standalone.Client;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support.Servers;

namespace Pipeline.Tests.Support;

/// <summary>
/// The whole system as production runs it, on this machine: a PostgreSQL with <c>fsync</c> on, a virtual host of a real RabbitMQ, and the
/// four services as processes of their own. Everything lives in a temporary folder and is gone at the end.
/// </summary>
internal sealed class ProcessRig : IAsyncDisposable
{
    private readonly TestVhost _broker;
    private readonly Watchdog _watchdog;
    private PrivatePostgres _postgres;

    private ProcessRig(string folder, PrivatePostgres postgres, TestVhost broker)
    {
        (Folder, _postgres, _broker) = (folder, postgres, broker);
        Options = new PipelineOptions
        {
            Database = postgres.ConnectionString,
            Broker = broker.Uri,
            ModelsFolder = Path.Combine(folder, "models"),
        };
        Storage = NpgsqlDataSource.Create(postgres.ConnectionString);

        // Should the tests be killed, PostgreSQL and the folder go all the same; the services follow by themselves.
        var pid = Path.Combine(folder, "postgres", "data", "postmaster.pid");
        _watchdog = Watchdog.Start(
            "",
            $"[ -e {pid} ] && kill -QUIT $(head -n 1 {pid}); while [ -e {pid} ]; do sleep 0.1; done; rm -rf {folder}"
        );
    }

    public PipelineOptions Options { get; }

    public NpgsqlDataSource Storage { get; }

    public ServiceProcesses Services { get; private set; } = null!;

    public PipelineClient Client { get; private set; } = null!;

    public string ApiKey { get; private set; } = "";

    public string Folder { get; }

    public int PostgresProcessId => _postgres.ProcessId;

    /// <summary>Starts the servers, lays down the schema, issues a key. Skips the test where there is no RabbitMQ.</summary>
    public static async Task<ProcessRig> StartAsync(CancellationToken stop) =>
        await StartAsync(await TestRabbitMq.CreateVhostAsync(), stop);

    /// <summary>As the other, on a broker that the caller may stop.</summary>
    public static async Task<ProcessRig> StartAsync(RabbitMqServer broker, CancellationToken stop) =>
        await StartAsync(await broker.CreateVhostAsync(), stop);

    private static async Task<ProcessRig> StartAsync(TestVhost broker, CancellationToken stop)
    {
        var folder = TemporaryFolder.Create("pipeline-rig-");
        var postgres = await PrivatePostgres.StartAsync(
            new PrivatePostgresOptions { Folder = Path.Combine(folder, "postgres") },
            NullLogger.Instance,
            stop
        );
        var rig = new ProcessRig(folder, postgres, broker);
        await Migrator.MigrateAsync(rig.Options.Database, NullLogger.Instance, TimeSpan.FromSeconds(60), stop);
        var tenant = await Tenants.EnsureAsync(rig.Storage, "rig", stop);
        rig.ApiKey = await ApiKeyIssuer.IssueAsync(rig.Storage, tenant, "rig", cancellationToken: stop);
        return rig;
    }

    public Task AddStarterModelsAsync(CancellationToken stop) =>
        ModelSetup.EnsureStartersAsync(Storage, Options.ModelsFolder, NullLogger.Instance, stop);

    /// <summary>Starts the four services; models must be registered before.</summary>
    public async Task StartServicesAsync(IReadOnlyDictionary<string, string>? environment, CancellationToken stop)
    {
        Services = new ServiceProcesses(Options, Path.Combine(Folder, "logs"), environment);
        await Services.StartAllAsync(0, 0, stop, probeKey: ApiKey);
        Client = new PipelineClient(Services.Ingest.Address, Services.Results.Address, ApiKey);
    }

    /// <summary>Stops the services, in good order; they may be started again.</summary>
    public async Task StopServicesAsync()
    {
        Client.Dispose();
        await Services.DisposeAsync();
    }

    /// <summary>Stops PostgreSQL (fast: its clients are thrown out).</summary>
    public async Task StopPostgresAsync()
    {
        await _postgres.DisposeAsync();
        Storage.Clear();
    }

    /// <summary>Starts it again at the same address.</summary>
    public async Task StartPostgresAgainAsync(CancellationToken stop) =>
        _postgres = await PrivatePostgres.StartAsync(
            new PrivatePostgresOptions { Folder = Path.Combine(Folder, "postgres"), Port = _postgres.Port },
            NullLogger.Instance,
            stop
        );

    public async ValueTask DisposeAsync()
    {
        Client?.Dispose();
        if (Services is not null)
        {
            await Services.DisposeAsync();
        }

        await Storage.DisposeAsync();
        await _broker.DisposeAsync();
        await _postgres.DisposeAsync();
        await _watchdog.DisposeAsync();
    }
}
