using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Ingest;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>Groups at the door: of jobs, of single tasks, their outcomes; and what is predicted of jobs.</summary>
public sealed class GroupsTests(IngestDoor door) : IClassFixture<IngestDoor>
{
    private const string Body = """
        {"custom_id":"a","input":"one","group":"run-1"}
        {"custom_id":"b","input":"two"}
        {"custom_id":"c","group":"run-2","input":"three"}
        {"custom_id":"d","input":"four","group":null}
        {"custom_id":"e","input":"five","group":"run-\u0031"}

        """;

    [Fact]
    public async Task A_task_names_its_group_and_the_others_are_in_their_jobs()
    {
        await using var host = await door.NewTenantAsync();

        using var response = await host.PostAsync("model=words&group=run:all", Body);

        Assert.Equal("run:all", (await response.JsonAsync()).GetProperty("group").GetString());
        Assert.Equal(
            "run:all",
            await host.Database.ScalarAsync<string>("SELECT group_name FROM jobs WHERE tenant = $1", host.Tenant.Value)
        );
        Assert.Equal("0 run-1 {0,4} 0 run-2 {2}", await StoredAsync(host));
        Assert.Equal((2L, 1L, 2L), (await CountAsync(host, "run-1"), await CountAsync(host, "run-2"), await CountAsync(host, "run:all")));
    }

    [Fact]
    public async Task Groups_of_a_long_body_are_stored_with_its_chunks()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:StoreChunksMax", "1"));
        var lines = Enumerable
            .Range(0, 2_000)
            .Select(i => $$"""{"custom_id":"t-{{i}}","input":"text"{{(i % 500 == 3 ? $",\"group\":\"g-{i / 500}\"" : "")}}}""");

        using var response = await host.PostAsync("model=words", string.Join('\n', lines));

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("0 g-0 {3} 0 g-1 {503} 1 g-2 {491} 2 g-3 {479}", await StoredAsync(host));
        Assert.Null(await host.Database.ScalarAsync<string>("SELECT group_name FROM jobs WHERE tenant = $1", host.Tenant.Value));
    }

    [Fact]
    public async Task A_small_json_body_and_an_inference_may_name_groups()
    {
        await using var host = await door.NewTenantAsync();
        host.Forecast();
        using var job = await host.Client.PostAsJsonAsync(
            "/v1/jobs",
            new
            {
                model = "words",
                group = "run",
                tasks = new object[]
                {
                    new { custom_id = "a", input = "x" },
                    new
                    {
                        custom_id = "b",
                        input = "x",
                        group = "own",
                    },
                },
            }
        );
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/infer")
        {
            Content = JsonContent.Create(
                new
                {
                    model = "words",
                    input = "x",
                    group = "run",
                }
            ),
        };
        request.Headers.Add("Prefer", "respond-async");
        using var inference = await host.Client.SendAsync(request);

        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.Accepted), (job.StatusCode, inference.StatusCode));
        Assert.Equal((2L, 1L), (await CountAsync(host, "run"), await CountAsync(host, "own")));
    }

    [Fact]
    public async Task A_bad_group_of_a_task_is_told_with_its_line()
    {
        await using var host = await door.NewTenantAsync();
        foreach (var (group, given) in new[] { ("\"\"", "\"\""), ("\"a/b\"", "\"a/b\""), ("7", "number"), ("[\"a\"]", "startarray") })
        {
            using var response = await host.PostAsync("model=words", $$"""{"custom_id":"a","group":{{group}},"input":"x"}""");

            Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
            Assert.Equal((1L, "group", $"a string of {GroupName.Form}", given, "a"), (await response.JsonAsync()).FirstMistake());
        }

        Assert.Equal(0, await host.CountRowsAsync());
    }

    [Fact]
    public async Task A_bad_group_of_a_job_and_a_second_one_of_a_task_are_refused()
    {
        await using var host = await door.NewTenantAsync();

        using var ofJob = await host.PostAsync("model=words&group=..", """{"custom_id":"a","input":"x"}""");
        Assert.Equal((null, "group", GroupName.Form, "\"..\"", null), (await ofJob.JsonAsync()).FirstMistake());
        using var twice = await host.PostAsync("model=words", """{"custom_id":"a","input":"x","group":"g","group":"g"}""");
        Assert.Equal((1L, "group", "the field once", "twice", "a"), (await twice.JsonAsync()).FirstMistake());
    }

    [Fact]
    public async Task Failed_tasks_that_are_tried_again_stay_in_their_groups()
    {
        await using var host = await door.NewTenantAsync();
        using var response = await host.PostAsync("model=words&group=run:all", Body);
        var old = JobId.From((await response.JsonAsync()).GetProperty("id").GetGuid());
        await using (var connection = await host.Database.DataSource.OpenConnectionAsync())
        await using (var transaction = await connection.BeginTransactionAsync())
        {
            ChunkKey[] chunks = [new(old, 0)];
            await TaskEnds.EndRemainingAsync(
                connection,
                transaction,
                chunks,
                TaskOutcome.Failed,
                FailureKind.ModelFailed,
                "No.",
                DateTimeOffset.UtcNow
            );
            await transaction.CommitAsync();
        }

        using var again = await host.Client.PostAsync($"/v1/jobs/{old}/retry-failed", null);

        Assert.Equal("run:all", (await again.JsonAsync()).GetProperty("group").GetString());
        Assert.Equal("0 run-1 {0,4} 0 run-1 {0,4} 0 run-2 {2} 0 run-2 {2}", await StoredAsync(host));
        Assert.Equal(4, await CountAsync(host, "run:all"));
    }

    [Fact]
    public async Task An_outcome_is_reported_again_and_corrected()
    {
        await using var host = await door.NewTenantAsync();
        await host.SubmitAsync(1, "model=words&group=run");

        var first = await ReportAsync(host, "run", """{"accepted": true, "value": 0.25}""");
        var same = await ReportAsync(host, "run", """{"accepted": true, "value": 0.25}""");
        var other = await ReportAsync(host, "run", """{"accepted": false}""");

        Assert.Equal(first.Body.GetRawText(), same.Body.GetRawText());
        Assert.Equal(
            ("run", "outcome", 0.25m),
            (Text(first.Body, "id"), Text(first.Body, "object"), first.Body.GetProperty("value").GetDecimal())
        );
        Assert.False(other.Body.GetProperty("accepted").GetBoolean());
        Assert.Equal(JsonValueKind.Null, other.Body.GetProperty("value").ValueKind);
        Assert.Equal(
            1,
            await host.Database.ScalarAsync<long>(
                "SELECT count(*) FROM groups WHERE NOT accepted AND value IS NULL AND tenant = $1",
                host.Tenant.Value
            )
        );
    }

    [Fact]
    public async Task A_bad_report_is_told_by_its_field_and_a_group_without_a_task_is_unknown()
    {
        const string Number = "a number from -1000000000000 to 1000000000000 with at most 6 decimals";
        await using var host = await door.NewTenantAsync();
        await host.SubmitAsync(1, "model=words&group=run");
        foreach (
            var (body, field, expected, given) in new[]
            {
                ("""{"value": 1}""", "accepted", "true or false", "nothing"),
                ("""{"accepted": "yes"}""", "accepted", "true or false", "\"yes\""),
                ("""{"accepted": true, "value": "1"}""", "value", Number, "\"1\""),
                ("""{"accepted": true, "value": 1e13}""", "value", Number, "1e13"),
                ("""{"accepted": true, "valeu": 1}""", "valeu", "one of accepted, value", "another member"),
            }
        )
        {
            var (status, problem) = await ReportAsync(host, "run", body);
            Assert.Equal(HttpStatusCode.BadRequest, status);
            Assert.Equal((null, field, expected, given, null), problem.FirstMistake());
        }

        foreach (var name in new[] { "nothing", "a%20b" })
        {
            var (status, problem) = await ReportAsync(host, name, """{"accepted": true}""");
            Assert.Equal(HttpStatusCode.NotFound, status);
            Assert.Equal("group_not_found", Text(problem.GetProperty("error"), "code"));
        }

        Assert.Equal(0, await host.Database.ScalarAsync<long>("SELECT count(*) FROM groups WHERE tenant = $1", host.Tenant.Value));
    }

    [Fact]
    public async Task What_is_predicted_at_acceptance_is_kept_with_the_job()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:StoreChunksMax", "1"));
        host.Forecast(0, 0, 10_000);

        // 7 and 8 units a task, of a millisecond each on two workers; a small job, and one whose chunks come first.
        foreach (var tasks in new[] { 2, 1_500 })
        {
            var job = await host.SubmitAsync(tasks, "model=words&class=bulk");
            await using var command = host.Database.DataSource.CreateCommand(
                """
                SELECT units, extract(epoch FROM predicted_at - queued_at)::float8, extract(epoch FROM predicted_early_at - queued_at)::float8,
                       extract(epoch FROM predicted_late_at - queued_at)::float8, predicted_cost_pico
                FROM jobs WHERE id = $1
                """
            );
            command.Parameters.Add(new NpgsqlParameter { Value = job.Value });
            await using var row = await command.ExecuteReaderAsync();
            Assert.True(await row.ReadAsync());
            var seconds = 5 + (row.GetInt64(0) / 1000.0 / 2);
            Assert.Equal(seconds, row.GetDouble(1), 2.0);
            // The forecast has 0.8 to 1.1 times that. Nothing has ended yet, so little is known.
            Assert.InRange(row.GetDouble(2), 0.2 * seconds, 0.5 * seconds);
            Assert.InRange(row.GetDouble(3), 2 * seconds, 5 * seconds);
            Assert.Equal(row.GetInt64(0) * 1_000_000, row.GetInt64(4));
        }
    }

    [Fact]
    public async Task Predictions_learn_from_what_became_of_jobs_of_their_kind_and_else_of_others_as_long()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:CalibrationEvery", "00:00:00.020"));
        host.Forecast();
        for (var i = 0; i < Correction.SamplesMin; i++)
        {
            await host.SubmitAsync(2, "model=words&class=bulk");
        }

        // The forecast says 7 ms and 14,000,000 pico-USD; they took 30 s and half the cost.
        await host.Database.ExecuteAsync(
            """
            UPDATE jobs SET state = 'completed', open_chunks = 0, started_at = queued_at, finished_at = queued_at + interval '30 s',
              succeeded = tasks, failed = 0, expired = 0, cancelled = 0, cost_pico = forecast_cost_pico / 2
            """
        );
        await host.Database.ExecuteAsync(
            "INSERT INTO events (tenant, job, type, data, created_at) SELECT tenant, id, 'job.completed', '{}', now() FROM jobs"
        );
        await Waits.UntilAsync(
            () => Task.FromResult(host.Get<Calibrator>().Of(LatencyClass.Bulk, new ModelRef("words", "1"), default).Cost is not null),
            "predictions have learned"
        );

        var learned = await host.SubmitAsync(2, "model=words&class=bulk");
        var other = await host.SubmitAsync(2, "model=words&class=standard");
        var longer = await host.SubmitAsync(1_500, "model=words&class=standard");

        const string Took = "SELECT extract(epoch FROM predicted_at - queued_at)::float8 FROM jobs WHERE id = $1";
        Assert.Equal(30, await host.Database.ScalarAsync<double>(Took, learned.Value), 0.5);
        Assert.Equal(30, await host.Database.ScalarAsync<double>(Took, other.Value), 0.5);
        Assert.InRange(await host.Database.ScalarAsync<double>(Took, longer.Value), 0.1, 20);

        // What others cost is of their models.
        const string Cost = "SELECT predicted_cost_pico::float8 / forecast_cost_pico FROM jobs WHERE id = $1";
        Assert.Equal(0.5, await host.Database.ScalarAsync<double>(Cost, learned.Value), 0.01);
        Assert.Equal(1.0, await host.Database.ScalarAsync<double>(Cost, other.Value), 0.01);
    }

    private static async Task<(HttpStatusCode Status, JsonElement Body)> ReportAsync(IngestHost host, string group, string body)
    {
        using var content = new StringContent(body);
        using var response = await host.Client.PostAsync($"/v1/groups/{group}/outcome", content);
        return (response.StatusCode, await response.JsonAsync());
    }

    private static async Task<long?> CountAsync(IngestHost host, string name) =>
        (await Groups.FindAsync(host.Database.DataSource, host.Tenant, name))?.Requests;

    private static Task<string?> StoredAsync(IngestHost host) =>
        host.Database.ScalarAsync<string>(
            """
            SELECT string_agg(concat_ws(' ', chunk, name, tasks), ' ' ORDER BY chunk, name) FROM task_groups
            WHERE job IN (SELECT id FROM jobs WHERE tenant = $1)
            """,
            host.Tenant.Value
        );

    private static string? Text(JsonElement body, string name) => body.GetProperty(name).GetString();
}
