using Microsoft.Playwright;
using Pipeline.Hosting;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Dashboard;

/// <summary>What admins do in the browser about tenants, prices and operators, and how one signs out and in; checked in the database.</summary>
[Collection(RunningSystem.Collection)]
public sealed class AccountActionsTests(RunningSystem system, DashboardBrowser browser) : IAsyncLifetime
{
    private readonly string _name = $"north-{Guid.NewGuid():N}"[..20];

    public async ValueTask InitializeAsync() => await browser.OpenAsync(system);

    public ValueTask DisposeAsync()
    {
        browser.AssertNoErrors();
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task A_tenant_is_made_with_a_budget_and_a_key_that_is_limited_and_revoked()
    {
        await browser.LookAtAsync("tenants", "tenants/new");
        await browser.DoAsync(new("New tenant", "Make it", "The tenant is there.", "tenant.add") { Fields = [("Name", _name)] });
        var tenant = await system.ScalarAsync<Guid>("SELECT id FROM tenants WHERE name = $1", _name);
        await browser.DoAsync(new("Budget", "Set", "The budget holds from now on.", "budget.set") { Fields = [("US dollars", "12.5")] });
        Assert.Equal(12_500_000_000_000, await system.ScalarAsync<long>("SELECT limit_pico FROM tenant_budgets WHERE tenant = $1", tenant));

        await browser.DoAsync(new("New key", "Make a key", "It is not shown again", "key.add") { Fields = [("Name", "night shop")] });
        await browser.LookHereAsync("tenant-key");
        var key = await browser.Page.GetByLabel("Key", new() { Exact = true }).InputValueAsync();
        Assert.Equal("night shop", await OfKeyAsync<string>("name"));
        await browser.GoAsync($"tenants/{tenant}");
        Assert.DoesNotContain(key, await browser.Page.ContentAsync(), StringComparison.Ordinal);

        await browser.Page.GetByRole(AriaRole.Link, new() { Name = "Limits of night shop" }).ClickAsync();
        await browser.LookHereAsync("tenant-limits");
        await browser.DoAsync(
            new("Limits", "Set limits", "hold within two seconds", "key.limit") { Fields = [("Requests a second", "20")] }
        );
        Assert.Equal(20, await OfKeyAsync<int>("rate_per_second"));
        await browser.DoAsync(
            new("Revoke", "Revoke", "The key \"night shop\" is revoked", "key.revoke")
            {
                Row = "night shop",
                Fields = [("Type its name", "night shop")],
            }
        );
        Assert.True(await OfKeyAsync<bool>("revoked_at IS NOT NULL"));

        Task<T?> OfKeyAsync<T>(string sql) =>
            system.ScalarAsync<T>($"SELECT {sql} FROM api_keys WHERE tenant = $1 AND hash = $2", tenant, ApiKeys.Hash(key));
    }

    [Fact]
    public async Task A_price_is_set_from_a_moment_on()
    {
        await browser.LookAtAsync("prices");
        await browser.DoAsync(
            new("New price", "Set", "The price is set.", "price.set")
            {
                Fields = [("Class", "bulk"), ("Model", RunningSystem.SmallModel), ("US dollars", "0.25"), ("From", "2100-01-01T00:00:00Z")],
            }
        );
        Assert.Equal(
            250_000_000_000,
            await system.ScalarAsync<long>(
                "SELECT per_million_units_pico FROM prices WHERE class = 'bulk' AND model = $1 AND valid_from = '2100-01-01Z'",
                RunningSystem.SmallModel
            )
        );
    }

    [Fact]
    public async Task An_operator_is_invited_gets_another_role_and_password_and_is_disabled()
    {
        const string told = "Give this link to whom it is for.";
        await browser.GoAsync("operators");
        await browser.DoAsync(
            new(null, "Make a link", told, "operator.invite") { Fields = [("Invite a new", "operator"), ("Who is it for", "the night")] }
        );
        var tab = await browser.NewTabAsync();
        await ChoosePasswordAsync(_name, "a word nobody guesses");
        Assert.Equal("operator", await OfOperatorAsync<string>("role"));
        var password = await OfOperatorAsync<string>("password");

        await browser.GoAsync("operators");
        await browser.DoAsync(
            new(null, "Save", $"{_name} is changed.", "operator.change") { Row = _name, Fields = [($"Role of {_name}", "viewer")] }
        );
        Assert.Equal("viewer", await OfOperatorAsync<string>("role"));
        await browser.DoAsync(new(null, "New password", told, "operator.link") { Row = _name });
        await ChoosePasswordAsync(null, "another word nobody guesses");
        Assert.NotEqual(password, await OfOperatorAsync<string>("password"));

        await browser.LookAtAsync("operators");
        await browser.Page.GetByRole(AriaRole.Row).Filter(new() { HasText = _name }).GetByLabel("disabled").CheckAsync();
        await browser.DoAsync(new(null, "Save", $"{_name} is changed.", "operator.change") { Row = _name });
        Assert.True(await OfOperatorAsync<bool>("disabled_at IS NOT NULL"));
        await tab.ReloadAsync();
        await Assertions.Expect(tab.GetByRole(AriaRole.Heading, new() { Name = "Sign in" })).ToBeVisibleAsync();
        await tab.Context.CloseAsync();

        async Task ChoosePasswordAsync(string? name, string password)
        {
            await tab.GotoAsync(await browser.Page.GetByLabel("Link", new() { Exact = true }).InputValueAsync());
            await DashboardBrowser.ChoosePasswordAsync(tab, name, password);
        }

        Task<T?> OfOperatorAsync<T>(string sql) => system.ScalarAsync<T>($"SELECT {sql} FROM operators WHERE name = $1", _name);
    }

    [Fact]
    public async Task One_signs_out_and_in_again_and_chooses_colours()
    {
        var page = browser.Page;
        await browser.GoAsync("audit");
        foreach (var (button, theme) in new[] { ("Auto", "dark"), ("Dark", "light"), ("Light", null) })
        {
            await page.GetByRole(AriaRole.Button, new() { Name = button, Exact = true }).ClickAsync();
            await Assertions
                .Expect(page.Locator(theme is null ? "html:not([data-theme])" : $"html[data-theme={theme}]"))
                .ToBeVisibleAsync();
        }

        Assert.Equal(1L, await SessionsAsync());
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign out" }).ClickAsync();
        await Assertions.Expect(page.GetByRole(AriaRole.Heading, new() { Name = "Sign in" })).ToBeVisibleAsync();
        Assert.Equal(0L, await SessionsAsync());

        await browser.GoAsync("audit?action=operator.sign_out");
        await browser.LookHereAsync("sign-in");
        await page.GetByLabel("Name").FillAsync(DashboardBrowser.Operator);
        await page.GetByLabel("Password").FillAsync(DashboardBrowser.Password);
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign in" }).ClickAsync();
        await Assertions.Expect(page.GetByRole(AriaRole.Heading, new() { Name = "Audit" })).ToBeVisibleAsync();
        Assert.Equal(1L, await SessionsAsync());
        await browser.LookHereAsync("audit");

        Task<long> SessionsAsync() =>
            system.ScalarAsync<long>(
                "SELECT count(*) FROM operator_sessions s JOIN operators o ON o.id = s.operator WHERE o.name = $1",
                DashboardBrowser.Operator
            );
    }
}
