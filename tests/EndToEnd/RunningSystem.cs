using System.Diagnostics;
using System.Globalization;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Standalone.Client;
using Pipeline.Standalone.Host;
using Pipeline.Tests.EndToEnd;
using Pipeline.Tests.EndToEnd.Dashboard;
using Pipeline.Tests.Support;
using Pipeline.Tests.Support.Models;
using Pipeline.Tests.Support.Servers;
using Pipeline.Tests.Support.Telemetry;
using Pipeline.Tests.Support.Worker;
using Xunit;

[assembly: CaptureConsole]

namespace Pipeline.Tests.EndToEnd;

/// <summary>
/// The four processes with a PostgreSQL and a RabbitMQ of their own, started once for the tests of <see cref="Collection"/>. Each test has
/// its own jobs, and starts again whatever it stops or kills.
/// </summary>
public sealed class RunningSystem : IAsyncLifetime
{
    public const string Collection = "four processes";
    public const string SmallModel = "language-id-small";

    private static readonly TimeSpan ReadyWait = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(20);
    private RabbitMqServer? _broker;
    private OtlpReceiver? _telemetry;
    private ProcessRig? _rig;
    private ServiceProcess? _ingest;
    private ServiceProcess? _scheduler;
    private ServiceProcess? _worker;
    private string _missing = "";

    /// <summary>Asking for any part of it skips the test where there is no RabbitMQ.</summary>
    internal RabbitMqServer Broker
    {
        get
        {
            Assert.SkipWhen(_broker is null, _missing);
            return _broker!;
        }
    }

    internal ProcessRig Rig => Running(_rig);

    /// <summary>Where all services send their telemetry. They record the traces of callers who say so, and no others.</summary>
    internal OtlpReceiver Telemetry => Running(_telemetry);

    internal PipelineClient Client => Rig.Client;

    internal NpgsqlDataSource Database => Rig.Storage;

    internal ServiceProcess Ingest => Running(_ingest);

    /// <summary>The active one.</summary>
    internal ServiceProcess Scheduler
    {
        get => Running(_scheduler);
        set => _scheduler = value;
    }

    internal ServiceProcess Worker => Running(_worker);

    public async ValueTask InitializeAsync()
    {
        var stop = TestContext.Current.CancellationToken;
        try
        {
            _broker = await TestRabbitMq.StartOwnAsync();
        }
        catch (ServerMissingException e)
        {
            _missing = e.Message;
            return;
        }

        _telemetry = await OtlpReceiver.StartAsync();
        _rig = await ProcessRig.StartAsync(_broker, stop);
        await Rig.AddStarterModelsAsync(stop);
        await AddSlowEncoderAsync(stop);
        await ModelRegistry.PutAsync(Database, CrashingModel(), profile: null, fileBytes: 1, makeCurrent: true, stop);
        await Rig.StartServicesAsync(
            // What was accepted just before ingest was killed is announced by the next sweep.
            // Webhooks go to receivers in this process.
            new Dictionary<string, string>(_telemetry.Environment)
            {
                ["OTEL_TRACES_SAMPLER_ARG"] = "0",
                ["TELEMETRY__STOREDEVERY"] = "00:00:01",
                ["INGEST__SWEEPEVERY"] = "00:00:01",
                ["WEBHOOKS__ALLOWHTTP"] = "true",
                ["WEBHOOKS__ALLOWADDRESSES__0"] = "127.0.0.0/8",
            },
            stop
        );
        (_ingest, _scheduler, _worker) = (Rig.Services.Ingest, Service("scheduler"), Service("gpu-worker"));
    }

    public async ValueTask DisposeAsync()
    {
        if (_rig is not null)
        {
            await _rig.DisposeAsync();
        }

        if (_broker is not null)
        {
            await _broker.DisposeAsync();
        }

        if (_telemetry is not null)
        {
            await _telemetry.DisposeAsync();
        }
    }

    /// <summary>The first column of the first row; nothing where there is none.</summary>
    internal async Task<T?> ScalarAsync<T>(string sql, params object[] parameters)
    {
        await using var command = Database.CreateCommand(sql);
        foreach (var parameter in parameters)
        {
            command.Parameters.Add(new() { Value = parameter });
        }

        return await command.ExecuteScalarAsync(TestContext.Current.CancellationToken) is T value ? value : default;
    }

    /// <summary>Waits until a query says that it is so.</summary>
    internal async Task UntilAsync(string sql, params object[] parameters)
    {
        for (var clock = Stopwatch.StartNew(); !await ScalarAsync<bool>(sql, parameters); await Task.Delay(LookEvery))
        {
            Assert.True(clock.Elapsed < Patience, $"It did not become so in {Patience.TotalSeconds} s: {sql}");
        }
    }

    internal DirectModel Direct(string model) => new(Rig.Options.ModelsFolder, model);

    /// <summary>Texts for a job of so many tasks; no two jobs of a test run need differ.</summary>
    internal static string[] Texts(int count)
    {
        var sentences = ShortTexts.Read();
        return [.. Enumerable.Range(0, count).Select(i => sentences[i % sentences.Length])];
    }

    /// <summary>A client of a tenant's own.</summary>
    internal async Task<PipelineClient> ClientOfAsync(string tenant)
    {
        var key = await ApiKeyIssuer.IssueAsync(Database, await Tenants.EnsureAsync(Database, tenant), "shop");
        return new PipelineClient(Ingest.Address, Rig.Services.Results.Address, key);
    }

    internal async Task<string> OperatorKeyAsync()
    {
        var tenant = await Tenants.EnsureAsync(Database, "rig");
        return await ApiKeyIssuer.IssueAsync(Database, tenant, "operator", isOperator: true);
    }

    internal async Task<ServiceProcess> StartIngestAsync()
    {
        _ingest = Rig.Services.Start("ingest", "Pipeline.Ingest.dll", Ingest.Address.Port);
        await Ingest.UntilReadyAsync(ReadyWait, TestContext.Current.CancellationToken);
        return Ingest;
    }

    internal async Task<ServiceProcess> StartSchedulerAsync()
    {
        var spare = Rig.Services.Start("scheduler", "Pipeline.Scheduler.dll", 0);
        await spare.UntilReadyAsync(ReadyWait, TestContext.Current.CancellationToken);
        return spare;
    }

    internal async Task<ServiceProcess> StartWorkerAsync(string program = "Pipeline.GpuWorker.dll")
    {
        _worker = Rig.Services.Start("gpu-worker", program, 0);
        await Worker.UntilReadyAsync(ReadyWait, TestContext.Current.CancellationToken);
        return Worker;
    }

    /// <summary>Waits until a process has ended, and returns its exit code.</summary>
    internal static async Task<int> UntilEndAsync(ServiceProcess service)
    {
        using var late = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        late.CancelAfter(ReadyWait);
        await service.EndAsync(late.Token);
        return service.ExitCode;
    }

    /// <summary>The end of every process's log, for a test that failed.</summary>
    internal void TellLogs() =>
        Console.WriteLine(
            string.Join(
                Environment.NewLine,
                Rig.Services.All.Select(s => string.Create(CultureInfo.InvariantCulture, $"== {s.Name} ({s.ProcessId})\n{s.LogTail(60)}"))
            )
        );

    private T Running<T>(T? part)
        where T : class => part ?? throw new InvalidOperationException($"The system did not come up over {Broker}.");

    private ServiceProcess Service(string name) => Rig.Services.All.First(service => service.Name == name);

    private async Task AddSlowEncoderAsync(CancellationToken stop)
    {
        var folder = Path.Combine(Rig.Folder, SlowEncoder.Name);
        SlowEncoder.Write(folder);
        await ModelSetup.AddAsync(Database, folder, Rig.Options.ModelsFolder, new(), makeCurrent: true, NullLogger.Instance, stop);
    }

    /// <summary>What the crashing worker's model is to the door; no other worker can load it.</summary>
    private static ModelManifest CrashingModel() =>
        new FakeModel(FakeModels.Name, 16).Manifest with
        {
            Tokenizer = new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = 512 },
        };
}

[CollectionDefinition(RunningSystem.Collection)]
public sealed class FourProcessesCollection : ICollectionFixture<RunningSystem>, ICollectionFixture<DashboardBrowser>;
