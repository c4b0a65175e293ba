using System.Text.RegularExpressions;
using Microsoft.Playwright;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Dashboard;

/// <summary>The pages on which nothing is done, with what a run of three tenants left; the others are looked at where something is.</summary>
[Collection(RunningSystem.Collection)]
public sealed class PagesTests(RunningSystem system, DashboardBrowser browser) : IAsyncLifetime
{
    private readonly string _name = $"run-{Guid.NewGuid():N}"[..20];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => await browser.OpenAsync(system);

    public ValueTask DisposeAsync()
    {
        browser.AssertNoErrors();
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task Three_tenants_failures_a_route_that_escalates_and_a_missed_deadline_are_shown()
    {
        // It takes several tries until it is sure that no worker can load that model.
        var failed = await system.Client.SendAsync(FakeModels.Name.Name, RunningSystem.Texts(2));
        var late = await MissDeadlineAsync();
        var routed = await EscalateAsync();
        await browser.LookAtAsync("now");
        await Assertions.Expect(browser.Page.Locator("[data-live-state].on")).ToBeVisibleAsync(new() { Timeout = 30_000 });
        await browser.LookAtAsync("now?range=24h", "now?range=30d", "trade-off", "bulk");
        await browser.LookAtAsync($"jobs/{routed}", $"jobs/{late}?status=expired", $"routes/{_name}", $"jobs?tenant={_name}-south");
        await Assertions.Expect(browser.Page.GetByRole(AriaRole.Row).Filter(new() { HasText = $"{_name}-south" })).ToHaveCountAsync(1);
        Assert.Equal(2, (await system.Client.UntilEndAsync(failed)).Counts.Failed);
        await browser.LookAtAsync("jobs");
    }

    [Fact]
    public async Task A_slider_of_the_trade_off_asks_anew_and_the_address_says_what()
    {
        await browser.GoAsync($"trade-off?pool=default&model={RunningSystem.SmallModel}%401.0.0&price=1&arrivals=1000");
        var cost = browser.Page.Locator(".tile").Filter(new() { HasText = "1,000 tasks cost" }).Locator(".big");
        await Assertions.Expect(cost).ToHaveTextAsync("$0.000278");

        await browser.Page.GetByRole(AriaRole.Slider, new() { Name = "Workers" }).PressAsync("End");

        // A thousand workers at a dollar an hour for a thousand tasks a second.
        await Assertions.Expect(browser.Page.Locator("input[name=workers]")).ToHaveValueAsync("1000");
        await Assertions.Expect(cost).ToHaveTextAsync("$0.28");
        await Assertions.Expect(browser.Page).ToHaveURLAsync(new Regex("workers=1000&price=1&arrivals=1000"));
    }

    [Fact]
    public async Task By_keyboard_one_skips_the_menu_reaches_the_filters_and_opens_what_is_listed()
    {
        var job = await system.Client.SendAsync(RunningSystem.SmallModel, RunningSystem.Texts(1));
        await system.Client.UntilEndAsync(job);
        await browser.GoAsync($"jobs?model={RunningSystem.SmallModel}");
        var keys = browser.Page.Keyboard;

        await keys.PressAsync("Tab");
        await Assertions.Expect(browser.Page.GetByText("Skip to the content")).ToBeFocusedAsync();
        await keys.PressAsync("Enter");
        await keys.PressAsync("Tab");
        Assert.True(await browser.Page.EvaluateAsync<bool>("document.querySelector('main').contains(document.activeElement)"));

        await browser.Page.EvaluateAsync("document.activeElement.blur()");
        await keys.PressAsync("/");
        await Assertions.Expect(browser.Page.Locator(".filters input:not([type=hidden])").First).ToBeFocusedAsync();

        await browser.Page.GetByRole(AriaRole.Link, new() { NameRegex = new Regex(job.Id[^6..]) }).FocusAsync();
        await keys.PressAsync("Enter");
        await Assertions.Expect(browser.Page).ToHaveURLAsync(new Regex($"jobs/{job.Id}"));
    }

    [Fact]
    public async Task What_is_not_there_is_told_and_what_only_shows_says_so()
    {
        Assert.Equal(404, (await browser.Page.GotoAsync("dashboard/nothing-of-that-name"))!.Status);
        Assert.Contains("404", Assert.Single(browser.TakeErrors()), StringComparison.Ordinal);
        await browser.LookHereAsync("error");

        var readOnly = system.Rig.Services.Start(
            "results-api",
            "Pipeline.ResultsApi.dll",
            0,
            new Dictionary<string, string> { ["DASHBOARD__READONLY"] = "true" }
        );
        await readOnly.UntilReadyAsync(TimeSpan.FromMinutes(1), Stop);
        await browser.Page.GotoAsync(new Uri(readOnly.Address, "dashboard/operators").ToString());
        await Assertions.Expect(browser.Page.GetByText("Read-only: this dashboard changes nothing.")).ToBeVisibleAsync();
        await browser.LookHereAsync("read-only");
        readOnly.Terminate();
        await RunningSystem.UntilEndAsync(readOnly);
    }

    /// <returns>A job whose model is held until its deadline has passed.</returns>
    private async Task<Guid> MissDeadlineAsync()
    {
        await using var held = await HeldModel.HoldAsync(system, browser, $"{_name}-held");
        using var south = await system.ClientOfAsync($"{_name}-south");
        var late = await held.SubmitAsync(south, deadline: "2s");
        await system.UntilAsync("SELECT EXISTS (SELECT FROM sla_breaches WHERE job = $1 AND expired = tasks)", late);
        return late;
    }

    /// <returns>A job along a route of the two starter models; the small one is unsure of first words.</returns>
    private async Task<Guid> EscalateAsync()
    {
        await ModelRoutes.PutAsync(
            system.Database,
            _name,
            [new(RunningSystem.SmallModel, new Acceptance { ProbabilityMin = 0.95 }), new("language-id-large")],
            Stop
        );
        using var north = await system.ClientOfAsync($"{_name}-north");
        var texts = RunningSystem.Texts(100).Select((text, i) => i % 2 == 0 ? text : string.Join(' ', text.Split(' ').Take(2)));
        var job = await north.SendAsync(_name, [.. texts], parameter: "route");
        await north.UntilEndAsync(job);
        var escalated = await system.ScalarAsync<long>("SELECT count(*) FROM results WHERE job = $1 AND turns = 2", Guid.Parse(job.Id));
        Assert.InRange(escalated, 1, job.Texts.Count - 1);
        return Guid.Parse(job.Id);
    }
}
