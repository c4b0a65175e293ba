using System.Net;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard;
using Pipeline.ResultsApi.Dashboard.Accounts;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

/// <summary>results-api over a database of its own, as a browser without scripts sees its dashboard.</summary>
internal sealed class DashboardHost : IAsyncDisposable
{
    public const string Password = "correct horse battery staple";
    private readonly WebApplication _app;
    private readonly bool _ownsDatabase;
    private readonly List<DashboardBrowser> _browsers = [];

    private DashboardHost(WebApplication app, TestDatabase database, bool ownsDatabase) =>
        (_app, Database, _ownsDatabase) = (app, database, ownsDatabase);

    public TestDatabase Database { get; }

    public Uri Address => new(_app.Urls.First());

    public IServiceProvider Services => _app.Services;

    /// <param name="options">Options of section <c>Dashboard</c>, or of another that they name (<c>Probes:Address</c>).</param>
    public static async Task<DashboardHost> StartAsync(params (string Option, string Value)[] options)
    {
        var database = await TestPostgres.CreateDatabaseAsync();
        return await StartAsync(database, ownsDatabase: true, options);
    }

    /// <summary>One more instance over a database that is there.</summary>
    public static Task<DashboardHost> StartBesideAsync(TestDatabase database, params (string Option, string Value)[] options) =>
        StartAsync(database, ownsDatabase: false, options);

    private static async Task<DashboardHost> StartAsync(
        TestDatabase database,
        bool ownsDatabase,
        params (string Option, string Value)[] options
    )
    {
        var named = options.Select(o => (Name(o.Option), o.Value)).ToArray();
        var app = await ResultsApiHost.StartAppAsync(database.ConnectionString, options: named);
        return new DashboardHost(app, database, ownsDatabase);

        static string Name(string option) =>
            typeof(DashboardOptions).GetProperty(option.Split(':')[0]) is null ? option : $"Dashboard:{option}";
    }

    /// <summary>A browser that nobody has signed in.</summary>
    public DashboardBrowser Browser()
    {
        var browser = new DashboardBrowser(Address);
        _browsers.Add(browser);
        return browser;
    }

    /// <summary>A browser of a new operator of that role.</summary>
    public async Task<DashboardBrowser> SignInAsync(OperatorRole role, string? name = null)
    {
        var browser = Browser();
        name ??= $"{role.Name()}-{Guid.NewGuid():N}";
        var link = await Services.GetRequiredService<OperatorLinks>().CreateAsync(role, null, CancellationToken.None);
        var page = await browser.GetAsync(link);
        var answer = await browser.PostAsync(
            "/dashboard/welcome",
            page,
            ("token", link[(link.IndexOf('=', StringComparison.Ordinal) + 1)..]),
            ("name", name),
            ("password", Password),
            ("again", Password)
        );
        Assert.Equal(HttpStatusCode.Redirect, answer.Status);
        return browser with { Name = name };
    }

    public async ValueTask DisposeAsync()
    {
        _browsers.ForEach(browser => browser.Dispose());
        await _app.StopAsync();
        await _app.DisposeAsync();
        if (_ownsDatabase)
        {
            await Database.DisposeAsync();
        }
    }
}

/// <summary>What a browser got.</summary>
internal sealed record DashboardAnswer(HttpStatusCode Status, string Body, string? Location, HttpResponseMessage Response)
{
    /// <summary>The filters that the form of a bulk action's preview holds.</summary>
    public string Query
    {
        get
        {
            const string attribute = "name=\"query\" value=\"";
            var start = Body.IndexOf(attribute, StringComparison.Ordinal) + attribute.Length;
            return WebUtility.HtmlDecode(Body[start..Body.IndexOf('"', start)]);
        }
    }
}

/// <summary>Keeps cookies, follows nothing by itself, and takes the token of a form from the page it stands on.</summary>
internal sealed partial record DashboardBrowser : IDisposable
{
    private readonly HttpClient _http;

    public DashboardBrowser(Uri address)
    {
        Cookies = new CookieContainer();
        var handler = new HttpClientHandler { AllowAutoRedirect = false, CookieContainer = Cookies };
        _http = new HttpClient(handler) { BaseAddress = address, Timeout = TimeSpan.FromSeconds(60) };
    }

    public void Dispose() => _http.Dispose();

    public CookieContainer Cookies { get; }

    public string Name { get; init; } = "";

    public async Task<DashboardAnswer> GetAsync(string path, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        foreach (var (name, value) in headers)
        {
            request.Headers.Add(name, value);
        }

        return await AnswerAsync(await _http.SendAsync(request));
    }

    /// <param name="page">Where the form stands; null sends no token.</param>
    public async Task<DashboardAnswer> PostAsync(string path, DashboardAnswer? page, params (string Name, string Value)[] fields)
    {
        var form = fields.ToDictionary(f => f.Name, f => f.Value);
        if (page is not null)
        {
            form["form_token"] = FormToken().Match(page.Body).Groups[1].Value;
        }

        using var content = new FormUrlEncodedContent(form);
        return await AnswerAsync(await _http.PostAsync(path, content));
    }

    /// <summary>Signs in by name and password.</summary>
    public async Task<DashboardAnswer> SignInAsync(string name, string password) =>
        await PostAsync("/dashboard/sign-in", await GetAsync("/dashboard/sign-in"), ("name", name), ("password", password));

    private static async Task<DashboardAnswer> AnswerAsync(HttpResponseMessage response) =>
        new(response.StatusCode, await response.Content.ReadAsStringAsync(), response.Headers.Location?.ToString(), response);

    [GeneratedRegex("name=\"form_token\" value=\"([^\"]+)\"")]
    private static partial Regex FormToken();
}

/// <summary>One host for the tests of a class.</summary>
public sealed class DashboardFixture : IAsyncLifetime
{
    internal DashboardHost Host { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Host = await DashboardHost.StartAsync(("SignInFailuresMax", "3"));

    public async ValueTask DisposeAsync()
    {
        if (Host is not null)
        {
            await Host.DisposeAsync();
        }
    }
}
