using System.Collections.Concurrent;
using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.Standalone;
using Pipeline.Standalone.Host;

namespace Pipeline.Bench;

internal sealed record WebhooksSettings
{
    /// <summary>Events told at once, in the first part and again in the second.</summary>
    public int Events { get; init; } = 20_000;

    /// <summary>How often the sender is killed in the second part.</summary>
    public int Kills { get; init; } = 3;

    /// <summary>Events a second, and for how long, while another endpoint hangs.</summary>
    public int HangingPerSecond { get; init; } = 200;
    public int HangingSeconds { get; init; } = 20;
}

/// <summary>
/// <c>webhooks</c>: from committed events to a receiver on loopback, through a results-api of its own process and a PostgreSQL with
/// <c>fsync</c> on. First as fast as it goes; then with the sender killed again and again, among events that are rolled back; then at a
/// steady rate beside an endpoint that hangs. Everything a receiver gets is compared with what was committed.
/// </summary>
internal static class WebhooksBench
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    public static Command Create()
    {
        var events = new Option<int>("--events")
        {
            Description = "Events of the first part, and of the second",
            DefaultValueFactory = _ => new WebhooksSettings().Events,
        };
        var kills = new Option<int>("--kills")
        {
            Description = "Kills of the sender",
            DefaultValueFactory = _ => new WebhooksSettings().Kills,
        };
        var seconds = new Option<int>("--seconds")
        {
            Description = "Seconds beside an endpoint that hangs",
            DefaultValueFactory = _ => new WebhooksSettings().HangingSeconds,
        };
        var command = new Command("webhooks", "Webhook deliveries: rate, loss under kills, delay beside an endpoint that hangs.")
        {
            events,
            kills,
            seconds,
        };
        command.SetAction(
            (parsed, stop) =>
                RunAsync(
                    new WebhooksSettings
                    {
                        Events = parsed.GetValue(events),
                        Kills = parsed.GetValue(kills),
                        HangingSeconds = parsed.GetValue(seconds),
                    },
                    stop
                )
        );
        return command;
    }

    public static async Task<int> RunAsync(WebhooksSettings settings, CancellationToken stop)
    {
        var folder = TemporaryFolder.Create("pipeline-bench-webhooks-");
        try
        {
            await using var postgres = await PrivatePostgres.StartAsync(
                new PrivatePostgresOptions { Folder = Path.Combine(folder, "postgres") },
                NullLogger.Instance,
                stop
            );
            await Migrator.MigrateAsync(postgres.ConnectionString, NullLogger.Instance, TimeSpan.FromSeconds(60), stop);
            await using var world = await World.StartAsync(postgres.ConnectionString, folder, stop);
            return await MeasureAsync(world, settings, stop);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<int> MeasureAsync(World world, WebhooksSettings settings, CancellationToken stop)
    {
        await world.AddEndpointAsync("/good", stop);
        await world.TellAsync("warm", 500, stop);
        await world.UntilToldAsync(stop);

        var cpu = -world.SenderCpuMs();
        var clock = Stopwatch.StartNew();
        await world.TellAsync("fast", settings.Events, stop);
        await world.UntilToldAsync(stop);
        cpu += world.SenderCpuMs();
        var rate = settings.Events / clock.Elapsed.TotalSeconds;
        Figures.Say($"{settings.Events:N0} events in {clock.Elapsed.TotalSeconds:F1} s: {rate:N0}/s");

        // Each part is told while the sender runs, and it is killed while it has them in hand.
        for (var kill = 0; kill <= settings.Kills; kill++)
        {
            await world.TellAsync($"kill-{kill}", settings.Events / (settings.Kills + 1), stop);
            await world.RollBackAsync($"undone-{kill}", 100, stop);
            if (kill < settings.Kills)
            {
                await world.KillInTheMiddleAsync(stop);
            }
        }

        await world.UntilToldAsync(stop);
        var (lost, invented, twice) = world.Compare();
        Figures.Say($"{settings.Kills} kills: {lost} lost, {invented} invented, {twice} told twice");

        await world.AddEndpointAsync("/hang", stop);
        var delays = await world.SteadilyAsync(settings.HangingPerSecond, settings.HangingSeconds, stop);
        var (p50, p99) = (Figures.Percentile(delays, 50), Figures.Percentile(delays, 99));
        Figures.Say($"beside an endpoint that hangs: {delays.Length} told after p50 {p50:F3} s, p99 {p99:F3} s");
        (lost, invented, _) = world.Compare();
        Figures.Report(
            new
            {
                benchmark = "webhooks",
                events_per_s = Math.Round(rate),
                lost,
                invented,
                told_twice = twice,
                healthy_p50_s = Math.Round(p50, 3),
                healthy_p99_s = Math.Round(p99, 3),
                kills = settings.Kills,
                sender_cpu_ms_per_event = Math.Round(cpu / settings.Events, 3),
            }
        );
        return lost == 0 && invented == 0 ? 0 : 1;
    }

    /// <summary>A sender, a receiver, and what each of them knows.</summary>
    private sealed class World : IAsyncDisposable
    {
        private readonly ConcurrentDictionary<string, DateTimeOffset> _committed = new();
        private readonly ConcurrentDictionary<string, (DateTimeOffset First, int Times)> _received = new();
        private readonly NpgsqlDataSource _storage;
        private readonly ServiceProcesses _services;
        private readonly WebApplication _receiver;
        private readonly HttpClient _api = new();
        private TenantId _tenant;
        private ServiceProcess _sender;

        private World(NpgsqlDataSource storage, ServiceProcesses services, WebApplication receiver)
        {
            (_storage, _services, _receiver) = (storage, services, receiver);
            _sender = Start();
        }

        public static async Task<World> StartAsync(string database, string folder, CancellationToken stop)
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            var receiver = builder.Build();
            var options = new PipelineOptions { Database = database, Broker = PipelineOptions.InMemoryBroker };
            var environment = new Dictionary<string, string>
            {
                ["WEBHOOKS__ALLOWHTTP"] = "true",
                ["WEBHOOKS__ALLOWADDRESSES__0"] = "127.0.0.0/8",
                ["WEBHOOKS__CLAIMTIME"] = "00:00:30",
                ["WEBHOOKS__REQUESTTIMEMAX"] = "00:00:10",
            };
            var world = new World(
                NpgsqlDataSource.Create(database),
                new ServiceProcesses(options, Path.Combine(folder, "logs"), environment),
                receiver
            );
            receiver.Run(world.ReceiveAsync);
            await receiver.StartAsync(stop);
            world._tenant = await Tenants.EnsureAsync(world._storage, "bench", stop);
            var key = await ApiKeyIssuer.IssueAsync(world._storage, world._tenant, "bench", cancellationToken: stop);
            world._api.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
            await world._sender.UntilReadyAsync(TimeSpan.FromSeconds(60), stop);
            return world;
        }

        public async Task AddEndpointAsync(string path, CancellationToken stop)
        {
            var url = new Uri(new Uri(_receiver.Urls.First()), path);
            using var response = await _api.PostAsJsonAsync(
                new Uri(_sender.Address, "v1/webhook_endpoints"),
                new { url, event_types = (string[])["alert.raised"] },
                stop
            );
            response.EnsureSuccessStatusCode();
        }

        /// <summary>Commits events, a hundred a transaction as busy jobs would; each is noted after its commit.</summary>
        public async Task TellAsync(string name, int count, CancellationToken stop)
        {
            for (var first = 0; first < count; first += 100)
            {
                await InsertAsync(name, first, Math.Min(100, count - first), commit: true, stop);
            }
        }

        public Task RollBackAsync(string name, int count, CancellationToken stop) => InsertAsync(name, 0, count, commit: false, stop);

        /// <summary>Events at a steady rate; gives the seconds from commit to receiver, in order.</summary>
        public async Task<double[]> SteadilyAsync(int perSecond, int seconds, CancellationToken stop)
        {
            using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
            for (var turn = 0; turn < seconds * 20 && await timer.WaitForNextTickAsync(stop); turn++)
            {
                await InsertAsync($"steady-{turn}", 0, perSecond / 20, commit: true, stop);
            }

            await UntilToldAsync(stop);
            return
            [
                .. _committed
                    .Where(c => c.Key.StartsWith("steady-", StringComparison.Ordinal))
                    .Select(c => (_received[c.Key].First - c.Value).TotalSeconds)
                    .Order(),
            ];
        }

        public async Task UntilToldAsync(CancellationToken stop)
        {
            var clock = Stopwatch.StartNew();
            while (_committed.Keys.Any(key => !_received.ContainsKey(key)) && clock.Elapsed < Patience)
            {
                await Task.Delay(_committed.Count > 1000 ? 50 : 10, stop);
            }
        }

        public async Task KillInTheMiddleAsync(CancellationToken stop)
        {
            var before = _received.Count;
            var clock = Stopwatch.StartNew();
            while (_received.Count < before + 100 && clock.Elapsed < TimeSpan.FromSeconds(10))
            {
                await Task.Delay(1, stop);
            }

            _sender.Kill();
            await _sender.EndAsync(stop);
            _sender = Start();
            await _sender.UntilReadyAsync(TimeSpan.FromSeconds(60), stop);
        }

        /// <summary>What was committed and not received; received and not committed; received more than once.</summary>
        public (int Lost, int Invented, int Twice) Compare() =>
            (
                _committed.Keys.Count(key => !_received.ContainsKey(key)),
                _received.Keys.Count(key => !_committed.ContainsKey(key)),
                _received.Values.Count(received => received.Times > 1)
            );

        /// <summary>CPU of the sender's process so far.</summary>
        public double SenderCpuMs()
        {
            using var process = Process.GetProcessById(_sender.ProcessId);
            return process.TotalProcessorTime.TotalMilliseconds;
        }

        public async ValueTask DisposeAsync()
        {
            await _services.DisposeAsync();
            using var now = new CancellationTokenSource();
            await now.CancelAsync();
            await _receiver.StopAsync(now.Token);
            await _receiver.DisposeAsync();
            await _storage.DisposeAsync();
            _api.Dispose();
        }

        private ServiceProcess Start() => _services.Start("results-api", "Pipeline.ResultsApi.dll", 0);

        private async Task InsertAsync(string name, int first, int count, bool commit, CancellationToken stop)
        {
            await using var connection = await _storage.OpenConnectionAsync(stop);
            await using var transaction = await connection.BeginTransactionAsync(stop);
            await using var command = new NpgsqlCommand(
                """
                INSERT INTO events (tenant, type, data, created_at)
                SELECT $1, 'alert.raised', jsonb_build_object('no', $2 || '.' || n), now() FROM generate_series($3, $3 + $4 - 1) n
                """,
                connection,
                transaction
            );
            command.Parameters.Add(new() { Value = _tenant.Value });
            command.Parameters.Add(new() { Value = name });
            command.Parameters.Add(new() { Value = first });
            command.Parameters.Add(new() { Value = count });
            await command.ExecuteNonQueryAsync(stop);
            if (!commit)
            {
                await transaction.RollbackAsync(stop);
                return;
            }

            // Noted just before: a receiver may be quicker than the answer to the commit, and a delay is never told too short.
            var now = DateTimeOffset.UtcNow;
            for (var n = first; n < first + count; n++)
            {
                _committed[string.Create(CultureInfo.InvariantCulture, $"{name}.{n}")] = now;
            }

            await transaction.CommitAsync(stop);
        }

        private async Task ReceiveAsync(Microsoft.AspNetCore.Http.HttpContext http)
        {
            if (http.Request.Path == "/hang")
            {
                await Task.Delay(Timeout.Infinite, http.RequestAborted);
            }

            using var body = await JsonDocument.ParseAsync(http.Request.Body);
            var no = body.RootElement.GetProperty("data").GetProperty("no").GetString()!;
            _received.AddOrUpdate(no, _ => (DateTimeOffset.UtcNow, 1), (_, seen) => (seen.First, seen.Times + 1));
            http.Response.StatusCode = (int)HttpStatusCode.NoContent;
        }
    }
}
