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
    private readonly PrivatePostgres _postgres;
    private readonly TestVhost _broker;

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
    }

    public PipelineOptions Options { get; }

    public NpgsqlDataSource Storage { get; }

    public ServiceProcesses Services { get; private set; } = null!;

    public PipelineClient Client { get; private set; } = null!;

    public string ApiKey { get; private set; } = "";

    public string Folder { get; }

    public int PostgresProcessId => _postgres.ProcessId;

    /// <summary>Starts the servers, lays down the schema, issues a key. Skips the test where there is no RabbitMQ.</summary>
    public static async Task<ProcessRig> StartAsync(CancellationToken stop)
    {
        var broker = await TestRabbitMq.CreateVhostAsync();
        var folder = Directory.CreateTempSubdirectory("pipeline-rig-").FullName;
        var postgres = await PrivatePostgres.StartAsync(
            new PrivatePostgresOptions { Folder = Path.Combine(folder, "postgres") },
            NullLogger.Instance,
            stop
        );
        var rig = new ProcessRig(folder, postgres, broker);
        await Migrator.MigrateAsync(rig.Options.Database, NullLogger.Instance, TimeSpan.FromSeconds(60), stop);
        var tenant = await Tenants.EnsureAsync(rig.Storage, "rig", stop);
        rig.ApiKey = await ApiKeyIssuer.IssueAsync(rig.Storage, tenant, "rig", stop);
        return rig;
    }

    public Task AddStarterModelsAsync(CancellationToken stop) =>
        ModelSetup.EnsureStartersAsync(Storage, Options.ModelsFolder, NullLogger.Instance, stop);

    /// <summary>Starts the four services; models must be registered before.</summary>
    public async Task StartServicesAsync(IReadOnlyDictionary<string, string>? environment, CancellationToken stop)
    {
        Services = new ServiceProcesses(Options, Path.Combine(Folder, "logs"), environment);
        await Services.StartAllAsync(0, 0, stop);
        Client = new PipelineClient(Services.Ingest.Address, Services.Results.Address, ApiKey);
    }

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
        Directory.Delete(Folder, recursive: true);
    }
}
