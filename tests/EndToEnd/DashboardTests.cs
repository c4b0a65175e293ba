using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Deque.AxeCore.Commons;
using Microsoft.Playwright;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard;
using Pipeline.Tests.Support.Models;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.EndToEnd;

/// <summary>
/// The operators' dashboard in Debian's Chromium, over the running system: every page, wide and light in one tab and narrow and dark in another,
/// and what is done there checked in the database. Screenshots are kept beside the tests, in <c>screenshots</c>.
/// </summary>
[Collection(RunningSystem.Collection)]
public sealed partial class DashboardTests(RunningSystem system) : IAsyncLifetime
{
    private const string Chromium = "/usr/bin/chromium";
    private const string Password = "correct horse battery staple";

    /// <summary>What axe finds, chosen in the page: all that is well would take longer to tell than to find.</summary>
    private const string Serious = """
        async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
          .filter(v => v.impact === "serious" || v.impact === "critical").map(v => `${v.id}: ${v.nodes[0].html}`)
        """;

    private static readonly string Screenshots = Path.Combine(AppContext.BaseDirectory, "screenshots");
    private readonly string _axe = new BundledAxeScriptProvider().GetScript();
    private readonly List<string> _errors = [];
    private readonly string _group = $"dashboard-{Guid.NewGuid():N}"[..20];
    private int _looks;
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    /// <summary>The tab that acts, wide and light; and the one that only looks, narrow and dark. Both belong to who has signed in.</summary>
    private IPage _page = null!;
    private IPage _narrow = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipUnless(File.Exists(Chromium), $"{Chromium} is not there: apt-get install chromium, or ./pipeline test.");
        Directory.CreateDirectory(Screenshots);
        _playwright = await Playwright.CreateAsync();
        // Debian's Chromium draws by the GPU even where it has to imitate one in software, which takes several times as long as drawing without.
        _browser = await _playwright.Chromium.LaunchAsync(new() { ExecutablePath = Chromium, Args = ["--no-sandbox", "--disable-gpu"] });
        var context = await _browser.NewContextAsync(new() { BaseURL = system.Rig.Services.Results.Address.ToString() });
        _page = await NewTabAsync(context, 1400, ColorScheme.Light);
        _narrow = await NewTabAsync(context, 400, ColorScheme.Dark);
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

        await LookAtAsync("now", "trade-off", "jobs", "workers", "webhooks", "tenants");
        await MindAnAlertAsync();
        await SwitchAModelAsync();
        await LimitAKeyAsync();
        await KeepAReportAsync();
        await RunAWorkAsync();
        await system.Client.UntilAsync(failed, job => job.State.IsEnd());
        await LookAtAsync($"jobs/{failed.Id}?status=failed", "failures?by=worker", "tasks?custom_id=t-0", "tenants/new", "reports/windows");
        await RetryAllFailuresAsync(failed);
        await DismissAllFailuresAsync(failed);
        await ActOnJobAsync(lasting, "Resume", "it is mended");
        // Or it may end before the browser has come so far.
        await ActOnJobAsync(lasting, "Pause", "it is in the way");
        await ChangeAllOfTheGroupAsync();
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

    /// <summary>An alert as the looks write it: what would raise one takes minutes to be sure.</summary>
    private async Task MindAnAlertAsync()
    {
        var alert = Guid.CreateVersion7();
        await ExecuteAsync(
            """
            INSERT INTO alerts (id, rule, fingerprint, labels, state, severity, summary, evidence, since, seen_at, raised_at, told_at)
            VALUES ($1, 'error_rate', $2, jsonb_build_object('class', 'bulk', 'model', $2), 'firing', 'critical', '40 of 100 tasks failed.',
                    '{"tasks": 100, "failed": 40, "expired": 0}', now(), now(), now(), now())
            """,
            alert,
            _group
        );
        await LookAtAsync("alerts", "alerts/rules", "alerts/rules/error_rate", "alerts/probes", $"alerts/{alert}");
        await DoAsync("Actions", "Acknowledge", "on it", "The alert is acknowledged.");
        Assert.Equal("on it", await ScalarAsync<string>("SELECT note FROM alerts WHERE id = $1 AND acknowledged_at IS NOT NULL", alert));
        await DoAsync("New silence", "Silence", "until it is mended", "Silent until");
        Assert.Equal(1L, await ScalarAsync<long>("SELECT count(*) FROM alert_silences WHERE labels ->> 'model' = $1", _group));
        await LookHereAsync("alerts-silences");
    }

    private async Task SwitchAModelAsync()
    {
        foreach (var version in new[] { "1.0.0", "2.0.0" })
        {
            var manifest = new FakeModel(new ModelRef(_group, version), 16).Manifest;
            await ModelRegistry.PutAsync(system.Database, manifest, null, 1, makeCurrent: true, Stop);
        }

        await ModelRoutes.PutAsync(
            system.Database,
            $"route-{_group}",
            [new($"{_group}@1.0.0", new Acceptance { ProbabilityMin = 0.8 }), new(_group)],
            Stop
        );
        await LookAtAsync("routes", "models", $"models/{_group}");
        await DoAsync("Switch", "Switch", "the new one is slower", "is version 1.0.0 from now on");
        Assert.Equal("1.0.0", await ScalarAsync<string>("SELECT version FROM models WHERE name = $1 AND current", _group));
    }

    private async Task LimitAKeyAsync()
    {
        var tenant = await Tenants.EnsureAsync(system.Database, _group, Stop);
        await ApiKeyIssuer.IssueAsync(system.Database, tenant, "shop", cancellationToken: Stop);
        await _page.GotoAsync($"dashboard/tenants/{tenant}");
        await _page.GetByRole(AriaRole.Link, new() { Name = "Limits of shop" }).ClickAsync();
        await _page.GetByLabel("Requests a second").FillAsync("20");
        await LookHereAsync("tenant-limits");
        await DoAsync("Limits", "Set limits", "it asks too often", "hold within two seconds");
        Assert.Equal(20, await ScalarAsync<int>("SELECT rate_per_second FROM api_keys WHERE tenant = $1", tenant.Value));
    }

    private async Task KeepAReportAsync()
    {
        await LookAtAsync("reports");
        await DoAsync("Keep this report", "Keep this report", "for the review", "The report is kept.");
        Assert.Equal(1L, await ScalarAsync<long>("SELECT count(*) FROM reports WHERE occasion = 'request' AND all_tenants"));
        await LookHereAsync("reports-kept");
    }

    private async Task RunAWorkAsync()
    {
        await LookAtAsync("recurring", "recurring/cache-eviction");
        await DoAsync("Actions", "Run now", "to see it run", "It runs as soon as an instance can.");
        Assert.Equal(1L, await ScalarAsync<long>("SELECT count(*) FROM audit WHERE done AND action = 'recurring.run'"));
    }

    /// <summary>Does something on the page that is open, and reads what it says then.</summary>
    private async Task DoAsync(string form, string button, string reason, string told)
    {
        var here = _page.GetByRole(AriaRole.Form, new() { Name = form, Exact = true });
        await here.GetByLabel("Why?").FillAsync(reason);
        await here.GetByRole(AriaRole.Button, new() { Name = button, Exact = true }).ClickAsync();
        await Assertions.Expect(_page.GetByRole(AriaRole.Status)).ToContainTextAsync(told);
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

    private async Task DismissAllFailuresAsync(SentJob failed)
    {
        await _page.GotoAsync("dashboard/failures?range=1h");
        var group = _page.GetByLabel($"dispatch_failed of {FakeModels.Name}");
        await group.GetByRole(AriaRole.Link, new() { Name = "Dismiss" }).ClickAsync();
        await _page.GetByLabel("Why?").FillAsync("known, and sent again");
        await _page.GetByRole(AriaRole.Button, new() { Name = "Dismiss failures" }).ClickAsync();
        await Assertions.Expect(_page.GetByText("Finished")).ToBeVisibleAsync(new() { Timeout = 60_000 });
        Assert.Equal(1L, await ScalarAsync<long>("SELECT count(*) FROM dismissed_failures WHERE job = $1", Guid.Parse(failed.Id)));
    }

    private async Task ChangeAllOfTheGroupAsync()
    {
        await _page.GotoAsync($"dashboard/jobs?group={_group}&state=queued,running");
        await _page.GetByLabel("All that fit").SelectOptionAsync("change");
        await _page.GetByRole(AriaRole.Button, new() { Name = "Preview" }).ClickAsync();
        await _page.GetByLabel("Deadline").FillAsync("30h");
        await _page.GetByRole(AriaRole.Button, new() { Name = "Estimate" }).ClickAsync();
        await Assertions.Expect(_page.GetByText("What it would take")).ToBeVisibleAsync();
        await _page.GetByLabel("Why?").FillAsync("it may wait");
        await LookHereAsync("bulk-change");
        await _page.GetByRole(AriaRole.Button, new() { Name = "Change class or deadline 1 job" }).ClickAsync();
        await Assertions.Expect(_page.GetByText("Finished")).ToBeVisibleAsync(new() { Timeout = 60_000 });
        Assert.True(await ScalarAsync<bool>("SELECT deadline > now() + interval '29 hours' FROM jobs WHERE group_name = $1", _group));
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
            var response = await _page.GotoAsync($"dashboard/{page}");
            Assert.True(response!.Ok, $"{page}: {response.Status}\n{system.Rig.Services.Results.LogTail()}");
            await LookHereAsync(page.Split('?')[0].Replace('/', '-'));
        }
    }

    /// <summary>
    /// The page as it is, in both tabs at once: its picture, and nothing wider than the screen. Nothing serious for axe in one of the two, by turns.
    /// </summary>
    private async Task LookHereAsync(string name)
    {
        var turn = _looks++ % 2;
        await Task.WhenAll(SeeAsync(_page, turn == 0), GoAndSeeAsync());

        async Task GoAndSeeAsync()
        {
            await _narrow.GotoAsync(_page.Url);
            await SeeAsync(_narrow, turn == 1);
        }

        async Task SeeAsync(IPage tab, bool axe)
        {
            var width = tab.ViewportSize!.Width;
            var file = string.Create(CultureInfo.InvariantCulture, $"{IdForm().Replace(name, "one")}-{width}.png");
            await tab.ScreenshotAsync(new() { Path = Path.Combine(Screenshots, file), FullPage = true });
            Assert.True(
                await tab.EvaluateAsync<bool>("document.documentElement.scrollWidth <= innerWidth"),
                $"{name} is wider than {width}."
            );
            if (axe)
            {
                await tab.EvaluateAsync(_axe);
                var serious = await tab.EvaluateAsync<string[]>(Serious);
                Assert.True(serious.Length == 0, $"{name} at {width}: {string.Join("; ", serious)}");
            }
        }
    }

    /// <summary>A tab, whose errors are kept: what the browser refuses by the page's own policy is told there, too.</summary>
    private async Task<IPage> NewTabAsync(IBrowserContext context, int width, ColorScheme colours)
    {
        var tab = await context.NewPageAsync();
        await tab.SetViewportSizeAsync(width, 900);
        await tab.EmulateMediaAsync(new() { ColorScheme = colours });
        tab.Console += (_, message) =>
        {
            if (message.Type == "error")
            {
                _errors.Add(message.Text);
            }
        };
        tab.PageError += (_, error) => _errors.Add(error);
        return tab;
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

    private async Task ExecuteAsync(string sql, params object[] parameters) => await ScalarAsync<object>(sql, parameters);

    private async Task<T?> ScalarAsync<T>(string sql, params object[] parameters)
    {
        await using var command = system.Database.CreateCommand(sql);
        foreach (var parameter in parameters)
        {
            command.Parameters.Add(new() { Value = parameter });
        }

        return (T?)await command.ExecuteScalarAsync(Stop);
    }

    /// <summary>Ids in names of pages, and the names that this test made.</summary>
    [GeneratedRegex("(?<=-)([0-9a-f]{8}-.*|dashboard-[0-9a-f]+)$")]
    private static partial Regex IdForm();
}
