using System.Net;
using System.Text.Json;
using Pipeline.Tests.Integration.ResultsApi;
using Pipeline.Tests.Support;
using Xunit;
using static Pipeline.Tests.Integration.Webhooks.WebhookSteps;

namespace Pipeline.Tests.Integration.Webhooks;

/// <summary>The endpoints of the API: what they take, show, and refuse.</summary>
public sealed class RequestTests(WebhookFixture fixture) : IClassFixture<WebhookFixture>, IAsyncLifetime
{
    private const string Path = "/v1/webhook_endpoints";
    private ApiCaller _api = null!;

    public async ValueTask InitializeAsync() => _api = await fixture.Host.AddTenantAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Theory]
    [InlineData("{}", "url", "an address")]
    [InlineData("{\"url\": 5}", "url", "a string")]
    [InlineData("{\"url\": \"nowhere\"}", "url", "an http or https address")]
    [InlineData("{\"url\": \"ftp://example.org/\"}", "url", "an http or https address")]
    [InlineData("{\"url\": \"https://10.0.0.1/\"}", "url", "public internet")]
    [InlineData("{\"url\": \"https://example.org/\", \"event_types\": []}", "event_types", "a list of one or more of job.completed")]
    [InlineData("{\"url\": \"https://example.org/\", \"event_types\": [\"job.done\"]}", "event_types", "job.completed")]
    [InlineData("{\"url\": \"https://example.org/\", \"secret\": \"whsec_c2hvcnQ=\"}", "secret", "24 to 64 bytes")]
    [InlineData("{\"url\": \"https://example.org/\", \"signing\": \"rsa\"}", "signing", "hmac_sha256, ed25519")]
    [InlineData("{\"url\": \"https://example.org/\", \"colour\": \"red\"}", "colour", "one of")]
    [InlineData("[]", null, "a JSON object")]
    [InlineData("{", null, "a JSON object")]
    public async Task A_mistake_is_told_by_its_field_and_what_was_expected(string body, string? field, string expected)
    {
        var (status, problem) = await _api.SendAsync(HttpMethod.Post, Path, body);

        Assert.Equal(HttpStatusCode.BadRequest, status);
        var mistake = problem.GetProperty("errors")[0];
        Assert.Equal(field, mistake.TryGetProperty("field", out var named) ? named.GetString() : null);
        Assert.Contains(expected, Text(mistake, "expected"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_wrong_secret_is_not_told_back()
    {
        var (_, problem) = await _api.SendAsync(HttpMethod.Post, Path, """{"url": "https://example.org/", "secret": "hunter2"}""");

        Assert.DoesNotContain("hunter2", problem.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_secret_is_shown_once()
    {
        const string Own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        var (_, made) = await _api.SendAsync(HttpMethod.Post, Path, $$"""{"url": "https://example.org/", "secret": "{{Own}}"}""");

        var (_, shown) = await _api.GetAsync($"{Path}/{Text(made, "id")}");

        Assert.Equal(Own, Text(made, "secret"));
        Assert.False(shown.TryGetProperty("secret", out _));
        Assert.DoesNotContain("job.progress", shown.GetProperty("event_types").ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_endpoint_is_changed_disabled_listed_and_deleted()
    {
        var (id, _) = await _api.AddAsync("https://example.org/a");
        var (second, _) = await _api.AddAsync("https://example.org/b");

        var (_, changed) = await _api.SendAsync(
            HttpMethod.Patch,
            $"{Path}/{id}",
            """{"description": "ours", "event_types": ["job.failed"], "state": "disabled"}"""
        );
        Assert.Equal(
            ("ours", "disabled", "by_owner"),
            (Text(changed, "description"), Text(changed, "state"), Text(changed, "disabled_reason"))
        );
        var (_, page) = await _api.GetAsync($"{Path}?limit=1");
        Assert.Equal((second, true), (Text(page.GetProperty("data")[0], "id"), page.GetProperty("has_more").GetBoolean()));
        var (_, deleted) = await _api.SendAsync(HttpMethod.Delete, $"{Path}/{id}");
        Assert.True(deleted.GetProperty("deleted").GetBoolean());
        Assert.Equal(HttpStatusCode.NotFound, (await _api.GetAsync($"{Path}/{id}")).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await _api.SendAsync(HttpMethod.Delete, $"{Path}/{id}")).Status);
    }

    [Fact]
    public async Task A_strangers_endpoint_and_deliveries_are_as_unknown_as_none()
    {
        await using var receiver = await WebhookReceiver.StartNewAsync();
        var (id, _) = await _api.AddAsync(receiver.Url());
        var (_, delivery) = await _api.SendAsync(HttpMethod.Post, $"{Path}/{id}/test");
        var stranger = await fixture.Host.AddTenantAsync();

        foreach (
            var (method, path) in new[]
            {
                (HttpMethod.Get, $"{Path}/{id}"),
                (HttpMethod.Patch, $"{Path}/{id}"),
                (HttpMethod.Delete, $"{Path}/{id}"),
                (HttpMethod.Post, $"{Path}/{id}/rotate"),
                (HttpMethod.Post, $"{Path}/{id}/test"),
                (HttpMethod.Post, $"{Path}/{id}/enable"),
                (HttpMethod.Post, $"{Path}/{id}/replay"),
                (HttpMethod.Get, $"{Path}/{id}/deliveries"),
                (HttpMethod.Get, $"/v1/webhook_deliveries/{Text(delivery, "id")}"),
                (HttpMethod.Post, $"/v1/webhook_deliveries/{Text(delivery, "id")}/replay"),
                (HttpMethod.Get, $"{Path}/not-an-id"),
            }
        )
        {
            var (status, problem) = await stranger.SendAsync(method, path);
            Assert.Equal((HttpStatusCode.NotFound, "webhook_not_found"), (status, Text(problem, "code")));
        }

        Assert.Empty((await stranger.GetAsync("/v1/webhook_deliveries")).Body.GetProperty("data").EnumerateArray());
    }

    [Fact]
    public async Task A_tenant_has_so_many_endpoints_and_no_more()
    {
        for (var i = 0; i < 5; i++)
        {
            await _api.AddAsync($"https://example.org/{i}");
        }

        var (status, problem) = await _api.SendAsync(HttpMethod.Post, Path, """{"url": "https://example.org/6"}""");

        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Contains("at most 5", Text(problem, "detail"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_range_is_replayed_page_by_page()
    {
        await using var receiver = await WebhookReceiver.StartNewAsync();
        var (id, _) = await _api.AddAsync(receiver.Url());
        for (var i = 0; i < 4; i++)
        {
            await _api.SendAsync(HttpMethod.Post, $"{Path}/{id}/test");
        }

        await receiver.UntilAsync(4);
        for (var delivered = 0; delivered < 4; await Task.Delay(20, TestContext.Current.CancellationToken))
        {
            delivered = (await _api.GetAsync($"{Path}/{id}/deliveries?state=delivered")).Body.GetProperty("data").GetArrayLength();
        }

        var (_, none) = await _api.SendAsync(
            HttpMethod.Post,
            $"{Path}/{id}/replay",
            """{"state": "all", "until": "2026-01-01T00:00:00Z"}"""
        );
        var (_, first) = await _api.SendAsync(
            HttpMethod.Post,
            $"{Path}/{id}/replay",
            """{"state": "all", "since": "2026-01-01T00:00:00Z"}"""
        );
        var (_, rest) = await _api.SendAsync(
            HttpMethod.Post,
            $"{Path}/{id}/replay",
            $$"""{"state": "all", "since": "2026-01-01T00:00:00Z", "after": "{{Text(first, "last_id")}}"}"""
        );

        Assert.Equal((0, 3, 1), (Count(none), Count(first), Count(rest)));
        Assert.Equal((true, false), (first.GetProperty("has_more").GetBoolean(), rest.GetProperty("has_more").GetBoolean()));
        Assert.Equal(4, (await receiver.UntilAsync(8)).Select(call => call.Id).Distinct().Count());

        static int Count(JsonElement replay) => replay.GetProperty("replayed").GetInt32();
    }

    [Theory]
    [InlineData("{\"since\": \"yesterday\"}", "since")]
    [InlineData("{\"since\": \"2026-01-02T00:00:00Z\", \"until\": \"2026-01-01T00:00:00Z\"}", "since")]
    [InlineData("{\"state\": \"pending\"}", "state")]
    [InlineData("{\"after\": \"x\"}", "after")]
    public async Task A_replay_says_what_it_does_not_understand(string body, string field)
    {
        var (id, _) = await _api.AddAsync("https://example.org/");

        var (status, problem) = await _api.SendAsync(HttpMethod.Post, $"{Path}/{id}/replay", body);

        Assert.Equal((HttpStatusCode.BadRequest, field), (status, Text(problem.GetProperty("errors")[0], "field")));
    }
}
