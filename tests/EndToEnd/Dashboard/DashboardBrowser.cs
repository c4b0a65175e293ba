using System.Globalization;
using System.Text.RegularExpressions;
using Deque.AxeCore.Commons;
using Microsoft.Playwright;
using Pipeline.ResultsApi.Dashboard;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Dashboard;

/// <summary>Something done with a form of the page that is open.</summary>
/// <param name="Form">What the form is called to who cannot see it; null where it has no name, but the only such button of page or row.</param>
/// <param name="Told">What is said afterwards.</param>
/// <param name="Audited">What the audit calls it.</param>
internal sealed record Step(string? Form, string Button, string Told, string Audited)
{
    /// <summary>Words of the row whose button it is.</summary>
    public string? Row { get; init; }

    public (string Label, string Value)[] Fields { get; init; } = [];
}

/// <summary>
/// Debian's Chromium at the dashboard of the running system, started for the first test that wants it and signed in as the first admin. It
/// opens pages, does what operators do, and looks: screenshots are kept beside the tests, in <c>screenshots</c>.
/// </summary>
public sealed partial class DashboardBrowser : IAsyncDisposable
{
    public const string Operator = "ada";
    public const string Password = "correct horse battery staple";
    private const string Chromium = "/usr/bin/chromium";

    /// <summary>What axe finds, chosen in the page: all that is well would take longer to tell than to find.</summary>
    private const string Serious = """
        async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
          .filter(v => v.impact === "serious" || v.impact === "critical").map(v => `${v.id}: ${v.nodes[0].html}`)
        """;

    /// <summary>How a page is looked at, and whether axe looks, too. The tab stays as the last.</summary>
    private static readonly (int Width, ColorScheme Colours, bool Axe)[] Looks =
    [
        (400, ColorScheme.Light, false),
        (400, ColorScheme.Dark, true),
        (1400, ColorScheme.Dark, false),
        (1400, ColorScheme.Light, true),
    ];

    private static readonly string Screenshots = Path.Combine(AppContext.BaseDirectory, "screenshots");
    private readonly string _axe = new BundledAxeScriptProvider().GetScript();
    private readonly List<string> _errors = [];
    private RunningSystem _system = null!;
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    /// <summary>The tab of the admin.</summary>
    internal IPage Page { get; private set; } = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
        {
            await _browser.DisposeAsync();
        }

        _playwright?.Dispose();
    }

    /// <summary>To be called first by every test.</summary>
    internal async Task OpenAsync(RunningSystem system)
    {
        _errors.Clear();
        if (_browser is not null)
        {
            return;
        }

        Assert.SkipUnless(File.Exists(Chromium), $"{Chromium} is not there: apt-get install chromium, or ./pipeline test.");
        _system = system;
        var link = await DashboardServices.FirstAdminLinkAsync(system.Database, new(), system.Rig.Services.Results.Address, Stop);
        Directory.CreateDirectory(Screenshots);
        _playwright = await Playwright.CreateAsync();
        // Debian's Chromium draws by the GPU even where it has to imitate one in software, which takes several times as long as drawing without.
        _browser = await _playwright.Chromium.LaunchAsync(new() { ExecutablePath = Chromium, Args = ["--no-sandbox", "--disable-gpu"] });
        Page = await NewTabAsync();
        await Page.GotoAsync(link!.ToString());
        await LookHereAsync("welcome");
        await ChoosePasswordAsync(Page, Operator, Password);
        Assert.Equal("admin", await system.ScalarAsync<string>("SELECT role FROM operators WHERE name = $1", Operator));
    }

    /// <summary>A tab of somebody else, who has not signed in. Errors are kept: what the browser refuses by the page's own policy is told there, too.</summary>
    internal async Task<IPage> NewTabAsync()
    {
        var context = await _browser!.NewContextAsync(new() { BaseURL = _system.Rig.Services.Results.Address.ToString() });
        var tab = await context.NewPageAsync();
        await tab.SetViewportSizeAsync(Looks[^1].Width, 900);
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

    /// <summary>On the page that a link opens.</summary>
    /// <param name="name">Of a new operator; null where the link is for one who is there.</param>
    internal static async Task ChoosePasswordAsync(IPage tab, string? name, string password)
    {
        if (name is not null)
        {
            await tab.GetByLabel("Name").FillAsync(name);
        }

        await tab.GetByLabel("Password").FillAsync(password);
        await tab.GetByLabel("Once more").FillAsync(password);
        await tab.GetByRole(AriaRole.Button, new() { Name = "Go on" }).ClickAsync();
        await Assertions.Expect(tab.GetByText("Welcome, ")).ToBeVisibleAsync();
    }

    internal async Task GoAsync(string page)
    {
        var response = await Page.GotoAsync($"dashboard/{page}");
        Assert.True(response!.Ok, $"{page}: {response.Status}\n{_system.Rig.Services.Results.LogTail()}");
    }

    internal async Task LookAtAsync(params string[] pages)
    {
        foreach (var page in pages)
        {
            await GoAsync(page);
            await LookHereAsync(page);
        }
    }

    /// <summary>The page that is open, wide and narrow, light and dark: its picture, and nothing wider than the screen or serious for axe.</summary>
    internal async Task LookHereAsync(string name)
    {
        name = Strange().Replace(IdForm().Replace(name, "one"), "-");
        await Page.EvaluateAsync(_axe);
        foreach (var (width, colours, axe) in Looks)
        {
            if (Page.ViewportSize!.Width != width)
            {
                await Page.SetViewportSizeAsync(width, 900);
            }

            await Page.EmulateMediaAsync(new() { ColorScheme = colours });
            var file = string.Create(CultureInfo.InvariantCulture, $"{name}-{width}-{colours}.jpeg").ToLowerInvariant();
            // As PNG they took 20 s longer in all, on two busy cores.
            await Page.ScreenshotAsync(
                new()
                {
                    Path = Path.Combine(Screenshots, file),
                    FullPage = true,
                    Type = ScreenshotType.Jpeg,
                    Quality = 90,
                }
            );
            Assert.True(
                await Page.EvaluateAsync<bool>("document.documentElement.scrollWidth <= innerWidth"),
                $"{file} is wider than that."
            );
            if (axe)
            {
                var serious = await Page.EvaluateAsync<string[]>(Serious);
                Assert.True(serious.Length == 0, $"{file}: {string.Join("; ", serious)}");
            }
        }
    }

    /// <summary>Does something on the page that is open, reads what it says then, and finds it in the audit.</summary>
    internal async Task DoAsync(Step step)
    {
        var before = await _system.ScalarAsync<Guid?>("SELECT id FROM audit ORDER BY id DESC LIMIT 1") ?? Guid.Empty;
        var (form, button) = Find(step);
        foreach (var (label, value) in step.Fields)
        {
            var field = form.GetByLabel(label);
            if (await field.EvaluateAsync<bool>("field => field.matches('select')"))
            {
                await field.SelectOptionAsync(value);
            }
            else
            {
                await field.FillAsync(value);
            }
        }

        // What has no consequences asks for no reason.
        var reason = form.GetByLabel(Why());
        var why = await reason.CountAsync() == 1 ? $"why {step.Audited} is tried" : null;
        if (why is not null)
        {
            await reason.FillAsync(why);
        }

        await button.ClickAsync();
        await Assertions.Expect(Page.Locator("main")).ToContainTextAsync(step.Told, new() { Timeout = 60_000 });
        Assert.True(
            await _system.ScalarAsync<bool>(
                """
                SELECT EXISTS (
                  SELECT FROM audit WHERE id > $1 AND done AND action = $2 AND operator_name = $3 AND ($4 = '' OR reason = $4)
                )
                """,
                before,
                step.Audited,
                Operator,
                why ?? ""
            ),
            $"The audit knows of no {step.Audited}."
        );
    }

    private (ILocator Form, ILocator Button) Find(Step step)
    {
        var main = Page.Locator("main");
        var button = Page.GetByRole(AriaRole.Button, new() { Name = step.Button, Exact = true });
        var form = step.Form is null
            ? main.Locator("form").Filter(new() { Has = button })
            : main.GetByRole(AriaRole.Form, new() { Name = step.Form, Exact = true });
        if (step.Row is null)
        {
            return (form, form.GetByRole(AriaRole.Button, new() { Name = step.Button, Exact = true }));
        }

        // A form holds the table, or each row has one.
        var row = (step.Form is null ? main : form).GetByRole(AriaRole.Row).Filter(new() { HasText = step.Row });
        return (step.Form is null ? row : form, row.GetByRole(AriaRole.Button, new() { Name = step.Button, Exact = true }));
    }

    /// <summary>What the browser's console said of errors since it was asked last.</summary>
    internal string[] TakeErrors()
    {
        string[] errors = [.. _errors];
        _errors.Clear();
        return errors;
    }

    internal void AssertNoErrors() => Assert.Empty(TakeErrors());

    /// <summary>Ids in addresses of pages, and the names that tests made.</summary>
    [GeneratedRegex("(?<=[/-])([0-9a-f]{8}-[0-9a-f-]{27}|[a-z]+-[0-9a-f]{10,})")]
    private static partial Regex IdForm();

    [GeneratedRegex("[^A-Za-z0-9_-]+")]
    private static partial Regex Strange();

    [GeneratedRegex("^Why")]
    private static partial Regex Why();
}
