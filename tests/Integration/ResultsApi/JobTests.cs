using System.Net;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Jobs;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

public sealed class JobTests(ResultsApiFixture fixture) : IClassFixture<ResultsApiFixture>, IAsyncLifetime
{
    private ApiCaller _api = null!;

    public async ValueTask InitializeAsync() => _api = await fixture.Host.AddTenantAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task A_queued_job_shows_all_its_tasks_as_remaining()
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant, new SeededJob { Metadata = """{"team":"search"}""" });

        var (status, body) = await _api.GetAsync($"/v1/jobs/{job.Id}");

        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal("job", Text(body, "object"));
        Assert.Equal("language-id@1.0.0", Text(body, "model"));
        Assert.Equal(("bulk", "queued"), (Text(body, "class"), Text(body, "state")));
        Assert.Equal("""{"succeeded":0,"failed":0,"expired":0,"cancelled":0,"remaining":10}""", body.GetProperty("counts").GetRawText());
        Assert.Equal(0, body.GetProperty("progress").GetDouble());
        Assert.Equal(JsonValueKind.Null, body.GetProperty("cost_per_task_pico_usd").ValueKind);
        Assert.Equal("search", body.GetProperty("metadata").GetProperty("team").GetString());
        Assert.Equal($"/v1/jobs/{job.Id}/results", body.GetProperty("links").GetProperty("results").GetString());
    }

    [Fact]
    public async Task A_job_that_waits_shows_how_many_fall_due_before_it()
    {
        // A model of its own: jobs of other tests do not count.
        async Task<SeededJob> CreateAsync(ModelRef model)
        {
            var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
            await _api.Database.ExecuteAsync("UPDATE jobs SET model = $2 WHERE id = $1", job.Id.Value, model.Name);
            return job;
        }

        async Task<int?> PositionAsync(SeededJob job)
        {
            var (_, body) = await _api.GetAsync($"/v1/jobs/{job.Id}");
            return body.TryGetProperty("queue_position", out var position) ? position.GetInt32() : null;
        }

        var model = new ModelRef($"queue-{Guid.NewGuid():N}", "1.0.0");
        var (first, second, third) = (await CreateAsync(model), await CreateAsync(model), await CreateAsync(model));
        Assert.Equal((0, 1, 2), (await PositionAsync(first), await PositionAsync(second), await PositionAsync(third)));

        await _api.Database.ExecuteAsync("UPDATE jobs SET deadline = queued_at + interval '1 second' WHERE id = $1", third.Id.Value);
        await _api.Database.ExecuteAsync("UPDATE jobs SET paused = true WHERE id = $1", first.Id.Value);
        Assert.Equal((null, 1, 0), (await PositionAsync(first), await PositionAsync(second), await PositionAsync(third)));

        await third.EndAsync(_api.Database, 0);
        Assert.Equal((1, null), (await PositionAsync(second), await PositionAsync(third)));
    }

    [Fact]
    public async Task A_running_job_shows_the_sums_over_its_chunks()
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        await job.EndAsync(_api.Database, 0, 1, 5);
        await job.EndAsync(_api.Database, [9], TaskOutcome.Failed);

        var (_, body) = await _api.GetAsync($"/v1/jobs/{job.Id}");

        Assert.Equal("running", Text(body, "state"));
        Assert.Equal("""{"succeeded":3,"failed":1,"expired":0,"cancelled":0,"remaining":6}""", body.GetProperty("counts").GetRawText());
        Assert.Equal(0.4, body.GetProperty("progress").GetDouble());
        Assert.Equal(3 * 556_000, body.GetProperty("cost_pico_usd").GetDecimal());
        Assert.Equal(417_000, body.GetProperty("cost_per_task_pico_usd").GetDecimal());
    }

    [Fact]
    public async Task Its_costs_spread_over_its_tasks_and_operators_see_the_margin()
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        await _api.Database.ExecuteAsync(
            "UPDATE jobs SET per_million_units_pico = 500000000000, estimate_pico = 60000000 WHERE id = $1",
            job.Id.Value
        );
        await job.EndAllAsync(_api.Database);
        // Ten tasks of 1 to 10 units in one batch of 100 padded units and 22 more of another job, 990,000 pico-USD of it padding.
        var batch = Guid.CreateVersion7();
        await _api.Database.ExecuteAsync(
            """
            INSERT INTO batches (id, worker, dispatch, lane, model, provider, rows, units, padded_units, device_ns, cost_pico, padding_pico,
                                 started_at, finished_at)
            VALUES ($1, $1, $1, 'bulk', 'm@1', 'cpu', 20, 77, 100, 1, 9000000, 990000, now(), now())
            """,
            batch
        );
        await _api.Database.ExecuteAsync("UPDATE results SET batch = $1, units = seq + 1 WHERE job = $2", batch, job.Id.Value);
        await _api.Database.ExecuteAsync("UPDATE jobs SET units_done = 55 WHERE id = $1", job.Id.Value);
        var key = await ApiKeyIssuer.IssueAsync(_api.Database.DataSource, _api.Tenant, "operator", isOperator: true);

        var (_, plain) = await _api.GetAsync($"/v1/jobs/{job.Id}");
        var (_, body) = await _api.GetAsync($"/v1/jobs/{job.Id}?costs=true");
        var (_, forOperators) = await (_api with { Http = _api.Host.Client(key) }).GetAsync($"/v1/jobs/{job.Id}?costs=true");

        Assert.Equal(27_500_000, plain.GetProperty("price_pico_usd").GetDecimal());
        Assert.Equal(60_000_000, plain.GetProperty("estimated_price_pico_usd").GetInt64());
        Assert.False(plain.TryGetProperty("costs", out _));
        Assert.Equal(
            """{"cost_per_task_pico_usd":{"mean":556000,"p50":556000,"p95":556000},"price_per_task_pico_usd":{"mean":2750000,"p50":2500000,"p95":5000000},"task_pico_usd":5560000,"padding_pico_usd":707142,"over_estimate_pico_usd":-32500000,"estimate":null}""",
            body.GetProperty("costs").GetRawText()
        );
        Assert.Equal(27_500_000 - 5_560_000 - 707_142, forOperators.GetProperty("costs").GetProperty("margin_pico_usd").GetDecimal());
    }

    [Fact]
    public async Task A_finished_job_shows_its_totals_though_its_chunks_are_gone()
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        await job.EndAllAsync(_api.Database);
        await _api.Database.ExecuteAsync("DELETE FROM chunks WHERE job = $1", job.Id.Value);

        var (_, body) = await _api.GetAsync($"/v1/jobs/{job.Id}");

        Assert.Equal("completed", Text(body, "state"));
        Assert.Equal(10, body.GetProperty("counts").GetProperty("succeeded").GetInt32());
        Assert.Equal(1, body.GetProperty("progress").GetDouble());
        Assert.Equal(JsonValueKind.String, body.GetProperty("finished_at").ValueKind);
    }

    [Fact]
    public async Task A_waiting_jobs_end_is_predicted_from_the_schedulers_forecast()
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant, new SeededJob { Model = "forecast" });
        var now = DateTimeOffset.UtcNow;
        _api.Host.Services.GetRequiredService<Forecasts>().Observe(Forecast(now, unitsAhead: 3_600_000_000));

        var (_, body) = await _api.GetAsync($"/v1/jobs/{job.Id}");

        // 3.6e9 units of 1 µs each on one worker are an hour.
        Assert.InRange(body.GetProperty("predicted_at").GetDateTimeOffset(), now.AddHours(1), now.AddHours(1).AddMinutes(1));
    }

    [Fact]
    public async Task Without_a_forecast_the_prediction_made_at_admission_stands()
    {
        var predicted = new DateTimeOffset(2100, 1, 1, 0, 0, 0, TimeSpan.Zero);
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant, new SeededJob { PredictedAt = predicted });

        var (_, body) = await _api.GetAsync($"/v1/jobs/{job.Id}");

        Assert.Equal(predicted, body.GetProperty("predicted_at").GetDateTimeOffset());
    }

    [Theory]
    [InlineData("")]
    [InlineData("/results")]
    [InlineData("/events")]
    public async Task Another_tenants_job_is_as_unknown_as_none(string path)
    {
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        var other = await _api.Host.AddTenantAsync();

        foreach (var id in new[] { job.Id.ToString(), Guid.CreateVersion7().ToString(), "nonsense" })
        {
            var (status, body) = await other.GetAsync($"/v1/jobs/{id}{path}");

            Assert.Equal(HttpStatusCode.NotFound, status);
            Assert.Equal("job_not_found", body.GetProperty("error").GetProperty("code").GetString());
            Assert.Contains(id, Text(body, "detail"), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("/v1/jobs")]
    [InlineData("/v1/jobs/x")]
    [InlineData("/v1/jobs/x/results")]
    [InlineData("/v1/jobs/x/events")]
    [InlineData("/v1/models")]
    [InlineData("/v1/models/x")]
    [InlineData("/v1/workers")]
    public async Task Without_a_valid_key_nothing_is_shown(string path)
    {
        foreach (var key in new[] { null, "pk_wrong" })
        {
            using var response = await _api.Host.Client(key).GetAsync(path);
            var body = JsonElement.Parse(await response.Content.ReadAsStringAsync());

            Assert.Equal(HttpStatusCode.Unauthorized, response.StatusCode);
            Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
            Assert.Equal("Bearer", response.Headers.WwwAuthenticate.ToString());
            Assert.Equal("invalid_api_key", body.GetProperty("error").GetProperty("code").GetString());
        }
    }

    [Fact]
    public async Task The_health_endpoints_need_no_key()
    {
        Assert.Equal(HttpStatusCode.OK, (await _api.Host.Client(null).GetAsync("/healthz/live")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await _api.Host.Client(null).GetAsync("/healthz/ready")).StatusCode);
    }

    private static Forecast Forecast(DateTimeOffset at, long unitsAhead) =>
        new() { At = at, Pools = [new PoolForecast("default", new ModelRef("forecast", "1.0.0"), 1, [0, 0, unitsAhead], 0, 1000, 65_536)] };

    private static string? Text(JsonElement body, string name) => body.GetProperty(name).GetString();
}
