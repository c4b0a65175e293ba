using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Scheduler.Service;
using Pipeline.Tests.Integration.ResultsApi;
using Xunit;

namespace Pipeline.Tests.Integration.Scheduler;

/// <summary><c>GET /v1/jobs/{id}/decisions</c>: results-api asks the active scheduler over the bus, on either transport.</summary>
public sealed class DecisionsTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task The_active_scheduler_tells_what_it_decided_and_why(bool inMemory)
    {
        await using var world = await SchedulerWorld.CreateAsync(inMemory);
        var cancelled = await world.StoreJobAsync(state: "cancelling", chunkTasks: [10, 3]);
        var waiting = await world.StoreJobAsync(chunkTasks: [5]);
        await using var app = await StartAsync(world, withScheduler: inMemory);
        if (!inMemory)
        {
            await world.StartSchedulerAsync();
        }

        using var http = await CallerAsync(world, app);
        var told = await UntilAsync(http, $"/v1/jobs/{cancelled}/decisions", body => body.GetProperty("data").GetArrayLength() > 0);

        var decision = Assert.Single(told.GetProperty("data").EnumerateArray());
        Assert.Equal(("list", cancelled.ToString(), 1), (Text(told, "object"), Text(told, "job"), told.GetProperty("epoch").GetInt32()));
        Assert.Equal(("end_chunks", "cancel.job"), (Text(decision, "decision"), Text(decision, "reason")));
        Assert.Equal((13, 13), (decision.GetProperty("tasks_of_job").GetInt32(), decision.GetProperty("tasks").GetInt32()));
        Assert.Equal(JsonValueKind.Null, decision.GetProperty("dispatch").ValueKind);
        Assert.True(decision.GetProperty("at").GetDateTimeOffset() >= told.GetProperty("remembered_since").GetDateTimeOffset());

        // Nothing was decided about the other; those who ask for a stranger's job, or for none, learn nothing.
        Assert.Empty((await GetAsync(http, $"/v1/jobs/{waiting}/decisions")).Body.GetProperty("data").EnumerateArray());
        using var stranger = await CallerAsync(world, app, await Tenants.EnsureAsync(world.Database.DataSource, "stranger"));
        Assert.Equal(HttpStatusCode.NotFound, (await GetAsync(stranger, $"/v1/jobs/{cancelled}/decisions")).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await GetAsync(http, $"/v1/jobs/{Guid.NewGuid()}/decisions")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await GetAsync(http, $"/v1/jobs/{cancelled}/decisions?limit=65")).Status);
        await app.StopAsync();
    }

    [Fact]
    public async Task A_dispatch_is_told_with_its_worker_and_the_newest_comes_first()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        await world.StartSchedulerAsync();
        var worker = await world.StartWorkerAsync();
        await using var app = await StartAsync(world, withScheduler: false);
        using var http = await CallerAsync(world, app);

        var job = await world.SubmitAsync(LatencyClass.Express, chunkTasks: [4]);
        var first = await worker.NextAsync();
        await worker.HandBackAsync(first);
        var second = await worker.NextAsync();
        var told = (await GetAsync(http, $"/v1/jobs/{job}/decisions")).Body.GetProperty("data").EnumerateArray().ToList();

        Assert.Equal([$"{second.Id}", $"{first.Id}"], told.Select(d => Text(d, "dispatch")));
        Assert.All(
            told,
            d => Assert.Equal(("dispatch", $"{worker.Id}", "express"), (Text(d, "decision"), Text(d, "worker"), Text(d, "lane")))
        );
        Assert.All(told, d => Assert.Equal(4, d.GetProperty("tasks_of_job").GetInt32()));
        var newest = (await GetAsync(http, $"/v1/jobs/{job}/decisions?limit=1")).Body.GetProperty("data");
        Assert.Equal($"{second.Id}", Text(Assert.Single(newest.EnumerateArray()), "dispatch"));
        await app.StopAsync();
    }

    [Fact]
    public async Task The_spare_answers_when_it_has_taken_over()
    {
        await using var world = await SchedulerWorld.CreateAsync();
        var job = await world.StoreJobAsync(chunkTasks: [4]);
        var first = await world.StartSchedulerAsync();
        await using var app = await StartAsync(world, withScheduler: false);
        using var http = await CallerAsync(world, app);
        await UntilAsync(http, $"/v1/jobs/{job}/decisions", body => body.GetProperty("epoch").GetInt32() == 1);
        await world.StartSchedulerAsync();

        await first.DisposeAsync();

        await UntilAsync(http, $"/v1/jobs/{job}/decisions", body => body.GetProperty("epoch").GetInt32() == 2);
        await app.StopAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Without_a_scheduler_the_answer_is_503_and_says_when_to_come_back(bool inMemory)
    {
        await using var world = await SchedulerWorld.CreateAsync(inMemory);
        var job = await world.StoreJobAsync(chunkTasks: [4]);
        await using var app = await ResultsApiHost.StartAppAsync(
            world.Database.ConnectionString,
            world.Broker,
            ("DecisionsWaitMax", "00:00:00.3")
        );
        using var http = await CallerAsync(world, app);

        using var response = await http.GetAsync($"/v1/jobs/{job}/decisions");

        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        Assert.NotNull(response.Headers.RetryAfter?.Delta);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Assert.Contains("No scheduler answered within 0.3 s", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        await app.StopAsync();
    }

    private static Task<WebApplication> StartAsync(SchedulerWorld world, bool withScheduler) =>
        ResultsApiHost.StartAppAsync(
            world.Database.ConnectionString,
            world.Broker,
            builder =>
            {
                if (withScheduler)
                {
                    builder.Configuration.AddInMemoryCollection(world.Settings);
                    builder.Services.AddScheduler(builder.Configuration);
                }
            }
        );

    private static async Task<HttpClient> CallerAsync(SchedulerWorld world, WebApplication app, TenantId? tenant = null)
    {
        var key = await ApiKeyIssuer.IssueAsync(world.Database.DataSource, tenant ?? world.Tenant, "test");
        var http = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return http;
    }

    private static async Task<(HttpStatusCode Status, JsonElement Body)> GetAsync(HttpClient http, string path)
    {
        using var response = await http.GetAsync(path);
        return (response.StatusCode, JsonElement.Parse(await response.Content.ReadAsStringAsync()));
    }

    /// <summary>Asks until the answer holds; a scheduler that takes over gives no signal over HTTP.</summary>
    private static async Task<JsonElement> UntilAsync(HttpClient http, string path, Func<JsonElement, bool> holds)
    {
        using var patience = new CancellationTokenSource(Patience);
        while (true)
        {
            var (status, body) = await GetAsync(http, path);
            if (status == HttpStatusCode.OK && holds(body))
            {
                return body;
            }

            Assert.False(patience.IsCancellationRequested, $"waited for {path}: {status} {body}");
            await Task.Delay(20);
        }
    }

    private static string? Text(JsonElement body, string field) => body.GetProperty(field).GetString();
}
