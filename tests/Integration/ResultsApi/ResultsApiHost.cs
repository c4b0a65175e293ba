using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

/// <summary>results-api on a free port over a database of its own, shared by the tests of a class; each of them is another tenant.</summary>
internal sealed class ResultsApiHost : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly List<HttpClient> _clients = [];

    private ResultsApiHost(WebApplication app, TestDatabase database) => (_app, Database) = (app, database);

    public TestDatabase Database { get; }

    public IServiceProvider Services => _app.Services;

    /// <param name="options">Options of section <c>ResultsApi</c>, or of another that they name (<c>Webhooks:LookEvery</c>); by default the watch looks often, so that tests need not wait, and no recurring work runs.</param>
    public static async Task<ResultsApiHost> StartAsync(params (string Option, string Value)[] options)
    {
        var database = await TestPostgres.CreateDatabaseAsync();
        return new ResultsApiHost(await StartAppAsync(database.ConnectionString, options: options), database);
    }

    /// <summary>The same over a database that may not be there; only the app is started.</summary>
    public static Task<WebApplication> StartAppAsync(
        string connectionString,
        string broker = PipelineOptions.InMemoryBroker,
        params (string Option, string Value)[] options
    ) => StartAppAsync(connectionString, broker, static _ => { }, options);

    /// <summary>The same with more parts in its process, as the standalone host has them.</summary>
    public static async Task<WebApplication> StartAppAsync(
        string connectionString,
        string broker,
        Action<WebApplicationBuilder> addMore,
        params (string Option, string Value)[] options
    )
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Configuration.AddInMemoryCollection(
            options
                .Append((Option: "WatchInterval", Value: "00:00:00.02"))
                .Append((Option: "Recurring:Enabled", Value: "false"))
                .DistinctBy(o => o.Option)
                .ToDictionary(
                    o => o.Option.Contains(':', StringComparison.Ordinal) ? o.Option : $"ResultsApi:{o.Option}",
                    o => (string?)o.Value
                )
        );
        builder.Services.AddPipelineDefaults(
            new PipelineOptions
            {
                Database = connectionString,
                Broker = broker,
                DatabaseConnectionsMax = 10,
            }
        );
        builder.Services.AddResultsApi(builder.Configuration);
        addMore(builder);
        var app = builder.Build();
        app.UseProblems();
        app.MapHealth();
        app.MapResultsApi();
        await app.StartAsync();
        return app;
    }

    /// <summary>A new tenant, with a client that carries its key.</summary>
    public async Task<ApiCaller> AddTenantAsync()
    {
        var tenant = await Tenants.EnsureAsync(Database.DataSource, $"tenant {Guid.NewGuid()}");
        var key = await ApiKeyIssuer.IssueAsync(Database.DataSource, tenant, "test");
        return new ApiCaller(this, tenant, Client(key));
    }

    public HttpClient Client(string? key)
    {
        var client = new HttpClient(new SocketsHttpHandler { AutomaticDecompression = DecompressionMethods.None })
        {
            BaseAddress = new Uri(_app.Urls.First()),
            Timeout = TimeSpan.FromSeconds(60),
        };
        client.DefaultRequestHeaders.Authorization = key is null ? null : new AuthenticationHeaderValue("Bearer", key);
        _clients.Add(client);
        return client;
    }

    public async ValueTask DisposeAsync()
    {
        _clients.ForEach(client => client.Dispose());
        await _app.StopAsync();
        await _app.DisposeAsync();
        await Database.DisposeAsync();
    }
}

/// <summary>A tenant who asks.</summary>
internal sealed record ApiCaller(ResultsApiHost Host, TenantId Tenant, HttpClient Http)
{
    public TestDatabase Database => Host.Database;

    /// <summary>Sends JSON and reads what comes back, whatever the status.</summary>
    public async Task<(HttpStatusCode Status, JsonElement Body)> SendAsync(HttpMethod method, string path, string? json = null)
    {
        using var request = new HttpRequestMessage(method, path);
        request.Content = json is null ? null : new StringContent(json, System.Text.Encoding.UTF8, "application/json");
        using var response = await Http.SendAsync(request);
        return (response.StatusCode, JsonElement.Parse(await response.Content.ReadAsStringAsync()));
    }

    /// <summary>Gets JSON, whatever the status.</summary>
    public async Task<(HttpStatusCode Status, JsonElement Body)> GetAsync(string path)
    {
        using var response = await Http.GetAsync(path);
        return (response.StatusCode, JsonElement.Parse(await response.Content.ReadAsStringAsync()));
    }
}

/// <summary>One host for the tests of a class.</summary>
public class ResultsApiFixture : IAsyncLifetime
{
    internal ResultsApiHost Host { get; private set; } = null!;

    private protected virtual (string Option, string Value)[] Options => [];

    public async ValueTask InitializeAsync() => Host = await ResultsApiHost.StartAsync(Options);

    public async ValueTask DisposeAsync()
    {
        if (Host is not null)
        {
            await Host.DisposeAsync();
        }

        GC.SuppressFinalize(this);
    }
}
