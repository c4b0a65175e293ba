using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Webhooks;
using Pipeline.Tests.Integration.ResultsApi;
using Pipeline.Tests.Support;
using Pipeline.Tests.Support.Servers;
using Xunit;
using static Pipeline.Tests.Integration.Webhooks.WebhookSteps;

namespace Pipeline.Tests.Integration.Webhooks;

/// <summary>Several senders, senders that die, endpoints that fail for days, old deliveries: each test with a database of its own.</summary>
public sealed class SenderTests
{
    private const string InsertEvents =
        "INSERT INTO events (tenant, type, data, created_at) SELECT $1, 'alert.raised', jsonb_build_object('no', n), now() FROM generate_series(1, $2) n";

    [Fact]
    public async Task Two_senders_at_once_send_everything_once()
    {
        // No claim is over before its answer is written, however busy the machine: that would be sent again, as it should.
        (string, string)[] patient =
        [
            .. WebhookFixture.Hurry.Where(o => o.Option is not ("Webhooks:ClaimTime" or "Webhooks:RequestTimeMax")),
            ("Webhooks:ClaimTime", "00:01:00"),
        ];
        await using var host = await ResultsApiHost.StartAsync(patient);
        await using var second = await ResultsApiHost.StartAppAsync(host.Database.ConnectionString, options: patient);
        await using var receiver = await WebhookReceiver.StartNewAsync();
        var api = await host.AddTenantAsync();
        await api.AddAsync(receiver.Url("/a"));
        await api.AddAsync(receiver.Url("/b"));

        await api.Database.ExecuteAsync(InsertEvents, api.Tenant.Value, 500);
        var calls = await receiver.UntilAsync(1000);

        await api.UntilDeliveryAsync("limit=1", d => Text(d, "state") == "delivered");
        Assert.Equal(1000, calls.Select(call => call.Id).Distinct().Count());
        Assert.Equal(1000, receiver.Calls.Count);
        await second.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Much_that_is_due_at_one_endpoint_is_sent_without_waiting_for_the_next_look()
    {
        (string, string)[] slow =
        [
            ("Webhooks:AllowHttp", "true"),
            ("Webhooks:AllowAddresses:0", "127.0.0.1"),
            ("Webhooks:LookEvery", "00:01:00"),
        ];
        await using var host = await ResultsApiHost.StartAsync(slow);
        await using var receiver = await WebhookReceiver.StartNewAsync();
        var api = await host.AddTenantAsync();
        await api.AddAsync(receiver.Url());
        await api.Database.ExecuteAsync(InsertEvents, api.Tenant.Value, 2000);

        // It looks for events as it starts, and then not for a minute.
        await using var second = await ResultsApiHost.StartAppAsync(host.Database.ConnectionString, options: slow);

        await receiver.UntilAsync(2000);
        await second.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task What_a_sender_had_claimed_when_it_died_is_sent_by_another_and_the_gap_is_seen()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        await using var receiver = await WebhookReceiver.StartNewAsync();
        var options = new WebhookOptions { ClaimTime = TimeSpan.FromMilliseconds(300) };
        var queue = new DeliveryQueue(database.DataSource, options, TimeProvider.System);
        await AddDeliveriesAsync(database, receiver.Url(), 2);
        var claimed = await queue.ClaimAsync([], 1, 10, 10, TestContext.Current.CancellationToken);
        var lost = Assert.Single(claimed);
        Assert.Equal(1, lost.Attempt);

        // It has sent the request, and dies before it writes what came of it. Until the claim is over nobody else has it.
        Assert.DoesNotContain(await queue.ClaimAsync([], 10, 10, 10, TestContext.Current.CancellationToken), other => other.Id == lost.Id);
        await Task.Delay(options.ClaimTime, TestContext.Current.CancellationToken);
        var again = (await queue.ClaimAsync([], 10, 10, 10, TestContext.Current.CancellationToken)).Single(d => d.Id == lost.Id);
        Assert.Equal(2, again.Attempt);

        // The first comes back to life: what it writes is kept in the log, and does not end what the second has in hand.
        var answer = new AttemptResult(500, null, "no", TimeSpan.Zero);
        await queue.RecordAsync([Verdict.Of(lost, answer, DateTimeOffset.UtcNow, options, 0.5)], TestContext.Current.CancellationToken);
        Assert.Equal("pending 2", await StateAsync(database, lost.Id));
        await queue.RecordAsync(
            [Verdict.Of(again, answer with { Status = 200 }, DateTimeOffset.UtcNow, options, 0.5)],
            TestContext.Current.CancellationToken
        );
        Assert.Equal("delivered 2", await StateAsync(database, lost.Id));
    }

    [Fact]
    public async Task What_is_handed_back_has_used_no_attempt()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        var queue = new DeliveryQueue(database.DataSource, new WebhookOptions(), TimeProvider.System);
        await AddDeliveriesAsync(database, "https://example.org/", 3);
        var claimed = await queue.ClaimAsync([], 3, 10, 10, TestContext.Current.CancellationToken);

        await queue.HandBackAsync(claimed, TestContext.Current.CancellationToken);

        var again = await queue.ClaimAsync([], 3, 10, 10, TestContext.Current.CancellationToken);
        Assert.Equal(claimed.Select(d => d.Id).ToHashSet(), again.Select(d => d.Id).ToHashSet());
        Assert.All(again, d => Assert.Equal(1, d.Attempt));
    }

    [Fact]
    public async Task A_claim_takes_of_each_endpoint_what_there_is_room_for()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        var queue = new DeliveryQueue(database.DataSource, new WebhookOptions(), TimeProvider.System);
        var many = await AddDeliveriesAsync(database, "https://example.org/many", 20);
        var few = await AddDeliveriesAsync(database, "https://example.org/few", 3);
        var full = await AddDeliveriesAsync(database, "https://example.org/full", 3);

        var claimed = await queue.ClaimAsync(
            [new FlowRoom(many, 5), new FlowRoom(full, 0)],
            2,
            10,
            100,
            TestContext.Current.CancellationToken
        );

        Assert.Equal((5, 2, 0), (Count(many), Count(few), Count(full)));

        int Count(WebhookEndpointId endpoint) => claimed.Count(d => d.Endpoint == endpoint);
    }

    [Fact]
    public async Task One_that_has_failed_for_days_is_disabled_and_told_of_once()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        var options = new WebhookOptions { DisableFailuresMin = 3 };
        var queue = new DeliveryQueue(database.DataSource, options, TimeProvider.System);
        var endpoint = await AddDeliveriesAsync(database, "https://example.org/", 6);
        var claimed = await queue.ClaimAsync([], 6, 10, 10, TestContext.Current.CancellationToken);
        var bad = new AttemptResult(500, null, null, TimeSpan.Zero);
        List<DeliveryOutcome> Outcomes(Range range, TimeSpan ago) =>
            [.. claimed[range].Select(d => Verdict.Of(d, bad, DateTimeOffset.UtcNow - ago, options, 0.5))];

        Assert.Equal(0, await queue.RecordAsync(Outcomes(..2, options.DisableAfter * 2), TestContext.Current.CancellationToken));
        Assert.Equal(1, await queue.RecordAsync(Outcomes(2..4, TimeSpan.Zero), TestContext.Current.CancellationToken));
        Assert.Equal(0, await queue.RecordAsync(Outcomes(4.., TimeSpan.Zero), TestContext.Current.CancellationToken));

        Assert.Equal(
            "disabled failing 6",
            await database.ScalarAsync<string>(
                "SELECT concat_ws(' ', state, disabled_reason, failures) FROM webhook_endpoints WHERE id = $1",
                endpoint.Value
            )
        );
        Assert.Equal(1, await database.ScalarAsync<long>("SELECT count(*) FROM events WHERE type = 'webhook_endpoint.disabled'"));
        var sweep = Sweep(database, options);
        await sweep.TurnAsync(TestContext.Current.CancellationToken);
        Assert.Equal(6, await database.ScalarAsync<long>("SELECT count(*) FROM webhook_deliveries WHERE reason = 'endpoint_disabled'"));
    }

    [Fact]
    public async Task Old_deliveries_go_step_by_step_with_their_attempts_and_what_waits_stays()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        var options = new WebhookOptions();
        var queue = new DeliveryQueue(database.DataSource, options, TimeProvider.System);
        await AddDeliveriesAsync(database, "https://example.org/", 6, DateTimeOffset.UtcNow.AddDays(-2));
        var claimed = await queue.ClaimAsync([], 5, 10, 10, TestContext.Current.CancellationToken);
        var good = new AttemptResult(200, null, null, TimeSpan.Zero);
        await queue.RecordAsync(
            [.. claimed.Select(d => Verdict.Of(d, good, DateTimeOffset.UtcNow, options, 0.5))],
            TestContext.Current.CancellationToken
        );

        // Deliveries and their events, two of each at a time; of the one that waits the event stays, too.
        var steps = new List<long>();
        do
        {
            steps.Add(
                await JobRemovals.RemoveJoblessLogsAsync(
                    database.DataSource,
                    TimeSpan.FromDays(1),
                    2,
                    DateTimeOffset.UtcNow.AddDays(2),
                    TestContext.Current.CancellationToken
                )
            );
        } while (steps[^1] > 0);

        Assert.Equal([4, 4, 2, 0], steps);
        Assert.Equal(1, await database.ScalarAsync<long>("SELECT count(*) FROM events"));
        Assert.Equal("pending", await database.ScalarAsync<string>("SELECT string_agg(state, ' ') FROM webhook_deliveries"));
        Assert.Equal(0, await database.ScalarAsync<long>("SELECT count(*) FROM webhook_attempts"));
    }

    [Fact]
    public async Task Of_a_delivery_that_was_erased_while_it_was_sent_nothing_is_written()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        var options = new WebhookOptions();
        var queue = new DeliveryQueue(database.DataSource, options, TimeProvider.System);
        await AddDeliveriesAsync(database, "https://example.org/", 1);
        var sent = Assert.Single(await queue.ClaimAsync([], 5, 10, 10, TestContext.Current.CancellationToken));
        await database.ExecuteAsync("DELETE FROM webhook_deliveries");
        var good = new AttemptResult(200, null, "an answer", TimeSpan.Zero);

        await queue.RecordAsync([Verdict.Of(sent, good, DateTimeOffset.UtcNow, options, 0.5)], TestContext.Current.CancellationToken);

        Assert.Equal(0, await database.ScalarAsync<long>("SELECT count(*) FROM webhook_attempts"));
    }

    [Fact]
    public async Task A_name_that_turns_to_an_inner_address_is_refused_at_the_connection()
    {
        await using var receiver = await WebhookReceiver.StartNewAsync();
        var options = new WebhookOptions();
        IPAddress[] answer = [IPAddress.Parse("93.184.216.34")];
        var strict = new WebhookAddresses(new WebhookAddressOptions { AllowHttp = true });
        using var http = new WebhookHttp(strict, options, TimeProvider.System, (_, _) => Task.FromResult(answer));
        var url = $"http://rebinding.example:{receiver.Port}/";
        Assert.Null(strict.Mistake(url));

        answer = [IPAddress.Loopback, IPAddress.Parse("::ffff:169.254.169.254")];
        var refused = await http.SendAsync(Delivery(url), TestContext.Current.CancellationToken);

        Assert.True(refused.Refused);
        Assert.Contains("127.0.0.1", refused.Error, StringComparison.Ordinal);
        Assert.Empty(receiver.Calls);
        var allowing = new WebhookAddresses(new WebhookAddressOptions { AllowHttp = true, AllowAddresses = ["127.0.0.1"] });
        using var open = new WebhookHttp(allowing, options, TimeProvider.System, (_, _) => Task.FromResult(answer));
        Assert.True((await open.SendAsync(Delivery(url), TestContext.Current.CancellationToken)).Succeeded);
    }

    [Fact]
    public async Task Ends_are_counted_once_and_a_late_call_of_what_a_job_named_is_noted()
    {
        await using var database = await TestPostgres.CreateDatabaseAsync();
        var options = new WebhookOptions();
        var queue = new DeliveryQueue(database.DataSource, options, TimeProvider.System);
        await AddDeliveriesAsync(database, "https://example.org/", 2);
        var tenant = await Tenants.EnsureAsync(database.DataSource, "test");
        var job = await SeededJob.CreateAsync(database, tenant);
        await database.ExecuteAsync(
            "UPDATE webhook_deliveries SET job = $1, url = 'https://example.org/' WHERE id = (SELECT id FROM webhook_deliveries LIMIT 1)",
            job.Id.Value
        );
        var claimed = await queue.ClaimAsync([], 10, 10, 10, TestContext.Current.CancellationToken);
        var callback = claimed.Single(c => c.Payload.Job is not null);
        var at = DateTimeOffset.UtcNow;
        var answer = new AttemptResult(200, null, "", TimeSpan.Zero);
        var outcomes = claimed.Select(c => Verdict.Of(c, answer, c == callback ? at.AddSeconds(7) : at, options, 0.5)).ToList();

        await queue.RecordAsync(outcomes, TestContext.Current.CancellationToken);
        await queue.RecordAsync(outcomes, TestContext.Current.CancellationToken);

        Assert.Equal(
            "2 1 0",
            await database.ScalarAsync<string>("SELECT concat_ws(' ', sum(delivered), sum(punctual), sum(failed)) FROM sla_callbacks")
        );
        Assert.True(
            await database.ScalarAsync<bool>(
                "SELECT kind = 'callback' AND job = $1 AND state = 'delivered' AND total_us BETWEEN 7000000 AND 60000000 FROM sla_breaches",
                job.Id.Value
            )
        );
    }

    private static ClaimedDelivery Delivery(string url) =>
        new(
            new WebhookEndpointId(Guid.NewGuid()),
            false,
            url,
            1,
            0,
            DateTimeOffset.MaxValue,
            new PayloadSource(new WebhookDeliveryId(Guid.NewGuid()), "alert.raised", null, null, "{}", DateTimeOffset.UtcNow, null),
            [WebhookKey.New(WebhookKey.Hmac)]
        );

    private static WebhookSweep Sweep(TestDatabase database, WebhookOptions options) =>
        new(
            database.DataSource,
            options,
            new LoopBook(database.DataSource, TimeProvider.System, NullLogger<LoopBook>.Instance),
            TimeProvider.System,
            NullLogger<WebhookSweep>.Instance
        );

    /// <summary>An endpoint with deliveries that are due.</summary>
    private static async Task<WebhookEndpointId> AddDeliveriesAsync(TestDatabase database, string url, int count, DateTimeOffset? at = null)
    {
        var tenant = await Tenants.EnsureAsync(database.DataSource, "test");
        var store = new EndpointStore(database.DataSource, new WebhookOptions(), TimeProvider.System);
        var endpoint = await store.AddAsync(tenant, url, "", ["alert.raised"], WebhookKey.New(WebhookKey.Hmac), CancellationToken.None);
        await database.ExecuteAsync(InsertEvents, tenant.Value, count);
        await database.ExecuteAsync("UPDATE events SET fanned_out = true");
        var first = await database.ScalarAsync<long>("SELECT max(id) FROM events");
        for (var i = 0; i < count; i++)
        {
            await database.ExecuteAsync(
                """
                INSERT INTO webhook_deliveries (id, tenant, endpoint, event, type, state, due_at, created_at)
                VALUES ($1, $2, $3, $4, 'alert.raised', 'pending', $5, $5)
                """,
                WebhookDeliveryId.New(at ?? DateTimeOffset.UtcNow).Value,
                tenant.Value,
                endpoint!.Value.Value,
                first - i,
                (at ?? DateTimeOffset.UtcNow).UtcDateTime
            );
        }

        return endpoint!.Value;
    }

    private static Task<string?> StateAsync(TestDatabase database, WebhookDeliveryId id) =>
        database.ScalarAsync<string>("SELECT state || ' ' || attempts FROM webhook_deliveries WHERE id = $1", id.Value);
}
