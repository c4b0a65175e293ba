using System.Globalization;
using System.Text.Json;
using Deque.AxeCore.Playwright;
using Microsoft.Playwright;
using Pipeline.Contracts;
using Pipeline.ResultsApi.Dashboard;
using Pipeline.Tests.Support.Models;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.EndToEnd;

/// <summary>
/// The operators' dashboard in Debian's Chromium, over the running system: every page, narrow and wide, light and dark, and what is done
/// there checked in the database. Screenshots are kept beside the tests, in <c>screenshots</c>.
/// </summary>
[Collection(RunningSystem.Collection)]
public sealed class DashboardTests(RunningSystem system) : IAsyncLifetime
{
    private const string Chromium = "/usr/bin/chromium";
    private const string Password = "correct horse battery staple";
    private static readonly string Screenshots = Path.Combine(AppContext.BaseDirectory, "screenshots");
    private readonly List<string> _errors = [];
    private readonly string _group = $"dashboard-{Guid.NewGuid():N}"[..20];
    private int _looks;
    private IPlaywright? _playwright;
    private IBrowser? _browser;
    private IPage _page = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipUnless(File.Exists(Chromium), $"{Chromium} is not there: apt-get install chromium, or ./pipeline test.");
        Directory.CreateDirectory(Screenshots);
        _playwright = await Playwright.CreateAsync();
        _browser = await _playwright.Chromium.LaunchAsync(new() { ExecutablePath = Chromium, Args = ["--no-sandbox"] });
        _page = await _browser.NewPageAsync(new() { BaseURL = system.Rig.Services.Results.Address.ToString() });

        // Whatever the browser refuses by the page's own policy is told there, too.
        _page.Console += (_, message) =>
        {
            if (message.Type == "error")
            {
                _errors.Add(message.Text);
            }
        };
        _page.PageError += (_, error) => _errors.Add(error);
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
        {
            await _browser.DisposeAsync();
        }

        _playwright?.Dispose();
    }

    [Fact]
    public async Task An_operator_signs_in_finds_what_fails_and_mends_it()
    {
        // The one fails, since no worker can load that model; the other lasts, and is held back at once.
        var failed = await system.Client.SendAsync(FakeModels.Name.Name, RunningSystem.Texts(2));
        var lasting = await SubmitLastingAsync();
        await BecomeAdminAsync();
        await ActOnJobAsync(lasting, "Pause", "the worker is being mended");
        Assert.True(await ScalarAsync<bool>("SELECT paused FROM jobs WHERE id = $1", lasting.Value));

        await LookAtAsync("now", "trade-off", "jobs", "workers", "models", "webhooks", "tenants");
        await system.Client.UntilAsync(failed, job => job.State.IsEnd());
        await LookAtAsync($"jobs/{failed.Id}?status=failed", "failures");
        await RetryAllFailuresAsync(failed);
        await ActOnJobAsync(lasting, "Resume", "it is mended");
        await CancelAllOfTheGroupAsync();
        await LookAtAsync("bulk", "audit", "operators");

        await _page.GetByRole(AriaRole.Button, new() { Name = "Sign out" }).ClickAsync();
        await LookAtAsync("sign-in");
        Assert.Empty(_errors);
    }

    private async Task BecomeAdminAsync()
    {
        var link = await DashboardServices.FirstAdminLinkAsync(system.Database, new(), system.Rig.Services.Results.Address, Stop);
        await _page.GotoAsync(link!.ToString());
        await _page.GetByLabel("Name").FillAsync("ada");
        await _page.GetByLabel("Password").FillAsync(Password);
        await _page.GetByLabel("Once more").FillAsync(Password);
        await _page.GetByRole(AriaRole.Button, new() { Name = "Go on" }).ClickAsync();
        await Assertions.Expect(_page.GetByText("Welcome, ada.")).ToBeVisibleAsync();

        // The page is fed by the server.
        await Assertions.Expect(_page.Locator("[data-live-state].on")).ToBeVisibleAsync(new() { Timeout = 30_000 });
    }

    private async Task ActOnJobAsync(JobId job, string action, string reason)
    {
        await _page.GotoAsync($"dashboard/jobs/{job}");
        await _page.GetByLabel("Why?").FillAsync(reason);
        await _page.GetByRole(AriaRole.Button, new() { Name = action, Exact = true }).ClickAsync();
        await Assertions.Expect(_page.GetByText($"{action}: done.")).ToBeVisibleAsync();
        Assert.Equal(
            "ada",
            await ScalarAsync<string>("SELECT operator_name FROM audit WHERE done AND subject = $1 AND reason = $2", job.ToString(), reason)
        );
    }

    private async Task RetryAllFailuresAsync(SentJob failed)
    {
        await _page.GotoAsync("dashboard/failures?range=1h");
        await _page
            .GetByLabel($"dispatch_failed of {FakeModels.Name}")
            .GetByRole(AriaRole.Link, new() { Name = "Retry these jobs" })
            .ClickAsync();
        await LookHereAsync("bulk-preview");
        await _page.GetByLabel("Why?").FillAsync("the model is mended");
        await _page.GetByRole(AriaRole.Button, new() { Name = "Retry failed" }).ClickAsync();
        await Assertions.Expect(_page.GetByText("Finished")).ToBeVisibleAsync(new() { Timeout = 60_000 });
        Assert.Equal(1L, await ScalarAsync<long>("SELECT count(*) FROM jobs WHERE retry_of = $1", Guid.Parse(failed.Id)));
    }

    private async Task CancelAllOfTheGroupAsync()
    {
        await _page.GotoAsync($"dashboard/jobs?group={_group}&state=queued,running");
        await _page.GetByLabel("All that fit").SelectOptionAsync("cancel");
        await _page.GetByRole(AriaRole.Button, new() { Name = "Preview" }).ClickAsync();
        await _page.GetByLabel("Why?").FillAsync("not needed any more");
        await _page.GetByLabel("Type cancel").FillAsync("cancel");
        await _page.GetByRole(AriaRole.Button, new() { Name = "Cancel 1 job" }).ClickAsync();
        await Assertions.Expect(_page.GetByText("Finished")).ToBeVisibleAsync(new() { Timeout = 60_000 });
        await LookHereAsync("bulk-action");
        Assert.Equal(
            1L,
            await ScalarAsync<long>("SELECT count(*) FROM jobs WHERE group_name = $1 AND state IN ('cancelling', 'cancelled')", _group)
        );
    }

    private async Task LookAtAsync(params string[] pages)
    {
        foreach (var page in pages)
        {
            await _page.GotoAsync($"dashboard/{page}");
            await LookHereAsync(page);
        }
    }

    /// <summary>
    /// The page as it is, wide and light, narrow and dark: its picture, and nothing wider than the screen. Nothing serious for axe in one of
    /// the two, by turns: a look takes it a second.
    /// </summary>
    private async Task LookHereAsync(string name)
    {
        var turn = _looks++ % 2;
        foreach (var (i, width, colours) in new[] { (0, 1400, ColorScheme.Light), (1, 400, ColorScheme.Dark) })
        {
            await _page.SetViewportSizeAsync(width, 900);
            await _page.EmulateMediaAsync(new() { ColorScheme = colours });
            var file = string.Create(
                CultureInfo.InvariantCulture,
                $"{name.Split('?')[0].Split('/')[0]}{(name.Contains('/') ? "-one" : "")}-{width}.png"
            );
            await _page.ScreenshotAsync(new() { Path = Path.Combine(Screenshots, file), FullPage = true });
            Assert.True(
                await _page.EvaluateAsync<bool>("document.documentElement.scrollWidth <= innerWidth"),
                $"{name} is wider than {width}."
            );
            if (i == turn)
            {
                var found = await _page.RunAxe();
                var serious = found.Violations.Where(v => v.Impact is "serious" or "critical");
                Assert.Empty(serious.Select(v => $"{name} at {width}: {v.Id}: {v.Nodes[0].Html}"));
            }
        }
    }

    /// <summary>Work of many seconds, whatever the machine: it is cancelled in the end.</summary>
    private async Task<JobId> SubmitLastingAsync()
    {
        var lines = RunningSystem
            .Texts(60_000)
            .Select((text, i) => JsonSerializer.Serialize(new { custom_id = $"t-{i}", input = text }) + "\n");
        using var content = new StringContent(string.Concat(lines));
        content.Headers.ContentType = new("application/x-ndjson");
        var job = await system.Client.SubmitAsync(
            content,
            [new("model", SlowEncoder.Name), new("class", "bulk"), new("group", _group), new("reuse", "false")],
            null,
            Stop
        );
        return JobId.From(Guid.Parse(job.Id));
    }

    private async Task<T?> ScalarAsync<T>(string sql, params object[] parameters)
    {
        await using var command = system.Database.CreateCommand(sql);
        foreach (var parameter in parameters)
        {
            command.Parameters.Add(new() { Value = parameter });
        }

        return (T?)await command.ExecuteScalarAsync(Stop);
    }
}
