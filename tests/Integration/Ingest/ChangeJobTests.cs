using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>
/// Another class or deadline for what has not ended of a job: decided as a new job is, priced from there on, and told to the scheduler.
/// A task of these jobs has six units; a unit of bulk costs 20,000 pico-USD, one of standard twice as much.
/// </summary>
public sealed class ChangeJobTests(IngestDoor door) : IClassFixture<IngestDoor>, IAsyncLifetime
{
    private IngestHost? _host;

    private IngestHost Host => _host!;

    public async ValueTask InitializeAsync() => _host = await door.NewTenantAsync();

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task The_row_changes_first_then_the_scheduler_hears_of_it_however_often_it_is_asked()
    {
        var job = await Host.SubmitAsync();
        var deadline = DateTimeOffset.FromUnixTimeSeconds(DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 18_000);
        for (var time = 0; time < 2; time++)
        {
            var (status, body) = await ChangeAsync(job, new { @class = "standard", deadline });
            Assert.Equal((HttpStatusCode.OK, "standard"), (status, body.GetProperty("class").GetString()));
            Assert.Equal(deadline, body.GetProperty("deadline").GetDateTimeOffset());

            var told = await Host.Scheduler.NextChangeAsync(job);
            Assert.Equal((job, JobChange.Moved, LatencyClass.Standard), (told.Job, told.Change, told.Class));
            Assert.Equal((deadline, body.GetProperty("class_since").GetDateTimeOffset()), (told.Deadline!.Value, told.Since!.Value));
        }

        Assert.Equal(
            "bulk to standard",
            await Host.Database.ScalarAsync<string>(
                "SELECT string_agg((data #>> '{before,class}') || ' to ' || (data ->> 'class'), ',') FROM events "
                    + "WHERE type = 'job.changed' AND job = $1",
                job.Value
            )
        );
    }

    [Fact]
    public async Task A_deadline_alone_leaves_class_and_price_as_they_are()
    {
        var job = await Host.SubmitAsync();

        var (status, body) = await ChangeAsync(job, new { deadline = "3d" });

        Assert.Equal((HttpStatusCode.OK, "bulk"), (status, body.GetProperty("class").GetString()));
        Assert.False(body.TryGetProperty("class_since", out _));
        Assert.Equal(20_000_000_000, body.GetProperty("price_per_million_units_pico_usd").GetInt64());
        Assert.InRange(
            body.GetProperty("deadline").GetDateTimeOffset() - DateTimeOffset.UtcNow,
            TimeSpan.FromDays(2.9),
            TimeSpan.FromDays(3)
        );
    }

    [Fact]
    public async Task Units_that_were_done_keep_their_price_and_the_rest_has_the_new_one()
    {
        var job = await Host.SubmitAsync(10);
        await DoneAsync(job, units: 24);
        await ChangeAsync(job, new { @class = "standard" });
        await DoneAsync(job, units: 30);
        var (_, body) = await ChangeAsync(job, new { @class = "bulk" });
        await DoneAsync(job, units: 60);

        // 24 units as bulk, 6 as standard, 30 as bulk again.
        Assert.Equal((24 * 20_000) + (6 * 40_000), body.GetProperty("price_pico_usd").GetInt64());
        var (_, again) = await ChangeAsync(job, new { @class = "bulk" });
        Assert.Equal((54 * 20_000) + (6 * 40_000), again.GetProperty("price_pico_usd").GetInt64());
    }

    [Fact]
    public async Task The_charge_of_a_job_that_ends_is_settled_with_both_prices_against_the_months_budget()
    {
        await TenantBudgets.SetAsync(Host.Database.DataSource, Host.TenantName, 10_000_000, [100]);
        var job = await Host.SubmitAsync(10);
        await DoneAsync(job, units: 30);
        await ChangeAsync(job, new { @class = "standard" });

        // Half is done as bulk; the other half is expected to be charged as standard.
        var spent = (30 * 20_000) + (30 * 40_000);
        Assert.Equal(
            $"{spent} {spent} {spent}",
            await Host.Database.ScalarAsync<string>(
                "SELECT concat_ws(' ', j.estimate_pico, j.reserved_pico, m.spent_pico) FROM jobs j JOIN tenant_months m ON m.tenant = j.tenant "
                    + "WHERE j.id = $1",
                job.Value
            )
        );
    }

    [Fact]
    public async Task What_a_months_budget_does_not_cover_is_refused_and_nothing_changes()
    {
        await TenantBudgets.SetAsync(Host.Database.DataSource, Host.TenantName, 60 * 20_000, [100]);
        var job = await Host.SubmitAsync(10);

        var (status, body) = await ChangeAsync(job, new { @class = "standard" });

        Assert.Equal((HttpStatusCode.PaymentRequired, "tenant_budget_exceeded"), (status, Code(body)));
        await AssertUnchangedAsync();
    }

    [Fact]
    public async Task What_the_jobs_own_budget_does_not_cover_is_refused_and_nothing_changes()
    {
        var job = await Host.SubmitAsync(10, "model=words&max_cost=0.000002");

        var (status, body) = await ChangeAsync(job, new { @class = "standard" });

        Assert.Equal((HttpStatusCode.UnprocessableEntity, "budget_exceeded"), (status, Code(body)));
        await AssertUnchangedAsync();
    }

    [Fact]
    public async Task Express_that_would_be_late_is_refused_with_an_offer_and_let_in_where_there_is_room()
    {
        var job = await Host.SubmitAsync();
        Host.Forecast(10_000_000, 10_000_000, 10_000_000);
        var (status, body) = await ChangeAsync(job, new { @class = "express" });
        Assert.Equal((HttpStatusCode.TooManyRequests, "express_unavailable"), (status, Code(body)));
        Assert.EndsWith("takes it now. Nothing was changed.", body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        await AssertUnchangedAsync();

        Host.Forecast();
        Assert.Equal(HttpStatusCode.OK, (await ChangeAsync(job, new { @class = "express" })).Status);
    }

    [Fact]
    public async Task A_deadline_that_no_order_of_work_can_meet_is_refused_with_one_that_would_do()
    {
        var job = await Host.SubmitAsync(3_000);
        Host.Forecast();

        var (status, body) = await ChangeAsync(job, new { deadline = "1s" });

        Assert.Equal((HttpStatusCode.UnprocessableEntity, "deadline_infeasible"), (status, Code(body)));
        Assert.True(body.GetProperty("offer").GetProperty("deadline").GetDateTimeOffset() > DateTimeOffset.UtcNow);
        await AssertUnchangedAsync();
    }

    [Fact]
    public async Task The_rest_is_estimated_in_every_class_without_the_jobs_own_work_ahead_of_it()
    {
        var job = await Host.SubmitAsync(1_000);
        var units = await Host.Database.ScalarAsync<long>("SELECT units FROM jobs WHERE id = $1", job.Value);
        Host.Forecast(0, 0, units);

        using var response = await Host.Client.PostAsync($"/v1/jobs/{job}/estimate", null);
        var estimate = await response.JsonAsync();

        Assert.Equal((1_000, units), (estimate.GetProperty("tasks").GetInt64(), estimate.GetProperty("units").GetInt64()));
        var ends = estimate.GetProperty("classes").EnumerateArray().ToDictionary(c => c.GetProperty("class").GetString()!);
        Assert.Equal(3, ends.Count);
        // Two workers do a unit in a millisecond: nothing is ahead of the job but itself.
        Assert.InRange(ends["bulk"].GetProperty("seconds").GetDouble(), 0, 1.2 * units / 2 / 1000);
        Assert.Equal(2 * ends["bulk"].GetProperty("price_pico_usd").GetInt64(), ends["standard"].GetProperty("price_pico_usd").GetInt64());
        await AssertUnchangedAsync();
    }

    [Theory]
    [InlineData("""{"class": "gold"}""", "class", "\"gold\"")]
    [InlineData("""{"deadline": "soon"}""", "deadline", "\"soon\"")]
    [InlineData("""{"deadline": "2020-01-01T00:00:00Z"}""", "deadline", "\"2020-01-01T00:00:00Z\"")]
    [InlineData("""{"model": "words@2"}""", "model", "the unknown name \"model\"")]
    [InlineData("{}", "class", "neither")]
    public async Task Mistakes_are_told_by_their_field_and_nothing_changes(string change, string field, string given)
    {
        var job = await Host.SubmitAsync();

        var (status, body) = await ChangeAsync(job, JsonElement.Parse(change));

        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Equal((field, given), (body.FirstMistake().Field, body.FirstMistake().Given));
        await AssertUnchangedAsync();
    }

    [Fact]
    public async Task A_job_that_has_ended_or_is_unknown_is_not_changed()
    {
        var job = await Host.SubmitAsync();
        Assert.Equal(HttpStatusCode.NotFound, (await ChangeAsync(JobId.New(DateTimeOffset.UtcNow), new { deadline = "2h" })).Status);
        await Host.Database.ExecuteAsync("UPDATE jobs SET state = 'cancelling' WHERE id = $1", job.Value);

        var (status, body) = await ChangeAsync(job, new { deadline = "2h" });

        Assert.Equal(HttpStatusCode.Conflict, status);
        Assert.Equal(
            "A job that is cancelling cannot be changed: only one that is queued or running.",
            body.GetProperty("detail").GetString()
        );
        using var estimate = await Host.Client.PostAsync($"/v1/jobs/{job}/estimate", null);
        Assert.Equal(HttpStatusCode.Conflict, estimate.StatusCode);
    }

    private async Task<(HttpStatusCode Status, JsonElement Body)> ChangeAsync(JobId job, object change)
    {
        using var response = await Host.Client.PatchAsJsonAsync($"/v1/jobs/{job}", change);
        return (response.StatusCode, await response.JsonAsync());
    }

    /// <summary>As if so many units of the job had succeeded.</summary>
    private async Task DoneAsync(JobId job, int units) =>
        await Host.Database.ExecuteAsync(
            "UPDATE chunks SET units_done = $1, succeeded = $1 / 6, remaining = tasks - $1 / 6 WHERE job = $2",
            units,
            job.Value
        );

    /// <summary>Of the tenant's only job.</summary>
    private async Task AssertUnchangedAsync() =>
        Assert.Equal(
            "bulk 0",
            await Host.Database.ScalarAsync<string>(
                """
                SELECT class || ' ' || (SELECT count(*) FROM events WHERE type = 'job.changed' AND tenant = $1)
                FROM jobs WHERE class_since IS NULL AND tenant = $1
                """,
                Host.Tenant.Value
            )
        );

    private static string? Code(JsonElement problem) => problem.GetProperty("code").GetString();
}
