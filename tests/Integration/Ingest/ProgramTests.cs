using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.RegularExpressions;
using MassTransit;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.Tests.Integration.ResultsApi;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>The door as a process of its own: what it needs, what it says without, how much memory it takes.</summary>
public sealed partial class ProgramTests
{
    [Fact]
    public async Task A_million_tasks_of_200_megabytes_pass_with_the_process_under_300()
    {
        const int Tasks = 1_000_000;
        await using var database = await TestPostgres.CreateDatabaseAsync();
        var tenant = await Tenants.EnsureAsync(database.DataSource, "test");
        var key = await ApiKeyIssuer.IssueAsync(database.DataSource, tenant, "test");
        await ModelRegistry.PutAsync(database.DataSource, TestModels.Words("1"), null, 1, makeCurrent: true);
        using var process = Start(("PIPELINE__DATABASE", database.ConnectionString), ("PIPELINE__BROKER", "memory:"));
        var address = await ListeningAsync(process);
        var output = process.StandardOutput.ReadToEndAsync();

        using var http = new HttpClient { BaseAddress = address, Timeout = TimeSpan.FromMinutes(5) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        using var body = new ManyTasks(Tasks);
        using var response = await http.PostAsync("/v1/jobs?model=words", body);
        var job = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal(Tasks, job.GetProperty("tasks").GetInt32());
        Assert.True(body.Bytes >= 200_000_000, $"The body had {body.Bytes} bytes.");
        Assert.Equal(Tasks, await database.ScalarAsync<long>("SELECT sum(tasks) FROM chunks"));
        var peakMb = PeakMb(process);
        TestContext.Current.TestOutputHelper?.WriteLine($"Peak memory {peakMb} MB for a body of {body.Bytes / 1_000_000} MB.");
        Assert.InRange(peakMb, 1, 299);

        process.Kill();
        await process.WaitForExitAsync();
        await output;
    }

    [Fact]
    public async Task While_the_database_is_away_requests_are_answered_503_and_work_resumes()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        var settings = new NpgsqlConnectionStringBuilder(database.ConnectionString);
        using var relay = new TcpRelay(settings.Host!, settings.Port);
        (settings.Host, settings.Port) = ("127.0.0.1", relay.Port);
        await using var host = await IngestHost.StartAsync(database, settings.ConnectionString);
        var job = await host.SubmitAsync();

        relay.Cut();
        using var submitted = await host.PostAsync("model=words", """{"custom_id":"a","input":"x"}""", ("Idempotency-Key", "k"));
        using var paused = await host.Client.PostAsync($"/v1/jobs/{job}/pause", null);
        foreach (var response in new[] { submitted, paused })
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
            Assert.NotNull(response.Headers.RetryAfter);
            Assert.Equal("unavailable", (await response.JsonAsync()).GetProperty("error").GetProperty("code").GetString());
        }

        relay.Restore();
        using var again = await host.PostAsync("model=words", """{"custom_id":"a","input":"x"}""", ("Idempotency-Key", "k"));
        Assert.Equal(HttpStatusCode.OK, again.StatusCode);
        Assert.Equal(2, await database.ScalarAsync<long>("SELECT count(*) FROM jobs"));
    }

    [Fact]
    public async Task A_long_body_that_loses_the_database_is_answered_503_and_swept_when_it_is_back()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        var settings = new NpgsqlConnectionStringBuilder(database.ConnectionString);
        using var relay = new TcpRelay(settings.Host!, settings.Port);
        (settings.Host, settings.Port) = ("127.0.0.1", relay.Port);
        await using var host = await IngestHost.StartAsync(
            database,
            settings.ConnectionString,
            ("Ingest:StoreChunksMax", "1"),
            ("Ingest:SweepEvery", "00:00:00.2")
        );
        using var body = new HeldContent(Lines(0, 2_000), Lines(2_000, 4_000));
        var answer = host.PostAsync("model=words", body, "application/x-ndjson");
        await database.UntilAsync("SELECT count(*) > 1 FROM chunks");

        relay.Cut();
        body.Release();
        using var response = await answer;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);

        relay.Restore();
        await database.UntilAsync("SELECT NOT EXISTS (SELECT FROM jobs)");
    }

    [Fact]
    public async Task While_the_broker_is_away_requests_are_answered_503_and_what_was_accepted_is_announced_after()
    {
        await using var vhost = await TestRabbitMq.CreateVhostAsync();
        using var relay = RelayTo(vhost.Uri, out var broker);
        await using var host = await IngestHost.StartAsync(
            ("Pipeline:Broker", broker),
            ("Ingest:SweepEvery", "00:00:00.2"),
            ("Ingest:PublishWaitMax", "00:00:01")
        );
        await host.SubmitAsync();
        await host.Scheduler.NextChunkAsync();

        // In the moment before the loss is noticed a job may still be accepted: it is announced later.
        relay.Cut();
        var refused = await PostUntilAsync(host, HttpStatusCode.ServiceUnavailable);
        Assert.NotNull(refused.RetryAfter);

        relay.Restore();
        await PostUntilAsync(host, HttpStatusCode.OK);
        await host.Database.UntilAsync("SELECT bool_and(announced_at IS NOT NULL) FROM chunks");
    }

    [Fact]
    public async Task A_broker_that_confirms_nothing_keeps_nobody_waiting()
    {
        await using var vhost = await TestRabbitMq.CreateVhostAsync();
        using var relay = RelayTo(vhost.Uri, out var broker);
        await using var host = await IngestHost.StartAsync(("Pipeline:Broker", broker), ("Ingest:PublishWaitMax", "00:00:00.5"));
        var job = await host.SubmitAsync();
        await host.Scheduler.NextChunkAsync();

        relay.Silence();
        using var answer = await host.Client.PostAsync($"/v1/jobs/{job}/cancel", content: null);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        var error = await Assert.ThrowsAsync<NotConfirmedException>(() =>
            host.Get<IBus>().PublishAsync(new JobChanged { Job = job, Change = JobChange.Cancelled }, TimeSpan.FromSeconds(0.5), default)
        );
        Assert.Equal("The broker has not confirmed a message (JobChanged) within 0.5 s.", error.Message);
        relay.Cut(); // or the host's end would wait for the broker
    }

    private static TcpRelay RelayTo(string broker, out string through)
    {
        var server = new UriBuilder(broker);
        var relay = new TcpRelay(server.Host, server.Port);
        (server.Host, server.Port) = ("127.0.0.1", relay.Port);
        through = server.Uri.ToString();
        return relay;
    }

    private static async Task<HttpResponseHeaders> PostUntilAsync(IngestHost host, HttpStatusCode status)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        using var pace = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
        while (!patience.IsCancellationRequested)
        {
            using var response = await host.PostAsync("model=words", """{"custom_id":"a","input":"x"}""");
            Assert.True(response.StatusCode is HttpStatusCode.OK or HttpStatusCode.ServiceUnavailable, $"{response.StatusCode}");
            if (response.StatusCode == status)
            {
                return response.Headers;
            }

            await pace.WaitForNextTickAsync(CancellationToken.None);
        }

        var health = host.Get<IBusControl>().CheckHealth();
        throw new TimeoutException($"Never answered {status}; the bus: {health.Description}, {string.Join(", ", health.Endpoints)}.");
    }

    [Fact]
    public async Task A_program_whose_broker_does_not_come_ends_with_its_address()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        var (code, error) = await RunAsync(
            ("PIPELINE__DATABASE", database.ConnectionString),
            ("PIPELINE__BROKER", "amqp://127.0.0.1:1/"),
            ("PIPELINE__SERVERWAITMAX", "00:00:00")
        );

        Assert.Equal(1, code);
        Assert.Contains("ingest: RabbitMQ at 127.0.0.1:1 was not reachable", error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_program_with_wrong_options_names_all_of_them()
    {
        var (code, error) = await RunAsync(
            ("PIPELINE__DATABASE", "Host=127.0.0.1"),
            ("PIPELINE__BROKER", "memory:"),
            ("INGEST__MISTAKESMAX", "0"),
            ("INGEST__LINEBYTESMAX", "100")
        );

        Assert.Equal(1, code);
        Assert.Contains("Ingest:MistakesMax expects 1 to 10000, given \"0\"", error, StringComparison.Ordinal);
        Assert.Contains("Ingest:LineBytesMax expects at least TaskBytesMax, given \"100\"", error, StringComparison.Ordinal);
    }

    private static long PeakMb(Process process)
    {
        var status = File.ReadAllText($"/proc/{process.Id}/status");
        return long.Parse(PeakMemory().Match(status).Groups[1].Value, CultureInfo.InvariantCulture) / 1024;
    }

    [GeneratedRegex(@"VmHWM:\s+(\d+) kB")]
    private static partial Regex PeakMemory();

    private static async Task<Uri> ListeningAsync(Process process)
    {
        const string Listening = "Now listening on: ";
        while (await process.StandardOutput.ReadLineAsync() is { } line)
        {
            if (line.Split(Listening) is [_, var address])
            {
                return new Uri(address);
            }
        }

        throw new InvalidOperationException($"The program ended: {await process.StandardError.ReadToEndAsync()}");
    }

    private static async Task<(int Code, string Error)> RunAsync(params (string Name, string Value)[] environment)
    {
        using var process = Start(environment);
        var output = process.StandardOutput.ReadToEndAsync();
        var error = await process.StandardError.ReadToEndAsync();
        await output;
        await process.WaitForExitAsync();
        return (process.ExitCode, error);
    }

    private static Process Start(params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Pipeline.Ingest.dll")])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        start.Environment["ASPNETCORE_URLS"] = "http://127.0.0.1:0";
        start.Environment["PIPELINE__PARENTPROCESS"] = $"{Environment.ProcessId}";
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        return Process.Start(start)!;
    }

    private static byte[] Lines(int from, int to) =>
        Encoding.UTF8.GetBytes(
            string.Concat(Enumerable.Range(from, to - from).Select(i => $$"""{"custom_id":"t-{{i}}","input":"text"}""" + "\n"))
        );

    /// <summary>A body of many tasks, made as it is sent; words drawn so that the text packs about as real text does.</summary>
    private sealed class ManyTasks(int tasks) : HttpContent
    {
        private const int WordsPerTask = 30;
        private static readonly byte[][] Words =
        [
            .. "alder birch cedar dogwood elm fir ginkgo hazel ivy juniper karri larch maple nutmeg oak pine quince rowan spruce teak"
                .Split(' ')
                .Select(Encoding.UTF8.GetBytes),
        ];

        public long Bytes { get; private set; }

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            var random = new Random(1);
            using var lines = new MemoryStream();
            for (var i = 0; i < tasks; i++)
            {
                lines.Write(Encoding.UTF8.GetBytes($"{{\"custom_id\":\"task-{i}\",\"input\":\""));
                for (var word = 0; word < WordsPerTask; word++)
                {
                    lines.Write(Words[random.Next(Words.Length)]);
                    lines.WriteByte((byte)' ');
                }

                lines.Write("\"}\n"u8);
                if (lines.Length > 256 * 1024 || i == tasks - 1)
                {
                    Bytes += lines.Length;
                    await stream.WriteAsync(lines.GetBuffer().AsMemory(0, (int)lines.Length));
                    lines.SetLength(0);
                }
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
