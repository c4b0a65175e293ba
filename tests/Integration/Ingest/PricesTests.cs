using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>What work is charged at the door, and what budgets do there. Tasks of <c>words</c> have a unit a byte, 16 at most.</summary>
public sealed class PricesTests(IngestDoor door) : IClassFixture<IngestDoor>
{
    private const string Body = """
        {"custom_id":"a","input":"0123456789"}
        {"custom_id":"b","input":"0123456789"}
        """;

    [Theory]
    [InlineData("bulk", 20_000L)]
    [InlineData("standard", 40_000L)]
    [InlineData("express", 80_000L)]
    public async Task Without_a_price_list_a_class_is_charged_by_its_factor(string latencyClass, long perUnit)
    {
        await using var host = await IngestHost.StartAsync(("Ingest:RefuseLateExpress", "false"));

        using var response = await host.PostAsync($"model=words&class={latencyClass}", Body);
        var job = await response.JsonAsync();

        Assert.Equal(perUnit * 1_000_000, job.GetProperty("price_per_million_units_pico_usd").GetInt64());
        Assert.Equal(perUnit * 20, job.GetProperty("estimated_price_pico_usd").GetInt64());
        Assert.Equal(perUnit * 20, await host.Database.ScalarAsync<long>("SELECT estimate_pico FROM jobs"));
    }

    [Fact]
    public async Task The_newest_price_that_holds_counts_and_a_models_own_goes_first()
    {
        await using var host = await IngestHost.StartAsync();
        await host.Database.ExecuteAsync(
            """
            INSERT INTO prices (class, model, valid_from, per_million_units_pico, currency, created_at) VALUES
              ('bulk', NULL, '2020-01-01Z', 1000000, 'USD', now()), ('bulk', NULL, '2021-01-01Z', 2000000, 'USD', now()),
              ('bulk', NULL, '2190-01-01Z', 3000000, 'USD', now()), ('bulk', 'grid', '2020-01-01Z', 9000000, 'USD', now()),
              ('standard', 'words', '2020-01-01Z', 5000000, 'USD', now()), ('standard', NULL, '2021-01-01Z', 6000000, 'USD', now())
            """
        );

        await host.SubmitAsync(1, "model=words&class=bulk");
        await host.SubmitAsync(1, "model=words&class=standard");

        Assert.Equal(
            "2000000 5000000",
            await host.Database.ScalarAsync<string>("SELECT string_agg(per_million_units_pico::text, ' ' ORDER BY id) FROM jobs")
        );
    }

    [Fact]
    public async Task A_job_priced_above_its_budget_is_refused_with_both_numbers()
    {
        await using var host = await door.NewTenantAsync();

        using var response = await host.PostAsync("model=words&class=bulk&max_cost=0.0000003", Body);
        var problem = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.UnprocessableEntity, response.StatusCode);
        Assert.Equal("budget_exceeded", problem.GetProperty("error").GetProperty("code").GetString());
        Assert.Contains("$0.0000004 (400000 pico-USD)", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Contains("$0.0000003 (300000 pico-USD)", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Equal(0, await host.CountRowsAsync());
    }

    [Fact]
    public async Task Of_fifty_jobs_at_once_exactly_those_get_in_that_the_month_covers()
    {
        await using var host = await door.NewTenantAsync();
        Assert.True(await TenantBudgets.SetAsync(host.Database.DataSource, host.TenantName, 10 * 400_000 + 399_999, [50, 80]));

        var responses = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => host.PostAsync("model=words", Body)));

        Assert.Equal(10, responses.Count(r => r.StatusCode == HttpStatusCode.OK));
        var refused = responses.Where(r => r.StatusCode == HttpStatusCode.PaymentRequired).ToArray();
        Assert.Equal(40, refused.Length);
        Assert.Equal("tenant_budget_exceeded", (await refused[0].JsonAsync()).GetProperty("error").GetProperty("code").GetString());
        Assert.Equal(10, await host.Database.ScalarAsync<long>("SELECT count(*) FROM jobs WHERE tenant = $1", host.Tenant.Value));
        Assert.Equal(
            4_000_000,
            await host.Database.ScalarAsync<decimal>("SELECT spent_pico FROM tenant_months WHERE tenant = $1", host.Tenant.Value)
        );
        Assert.Equal(
            "50 80",
            await host.Database.ScalarAsync<string>(
                "SELECT string_agg(data ->> 'percent', ' ' ORDER BY id) FROM events WHERE type = 'budget.warning' AND tenant = $1",
                host.Tenant.Value
            )
        );
        Array.ForEach(responses, r => r.Dispose());
    }

    [Fact]
    public async Task Inferences_that_share_a_commit_draw_on_the_month_one_by_one()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:RefuseLateExpress", "false"));
        await TenantBudgets.SetAsync(host.Database.DataSource, host.TenantName, 5 * 800_000, []);

        var responses = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => InferAsync(host)));

        Assert.Equal(5, responses.Count(s => s == HttpStatusCode.Accepted));
        Assert.Equal(15, responses.Count(s => s == HttpStatusCode.PaymentRequired));
    }

    [Fact]
    public async Task A_long_body_draws_on_the_month_when_it_has_ended()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:StoreChunksMax", "1"));
        await TenantBudgets.SetAsync(host.Database.DataSource, host.TenantName, 1_000_000_000, [80]);

        await host.SubmitAsync(2_000);

        Assert.Equal(
            await host.Database.ScalarAsync<long>("SELECT estimate_pico FROM jobs"),
            await host.Database.ScalarAsync<decimal>("SELECT spent_pico FROM tenant_months")
        );
    }

    [Fact]
    public async Task A_budget_set_in_the_middle_of_a_month_counts_what_was_accepted_before()
    {
        await using var host = await door.NewTenantAsync();
        using (await host.PostAsync("model=words", Body)) { }

        await TenantBudgets.SetAsync(host.Database.DataSource, host.TenantName, 700_000, []);
        using var second = await host.PostAsync("model=words", Body);

        Assert.Equal(HttpStatusCode.PaymentRequired, second.StatusCode);
    }

    [Fact]
    public async Task Only_operators_set_prices_and_budgets()
    {
        await using var host = await door.NewTenantAsync();

        using var response = await PutAsync(host.Client, "/v1/pools/gpu/price", """{"price_per_hour_usd":1}""");

        Assert.Equal(HttpStatusCode.Forbidden, response.StatusCode);
        Assert.Equal("operator_only", (await response.JsonAsync()).GetProperty("error").GetProperty("code").GetString());
    }

    [Fact]
    public async Task Operators_set_prices_and_budgets()
    {
        await using var host = await IngestHost.StartAsync();
        using var client = await OperatorAsync(host);
        const string From = "2150-01-01T00:00:00Z";

        await SetAsync("/v1/pools/gpu/price", $$"""{"price_per_hour_usd":"1.250000000001","valid_from":"{{From}}"}""");
        await SetAsync("/v1/pools/gpu/price", """{"price_per_hour_usd":2}""");
        await SetAsync(
            "/v1/prices",
            $$"""{"class":"express","price_per_million_units_usd":0.08,"valid_from":"{{From}}","currency":"USD"}"""
        );
        await SetAsync("/v1/prices", $$"""{"class":"express","price_per_million_units_usd":0.09,"valid_from":"{{From}}"}""");
        await SetAsync("/v1/tenants/test/budget", """{"limit_usd":100,"warn_percents":[50]}""");

        Assert.Equal(
            "2000000000000 1250000000001",
            await host.Database.ScalarAsync<string>(
                "SELECT string_agg(price_per_hour_pico::text, ' ' ORDER BY valid_from) FROM pool_prices"
            )
        );
        Assert.Equal(90_000_000_000, await host.Database.ScalarAsync<long>("SELECT per_million_units_pico FROM prices"));
        Assert.Equal(100_000_000_000_000, await host.Database.ScalarAsync<long>("SELECT limit_pico FROM tenant_budgets"));

        async Task SetAsync(string path, string body)
        {
            using var response = await PutAsync(client, path, body);
            Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
        }
    }

    [Theory]
    [InlineData("pools/gpu/price", """{"price_per_hour_usd":-1}""", "price_per_hour_usd", "-1")]
    [InlineData("pools/gpu/price", """{"price_per_hour_usd":10001}""", "price_per_hour_usd", "10001")]
    [InlineData("pools/gpu/price", """{"price_per_hour_usd":1e-13}""", "price_per_hour_usd", "1e-13")]
    [InlineData("pools/gpu/price", """{}""", "price_per_hour_usd", "nothing")]
    [InlineData("pools/gpu/price", """{"price_per_hour_usd":1,"currency":"EUR"}""", "currency", "\"EUR\"")]
    [InlineData("pools/gpu/price", """{"price_per_hour_usd":1,"valid_from":"soon"}""", "valid_from", "\"soon\"")]
    [InlineData(
        "pools/gpu/price",
        """{"price_per_hour_usd":1,"valid_from":"2020-01-01T00:00:00Z"}""",
        "valid_from",
        "2020-01-01T00:00:00.0000000+00:00"
    )]
    [InlineData("pools/gpu/price", """{"price_per_hour_usd":1,"until":"2027-01-01"}""", "until", "another member")]
    [InlineData("prices", """{"class":"gold","price_per_million_units_usd":1}""", "class", "\"gold\"")]
    [InlineData("prices", """{"class":"bulk","model":"words@1","price_per_million_units_usd":1}""", "model", "\"words@1\"")]
    [InlineData("prices", """{"class":"bulk","price_per_million_units_usd":100001}""", "price_per_million_units_usd", "100001")]
    [InlineData("tenants/test/budget", """{"limit_usd":5,"currency":"GBP"}""", "currency", "\"GBP\"")]
    [InlineData("tenants/test/budget", """{"limit_usd":5,"warn_percents":[0]}""", "warn_percents", "[0]")]
    [InlineData("tenants/test/budget", """[1]""", null, "array")]
    public async Task What_cannot_be_a_price_or_a_budget_is_told(string path, string body, string? field, string given)
    {
        await using var host = await door.NewTenantAsync();
        using var client = await OperatorAsync(host);

        using var response = await PutAsync(client, $"/v1/{path}", body);
        var problem = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal((field, given), (problem.FirstMistake().Field, problem.FirstMistake().Given));
        Assert.Equal(0, await host.Database.ScalarAsync<long>("SELECT (SELECT count(*) FROM pool_prices) + (SELECT count(*) FROM prices)"));
    }

    private static async Task<HttpStatusCode> InferAsync(IngestHost host)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/infer")
        {
            Content = new StringContent("""{"model":"words","inputs":["0123456789"]}""", Encoding.UTF8, "application/json"),
        };
        request.Headers.Add("Prefer", "respond-async");
        using var response = await host.Client.SendAsync(request);
        return response.StatusCode;
    }

    private static async Task<HttpClient> OperatorAsync(IngestHost host)
    {
        var key = await ApiKeyIssuer.IssueAsync(host.Database.DataSource, host.Tenant, "operator", isOperator: true);
        var client = new HttpClient { BaseAddress = host.Address };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return client;
    }

    private static Task<HttpResponseMessage> PutAsync(HttpClient client, string path, string body) =>
        client.PutAsync(new Uri(path, UriKind.Relative), new StringContent(body, Encoding.UTF8, "application/json"));
}
