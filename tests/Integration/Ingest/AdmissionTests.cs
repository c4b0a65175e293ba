using System.Globalization;
using System.Net;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Ingest;
using Pipeline.Tests.Integration.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>What cannot be promised is refused or offered otherwise, before anything is stored.</summary>
public sealed class AdmissionTests(AdmissionTests.Door door) : IClassFixture<AdmissionTests.Door>, IAsyncLifetime
{
    private const string OneTask = """{"custom_id":"a","input":"some text"}""";
    private IngestHost? _host;

    private IngestHost Host => _host!;

    public async ValueTask InitializeAsync() => _host = await door.NewTenantAsync();

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task Express_is_accepted_where_it_fits()
    {
        Host.Forecast();
        using var response = await Host.PostAsync("model=words&class=express", OneTask);
        var job = await response.JsonAsync();

        Assert.Equal("express", job.GetProperty("class").GetString());
        Assert.False(job.TryGetProperty("requested_class", out _));
        Assert.InRange((Time(job, "predicted_at") - Time(job, "created_at")).TotalMilliseconds, -500, 500);
    }

    [Fact]
    public async Task Express_without_a_forecast_is_refused()
    {
        await OwnDoorAsync();
        using var response = await Host.PostAsync("model=words&class=express", OneTask);
        var problem = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.TooManyRequests, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal("2", response.Headers.GetValues("Retry-After").Single());
        Assert.Equal("express_unavailable", Code(problem));
        Assert.Equal("standard", problem.GetProperty("offer").GetProperty("class").GetString());
        Assert.Equal(0, await Host.CountRowsAsync());
    }

    [Fact]
    public async Task Express_that_would_be_late_is_told_when_to_come_back_and_what_takes_it_now()
    {
        Host.Forecast(20_000, 20_000, 20_000);
        using var response = await Host.PostAsync("model=words&class=express", OneTask, ("Idempotency-Key", "key-1"));
        var problem = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.TooManyRequests, response.StatusCode);
        // Ten seconds of work are ahead, eleven in the bad case; half a second is allowed.
        Assert.InRange(int.Parse(response.Headers.GetValues("Retry-After").Single(), CultureInfo.InvariantCulture), 5, 11);
        var offer = problem.GetProperty("offer");
        Assert.Equal("standard", offer.GetProperty("class").GetString());
        Assert.True(Time(offer, "predicted_at") > DateTimeOffset.UtcNow);
        Assert.True(Time(problem, "predicted_at") > DateTimeOffset.UtcNow);
        Assert.Equal(0, await Host.CountRowsAsync());

        // The key is free: the same request is taken once it fits.
        Host.Forecast();
        using var again = await Host.PostAsync("model=words&class=express", OneTask, ("Idempotency-Key", "key-1"));
        Assert.Equal(HttpStatusCode.OK, again.StatusCode);
    }

    [Fact]
    public async Task Express_that_was_late_of_late_is_refused_but_for_tries_until_it_is_quick_again()
    {
        await OwnDoorAsync();
        Assert.Equal(HttpStatusCode.OK, await SendAsync());
        await EndAsync(50, TimeSpan.FromSeconds(2));

        Assert.Equal(
            [HttpStatusCode.OK, HttpStatusCode.TooManyRequests, HttpStatusCode.TooManyRequests],
            [await SendAsync(), await SendAsync(), await SendAsync()]
        );

        await EndAsync(50, TimeSpan.FromMilliseconds(20));
        Assert.Equal([HttpStatusCode.OK, HttpStatusCode.OK], [await SendAsync(), await SendAsync()]);

        async Task<HttpStatusCode> SendAsync()
        {
            Host.Forecast();
            using var response = await Host.PostAsync("model=words&class=express", OneTask);
            return response.StatusCode;
        }

        // As many jobs like the one that was let in, which took that long, and are learned from.
        async Task EndAsync(int jobs, TimeSpan took)
        {
            await Host.Database.ExecuteAsync(
                """
                WITH ended AS (
                  INSERT INTO jobs
                  SELECT (jsonb_populate_record(j, jsonb_build_object(
                    'id', gen_random_uuid(), 'state', 'completed', 'queued_at', now(), 'started_at', now(), 'finished_at', now() + $2,
                    'open_chunks', 0, 'succeeded', 1, 'failed', 0, 'expired', 0, 'cancelled', 0, 'cost_pico', 1
                  ))).*
                  FROM (SELECT j FROM jobs j ORDER BY created_at LIMIT 1) first, generate_series(1, $1) RETURNING tenant, id
                )
                INSERT INTO events (tenant, job, type, data, created_at) SELECT tenant, id, 'job.completed', '{}', now() FROM ended
                """,
                jobs,
                took
            );
            await RolledUp.NothingIsOpenAsync(Host.Database);
            await Host.Get<Calibrator>().TurnAsync(TestContext.Current.CancellationToken);
        }
    }

    [Fact]
    public async Task A_fallback_is_taken_and_told()
    {
        Host.Forecast(20_000, 20_000, 20_000);
        using var response = await Host.PostAsync("model=words&class=express&fallback=standard", OneTask);
        var job = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("standard", job.GetProperty("class").GetString());
        Assert.Equal("express", job.GetProperty("requested_class").GetString());
        Assert.InRange((Time(job, "deadline") - Time(job, "created_at")).TotalMinutes, 59, 61);
        Assert.Equal(LatencyClass.Standard, (await Host.Scheduler.NextChunkAsync()).Class);
        Assert.Equal("standard", await Host.Database.ScalarAsync<string>("SELECT class FROM jobs WHERE tenant = $1", Host.Tenant.Value));
    }

    [Fact]
    public async Task A_long_body_falls_back_too()
    {
        Host.Forecast(20_000, 20_000, 20_000);
        var id = await Host.SubmitAsync(2_000, "model=words&class=express&fallback=bulk");

        Assert.Equal(
            "bulk 24",
            await Host.Database.ScalarAsync<string>(
                "SELECT class || ' ' || round(extract(epoch FROM deadline - created_at) / 3600) FROM jobs WHERE id = $1",
                id.Value
            )
        );
        Assert.Equal(LatencyClass.Bulk, (await Host.Scheduler.NextChunkAsync()).Class);
    }

    [Fact]
    public async Task A_hopeless_deadline_is_refused_with_one_that_would_do()
    {
        Host.Forecast();
        var body = string.Concat(Enumerable.Range(0, 2_000).Select(i => $$"""{"custom_id":"t-{{i}}","input":"{{i, 15}}"}""" + "\n"));
        using var refused = await Host.PostAsync("model=words&deadline=5s", body);
        var problem = await refused.JsonAsync();

        // 2,000 tasks of 15 units take two workers 15 s.
        Assert.Equal(HttpStatusCode.UnprocessableEntity, refused.StatusCode);
        Assert.Equal(("deadline_infeasible", "deadline"), (Code(problem), problem.GetProperty("error").GetProperty("param").GetString()));
        Assert.Equal(0, await Host.CountRowsAsync());

        var offered = Time(problem.GetProperty("offer"), "deadline");
        Assert.InRange((offered - DateTimeOffset.UtcNow).TotalSeconds, 5, 20);
        using var taken = await Host.PostAsync($"model=words&deadline={Uri.EscapeDataString(offered.ToString("O"))}", body);
        Assert.Equal(HttpStatusCode.OK, taken.StatusCode);
    }

    [Theory]
    [InlineData("class=express&fallback=express")]
    [InlineData("class=bulk&fallback=standard")]
    [InlineData("class=express&fallback=slow")]
    public async Task A_fallback_must_be_slower(string query)
    {
        using var response = await Host.PostAsync("model=words&" + query, OneTask);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal("fallback", (await response.JsonAsync()).FirstMistake().Field);
    }

    /// <summary>For a test that looks at what all tenants share.</summary>
    private async Task OwnDoorAsync()
    {
        await Host.DisposeAsync();
        _host = await door.StartAsync();
    }

    private static string? Code(JsonElement problem) => problem.GetProperty("error").GetProperty("code").GetString();

    private static DateTimeOffset Time(JsonElement json, string name) => json.GetProperty(name).GetDateTimeOffset();

    public sealed class Door : IngestDoor
    {
        private protected override (string Key, string Value)[] Settings =>
            [("Ingest:StoreChunksMax", "1"), ("Ingest:ExpressTryEvery", "01:00:00")];
    }
}
