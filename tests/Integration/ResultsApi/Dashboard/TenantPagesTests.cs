using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Accounts;
using Pipeline.Tests.Integration.Ingest;
using Pipeline.Tests.Integration.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

/// <summary>Tenants, prices and webhooks at the dashboard: what admins change, and what operators send again.</summary>
public sealed partial class TenantPagesTests : IAsyncLifetime
{
    private IngestHost _ingest = null!;
    private DashboardHost _host = null!;
    private DashboardBrowser _admin = null!;

    public async ValueTask InitializeAsync()
    {
        _ingest = await IngestHost.StartAsync();
        _host = await DashboardHost.StartBesideAsync(_ingest.Database, ("Ingest", _ingest.Address.ToString()));
        _admin = await _host.SignInAsync(OperatorRole.Admin);
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        await _ingest.DisposeAsync();
    }

    private string Tenant => $"/dashboard/tenants/{_ingest.Tenant}";

    [Fact]
    public async Task A_key_is_shown_once_opens_the_api_and_is_revoked()
    {
        var page = await _admin.GetAsync(Tenant);
        var made = await _admin.PostAsync($"{Tenant}/keys", page, ("name", "night batch"), ("reason", "ticket 7"));

        var key = Key().Match(made.Body).Value;
        Assert.Equal(
            "night batch",
            await _host.Database.ScalarAsync<string>("SELECT name FROM api_keys WHERE hash = $1 AND NOT operator", ApiKeys.Hash(key))
        );
        var later = await _admin.GetAsync(Tenant);
        Assert.Contains("night batch", later.Body, StringComparison.Ordinal);
        Assert.DoesNotContain(key, later.Body, StringComparison.Ordinal);

        var id = await _host.Database.ScalarAsync<Guid>("SELECT id FROM api_keys WHERE name = 'night batch'");
        await _admin.PostAsync($"{Tenant}/revoke", later, ("key", id.ToString()), ("reason", "lost"), ("confirm", "day batch"));
        Assert.Contains("Type &quot;night batch&quot; to confirm.", (await _admin.GetAsync(Tenant)).Body, StringComparison.Ordinal);
        Assert.False(await _host.Database.ScalarAsync<bool>("SELECT revoked_at IS NOT NULL FROM api_keys WHERE id = $1", id));
        await _admin.PostAsync($"{Tenant}/revoke", later, ("key", id.ToString()), ("reason", "lost"), ("confirm", "night batch"));
        Assert.True(await _host.Database.ScalarAsync<bool>("SELECT revoked_at IS NOT NULL FROM api_keys WHERE id = $1", id));
        Assert.Equal(
            $"key.add ticket 7 true {key[..12]}, key.revoke lost true {key[..12]}",
            await _host.Database.ScalarAsync<string>(
                """
                SELECT string_agg(concat_ws(' ', action, reason, done::text, coalesce(before, after) ->> 'prefix'), ', ' ORDER BY id)
                FROM audit WHERE subject = 'test'
                """
            )
        );
    }

    [Fact]
    public async Task Limits_of_a_key_are_set_through_ingest_and_audited_with_what_they_were()
    {
        await _host.Database.ExecuteAsync("UPDATE api_keys SET burst_max = 9 WHERE tenant = $1 AND NOT operator", _ingest.Tenant.Value);
        var id = await _host.Database.ScalarAsync<Guid>(
            "SELECT id FROM api_keys WHERE tenant = $1 AND burst_max = 9",
            _ingest.Tenant.Value
        );
        var page = await _admin.GetAsync($"{Tenant}?limits={id}");
        Assert.Contains("name=\"burst_max\" inputmode=\"numeric\" maxlength=\"10\" value=\"9\"", page.Body, StringComparison.Ordinal);

        await SetAsync("0");
        Assert.Contains("Not set", (await _admin.GetAsync(Tenant)).Body, StringComparison.Ordinal);
        await SetAsync("25");

        Assert.Equal("25,,4", await LimitsAsync());
        Assert.Equal(
            "9 25",
            await _host.Database.ScalarAsync<string>(
                "SELECT (before ->> 'burst_max') || ' ' || (after ->> 'rate_per_second') FROM audit WHERE action = 'key.limit' AND done"
            )
        );
        var other = await _host.SignInAsync(OperatorRole.Operator);
        Assert.DoesNotContain("Set limits", (await other.GetAsync($"{Tenant}?limits={id}")).Body, StringComparison.Ordinal);

        Task SetAsync(string rate) =>
            _admin.PostAsync(
                $"{Tenant}/limits",
                page,
                ("key", id.ToString()),
                ("rate_per_second", rate),
                ("burst_max", ""),
                ("concurrent_max", "4"),
                ("reason", "too loud")
            );

        Task<string?> LimitsAsync() =>
            _host.Database.ScalarAsync<string>(
                "SELECT concat_ws(',', rate_per_second, coalesce(burst_max::text, ''), concurrent_max) FROM api_keys WHERE id = $1",
                id
            );
    }

    [Fact]
    public async Task An_admin_makes_a_tenant_and_nobody_makes_it_twice()
    {
        Assert.Contains("/dashboard/tenants/new", (await _admin.GetAsync("/dashboard/tenants")).Body, StringComparison.Ordinal);
        var page = await _admin.GetAsync("/dashboard/tenants/new");
        (string, string)[] fields = [("name", "north"), ("reason", "contract 12")];

        var made = await _admin.PostAsync("/dashboard/tenants", page, fields);
        var again = await _admin.PostAsync("/dashboard/tenants", page, fields);

        var id = await _host.Database.ScalarAsync<Guid>("SELECT id FROM tenants WHERE name = 'north'");
        Assert.Equal(($"/dashboard/tenants/{id}", "/dashboard/tenants/new"), (made.Location, again.Location));
        Assert.Equal(
            "contract 12",
            await _host.Database.ScalarAsync<string>("SELECT reason FROM audit WHERE action = 'tenant.add' AND done AND tenant = $1", id)
        );
        var other = await _host.SignInAsync(OperatorRole.Operator);
        Assert.Equal(HttpStatusCode.Forbidden, (await other.GetAsync("/dashboard/tenants/new")).Status);
        Assert.DoesNotContain("/tenants/new", (await other.GetAsync("/dashboard/tenants")).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_route_is_set_through_ingest_and_an_earlier_list_is_set_again()
    {
        var page = await _admin.GetAsync("/dashboard/routes");

        await SetAsync("""[{"model": "nothing"}, {"model": "words"}]""");
        Assert.Contains("Not set", (await _admin.GetAsync("/dashboard/routes")).Body, StringComparison.Ordinal);
        await SetAsync("[");
        Assert.Equal(0L, await VersionsAsync());
        await SetAsync("""[{"model": "words@1", "accept": {"units_max": 8}}, {"model": "words@2"}]""");
        await SetAsync("""[{"model": "words@1", "accept": {"units_max": 9}}, {"model": "words@2"}]""");
        var again = await _admin.GetAsync("/dashboard/routes/cascade?from=1");

        Assert.Equal(2L, await VersionsAsync());
        Assert.Contains("\"units_max\": 8", WebUtility.HtmlDecode(again.Body), StringComparison.Ordinal);
        Assert.Equal(
            "false true true",
            await _host.Database.ScalarAsync<string>(
                "SELECT string_agg(done::text, ' ' ORDER BY id) FROM audit WHERE action = 'route.set' AND subject = 'cascade'"
            )
        );

        Task SetAsync(string variants) =>
            _admin.PostAsync("/dashboard/routes", page, ("name", "cascade"), ("variants", variants), ("reason", "cheaper"));

        Task<long> VersionsAsync() => _host.Database.ScalarAsync<long>("SELECT count(*) FROM routes WHERE name = 'cascade'");
    }

    [Fact]
    public async Task A_budget_is_set_through_ingest_and_what_it_refuses_is_told()
    {
        var page = await _admin.GetAsync(Tenant);

        await _admin.PostAsync($"{Tenant}/budget", page, ("limit_usd", "12.5"), ("reason", "contract"));
        Assert.Equal(12_500_000_000_000, await _host.Database.ScalarAsync<long>("SELECT limit_pico FROM tenant_budgets"));
        Assert.Contains("$12.50", (await _admin.GetAsync(Tenant)).Body, StringComparison.Ordinal);

        await _admin.PostAsync($"{Tenant}/budget", page, ("limit_usd", "much"), ("reason", "contract"));
        Assert.Contains("Not set", (await _admin.GetAsync(Tenant)).Body, StringComparison.Ordinal);
        Assert.Equal(
            "true false",
            await _host.Database.ScalarAsync<string>(
                "SELECT string_agg(done::text, ' ' ORDER BY id) FROM audit WHERE action = 'budget.set'"
            )
        );
    }

    [Fact]
    public async Task A_tenants_page_says_what_its_tasks_cost_and_what_is_charged_by_class_and_model()
    {
        Assert.Contains("Nothing yet", (await _admin.GetAsync(Tenant)).Body, StringComparison.Ordinal);
        await _ingest.EndAllAsync(await _ingest.SubmitAsync(3), TaskOutcome.Succeeded);
        await _ingest.EndAllAsync(await _ingest.SubmitAsync(2), TaskOutcome.Failed);
        await RolledUp.Async(_host.Database);
        await _host.Database.ExecuteAsync("UPDATE sla_days SET cost_pico = 2e12, price_pico = 5e12");

        var page = (await _admin.GetAsync(Tenant)).Body;

        Assert.Matches(@"<td>bulk</td><td>words@1</td><td class=""number"">3</td><td class=""number"">2</td>", page);
        Assert.Contains("<td class=\"number\">$2.00</td><td class=\"number\">$5.00</td>", page, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_price_is_set_for_a_class_and_stands_in_the_list()
    {
        var page = await _admin.GetAsync("/dashboard/prices");
        Assert.Contains("There is no price list", page.Body, StringComparison.Ordinal);

        await _admin.PostAsync(
            "/dashboard/prices",
            page,
            ("class", "express"),
            ("model", "words"),
            ("usd", "0.08"),
            ("valid_from", ""),
            ("reason", "new list")
        );

        Assert.Equal(
            "express words 80000000000",
            await _host.Database.ScalarAsync<string>("SELECT concat_ws(' ', class, model, per_million_units_pico) FROM prices")
        );
        Assert.Contains("$0.08", (await _admin.GetAsync("/dashboard/prices")).Body, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tenants", "tenants", "tenant.add")]
    [InlineData("api_keys", "tenants/{tenant}/keys", "key.add")]
    [InlineData("operator_links", "operators/invite", "operator.invite")]
    public async Task What_breaks_off_in_the_middle_is_in_the_audit(string table, string path, string action)
    {
        var page = await _admin.GetAsync("/dashboard/tenants/new");
        await _host.Database.ExecuteAsync(
            $"""
            CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken off'; END $$;
            CREATE TRIGGER break_off BEFORE INSERT ON {table} EXECUTE FUNCTION break_off();
            """
        );

        var answer = await _admin.PostAsync(
            $"/dashboard/{path.Replace("{tenant}", $"{_ingest.Tenant}", StringComparison.Ordinal)}",
            page,
            ("name", "north"),
            ("role", "viewer"),
            ("reason", "contract 12")
        );

        Assert.Equal(HttpStatusCode.InternalServerError, answer.Status);
        Assert.Equal(
            $"{_admin.Name} contract 12 false begun; how it ended is not known",
            await _host.Database.ScalarAsync<string>(
                "SELECT concat_ws(' ', operator_name, reason, done::text, detail) FROM audit WHERE action = $1",
                action
            )
        );
    }

    [Fact]
    public async Task An_account_is_not_made_without_its_row_in_the_audit()
    {
        var browser = _host.Browser();
        var link = await _host.Services.GetRequiredService<OperatorLinks>().CreateAsync(OperatorRole.Viewer, null, CancellationToken.None);
        var page = await browser.GetAsync(link);
        await _host.Database.ExecuteAsync("ALTER TABLE audit ADD CONSTRAINT none CHECK (subject <> 'grace')");

        var answer = await browser.PostAsync(
            "/dashboard/welcome",
            page,
            ("token", link[(link.IndexOf('=', StringComparison.Ordinal) + 1)..]),
            ("name", "grace"),
            ("password", DashboardHost.Password),
            ("again", DashboardHost.Password)
        );

        Assert.Equal(HttpStatusCode.InternalServerError, answer.Status);
        Assert.Equal(0L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM operators WHERE name = 'grace'"));
        Assert.Equal(HttpStatusCode.OK, (await browser.GetAsync(link)).Status);
    }

    [Fact]
    public async Task Operators_who_are_no_admins_see_it_and_change_nothing()
    {
        var browser = await _host.SignInAsync(OperatorRole.Operator);
        var page = await browser.GetAsync(Tenant);
        Assert.DoesNotContain("Make a key", page.Body, StringComparison.Ordinal);
        var token = await browser.GetAsync("/dashboard/workers");

        foreach (var path in new[] { $"{Tenant}/keys", $"{Tenant}/budget", "/dashboard/prices" })
        {
            Assert.Equal(HttpStatusCode.Forbidden, (await browser.PostAsync(path, token, ("reason", "why"))).Status);
        }
    }

    [Fact]
    public async Task Failed_deliveries_of_a_webhook_are_sent_again_one_or_all()
    {
        var endpoint = Guid.CreateVersion7();
        await _host.Database.ExecuteAsync(
            """
            INSERT INTO webhook_endpoints (id, tenant, url, description, event_types, state, created_at)
            VALUES ($1, $2, 'https://127.0.0.1:1/hook', '', '{job.completed}', 'enabled', now())
            """,
            endpoint,
            _ingest.Tenant.Value
        );
        await _host.Database.ExecuteAsync(
            """
            INSERT INTO webhook_deliveries (id, tenant, endpoint, event, type, state, reason, attempts, created_at, finished_at)
            SELECT gen_random_uuid(), $2, $1, n, 'job.completed', 'failed', 'gone', 1, now(), now() FROM generate_series(1, 3) AS n
            """,
            endpoint,
            _ingest.Tenant.Value
        );
        var here = $"/dashboard/webhooks/{endpoint}";
        var page = await _admin.GetAsync(here);
        Assert.Contains("No delivery is in this state", (await _admin.GetAsync($"{here}?state=delivered")).Body, StringComparison.Ordinal);
        var one = await _host.Database.ScalarAsync<Guid>("SELECT id FROM webhook_deliveries LIMIT 1");
        Assert.Contains($"value=\"{one}\"", page.Body, StringComparison.Ordinal);

        await _admin.PostAsync($"{here}/replay", page, ("delivery", one.ToString()), ("reason", "they are back"));
        Assert.Equal(1L, await AgainAsync());
        await _admin.PostAsync($"{here}/replay", page, ("reason", "they are back"));
        Assert.Equal(3L, await AgainAsync());
        Assert.Equal(
            2L,
            await _host.Database.ScalarAsync<long>("SELECT count(*) FROM audit WHERE action = 'webhook.replay' AND reason IS NOT NULL")
        );
    }

    [Fact]
    public async Task Deliveries_of_a_webhook_are_listed_by_state_page_by_page_and_exported()
    {
        await using var small = await DashboardHost.StartBesideAsync(_ingest.Database, ("PageItems", "2"));
        var viewer = await small.SignInAsync(OperatorRole.Viewer);
        var endpoint = Guid.CreateVersion7();
        await _host.Database.ExecuteAsync(
            """
            WITH e AS (
              INSERT INTO webhook_endpoints (id, tenant, url, description, event_types, state, created_at)
              VALUES ($1, $2, 'https://127.0.0.1:1/hook', '', '{job.completed}', 'enabled', now()) RETURNING id, tenant
            )
            INSERT INTO webhook_deliveries (id, tenant, endpoint, event, type, state, reason, attempts, created_at, finished_at)
            SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, tenant, id, n, 'job.completed',
                   CASE WHEN n = 4 THEN 'delivered' ELSE 'failed' END, CASE WHEN n < 4 THEN '=gone' END, 1, now(), now() FROM e, generate_series(1, 4) AS n
            """,
            endpoint,
            _ingest.Tenant.Value
        );
        var here = $"/dashboard/webhooks/{endpoint}";

        Assert.Equal("32", await ShownAsync(""));
        Assert.Equal("1", await ShownAsync("?after=00000000-0000-0000-0000-000000000002"));
        Assert.Equal("4", await ShownAsync("?state=delivered"));
        Assert.Equal("43", await ShownAsync("?state=any"));
        Assert.Contains(
            "after=00000000-0000-0000-0000-000000000003",
            (await viewer.GetAsync($"{here}?state=any")).Body,
            StringComparison.Ordinal
        );

        var lines = (await viewer.GetAsync($"{here}/export?format=csv&state=failed")).Body.TrimEnd().Split("\r\n");
        Assert.Equal("id,type,job,state,reason,attempts,last_status,created_at", lines[0]);
        Assert.Equal(3, lines.Length - 1);
        Assert.StartsWith("00000000-0000-0000-0000-000000000003,job.completed,,failed,'=gone,1,,20", lines[1], StringComparison.Ordinal);

        async Task<string> ShownAsync(string query) =>
            string.Concat(Delivery().Matches((await viewer.GetAsync(here + query)).Body).Select(match => match.Groups[1].Value));
    }

    [Fact]
    public async Task Tenants_are_exported_with_their_usage_and_budget()
    {
        await _admin.PostAsync($"{Tenant}/budget", await _admin.GetAsync(Tenant), ("limit_usd", "12.5"), ("reason", "contract"));

        var answer = await _admin.GetAsync("/dashboard/tenants/export?format=json");

        var tenant = JsonElement.Parse(answer.Body).EnumerateArray().Single(t => t.GetProperty("name").GetString() == "test");
        Assert.Equal(
            ($"{_ingest.Tenant}", "12500000000000", "0"),
            (
                tenant.GetProperty("id").GetString(),
                tenant.GetProperty("budget_pico_usd").GetString(),
                tenant.GetProperty("tasks_this_month").GetString()
            )
        );
    }

    /// <summary>Deliveries that were put back after their first attempt, whatever came of them since.</summary>
    private Task<long> AgainAsync() =>
        _host.Database.ScalarAsync<long>("SELECT count(*) FROM webhook_deliveries WHERE attempts_before >= 1")!;

    [GeneratedRegex("<td class=\"mono\" title=\"00000000-0000-0000-0000-00000000000([0-9])\"")]
    private static partial Regex Delivery();

    [GeneratedRegex("pk_[A-Za-z0-9_-]{43}")]
    private static partial Regex Key();
}
