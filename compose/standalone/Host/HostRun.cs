using System.Diagnostics;
using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.GpuWorker;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;
using Pipeline.Hosting.Telemetry;
using Pipeline.Ingest;
using Pipeline.Migrations;
using Pipeline.ResultsApi;
using Pipeline.ResultsApi.Alerts.Probes;
using Pipeline.ResultsApi.Dashboard;
using Pipeline.Scheduler.Service;
using Pipeline.Standalone.Client;

namespace Pipeline.Standalone.Host;

/// <summary>What <c>up</c> was asked for.</summary>
internal sealed record HostSettings
{
    public required string DataFolder { get; init; }

    /// <summary>Wanted port of the API; 0 takes any.</summary>
    public required int Port { get; init; }

    /// <summary>A given server's connection string; null for the private one.</summary>
    public string? Database { get; init; }
    public required string Broker { get; init; }
    public bool SeparateProcesses { get; init; }

    /// <summary>Networks that webhooks may call beside the public internet, over http too.</summary>
    public IReadOnlyList<string> WebhooksAllow { get; init; } = [];

    /// <summary>Quiet hosts log warnings only; <c>up</c> at a terminal logs what happens.</summary>
    public LogLevel LogLevel { get; init; } = LogLevel.Information;

    public string ModelsFolder => Path.Combine(DataFolder, "models");

    /// <summary>What of this the services read from their configuration.</summary>
    public Dictionary<string, string?> Configuration()
    {
        var settings = new Dictionary<string, string?>();
        for (var i = 0; i < WebhooksAllow.Count; i++)
        {
            settings[$"{WebhookAddressOptions.Section}:{nameof(WebhookAddressOptions.AllowAddresses)}:{i}"] = WebhooksAllow[i];
            settings[$"{WebhookAddressOptions.Section}:{nameof(WebhookAddressOptions.AllowHttp)}"] = "true";
        }

        return settings;
    }
}

/// <summary>
/// Runs the system from nothing: private PostgreSQL, schema, first key, starter models, then the services in this process or as
/// processes of their own. PostgreSQL is the truth, so a host that was killed goes on where it was.
/// </summary>
internal static class HostRun
{
    private const string TenantName = "default";

    /// <param name="settings">What to start, where.</param>
    /// <param name="started">Called once everything is ready.</param>
    /// <param name="stop">Ends the run.</param>
    /// <exception cref="CommandException">Another host uses the folder, or a given server is not there.</exception>
    public static async Task<int> RunAsync(HostSettings settings, Action<HostRecord> started, CancellationToken stop)
    {
        Directory.CreateDirectory(settings.DataFolder);
        using var mine = LockFolder(settings.DataFolder);
        using var logs = LoggerFactory.Create(b => b.SetMinimumLevel(settings.LogLevel).AddSimpleConsole(ConsoleLines));
        await using var postgres = settings.Database is null
            ? await PrivatePostgres.StartAsync(
                new PrivatePostgresOptions { Folder = Path.Combine(settings.DataFolder, "postgres") },
                logs.CreateLogger("Pipeline.Postgres"),
                stop
            )
            : null;
        var options = new PipelineOptions
        {
            Database = settings.Database ?? postgres!.ConnectionString,
            Broker = settings.Broker,
            ModelsFolder = settings.ModelsFolder,
        };
        await Migrator.MigrateAsync(options.Database, logs.CreateLogger("Pipeline.Migrations"), options.ServerWaitMax, stop);
        await using var storage = Storage.ForSetup(options.Database);
        var key = await EnsureKeyAsync(storage, settings.DataFolder, stop);
        await ModelSetup.EnsureStartersAsync(storage, settings.ModelsFolder, logs.CreateLogger("Pipeline.Models"), stop);
        try
        {
            return settings.SeparateProcesses
                ? await RunProcessesAsync(settings, options, key, started, stop)
                : await RunInProcessAsync(settings, options, key, started, stop);
        }
        finally
        {
            HostRecord.Remove(settings.DataFolder);
        }
    }

    /// <summary>The whole HTTP API, as one process serves it.</summary>
    public static void MapApi(IEndpointRouteBuilder endpoints)
    {
        endpoints.MapHealth();
        endpoints.MapMetrics();
        endpoints.MapApiDocument();
        endpoints.MapIngest();
        endpoints.MapResultsApi();
    }

    /// <summary>Asks a host to stop (SIGTERM) and waits. False when it did not stop in time.</summary>
    public static async Task<bool> StopAsync(HostRecord record, TimeSpan waitMax, CancellationToken stop)
    {
        using var process = Process.GetProcessById(record.ProcessId);
        ServiceProcess.Terminate(record.ProcessId);
        using var late = CancellationTokenSource.CreateLinkedTokenSource(stop);
        late.CancelAfter(waitMax);
        try
        {
            await process.WaitForExitAsync(late.Token);
            return true;
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            return false;
        }
    }

    /// <summary>The address, the first key, and a line to try at once.</summary>
    public static void TellHowToUse(HostRecord record)
    {
        Console.WriteLine(
            $$"""

            Pipeline is up.
              API        {{record.Ingest}}
              API key    {{record.ApiKey}}
              Dashboard  {{new Uri(record.Results, "dashboard")}}{{(
                record.FirstAdminLink is { } link ? $"\n             its first admin opens, once: {link}" : ""
            )}}

            Try it:
              curl -s '{{record.Ingest}}v1/jobs?model=language-id-small&class=bulk' \
                -H 'Authorization: Bearer {{record.ApiKey}}' -H 'Content-Type: application/x-ndjson' \
                -d '{"custom_id": "hello-1", "input": "Where does this sentence come from?"}'

            Or, in another terminal:
              ./pipeline submit FILE --model language-id-small --watch

            Ctrl-C stops it; nothing accepted is lost.
            """
        );
    }

    private static async Task<int> RunInProcessAsync(
        HostSettings settings,
        PipelineOptions options,
        string key,
        Action<HostRecord> started,
        CancellationToken stop
    )
    {
        var address = new Uri($"http://127.0.0.1:{(settings.Port == 0 ? Ports.Free() : Ports.FreeOr(settings.Port))}");
        var builder = WebApplication.CreateSlimBuilder();
        builder.Configuration.AddInMemoryCollection(
            new Dictionary<string, string?>
            {
                [$"{DashboardOptions.Section}:{nameof(DashboardOptions.Ingest)}"] = address.ToString(),
                [$"{ProbeOptions.Section}:{nameof(ProbeOptions.Address)}"] = address.ToString(),
                [$"{ProbeOptions.Section}:{nameof(ProbeOptions.ApiKey)}"] = key,
                [$"{PipelineOptions.Section}:{nameof(PipelineOptions.Database)}"] = options.Database,
                [$"{PipelineOptions.Section}:{nameof(PipelineOptions.Broker)}"] = options.Broker,
                [$"{PipelineOptions.Section}:{nameof(PipelineOptions.ModelsFolder)}"] = options.ModelsFolder,
            }
        );
        builder.Configuration.AddInMemoryCollection(settings.Configuration());
        builder.WebHost.UseUrls(address.ToString());
        builder.Logging.ClearProviders().SetMinimumLevel(settings.LogLevel).AddSimpleConsole(ConsoleLines);
        builder
            .Logging.AddFilter("Microsoft.AspNetCore", LogLevel.Warning)
            .AddFilter("MassTransit", LogLevel.Warning)
            .AddFilter("Quartz", LogLevel.Warning);
        builder.Services.AddPipelineDefaults(options);
        builder.Services.AddIngest(builder.Configuration);
        builder.Services.AddScheduler(builder.Configuration);
        builder.Services.AddWorker(builder.Configuration);
        builder.Services.AddResultsApi(builder.Configuration);
        builder.Services.AddPipelineTelemetry(builder.Configuration, "pipeline");

        await using var app = builder.Build();
        app.UseProblems();
        MapApi(app);
        await app.Services.WaitForServersAsync(stop);
        await app.StartAsync(stop);
        var record = new HostRecord
        {
            Ingest = address,
            Results = address,
            ApiKey = key,
            ProcessId = Environment.ProcessId,
            Database = options.Database,
            ModelsFolder = options.ModelsFolder,
            FirstAdminLink = await DashboardServices.FirstAdminLinkAsync(
                app.Services.GetRequiredService<NpgsqlDataSource>(),
                app.Services.GetRequiredService<DashboardOptions>(),
                address,
                stop
            ),
        };
        record.Save(settings.DataFolder);
        started(record);
        await using var onStop = stop.Register(app.Lifetime.StopApplication);
        await app.WaitForShutdownAsync(CancellationToken.None);
        return ExitCode.Ok;
    }

    private static async Task<int> RunProcessesAsync(
        HostSettings settings,
        PipelineOptions options,
        string key,
        Action<HostRecord> started,
        CancellationToken stop
    )
    {
        await using var services = new ServiceProcesses(
            options,
            Path.Combine(settings.DataFolder, "logs"),
            settings.Configuration().ToDictionary(s => s.Key.Replace(":", "__", StringComparison.Ordinal), s => s.Value!)
        );
        await services.StartAllAsync(Ports.FreeOr(settings.Port), 0, stop, key);
        var record = new HostRecord
        {
            Ingest = services.Ingest.Address,
            Results = services.Results.Address,
            ApiKey = key,
            ProcessId = Environment.ProcessId,
            Database = options.Database,
            ModelsFolder = options.ModelsFolder,
            FirstAdminLink = await FirstAdminLinkAsync(options, services.Results.Address, stop),
        };
        record.Save(settings.DataFolder);
        started(record);
        Console.WriteLine($"  reads go to {record.Results}; logs are in {Path.Combine(settings.DataFolder, "logs")}");
        return await services.UntilOneEndsAsync(stop) is { } ended
            ? throw new CommandFailedException($"{ended.Name} ended with code {ended.ExitCode}:{Environment.NewLine}{ended.LogTail()}")
            : ExitCode.Ok;
    }

    /// <summary>The services read their options from the environment, which is this process's too.</summary>
    private static async Task<Uri?> FirstAdminLinkAsync(PipelineOptions options, Uri results, CancellationToken stop)
    {
        await using var storage = NpgsqlDataSource.Create(options.Database);
        var dashboard = DashboardOptions.Read(new ConfigurationBuilder().AddEnvironmentVariables().Build());
        return await DashboardServices.FirstAdminLinkAsync(storage, dashboard, results, stop);
    }

    /// <summary>One host a folder: a second would start a second PostgreSQL over the same files.</summary>
    private static FileStream LockFolder(string folder)
    {
        try
        {
            return new FileStream(Path.Combine(folder, "pipeline.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e)
        {
            var other = HostRecord.Find(folder);
            throw new CommandException(
                other is { IsAlive: true }
                    ? $"It is up already, at {other.Ingest} (process {other.ProcessId}). Stop it with \"./pipeline down\", or give another --data."
                    : $"Another process uses {folder} ({e.Message}). Give another --data."
            );
        }
    }

    /// <summary>The first key is issued once and kept beside the data, readable by its owner only.</summary>
    private static async Task<string> EnsureKeyAsync(NpgsqlDataSource storage, string folder, CancellationToken stop)
    {
        var path = Path.Combine(folder, "api-key");
        var keys = new ApiKeys(storage, TimeProvider.System);
        if (
            File.Exists(path)
            && (await File.ReadAllTextAsync(path, stop)).Trim() is { Length: > 0 } known
            && await keys.FindAsync(known, stop) is not null
        )
        {
            return known;
        }

        var tenant = await Tenants.EnsureAsync(storage, TenantName, stop);
        var key = await ApiKeyIssuer.IssueAsync(storage, tenant, "first key", isOperator: true, stop);
        await using var file = HostRecord.CreatePrivateFile(path);
        await using var writer = new StreamWriter(file);
        await writer.WriteLineAsync(key);
        return key;
    }

    private static void ConsoleLines(Microsoft.Extensions.Logging.Console.SimpleConsoleFormatterOptions o)
    {
        o.SingleLine = true;
        o.TimestampFormat = "HH:mm:ss ";
    }
}
