using System.Net;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

public sealed class PricesTests(ResultsApiFixture fixture) : IClassFixture<ResultsApiFixture>
{
    [Fact]
    public async Task Prices_are_listed_the_last_one_set_first_page_by_page()
    {
        var api = await fixture.Host.AddTenantAsync();
        var later = DateTimeOffset.UtcNow.AddHours(1);
        foreach (
            var (latencyClass, model, price) in new[]
            {
                (LatencyClass.Bulk, null, 1L),
                (LatencyClass.Express, "m", 2L),
                (LatencyClass.Bulk, "m", 3L),
            }
        )
        {
            Assert.True(await Prices.SetAsync(api.Database.DataSource, latencyClass, model, later, price));
        }

        var (_, first) = await api.GetAsync("/v1/prices?limit=2");
        var (_, second) = await api.GetAsync($"/v1/prices?limit=2&after={first.GetProperty("last_id").GetString()}");
        Assert.Equal("bulk m 3, express m 2", Told(first));
        Assert.Equal("bulk  1", Told(second));
        Assert.False(second.GetProperty("has_more").GetBoolean());
        Assert.Equal("bulk m 3", Told((await api.GetAsync("/v1/prices?class=bulk&model=m")).Body));
        Assert.Equal(HttpStatusCode.BadRequest, (await api.GetAsync("/v1/prices?class=gold")).Status);
    }

    [Fact]
    public async Task A_tenant_sees_its_own_budget_and_operators_everybodys()
    {
        var (api, stranger) = (await fixture.Host.AddTenantAsync(), await fixture.Host.AddTenantAsync());
        var name = (await api.Database.ScalarAsync<string>("SELECT name FROM tenants WHERE id = $1", api.Tenant.Value))!;
        var path = $"/v1/tenants/{Uri.EscapeDataString(name)}/budget";

        var (_, none) = await api.GetAsync(path);
        Assert.Equal(
            (JsonValueKind.Null, JsonValueKind.Null),
            (none.GetProperty("limit_pico_usd").ValueKind, none.GetProperty("spent_pico_usd").ValueKind)
        );

        Assert.True(await TenantBudgets.SetAsync(api.Database.DataSource, name, 500, [50, 90]));
        await api.Database.ExecuteAsync("UPDATE tenant_months SET spent_pico = 123 WHERE tenant = $1", api.Tenant.Value);
        var key = await ApiKeyIssuer.IssueAsync(api.Database.DataSource, stranger.Tenant, "operator", isOperator: true);
        foreach (var caller in new[] { api, stranger with { Http = fixture.Host.Client(key) } })
        {
            var (status, budget) = await caller.GetAsync(path);
            Assert.Equal(HttpStatusCode.OK, status);
            Assert.Equal(
                (name, 500, 123m),
                (
                    budget.GetProperty("tenant").GetString(),
                    budget.GetProperty("limit_pico_usd").GetInt64(),
                    budget.GetProperty("spent_pico_usd").GetDecimal()
                )
            );
            Assert.Equal("[50,90]", budget.GetProperty("warn_percents").GetRawText());
        }

        Assert.Equal(HttpStatusCode.NotFound, (await stranger.GetAsync(path)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await api.GetAsync("/v1/tenants/nobody/budget")).Status);
    }

    private static string Told(JsonElement list) =>
        string.Join(
            ", ",
            list.GetProperty("data")
                .EnumerateArray()
                .Select(p =>
                    $"{p.GetProperty("class").GetString()} {p.GetProperty("model").GetString()} {p.GetProperty("price_per_million_units_pico_usd").GetInt64()}"
                )
        );
}
