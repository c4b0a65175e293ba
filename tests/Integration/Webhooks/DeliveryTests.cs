using System.Globalization;
using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Pipeline.Contracts;
using Pipeline.Tests.Integration.ResultsApi;
using Pipeline.Tests.Support;
using Xunit;
using static Pipeline.Tests.Integration.Webhooks.WebhookSteps;

namespace Pipeline.Tests.Integration.Webhooks;

/// <summary>From a committed event to a receiver on loopback, whatever the receiver does.</summary>
public sealed class DeliveryTests(WebhookFixture fixture) : IClassFixture<WebhookFixture>, IAsyncLifetime
{
    private ApiCaller _api = null!;
    private WebhookReceiver _receiver = null!;

    public async ValueTask InitializeAsync()
    {
        _api = await fixture.Host.AddTenantAsync();
        _receiver = await WebhookReceiver.StartNewAsync();
    }

    public ValueTask DisposeAsync() => _receiver.DisposeAsync();

    [Fact]
    public async Task The_end_of_a_job_is_told_signed_and_logged()
    {
        var (endpoint, secret) = await _api.AddAsync(_receiver.Url());

        var job = await _api.EndJobAsync();

        var call = Assert.Single(await _receiver.UntilAsync(1));
        Assert.True(call.IsSignedBy(secret));
        Assert.Equal("job.completed", call.Type);
        Assert.Equal(call.Id, Text(call.Body, "id"));
        var data = call.Body.GetProperty("data");
        Assert.Equal((job.Id.ToString(), 2), (Text(data, "job"), data.GetProperty("succeeded").GetInt32()));
        Assert.Equal($"/v1/jobs/{job.Id}/results", Text(data.GetProperty("links"), "results"));
        Assert.InRange(
            DateTimeOffset.FromUnixTimeSeconds(long.Parse(call.Headers["webhook-timestamp"], CultureInfo.InvariantCulture)),
            call.At.AddSeconds(-5),
            call.At.AddSeconds(5)
        );
        var logged = await _api.DetailAsync(await _api.UntilStateAsync(job.Id, "delivered"));
        Assert.Equal(
            (endpoint, 1, 204),
            (Text(logged, "endpoint"), logged.GetProperty("attempt_count").GetInt32(), logged.GetProperty("last_status").GetInt32())
        );
        Assert.Equal(System.Text.Encoding.UTF8.GetString(call.Bytes), Text(logged.GetProperty("request"), "body"));
        Assert.Equal(204, Assert.Single(logged.GetProperty("attempts").EnumerateArray()).GetProperty("status").GetInt32());
    }

    [Fact]
    public async Task A_failure_is_tried_again_under_the_same_id_until_it_succeeds()
    {
        await _api.AddAsync(_receiver.Url());
        _receiver.Answer = async (_, http) =>
        {
            http.Response.StatusCode = _receiver.Calls.Count < 3 ? 500 : 200;
            await http.Response.WriteAsync("what I think of it");
        };

        var job = await _api.EndJobAsync();

        var logged = await _api.DetailAsync(await _api.UntilStateAsync(job.Id, "delivered"));
        Assert.Equal(3, _receiver.Calls.Count);
        Assert.Single(_receiver.Calls.Select(call => call.Id).Distinct());
        Assert.Equal([500, 500, 200], logged.GetProperty("attempts").EnumerateArray().Select(a => a.GetProperty("status").GetInt32()));
        Assert.All(logged.GetProperty("attempts").EnumerateArray(), a => Assert.Equal("what I think of it", Text(a, "response")));
    }

    [Fact]
    public async Task What_fails_at_every_attempt_stays_visible_and_can_be_replayed()
    {
        await _api.AddAsync(_receiver.Url());
        _receiver.Answer = (_, http) => WebhookReceiver.Status(http, HttpStatusCode.BadGateway);
        var job = await _api.EndJobAsync();
        var failed = await _api.UntilStateAsync(job.Id, "failed");
        Assert.Equal(("attempts_exhausted", 4), (Text(failed, "reason"), failed.GetProperty("attempt_count").GetInt32()));

        _receiver.Answer = (_, http) => WebhookReceiver.Status(http, HttpStatusCode.OK);
        var (status, replayed) = await _api.SendAsync(HttpMethod.Post, $"/v1/webhook_deliveries/{Text(failed, "id")}/replay");

        Assert.Equal((HttpStatusCode.OK, "pending"), (status, Text(replayed, "state")));
        var delivered = await _api.UntilStateAsync(job.Id, "delivered");
        Assert.Equal(5, delivered.GetProperty("attempt_count").GetInt32());
        Assert.Single(_receiver.Calls.Select(call => call.Id).Distinct());
    }

    [Fact]
    public async Task A_redirect_is_a_failure_and_is_not_followed()
    {
        await _api.AddAsync(_receiver.Url());
        _receiver.Answer = (_, http) =>
        {
            http.Response.Headers.Location = "/elsewhere";
            return WebhookReceiver.Status(http, HttpStatusCode.TemporaryRedirect);
        };

        var job = await _api.EndJobAsync();

        Assert.Equal(307, (await _api.UntilStateAsync(job.Id, "failed")).GetProperty("last_status").GetInt32());
        Assert.All(_receiver.Calls, call => Assert.Equal("/hook", call.Path));
    }

    [Fact]
    public async Task One_that_wants_no_more_is_disabled_with_notice_and_can_be_enabled_and_replayed()
    {
        await using var other = await WebhookReceiver.StartNewAsync();
        var (gone, _) = await _api.AddAsync(_receiver.Url(), "job.completed");
        await _api.AddAsync(other.Url(), "webhook_endpoint.disabled");
        _receiver.Answer = (_, http) => WebhookReceiver.Status(http, HttpStatusCode.Gone);

        var first = await _api.EndJobAsync();
        Assert.Equal("gone", Text(await _api.UntilEndpointAsync(gone, "disabled"), "disabled_reason"));
        var notice = (await other.UntilAsync(1))[0].Body.GetProperty("data");
        Assert.Equal((gone, "gone"), (Text(notice, "endpoint"), Text(notice, "reason")));
        Assert.Equal("gone", Text(await _api.UntilStateAsync(first.Id, "failed"), "reason"));
        var second = await _api.EndJobAsync();
        Assert.Equal("endpoint_disabled", Text(await _api.UntilStateAsync(second.Id, "failed"), "reason"));
        var (refused, _) = await _api.SendAsync(HttpMethod.Post, $"/v1/webhook_endpoints/{gone}/replay");
        Assert.Equal(HttpStatusCode.Conflict, refused);

        _receiver.Answer = (_, http) => WebhookReceiver.Status(http, HttpStatusCode.OK);
        await _api.SendAsync(HttpMethod.Post, $"/v1/webhook_endpoints/{gone}/enable");
        var (_, replayed) = await _api.SendAsync(HttpMethod.Post, $"/v1/webhook_endpoints/{gone}/replay");

        Assert.Equal(2, replayed.GetProperty("replayed").GetInt32());
        await _api.UntilStateAsync(first.Id, "delivered");
        await _api.UntilStateAsync(second.Id, "delivered");
    }

    [Fact]
    public async Task A_body_without_end_and_an_answer_that_never_comes_are_cut_off_and_delay_nobody_else()
    {
        await using var hanging = await WebhookReceiver.StartNewAsync();
        hanging.Answer = (_, http) => Task.Delay(Timeout.Infinite, http.RequestAborted);
        _receiver.Answer = async (_, http) =>
        {
            var bytes = new byte[4096];
            Array.Fill(bytes, (byte)'x');
            while (!http.RequestAborted.IsCancellationRequested)
            {
                await http.Response.Body.WriteAsync(bytes, http.RequestAborted);
            }
        };
        var (slow, _) = await _api.AddAsync(hanging.Url());
        var (endless, _) = await _api.AddAsync(_receiver.Url());

        var jobs = new List<SeededJob>();
        for (var i = 0; i < 20; i++)
        {
            jobs.Add(await _api.EndJobAsync());
        }

        foreach (var job in jobs)
        {
            var cut = await _api.DetailAsync(
                await _api.UntilDeliveryAsync($"job={job.Id}", d => Text(d, "endpoint") == endless && Text(d, "state") == "delivered")
            );
            Assert.Equal(new string('x', 1024), Text(cut.GetProperty("attempts").EnumerateArray().Last(), "response"));
        }

        var timedOut = await _api.UntilDeliveryAsync(
            "state=pending,failed",
            d => d.GetProperty("last_error").ValueKind == JsonValueKind.String
        );
        Assert.Equal((slow, "No answer within 1 s."), (Text(timedOut, "endpoint"), Text(timedOut, "last_error")));
    }

    [Fact]
    public async Task A_receiver_that_restarts_misses_nothing()
    {
        await _api.AddAsync(_receiver.Url());
        await _api.EndJobAsync();
        await _receiver.UntilAsync(1);
        await _receiver.StopAsync();
        var job = await _api.EndJobAsync();
        await _api.UntilDeliveryAsync($"job={job.Id}", d => d.GetProperty("last_error").ValueKind == JsonValueKind.String);

        await _receiver.StartAsync();

        // Its attempts may have been used up meanwhile, which is what replays are for.
        var found = await _api.UntilDeliveryAsync($"job={job.Id}", d => Text(d, "state") != "pending");
        if (Text(found, "state") == "failed")
        {
            await _api.SendAsync(HttpMethod.Post, $"/v1/webhook_deliveries/{Text(found, "id")}/replay");
        }

        await _api.UntilStateAsync(job.Id, "delivered");
    }

    [Fact]
    public async Task Retry_after_is_obeyed()
    {
        await _api.AddAsync(_receiver.Url());
        _receiver.Answer = (_, http) =>
        {
            http.Response.Headers.RetryAfter = "2";
            return WebhookReceiver.Status(http, _receiver.Calls.Count == 1 ? HttpStatusCode.TooManyRequests : HttpStatusCode.OK);
        };

        await _api.EndJobAsync();

        var calls = await _receiver.UntilAsync(2);
        Assert.True(calls[1].At - calls[0].At >= TimeSpan.FromSeconds(1.9), $"{calls[1].At - calls[0].At}");
    }

    [Fact]
    public async Task The_address_that_a_job_names_is_called_with_the_tenants_own_key()
    {
        var (_, made) = await _api.SendAsync(HttpMethod.Post, "/v1/webhook_callback_secret", "{}");

        var job = await _api.EndJobAsync(_receiver.Url("/of-this-job?a=b"));

        var call = Assert.Single(await _receiver.UntilAsync(1));
        Assert.Equal("/of-this-job", call.Path);
        Assert.True(call.IsSignedBy(Text(made, "secret")!));
        var logged = await _api.UntilStateAsync(job.Id, "delivered");
        Assert.Equal(
            (JsonValueKind.Null, _receiver.Url("/of-this-job?a=b")),
            (logged.GetProperty("endpoint").ValueKind, Text(logged, "url"))
        );
        Assert.Empty((await _api.GetAsync("/v1/webhook_endpoints")).Body.GetProperty("data").EnumerateArray());
    }

    [Fact]
    public async Task Both_keys_sign_while_one_replaces_the_other_and_only_the_new_one_afterwards()
    {
        var (id, old) = await _api.AddAsync(_receiver.Url());
        var (_, rotated) = await _api.SendAsync(HttpMethod.Post, $"/v1/webhook_endpoints/{id}/rotate");
        var next = Text(rotated, "secret")!;
        await _api.EndJobAsync();
        var both = (await _receiver.UntilAsync(1))[0];
        Assert.True(both.IsSignedBy(old) && both.IsSignedBy(next));

        var (_, last) = await _api.SendAsync(
            HttpMethod.Post,
            $"/v1/webhook_endpoints/{id}/rotate",
            """{"signing": "ed25519", "grace_seconds": 0}"""
        );
        await _api.EndJobAsync();

        var call = (await _receiver.UntilAsync(2))[1];
        Assert.StartsWith("whpk_", Text(last, "public_key"), StringComparison.Ordinal);
        Assert.False(call.IsSignedBy(next));
        Assert.All(call.Signatures.Skip(1), one => Assert.StartsWith("v1,", one, StringComparison.Ordinal));
        Assert.StartsWith("v1a,", call.Signatures[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_test_reaches_an_endpoint_whatever_it_is_told_of()
    {
        var (id, _) = await _api.AddAsync(_receiver.Url(), "batch.completed");

        var (status, delivery) = await _api.SendAsync(HttpMethod.Post, $"/v1/webhook_endpoints/{id}/test");

        Assert.Equal((HttpStatusCode.OK, "webhook.test"), (status, Text(delivery, "type")));
        Assert.Equal($"evt_{Guid.Parse(Text(delivery, "id")!):N}", Assert.Single(await _receiver.UntilAsync(1)).Id);
    }

    [Fact]
    public async Task Only_what_is_asked_for_is_told_and_the_tasks_of_an_express_job_only_to_who_names_them()
    {
        await _api.AddAsync(_receiver.Url("/tasks"), "task.completed");
        await _api.AddAsync(_receiver.Url("/failures"), "job.failed");

        var bulk = await _api.EndJobAsync();
        var express = await _api.EndJobAsync(of: LatencyClass.Express);

        var calls = await _receiver.UntilAsync(2);
        Assert.Equal([0, 1], calls.Select(call => call.Body.GetProperty("data").GetProperty("seq").GetInt32()).Order());
        Assert.All(
            calls,
            call =>
                Assert.Equal(
                    (express.Id.ToString(), "succeeded"),
                    (Text(call.Body.GetProperty("data"), "job"), Text(call.Body.GetProperty("data"), "status"))
                )
        );
        Assert.Empty((await _api.GetAsync($"/v1/webhook_deliveries?job={bulk.Id}")).Body.GetProperty("data").EnumerateArray());
    }

    [Fact]
    public async Task Progress_is_told_to_who_asks_and_not_on_the_jobs_own_stream()
    {
        await _api.AddAsync(_receiver.Url(), "job.progress");
        var job = await SeededJob.CreateAsync(_api.Database, _api.Tenant);
        await job.EndAsync(_api.Database, 0, 1);
        var first = (await _receiver.UntilAsync(1))[0];
        await job.EndAsync(_api.Database, 2);
        var second = (await _receiver.UntilAsync(2))[1];

        Assert.Equal((2, 3), (Succeeded(first), Succeeded(second)));
        await job.EndAsync(_api.Database, [.. Enumerable.Range(3, 7)]);
        var stream = await _api.Http.GetStringAsync($"/v1/jobs/{job.Id}/events");
        Assert.DoesNotContain("job.progress", stream, StringComparison.Ordinal);

        static int Succeeded(ReceivedCall call) => call.Body.GetProperty("data").GetProperty("succeeded").GetInt32();
    }

    [Fact]
    public async Task Budgets_and_batches_are_told_by_their_own_names()
    {
        await _api.AddAsync(_receiver.Url());
        const string Insert = "INSERT INTO events (tenant, type, data, created_at) VALUES ($1, $2, $3::jsonb, now())";
        await _api.Database.ExecuteAsync(Insert, _api.Tenant.Value, "budget.warning", """{"percent": 80}""");
        await _api.Database.ExecuteAsync(Insert, _api.Tenant.Value, "batch.expired", """{"id": "batch_x"}""");
        await _api.Database.ExecuteAsync(Insert, _api.Tenant.Value, "alert.raised", """{"alert": "deadlines"}""");

        var calls = await _receiver.UntilAsync(3);

        Assert.Equal(["alert.raised", "batch.expired", "budget.threshold"], calls.Select(call => call.Type).Order(StringComparer.Ordinal));
        Assert.Equal("event", Text(calls.Single(call => call.Type == "batch.expired").Body, "object"));
    }

    [Fact]
    public async Task What_is_rolled_back_is_told_to_nobody_and_what_commits_late_is_not_missed()
    {
        await _api.AddAsync(_receiver.Url(), "alert.raised");
        const string Insert = "INSERT INTO events (tenant, type, data, created_at) VALUES ($1, 'alert.raised', $2::jsonb, now())";
        await using var late = await _api.Database.DataSource.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using var open = await late.BeginTransactionAsync(TestContext.Current.CancellationToken);
        await InsertAsync("late");
        await using (var other = await _api.Database.DataSource.OpenConnectionAsync(TestContext.Current.CancellationToken))
        {
            await using var undone = await other.BeginTransactionAsync(TestContext.Current.CancellationToken);
            await using var command = new Npgsql.NpgsqlCommand(Insert, other, undone);
            command.Parameters.AddWithValue(_api.Tenant.Value);
            command.Parameters.AddWithValue("""{"no": "undone"}""");
            await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
            await undone.RollbackAsync(TestContext.Current.CancellationToken);
        }

        await _api.Database.ExecuteAsync(Insert, _api.Tenant.Value, """{"no": "early"}""");
        Assert.Equal(["early"], (await _receiver.UntilAsync(1)).Select(No));

        await open.CommitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(["early", "late"], (await _receiver.UntilAsync(2)).Select(No));

        async Task InsertAsync(string no)
        {
            await using var command = new Npgsql.NpgsqlCommand(Insert, late, open);
            command.Parameters.AddWithValue(_api.Tenant.Value);
            command.Parameters.AddWithValue($$"""{"no": "{{no}}"}""");
            await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        }

        static string? No(ReceivedCall call) => Text(call.Body.GetProperty("data"), "no");
    }

    [Fact]
    public async Task An_inner_address_is_refused_when_it_is_called_although_a_job_names_it()
    {
        var job = await _api.EndJobAsync("http://127.0.0.2:1/");
        Assert.Equal("address_refused", Text(await _api.UntilStateAsync(job.Id, "failed"), "reason"));
    }
}
