using System.Net;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Integration.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

public sealed class UsageTests(ResultsApiFixture fixture) : IClassFixture<ResultsApiFixture>, IAsyncLifetime
{
    private const string January = "/v1/usage?from=2026-01-01&to=2026-01-31";

    private ApiCaller _api = null!;

    public async ValueTask InitializeAsync()
    {
        _api = await fixture.Host.AddTenantAsync();
        var name = (await _api.Database.ScalarAsync<string>("SELECT name FROM tenants WHERE id = $1", _api.Tenant.Value))!;
        var work = new BookedWork(_api.Database, seed: 5);
        var worker = await work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        var (bulk, express) = (
            await work.AddJobAsync(name, LatencyClass.Bulk, "org/a@1", 20),
            await work.AddJobAsync(name, LatencyClass.Express, "b@2", 1)
        );
        await work.EndAsync(worker, bulk, [.. Enumerable.Range(0, 15)], Day(3));
        await work.EndAsync(worker, bulk, [.. Enumerable.Range(15, 5)], Day(4), TaskOutcome.Failed);
        await work.EndAsync(worker, express, [0], Day(4));
        await work.EndAsync(worker, await work.AddJobAsync("a stranger", LatencyClass.Bulk, "b@2", 3), [0, 1, 2], Day(4));
        await RolledUp.Async(_api.Database);
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task A_total_is_the_sum_of_the_tenants_own_results()
    {
        var (_, list) = await _api.GetAsync(January);

        var total = Assert.Single(list.GetProperty("data").EnumerateArray());
        Assert.Equal((16, 5), (total.GetProperty("succeeded").GetInt32(), total.GetProperty("failed").GetInt32()));
        foreach (
            var (field, sql) in new[]
            {
                ("cost_pico_usd", "cost_pico"),
                ("units", "units"),
                ("turns", "turns"),
                ("saved_pico_usd", "saved_pico"),
            }
        )
        {
            var expected = await _api.Database.ScalarAsync<decimal>(
                $"SELECT sum(r.{sql})::numeric FROM results r JOIN jobs j ON j.id = r.job WHERE j.tenant = $1",
                _api.Tenant.Value
            );
            Assert.Equal(expected, total.GetProperty(field).GetDecimal());
        }

        foreach (var source in new[] { "job", "cache" })
        {
            var expected = await _api.Database.ScalarAsync<long>(
                "SELECT count(*) FROM results r JOIN jobs j ON j.id = r.job WHERE j.tenant = $1 AND r.reused = $2",
                _api.Tenant.Value,
                source
            );
            Assert.True(expected > 0, "The seed has none.");
            Assert.Equal(expected, total.GetProperty($"reused_{source}").GetInt64());
        }
    }

    [Fact]
    public async Task A_cache_tells_its_bounds_how_full_it_is_and_what_it_answered()
    {
        var (_, off) = await _api.GetAsync("/v1/cache");
        Assert.Equal((false, JsonValueKind.Null), (off.GetProperty("enabled").GetBoolean(), off.GetProperty("bytes_max").ValueKind));
        await _api.Database.ExecuteAsync(
            "INSERT INTO tenant_caches (tenant, ttl, bytes_max, entries_max, bytes, entries) VALUES ($1, '90 minutes', 1000, 100, 400, 1)",
            _api.Tenant.Value
        );

        var (_, on) = await _api.GetAsync("/v1/cache");

        Assert.Equal((true, 5400), (on.GetProperty("enabled").GetBoolean(), on.GetProperty("ttl_seconds").GetInt32()));
        Assert.Equal((400, 1), (on.GetProperty("bytes").GetInt32(), on.GetProperty("entries").GetInt32()));
        Assert.Equal(
            await _api.Database.ScalarAsync<long>(
                "SELECT count(*) FROM results r JOIN jobs j ON j.id = r.job WHERE j.tenant = $1 AND r.reused = 'cache'",
                _api.Tenant.Value
            ),
            on.GetProperty("hits").GetInt64()
        );
    }

    [Fact]
    public async Task Rows_come_by_day_class_and_model_page_by_page()
    {
        var path = $"{January}&group_by=model,day,class";
        var ids = new List<string?>();
        for (var after = ""; ; )
        {
            var (_, page) = await _api.GetAsync($"{path}&limit=1{after}");
            ids.AddRange(page.GetProperty("data").EnumerateArray().Select(row => row.GetProperty("id").GetString()));
            if (!page.GetProperty("has_more").GetBoolean())
            {
                break;
            }

            after = $"&after={Uri.EscapeDataString(page.GetProperty("last_id").GetString()!)}";
        }

        Assert.Equal(["2026-01-03|bulk|org/a@1", "2026-01-04|bulk|org/a@1", "2026-01-04|express|b@2"], ids);
    }

    [Fact]
    public async Task Csv_is_written_for_who_asks_by_parameter_or_by_header()
    {
        var byParameter = await _api.Http.GetStringAsync($"{January}&group_by=model&format=csv");
        using var request = new HttpRequestMessage(HttpMethod.Get, $"{January}&group_by=model");
        request.Headers.Add("Accept", "text/csv");
        using var byHeader = await _api.Http.SendAsync(request);

        Assert.Equal(byParameter, await byHeader.Content.ReadAsStringAsync());
        Assert.Equal("text/csv", byHeader.Content.Headers.ContentType?.MediaType);
        var lines = byParameter.Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(
            "model,succeeded,failed,expired,cancelled,units,turns,device_ns,cost_pico_usd,reused_job,reused_cache,saved_pico_usd",
            lines[0]
        );
        Assert.StartsWith("b@2,1,0,0,0,", lines[1], StringComparison.Ordinal);
        Assert.StartsWith("org/a@1,15,5,0,0,", lines[2], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("from=2026-01-32", "from")]
    [InlineData("from=2026-02-01&to=2026-01-01", "from")]
    [InlineData("from=2024-01-01&to=2026-01-01", "from")]
    [InlineData("to=yesterday", "to")]
    [InlineData("group_by=day,tenant", "group_by")]
    [InlineData("after=x", "after")]
    [InlineData("format=xml", "format")]
    [InlineData("day=2026-01-01", "day")]
    public async Task A_mistake_is_told_by_the_parameters_name(string query, string field)
    {
        var (status, body) = await _api.GetAsync($"/v1/usage?{query}");

        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Contains($"Parameter \"{field}\": expected", body.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_a_range_the_last_30_days_are_told()
    {
        var (_, list) = await _api.GetAsync("/v1/usage?group_by=day");

        Assert.Equal(JsonValueKind.Array, list.GetProperty("data").ValueKind);
    }

    private static DateTimeOffset Day(int day) => new(2026, 1, day, 12, 0, 0, TimeSpan.Zero);
}
