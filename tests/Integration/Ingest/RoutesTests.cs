using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>Routes at the door: set by operators, named by jobs in place of a model.</summary>
public sealed class RoutesTests : IAsyncLifetime
{
    private const string OneTask = """{"custom_id":"a","input":"0123456789"}""";
    private static readonly object Words = Variants(new { units_max = 8 });
    private IngestHost _host = null!;
    private HttpClient _operator = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await IngestHost.StartAsync();
        var key = await ApiKeyIssuer.IssueAsync(_host.Database.DataSource, _host.Tenant, "operator", isOperator: true);
        _operator = new HttpClient { BaseAddress = _host.Address };
        _operator.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
    }

    public async ValueTask DisposeAsync()
    {
        _operator.Dispose();
        await _host.DisposeAsync();
    }

    [Fact]
    public async Task Another_list_is_a_new_version_and_the_same_one_is_not()
    {
        var first = await PutAsync("r", Words);
        var again = await PutAsync("r", Words);
        var other = await PutAsync("r", Variants(new { units_max = 9 }));

        Assert.Equal((1, 1, 2), (Version(first), Version(again), Version(other)));
        Assert.Equal(first.GetRawText(), again.GetRawText());
        Assert.Equal(9, other.GetProperty("variants")[0].GetProperty("accept").GetProperty("units_max").GetInt32());
        Assert.Equal(2, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM routes"));
    }

    [Fact]
    public async Task Only_operators_set_routes_and_bad_ones_leave_nothing()
    {
        using var tenant = await _host.Client.PutAsJsonAsync("/v1/routes/r", Words);
        using var bad = await _operator.PutAsJsonAsync(
            "/v1/routes/r",
            new { variants = new object[] { new { model = "words" }, new { model = "grid" } } }
        );
        var problem = await bad.JsonAsync();

        Assert.Equal(HttpStatusCode.Forbidden, tenant.StatusCode);
        Assert.Equal((HttpStatusCode.BadRequest, "invalid_request"), (bad.StatusCode, problem.GetProperty("code").GetString()));
        // No rule, another kind of input, and less of it.
        Assert.Equal(3, problem.GetProperty("errors_total").GetInt32());
        Assert.Equal(0, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM routes"));
    }

    [Fact]
    public async Task A_job_keeps_the_version_it_was_accepted_with_and_is_announced_for_the_first_variant()
    {
        await PutAsync("r", Words);

        using var response = await _host.PostAsync("route=r&class=bulk", OneTask);
        var job = await response.JsonAsync();
        await PutAsync("r", Variants(new { units_max = 9 }));

        Assert.Equal(("r@1", "words@1"), (job.GetProperty("route").GetString(), job.GetProperty("model").GetString()));
        Assert.Equal(new ModelRef("words", "1"), (await _host.Scheduler.NextChunkAsync()).Model);
        Assert.Equal("words@2", await _host.Database.ScalarAsync<string>("SELECT route -> 'variants' -> 1 ->> 'model' FROM jobs"));
        Assert.Equal(
            8,
            await _host.Database.ScalarAsync<int>("SELECT (route -> 'variants' -> 0 -> 'accept' ->> 'units_max')::int FROM jobs")
        );
    }

    [Fact]
    public async Task An_inference_carries_its_first_turn_to_the_scheduler()
    {
        await PutAsync("r", Words);
        _host.Forecast();

        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/infer?class=standard");
        request.Content = JsonContent.Create(new { route = "r", input = "0123456789" });
        request.Headers.Add("Prefer", "respond-async");
        using var response = await _host.Client.SendAsync(request);

        var chunk = await _host.Scheduler.NextChunkAsync();
        Assert.NotNull(chunk.Payload);
        Assert.Equal(new RouteStep(1, new Acceptance { UnitsMax = 8 }, new ModelRef("words", "2")), chunk.Step);
    }

    [Theory]
    [InlineData("route=r&model=words", HttpStatusCode.BadRequest, "invalid_request")]
    [InlineData("route=nobody", HttpStatusCode.NotFound, "model_route_not_found")]
    [InlineData("model=words&min_quality=0.5", HttpStatusCode.BadRequest, "invalid_request")]
    [InlineData("route=r&min_quality=2", HttpStatusCode.BadRequest, "invalid_request")]
    [InlineData("route=r&min_quality=0.5", HttpStatusCode.UnprocessableEntity, "quality_unmet")]
    public async Task What_cannot_be_run_is_refused_with_the_reason(string query, HttpStatusCode status, string code)
    {
        await PutAsync("r", Words);

        using var response = await _host.PostAsync(query, OneTask);

        Assert.Equal((status, code), (response.StatusCode, (await response.JsonAsync()).GetProperty("code").GetString()));
        Assert.Equal(0, await _host.CountRowsAsync());
    }

    [Theory]
    [InlineData("0.8", "words@1", null)]
    [InlineData("0.9", "words@1", "r@1")]
    [InlineData("0.95", "words@2", null)]
    public async Task The_cheapest_that_was_measured_good_enough_runs(string least, string model, string? route)
    {
        await PutAsync("r", Words);
        await MeasureAsync(Choice("words@1", 0.8, 1), Choice("words@2", 0.95, 10), Choice("r@1", 0.94, 3));

        using var response = await _host.PostAsync($"route=r&min_quality={least}", OneTask);
        var job = await response.JsonAsync();

        Assert.Equal(model, job.GetProperty("model").GetString());
        Assert.Equal(route, job.TryGetProperty("route", out var shown) ? shown.GetString() : null);
    }

    [Fact]
    public async Task A_job_is_predicted_and_express_let_in_with_the_turns_that_were_measured_of_its_route()
    {
        // words@2 takes a hundred times as long, and half of the tasks go on to it.
        await PutAsync("r", Words);
        var plain = await PredictAsync();
        using var unmeasured = await _host.PostAsync("route=r&class=express", OneTask);
        Assert.True(unmeasured.IsSuccessStatusCode, await unmeasured.Content.ReadAsStringAsync());
        await MeasureAsync(Choice("r@1", 0.94, 3, turns: 1.5));
        var routed = await PredictAsync();

        Assert.InRange(routed.Cost / plain.Cost, 40, 60);
        // One that goes on would miss its target, and every second does.
        using var express = await _host.PostAsync("route=r&class=express", OneTask);
        Assert.Equal(
            (HttpStatusCode.TooManyRequests, "express_unavailable"),
            (express.StatusCode, (await express.JsonAsync()).GetProperty("code").GetString())
        );

        // The first turn fills two batches, for two workers, and the second one.
        Assert.InRange(routed.Seconds / plain.Seconds, 90, 110);
    }

    [Fact]
    public async Task A_retry_takes_what_failed_on_any_variant_along_the_route_as_it_was()
    {
        await PutAsync("r", Words);
        var job = await _host.SubmitAsync(tasks: 3, "route=r");
        await PutAsync("r", Variants(new { units_max = 9 }));
        var next = await WriteAsync(job, failed: (0, 0, 1), escalated: [1, 2]);
        await WriteAsync(job, failed: (next, 1, 2), escalated: []);
        await WriteAsync(job, failed: (next, 2, 2), escalated: []);

        using var response = await _host.Client.PostAsync($"/v1/jobs/{job}/retry-failed", null);
        var retry = await response.JsonAsync();

        Assert.Equal((3, "r@1"), (retry.GetProperty("tasks").GetInt32(), retry.GetProperty("route").GetString()));
        Assert.Equal(
            ["t-0", "t-1", "t-2"],
            (await _host.ReadTasksAsync(JobId.From(retry.GetProperty("id").GetGuid()))).Select(t => t.CustomId)
        );
    }

    /// <summary>What a worker writes: one task failed, others escalated. Gives the number of the chunk they escalated to.</summary>
    private async Task<int> WriteAsync(JobId job, (int Chunk, int Seq, int Turn) failed, int[] escalated)
    {
        var (rows, escalations) = (new TaskEndRows(), new EscalationRows());
        rows.Add(
            job,
            failed.Chunk,
            failed.Seq,
            TaskOutcome.Failed,
            $"t-{failed.Seq}",
            output: null,
            contentType: null,
            "model_failed",
            "It failed.",
            "words@1",
            (short)failed.Turn,
            costPico: 1,
            batch: null,
            queuedUs: 0,
            stagedUs: 0,
            deviceUs: 0,
            totalUs: 0,
            units: 1,
            routeTurn: failed.Turn
        );
        foreach (var seq in escalated)
        {
            var from = new EscalationFrom(new ChunkKey(job, 0), 0, 0, new ModelRef("words", "2"));
            escalations.Add(from, seq, 1, "words@1", BatchId.New(DateTimeOffset.UtcNow), units: 1, costPico: 1);
        }

        var now = DateTimeOffset.UtcNow;
        await using var connection = await _host.Database.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var ended = await TaskEnds.InsertAsync(connection, transaction, rows, escalations, now, null, default);
        await using (var batch = new NpgsqlBatch(connection, transaction))
        {
            TaskEnds.AddCounts(batch, ended, now);
            await batch.ExecuteNonQueryAsync();
        }

        await transaction.CommitAsync();
        return await _host.Database.ScalarAsync<int>("SELECT max(no) FROM chunks WHERE job = $1", job.Value);
    }

    /// <summary>What a job of 200 tasks along the route is predicted to take and to cost.</summary>
    private async Task<(double Seconds, double Cost)> PredictAsync()
    {
        _host.ForecastOf((new ModelRef("words", "1"), 1_000_000), (new ModelRef("words", "2"), 100_000_000));
        var job = await _host.SubmitAsync(tasks: 200, "route=r");
        var predicted = await _host.Database.ScalarAsync<double[]>(
            """
            SELECT ARRAY[extract(epoch FROM predicted_at - queued_at)::float8, predicted_cost_pico::float8] FROM jobs WHERE id = $1
            """,
            job.Value
        );
        return (predicted![0], predicted[1]);
    }

    private async Task MeasureAsync(params object[] choices)
    {
        using var measured = await _operator.PutAsJsonAsync(
            "/v1/routes/r/quality",
            new
            {
                version = 1,
                measured_at = DateTimeOffset.UtcNow,
                tasks = 100,
                choices,
            }
        );
        Assert.Equal(HttpStatusCode.OK, measured.StatusCode);
    }

    private static object Choice(string choice, double accuracy, double cost, double turns = 1) =>
        new
        {
            choice,
            accuracy,
            cost_per_task_pico_usd = cost,
            turns_per_task = turns,
        };

    private static object Variants(object accept) =>
        new { variants = new object[] { new { model = "words", accept }, new { model = "words@2" } } };

    private static int Version(JsonElement route) => route.GetProperty("version").GetInt32();

    private async Task<JsonElement> PutAsync(string name, object body)
    {
        using var response = await _operator.PutAsJsonAsync($"/v1/routes/{name}", body);
        var answer = await response.JsonAsync();
        Assert.True(response.IsSuccessStatusCode, answer.GetRawText());
        return answer;
    }
}
