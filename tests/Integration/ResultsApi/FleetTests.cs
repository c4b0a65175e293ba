using System.Net;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

public sealed class FleetTests(ResultsApiFixture fixture) : IClassFixture<ResultsApiFixture>, IAsyncLifetime
{
    private ApiCaller _api = null!;

    public async ValueTask InitializeAsync() => _api = await fixture.Host.AddTenantAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private int _workers;

    [Fact]
    public async Task Models_are_listed_as_OpenAIs_clients_read_them_and_with_their_manifests()
    {
        await RegisterAsync("language-id", "1.0.0");

        var (_, list) = await _api.GetAsync("/v1/models");

        var model = Assert.Single(list.GetProperty("data").EnumerateArray(), item => item.GetProperty("name").GetString() == "language-id");
        Assert.Equal("list", list.GetProperty("object").GetString());
        Assert.Equal("language-id@1.0.0", model.GetProperty("id").GetString());
        Assert.Equal(("model", "pipeline"), (model.GetProperty("object").GetString(), model.GetProperty("owned_by").GetString()));
        Assert.True(model.GetProperty("created").GetInt64() > 0);
        Assert.Equal("text", model.GetProperty("kind").GetString());
        Assert.Equal("bytes", model.GetProperty("manifest").GetProperty("tokenizer").GetProperty("type").GetString());
    }

    [Fact]
    public async Task A_name_stands_for_its_current_version()
    {
        await RegisterAsync("org/language-id", "1.0.0");
        await RegisterAsync("org/language-id", "2.0.0", current: true);

        Assert.Equal("2.0.0", (await _api.GetAsync("/v1/models/org/language-id")).Body.GetProperty("version").GetString());
        Assert.Equal("2.0.0", (await _api.GetAsync("/v1/models/org%2Flanguage-id")).Body.GetProperty("version").GetString());
        Assert.Equal("1.0.0", (await _api.GetAsync("/v1/models/org/language-id@1.0.0")).Body.GetProperty("version").GetString());
    }

    [Fact]
    public async Task An_unknown_model_is_not_found()
    {
        var (status, body) = await _api.GetAsync("/v1/models/none");

        Assert.Equal(HttpStatusCode.NotFound, status);
        Assert.Equal("model_not_found", body.GetProperty("error").GetProperty("code").GetString());
    }

    [Fact]
    public async Task Workers_are_listed_newest_first_and_by_state_and_pool()
    {
        var first = await AddWorkerAsync("one", "default", "lost");
        var second = await AddWorkerAsync("two", "default", "alive");
        var third = await AddWorkerAsync("three", "gpu", "alive");

        await AssertWorkers("", third, second, first);
        await AssertWorkers("?state=alive", third, second);
        await AssertWorkers("?state=alive&pool=default", second);
        await AssertWorkers($"?limit=1&after={third}", second);
        var (status, _) = await _api.GetAsync("/v1/workers?state=dead");
        Assert.Equal(HttpStatusCode.BadRequest, status);
    }

    private async Task AssertWorkers(string query, params Guid[] expected)
    {
        var (_, list) = await _api.GetAsync($"/v1/workers{query}");
        Assert.Equal(expected, list.GetProperty("data").EnumerateArray().Select(worker => worker.GetProperty("id").GetGuid()));
    }

    private async Task<Guid> AddWorkerAsync(string name, string pool, string state)
    {
        // A second apart: ids of one millisecond are in no particular order.
        var id = Guid.CreateVersion7(DateTimeOffset.UnixEpoch.AddSeconds(++_workers));
        await _api.Database.ExecuteAsync(
            """
            INSERT INTO workers (id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen, ended_at)
            VALUES ($1, $2, $3, 'cpu', 'CPU', 1000000000000, $4, now(), now(), CASE WHEN $4 = 'alive' THEN NULL ELSE now() END)
            """,
            id,
            name,
            pool,
            state
        );
        return id;
    }

    private Task RegisterAsync(string name, string version, bool current = false) =>
        ModelRegistry.PutAsync(
            _api.Database.DataSource,
            new ModelManifest
            {
                Name = name,
                Version = version,
                File = "model.onnx",
                Sha256 = new string('0', 64),
                Kind = ModelKind.Text,
                Tokenizer = new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = 512 },
                Inputs = new Dictionary<string, TensorSpec> { ["bytes"] = new() { BatchAxis = 0 } },
                Outputs = new Dictionary<string, TensorSpec> { ["probabilities"] = new() { BatchAxis = 0 } },
            },
            profile: null,
            fileBytes: 1000,
            makeCurrent: current
        );
}
