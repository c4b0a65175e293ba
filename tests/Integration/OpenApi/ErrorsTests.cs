using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Pipeline.Ingest;
using Pipeline.Migrations;
using Pipeline.ResultsApi;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Integration.Ingest;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.OpenApi;

/// <summary>Real errors carry a code that the document lists for that operation and status, and say what to do next.</summary>
public sealed class ErrorsTests(ErrorsTests.ApiFixture api) : IClassFixture<ErrorsTests.ApiFixture>
{
    private const string Tasks = """{"custom_id": "a-1", "input": "text"}""";
    private const string NoJob = "01a218ae-0806-7b14-b11b-8609ad8967dc";

    [Theory]
    [InlineData("GET /v1/jobs?colour=blue", "/v1/jobs", 400, "invalid_request")]
    [InlineData("POST /v1/jobs?model=words&class=soon", "/v1/jobs", 400, "invalid_request")]
    [InlineData("POST /v1/jobs?model=none", "/v1/jobs", 404, "model_not_found")]
    [InlineData("POST /v1/infer?model=none", "/v1/infer", 404, "model_not_found")]
    [InlineData($"GET /v1/jobs/{NoJob}", "/v1/jobs/{id}", 404, "job_not_found")]
    [InlineData($"GET /v1/jobs/{NoJob}/results", "/v1/jobs/{id}/results", 404, "job_not_found")]
    [InlineData($"POST /v1/jobs/{NoJob}/cancel", "/v1/jobs/{id}/cancel", 404, "job_not_found")]
    [InlineData("GET /v1/files/file-none", "/v1/files/{id}", 404, "file_not_found")]
    [InlineData("GET /v1/batches/none", "/v1/batches/{id}", 404, "batch_not_found")]
    [InlineData("POST /v1/batches", "/v1/batches", 400, "invalid_request")]
    [InlineData("POST /v1/moderations", "/v1/moderations", 400, "invalid_input")]
    [InlineData("GET /v2/models/none", "/v2/models/{m}", 404, "model_not_found")]
    [InlineData("POST /v2/models/words/versions/1/infer", "/v2/models/{m}/versions/{v}/infer", 400, "invalid_request")]
    public async Task Refusals_carry_a_listed_code(string request, string path, int status, string code)
    {
        var (method, address) = request.Split(' ') is [var m, var a] ? (new HttpMethod(m), a) : throw new ArgumentException(request);
        await AssertListedAsync(await SendAsync(method, address, method == HttpMethod.Post ? Tasks : null), path, status, code);
    }

    [Theory]
    [InlineData("/v1/jobs", "/v1/jobs")]
    [InlineData("/v2", "/v2")]
    public async Task A_missing_key_carries_a_listed_code(string address, string path)
    {
        using var stranger = new HttpClient { BaseAddress = api.Client.BaseAddress };
        await AssertListedAsync(await stranger.GetAsync(address), path, 401, "invalid_api_key");
    }

    [Fact]
    public async Task Bad_lines_carry_a_listed_code() =>
        await AssertListedAsync(
            await SendAsync(HttpMethod.Post, "/v1/jobs?model=words", """{"custom_id": "a-1", "input": 7}"""),
            "/v1/jobs",
            400,
            "invalid_input"
        );

    [Fact]
    public async Task A_state_that_does_not_allow_it_carries_a_listed_code()
    {
        var job = (await (await SendAsync(HttpMethod.Post, "/v1/jobs?model=words", Tasks)).JsonAsync()).GetProperty("id").GetString();
        (await SendAsync(HttpMethod.Post, $"/v1/jobs/{job}/cancel", null)).EnsureSuccessStatusCode();

        await AssertListedAsync(
            await SendAsync(HttpMethod.Post, $"/v1/jobs/{job}/retry-failed", null),
            "/v1/jobs/{id}/retry-failed",
            409,
            "invalid_state"
        );
    }

    [Fact]
    public async Task A_body_that_is_too_large_carries_a_listed_code() =>
        await AssertListedAsync(
            await SendAsync(HttpMethod.Post, "/v1/infer", new string('x', 5 * 1024 * 1024)),
            "/v1/infer",
            413,
            "input_too_large"
        );

    [Fact]
    public async Task A_key_that_comes_again_with_another_body_carries_a_listed_code()
    {
        var key = ("Idempotency-Key", "again");
        (await SendAsync(HttpMethod.Post, "/v1/jobs?model=words", Tasks, key)).EnsureSuccessStatusCode();

        await AssertListedAsync(
            await SendAsync(HttpMethod.Post, "/v1/jobs?model=words&class=standard", Tasks, key),
            "/v1/jobs",
            422,
            "idempotency_key_reused"
        );
    }

    [Fact]
    public async Task Express_that_nobody_can_promise_carries_a_listed_code()
    {
        var response = await SendAsync(HttpMethod.Post, "/v1/infer", """{"model": "words", "input": "text"}""");

        Assert.NotNull(response.Headers.RetryAfter);
        await AssertListedAsync(response, "/v1/infer", 429, "express_unavailable");
    }

    [Fact]
    public async Task The_host_gives_the_document_to_anybody()
    {
        using var stranger = new HttpClient { BaseAddress = api.Client.BaseAddress };
        using var response = await stranger.GetAsync("/openapi.json");

        Assert.Equal("application/json", response.Content.Headers.ContentType?.MediaType);
        Assert.StartsWith("3.1.", (await response.JsonAsync()).GetProperty("openapi").GetString(), StringComparison.Ordinal);
    }

    private async Task AssertListedAsync(HttpResponseMessage response, string path, int status, string code)
    {
        using (response)
        {
            var problem = await response.JsonAsync();
            Assert.Equal((HttpStatusCode)status, response.StatusCode);
            Assert.Equal(code, problem.GetProperty("code").GetString());
            var info = FailureKinds.All.Select(kind => kind.Info()).Single(info => info.Code == code);
            Assert.Equal(info.Next, problem.GetProperty("next").GetString());
            Assert.Equal(info.Retry, problem.GetProperty("retry").GetBoolean());
            Assert.Contains(code, Listed(path, response));
        }
    }

    private IEnumerable<string> Listed(string path, HttpResponseMessage response)
    {
        var document = api.Document;
        var said = document
            .GetProperty("paths")
            .GetProperty(path)
            .GetProperty(response.RequestMessage!.Method.Method.ToLowerInvariant())
            .GetProperty("responses")
            .GetProperty($"{(int)response.StatusCode}");
        var name = said.GetProperty("$ref").GetString()!.Split('/')[^1];
        return document
            .GetProperty("components")
            .GetProperty("responses")
            .GetProperty(name)
            .GetProperty("content")
            .GetProperty(response.Content.Headers.ContentType!.MediaType!)
            .GetProperty("schema")
            .GetProperty("allOf")[1]
            .GetProperty("properties")
            .GetProperty("code")
            .GetProperty("enum")
            .EnumerateArray()
            .Select(listed => listed.GetString()!);
    }

    private async Task<HttpResponseMessage> SendAsync(
        HttpMethod method,
        string address,
        string? body,
        params (string Name, string Value)[] headers
    )
    {
        using var request = new HttpRequestMessage(method, address);
        foreach (var (name, value) in headers)
        {
            request.Headers.Add(name, value);
        }

        if (body is not null)
        {
            request.Content = new StringContent(body, Encoding.UTF8, "application/x-ndjson");
        }

        return await api.Client.SendAsync(request);
    }

    /// <summary>The whole API in this process, as the standalone host maps it, over a database of its own; without a scheduler.</summary>
    public sealed class ApiFixture : IAsyncLifetime
    {
        private TestDatabase? _database;
        private WebApplication? _app;

        public HttpClient Client { get; } = new();

        public JsonElement Document { get; private set; }

        public async ValueTask InitializeAsync()
        {
            _database = await TestPostgres.CreateDatabaseAsync();
            var tenant = await Tenants.EnsureAsync(_database.DataSource, "test");
            var key = await ApiKeyIssuer.IssueAsync(_database.DataSource, tenant, "test");
            await ModelRegistry.PutAsync(_database.DataSource, TestModels.Words("1"), null, 1, makeCurrent: true);
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            builder.Services.AddPipelineDefaults(
                new PipelineOptions { Database = _database.ConnectionString, Broker = PipelineOptions.InMemoryBroker }
            );
            builder.Services.AddIngest(builder.Configuration);
            builder.Services.AddResultsApi(builder.Configuration);
            builder.Services.AddPipelineTelemetry(builder.Configuration, "test");
            _app = builder.Build();
            _app.UseProblems();
            HostRun.MapApi(_app);
            await _app.StartAsync();
            Client.BaseAddress = new Uri(_app.Urls.First());
            Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
            Document = JsonElement.Parse(await Client.GetStringAsync("/openapi.json"));
        }

        public async ValueTask DisposeAsync()
        {
            Client.Dispose();
            if (_app is not null)
            {
                await _app.StopAsync();
                await _app.DisposeAsync();
            }

            if (_database is not null)
            {
                await _database.DisposeAsync();
            }
        }
    }
}
