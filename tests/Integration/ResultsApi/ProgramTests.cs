using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Npgsql;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

/// <summary>What callers and operators see when PostgreSQL is there, is not, or goes away.</summary>
public sealed class ProgramTests
{
    [Fact]
    public async Task While_the_database_is_away_requests_are_answered_503_and_served_again_after()
    {
        await using var host = await ResultsApiHost.StartAsync();
        var api = await host.AddTenantAsync();
        var job = await SeededJob.CreateAsync(api.Database, api.Tenant);
        var settings = new NpgsqlConnectionStringBuilder(api.Database.ConnectionString);
        using var relay = new TcpRelay(settings.Host!, settings.Port);
        (settings.Host, settings.Port) = ("127.0.0.1", relay.Port);
        await using var app = await ResultsApiHost.StartAppAsync(settings.ConnectionString);
        using var http = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        http.DefaultRequestHeaders.Authorization = api.Http.DefaultRequestHeaders.Authorization;
        Assert.Equal(HttpStatusCode.OK, (await http.GetAsync($"/v1/jobs/{job.Id}")).StatusCode);

        relay.Cut();
        string[] paths = [$"/v1/jobs/{job.Id}", "/v1/jobs", $"/v1/jobs/{job.Id}/results", $"/v1/jobs/{job.Id}/events", "/v1/models"];
        foreach (var path in paths)
        {
            using var response = await http.GetAsync(path);
            var body = JsonElement.Parse(await response.Content.ReadAsStringAsync());

            Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
            Assert.NotNull(response.Headers.RetryAfter);
            Assert.Equal("unavailable", body.GetProperty("error").GetProperty("code").GetString());
        }

        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await http.GetAsync("/healthz/ready")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await http.GetAsync("/healthz/live")).StatusCode);

        relay.Restore();
        Assert.Equal(HttpStatusCode.OK, (await http.GetAsync($"/v1/jobs/{job.Id}")).StatusCode);
    }

    [Fact]
    public async Task A_reply_that_loses_the_database_on_its_way_breaks_off_and_is_resumed_by_its_cursor()
    {
        await using var host = await ResultsApiHost.StartAsync();
        var api = await host.AddTenantAsync();
        var job = await SeededJob.CreateAsync(api.Database, api.Tenant, new SeededJob { Tasks = 8, ChunkTasks = 4 });
        await job.EndAsync(api.Database, 0, 1, 2, 3);
        var settings = new NpgsqlConnectionStringBuilder(api.Database.ConnectionString);
        using var relay = new TcpRelay(settings.Host!, settings.Port);
        (settings.Host, settings.Port) = ("127.0.0.1", relay.Port);

        await using var app = await ResultsApiHost.StartAppAsync(settings.ConnectionString);
        using var http = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        http.DefaultRequestHeaders.Authorization = api.Http.DefaultRequestHeaders.Authorization;
        using var response = await http.GetAsync($"/v1/jobs/{job.Id}/results?follow=true", HttpCompletionOption.ResponseHeadersRead);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        for (var seq = 0; seq < 4; seq++)
        {
            Assert.Equal(seq, JsonElement.Parse((await reader.ReadLineAsync())!).GetProperty("seq").GetInt32());
        }

        relay.Cut();
        await Assert.ThrowsAnyAsync<IOException>(async () => await reader.ReadLineAsync());

        relay.Restore();
        await job.EndAsync(api.Database, 4, 5, 6, 7);
        var rest = await http.GetStringAsync($"/v1/jobs/{job.Id}/results?cursor=3");
        Assert.Equal(
            [4, 5, 6, 7],
            rest.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonElement.Parse(line).GetProperty("seq").GetInt32())
        );
    }

    [Fact]
    public async Task A_program_whose_database_does_not_come_ends_with_its_address()
    {
        var port = FreePort();
        var (code, error) = await RunAsync(
            ("PIPELINE__DATABASE", $"Host=127.0.0.1;Port={port};Username=app;Database=pipeline"),
            ("PIPELINE__BROKER", "memory:"),
            ("PIPELINE__SERVERWAITMAX", "00:00:00")
        );

        Assert.Equal(1, code);
        Assert.Contains($"127.0.0.1:{port}", error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_program_with_wrong_options_names_all_of_them()
    {
        var (code, error) = await RunAsync(
            ("PIPELINE__DATABASE", "Host=127.0.0.1"),
            ("PIPELINE__BROKER", "memory:"),
            ("RESULTSAPI__PAGEBYTES", "1"),
            ("RESULTSAPI__WATCHERSMAX", "0")
        );

        Assert.Equal(1, code);
        Assert.Contains("ResultsApi:PageBytes", error, StringComparison.Ordinal);
        Assert.Contains("ResultsApi:WatchersMax", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_program_that_has_its_servers_serves_until_it_is_asked_to_stop()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        using var process = Start(("PIPELINE__DATABASE", database.ConnectionString), ("PIPELINE__BROKER", "memory:"));
        var errors = process.StandardError.ReadToEndAsync();
        const string Listening = "Now listening on: ";
        string? line;
        do
        {
            line = await process.StandardOutput.ReadLineAsync();
        } while (line is not null && !line.Contains(Listening, StringComparison.Ordinal));

        Assert.True(line is not null, $"The program ended: {(line is null ? await errors : "")}");
        var output = process.StandardOutput.ReadToEndAsync();
        using var http = new HttpClient { BaseAddress = new Uri(line!.Split(Listening)[1]) };
        Assert.Equal("alive", await http.GetStringAsync("/healthz/live"));

        using (var kill = Process.Start("kill", ["-TERM", $"{process.Id}"]))
        {
            await kill.WaitForExitAsync();
        }

        await process.WaitForExitAsync();
        await output;
        Assert.Equal(0, process.ExitCode);
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

    internal static Process Start(params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Pipeline.ResultsApi.dll")])
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

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
