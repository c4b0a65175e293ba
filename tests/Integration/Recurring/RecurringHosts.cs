using System.Net.Http.Headers;
using System.Text.Json;
using System.Threading.Channels;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Recurring;
using Pipeline.Tests.Integration.ResultsApi;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Recurring;

/// <summary>Recurring work of a test, on instances of results-api that share a database of their own.</summary>
internal sealed class RecurringHosts : IAsyncDisposable
{
    /// <summary>As quick to notice a dead instance, and what was missed, as Quartz takes.</summary>
    private static readonly (string Option, string Value)[] Hurry =
    [
        ("Recurring:Enabled", "true"),
        ("Recurring:CheckInEvery", "00:00:00.2"),
        ("Recurring:DeadAfter", "00:00:00.5"),
        ("Recurring:MisfireAfter", "00:00:00.2"),
        ("Recurring:LookEvery", "00:00:01"),
    ];

    private readonly List<WebApplication> _apps = [];
    private HttpClient? _operator;

    public required TestDatabase Database { get; init; }

    /// <summary>The same for an instance that is a process of its own.</summary>
    public static IEnumerable<(string Name, string Value)> HurryEnvironment =>
        Hurry.Select(o => (o.Option.Replace(":", "__", StringComparison.Ordinal), o.Value));

    /// <summary>Of the instance that was started last.</summary>
    public Uri Address => new(_apps[^1].Urls.First());

    public static async Task<RecurringHosts> CreateAsync() => new() { Database = await TestPostgres.CreateDatabaseAsync() };

    /// <summary>Starts an instance with the works of a test; with none, with the real ones.</summary>
    public async Task<WebApplication> StartAsync(IRecurringWork[] works, params (string, string)[] options)
    {
        var app = await ResultsApiHost.StartAppAsync(
            Database.ConnectionString,
            PipelineOptions.InMemoryBroker,
            builder =>
            {
                if (works.Length > 0)
                {
                    // Ten more works would all be due at the start.
                    builder.Services.RemoveAll<IRecurringWork>();
                }

                foreach (var work in works)
                {
                    builder.Services.AddSingleton(work);
                }
            },
            [.. Hurry, .. options]
        );
        _apps.Add(app);
        return app;
    }

    /// <summary>What an operator is answered by the instance that was started last.</summary>
    public async Task<JsonElement> SendAsync(HttpMethod method, string path, int status = 200, string? json = null)
    {
        _operator ??= await OperatorAsync();
        using var request = new HttpRequestMessage(method, new Uri(Address, path));
        request.Content = json is null ? null : new StringContent(json, System.Text.Encoding.UTF8, "application/json");
        using var response = await _operator.SendAsync(request);
        var body = await response.Content.ReadAsStringAsync();
        Assert.True((int)response.StatusCode == status, $"{response.StatusCode} {body}");
        return body.Length > 0 ? JsonElement.Parse(body) : default;
    }

    /// <summary>How the API shows a work.</summary>
    public async Task<JsonElement> WorkAsync(string name) =>
        (await SendAsync(HttpMethod.Get, "/v1/recurring"))
            .GetProperty("data")
            .EnumerateArray()
            .Single(work => work.GetProperty("name").GetString() == name);

    /// <summary>Waits until the API shows of a work what is expected.</summary>
    public async Task<JsonElement> UntilAsync(string name, Func<JsonElement, bool> holds)
    {
        for (var end = DateTime.UtcNow.AddSeconds(30); ; await Task.Delay(50))
        {
            var work = await WorkAsync(name);
            if (holds(work))
            {
                return work;
            }

            Assert.True(DateTime.UtcNow < end, work.ToString());
        }
    }

    /// <summary>How the runs of a work ended, oldest first.</summary>
    public async Task<string[]> OutcomesAsync(string name) =>
        [
            .. (await SendAsync(HttpMethod.Get, $"/v1/recurring/{name}/runs?limit=100"))
                .GetProperty("data")
                .EnumerateArray()
                .Select(run => run.GetProperty("outcome").GetString() ?? "running")
                .Reverse(),
        ];

    public async ValueTask DisposeAsync()
    {
        _operator?.Dispose();
        foreach (var app in _apps)
        {
            await app.StopAsync();
            await app.DisposeAsync();
        }

        await Database.DisposeAsync();
    }

    private async Task<HttpClient> OperatorAsync()
    {
        var tenant = await Tenants.EnsureAsync(Database.DataSource, "operators");
        var key = await ApiKeyIssuer.IssueAsync(Database.DataSource, tenant, "test", isOperator: true);
        return new HttpClient { DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", key) } };
    }
}

/// <summary>Work that a test follows and steers.</summary>
internal sealed class TestWork(string schedule) : IRecurringWork
{
    private readonly Channel<bool> _begun = Channel.CreateUnbounded<bool>();
    private int _runs;
    private int _now;

    public string Name => "test-work";
    public string Purpose => "What the test wants.";
    public Schedule Schedule { get; } = Schedule.TryParse(schedule)!;

    /// <summary>What a run does; by default nothing.</summary>
    public Func<CancellationToken, Task> Do { get; set; } = _ => Task.CompletedTask;

    public int Runs => _runs;

    /// <summary>The most runs that went on at once.</summary>
    public int AtOnceMax { get; private set; }

    /// <summary>Waits for the next run to begin.</summary>
    public Task BegunAsync() => _begun.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));

    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop)
    {
        AtOnceMax = Math.Max(AtOnceMax, Interlocked.Increment(ref _now));
        try
        {
            Interlocked.Increment(ref _runs);
            _begun.Writer.TryWrite(true);
            await Do(stop);
            return new Dictionary<string, long> { ["done"] = 1 };
        }
        finally
        {
            Interlocked.Decrement(ref _now);
        }
    }
}
