using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using MassTransit;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Ingest;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>Good jobs: what comes in by every way is stored as sent, answered, and announced.</summary>
public sealed class SubmitTests(IngestDoor door) : IClassFixture<IngestDoor>, IAsyncLifetime
{
    private IngestHost? _host;

    private IngestHost Host => _host!;

    public async ValueTask InitializeAsync() => _host = await door.NewTenantAsync();

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task A_job_is_answered_stored_and_announced()
    {
        const string Body =
            "{\"custom_id\":\"a-1\",\"input\":\"some text\"}\r\n\n{\"input\":\"caf\\u00e9 \\ud83d\\ude00 \\\"x\\\"\",\"custom_id\":\"b\\/2\"}";
        using var response = await Host.PostAsync(
            "model=words&class=standard&deadline=2h&max_cost=1.5&webhook=https://example.org/hook&metadata[team]=red",
            "\uFEFF" + Body
        );
        var job = await response.JsonAsync();
        var id = JobId.From(job.GetProperty("id").GetGuid());

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("words@1", job.GetProperty("model").GetString());
        Assert.Equal(("standard", "queued", 2), (Text(job, "class"), Text(job, "state"), job.GetProperty("tasks").GetInt32()));
        Assert.Equal(1_500_000_000_000, job.GetProperty("max_cost_pico_usd").GetInt64());
        Assert.Equal("red", job.GetProperty("metadata").GetProperty("team").GetString());
        Assert.Equal("https://example.org/hook", Text(job, "webhook"));
        Assert.Equal($"/v1/jobs/{id}/results", job.GetProperty("links").GetProperty("results").GetString());
        Assert.Equal(
            TimeSpan.FromHours(2),
            job.GetProperty("deadline").GetDateTimeOffset() - job.GetProperty("created_at").GetDateTimeOffset()
        );

        var tasks = await Host.ReadTasksAsync(id);
        Assert.Equal(
            [("a-1", "some text", 9), ("b/2", "café 😀 \"x\"", 14)],
            tasks.Select(t => (t.CustomId, Encoding.UTF8.GetString(t.Input), t.Units))
        );

        var chunk = await Host.Scheduler.NextChunkAsync();
        Assert.Equal(
            (id, 0, Host.Tenant, new ModelRef("words", "1"), LatencyClass.Standard, 0, 2, 23L, 14),
            (chunk.Job, chunk.No, chunk.Tenant, chunk.Model, chunk.Class, chunk.FirstSeq, chunk.Tasks, chunk.Units, chunk.UnitsMax)
        );
        await Host.Database.UntilAsync("SELECT announced_at IS NOT NULL FROM chunks WHERE job = $1", id.Value);
        Assert.Equal("job.queued", await Host.Database.ScalarAsync<string>("SELECT type FROM events WHERE job = $1", id.Value));
    }

    [Fact]
    public async Task The_answer_shows_what_a_later_read_shows()
    {
        using var response = await Host.PostAsync("model=words", """{"custom_id":"a","input":"x"}""");
        var answered = await response.JsonAsync();
        var job = JobId.From(answered.GetProperty("id").GetGuid());
        var read = await Hosting.JobViews.FindAsync(Host.Database.DataSource, Host.Tenant, job, CancellationToken.None);

        Assert.Equal(JsonSerializer.Serialize(read, Hosting.ApiJson.Options), answered.GetRawText());
    }

    [Fact]
    public async Task A_long_body_is_cut_into_chunks_in_order()
    {
        const int Tasks = 50_000;
        var job = await Host.SubmitAsync(Tasks, "model=words@2&class=bulk");

        var tasks = await Host.ReadTasksAsync(job);
        Assert.Equal(Tasks, tasks.Count);
        Assert.All(tasks.Index(), t => Assert.Equal($"t-{t.Index}", t.Item.CustomId));
        Assert.Equal("text 49999", Encoding.UTF8.GetString(tasks[^1].Input));
        Assert.Equal(
            ((Tasks + 511) / 512, (Tasks + 511) / 512, Tasks),
            (
                await Host.Database.ScalarAsync<int>("SELECT chunks FROM jobs WHERE id = $1", job.Value),
                await Host.Database.ScalarAsync<int>("SELECT open_chunks FROM jobs WHERE id = $1", job.Value),
                await Host.Database.ScalarAsync<int>("SELECT tasks FROM jobs WHERE id = $1", job.Value)
            )
        );
        await Host.Database.UntilAsync("SELECT bool_and(announced_at IS NOT NULL) FROM chunks WHERE job = $1", job.Value);
        var heard = new HashSet<int>();
        while (heard.Count < (Tasks + 511) / 512)
        {
            heard.Add((await Host.Scheduler.NextChunkAsync()).No);
        }
    }

    /// <summary>Chunks are copied without waiting for the disk; nobody after may inherit that.</summary>
    [Fact]
    public async Task After_a_long_body_every_connection_waits_for_the_disk_again()
    {
        await Host.SubmitAsync(40_000);
        var database = Host.Get<NpgsqlDataSource>();
        var connections = await Task.WhenAll(Enumerable.Range(0, 15).Select(_ => database.OpenConnectionAsync().AsTask()));
        foreach (var connection in connections)
        {
            await using var command = new NpgsqlCommand("SHOW synchronous_commit", connection);
            Assert.Equal("on", await command.ExecuteScalarAsync());
            await connection.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_task_of_four_mebibytes_has_a_chunk_of_its_own()
    {
        var large = new string('x', 4 * 1024 * 1024);
        var body = $"{Line("a", "small")}\n{Line("b", large)}\n{Line("c", "small")}\n";
        using var response = await Host.PostAsync("model=words", body);
        var job = JobId.From((await response.JsonAsync()).GetProperty("id").GetGuid());

        Assert.Equal([5, large.Length, 5], (await Host.ReadTasksAsync(job)).Select(t => t.Input.Length));
        Assert.Equal(1, await Host.Database.ScalarAsync<int>("SELECT max(tasks) FROM chunks WHERE job = $1", job.Value));

        using var larger = await Host.PostAsync("model=words", Line("a", large + "x"));
        Assert.Equal((1, "input", "at most 4194304 bytes", "4194305 bytes", "a"), (await larger.JsonAsync()).FirstMistake());
    }

    [Fact]
    public async Task Parameters_come_in_headers_too()
    {
        Host.Forecast();
        using var response = await Host.PostAsync(
            "",
            Line("a", "x"),
            ("Pipeline-Model", "words"),
            ("Pipeline-Class", "express"),
            ("Pipeline-Max-Cost", "2"),
            ("Pipeline-Metadata", """{"team":"blue"}""")
        );
        var job = await response.JsonAsync();
        Assert.Equal(("words@1", "express", "blue"), (Text(job, "model"), Text(job, "class"), Text(job.GetProperty("metadata"), "team")));

        using var typo = await Host.PostAsync("model=words", Line("a", "x"), ("Pipeline-Clas", "bulk"));
        Assert.Equal("Pipeline-Clas", (await typo.JsonAsync()).FirstMistake().Field);
    }

    [Fact]
    public async Task Parameters_come_in_a_first_part_of_the_body()
    {
        using var response = await Host.PostAsync(
            "class=standard",
            "{\"job\":{\"model\":\"words\",\"max_cost\":0.25,\"metadata\":{\"a\":\"b\"},\"webhook\":null}}\n" + Line("a", "x")
        );
        var job = await response.JsonAsync();
        Assert.Equal(("words@1", "standard", 1), (Text(job, "model"), Text(job, "class"), job.GetProperty("tasks").GetInt32()));
        Assert.Equal(250_000_000_000, job.GetProperty("max_cost_pico_usd").GetInt64());

        using var twice = await Host.PostAsync(
            "class=bulk",
            "{\"job\":{\"model\":\"words\",\"class\":\"express\",\"no\":1}}\n" + Line("a", "x")
        );
        var problem = await twice.JsonAsync();
        Assert.Equal((1, "class", "one value", "\"bulk\" and \"express\"", null), problem.FirstMistake());
        Assert.Equal("no", problem.GetProperty("errors")[1].GetProperty("field").GetString());
    }

    [Fact]
    public async Task A_small_json_body_holds_its_tasks_inline()
    {
        Host.Forecast();
        var body = """
            { "tasks": [ { "custom_id": "a", "input": "x" }, { "custom_id": "b", "input": "y" } ],
              "model": "words", "class": "express", "metadata": { "k": "v" } }
            """;
        using var response = await Host.PostAsync("", new StringContent(body), "application/json; charset=utf-8");
        var job = await response.JsonAsync();

        Assert.Equal(("queued", "express", 2), (Text(job, "state"), Text(job, "class"), job.GetProperty("tasks").GetInt32()));
        var tasks = await Host.ReadTasksAsync(JobId.From(job.GetProperty("id").GetGuid()));
        Assert.Equal(["a", "b"], tasks.Select(t => t.CustomId));
    }

    [Fact]
    public async Task A_packed_body_is_unpacked()
    {
        using var response = await Host.PostAsync("model=words", IngestHost.Gzip(Line("a", "x") + "\n"), ("Content-Encoding", "gzip"));
        Assert.Equal(1, (await response.JsonAsync()).GetProperty("tasks").GetInt32());
    }

    [Fact]
    public async Task Tensors_come_nested_flat_named_and_in_base64()
    {
        var bytes = new byte[16];
        for (var i = 0; i < 4; i++)
        {
            BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(4 * i), i + 1);
        }

        string[] forms =
        [
            "[[1,2],[3,4]]",
            "[1,2,3,4]",
            """{"data":[1,2,3,4],"shape":[2,2]}""",
            """{"shape":[2,2],"data":[[1,2],[3,4]]}""",
            """{"cells":[[1.0,2e0],[3,4]]}""",
            """{"cells":{"shape":[2,2],"data":[1,2,3,4]}}""",
            $$$"""{"cells":{"shape":[2,2],"data_base64":"{{{Convert.ToBase64String(bytes)}}}"}}""",
            $$"""{"data_base64":"{{Convert.ToBase64String(bytes)}}"}""",
        ];
        var body = string.Join('\n', forms.Select((form, i) => $$"""{"custom_id":"{{i}}","input":{{form}}}"""));
        using var response = await Host.PostAsync("model=grid", body);
        var job = await response.JsonAsync();

        Assert.True(response.IsSuccessStatusCode, job.GetRawText());
        foreach (var task in await Host.ReadTasksAsync(JobId.From(job.GetProperty("id").GetGuid())))
        {
            var tensor = Assert.Single(PackedTensors.Read(task.Input));
            Assert.Equal(("cells", TensorElementType.Float32, 4), (tensor.Name, tensor.Type, task.Units));
            Assert.Equal([2, 2], tensor.Shape);
            Assert.Equal(bytes, tensor.Data.ToArray());
        }
    }

    [Fact]
    public async Task A_fresh_forecast_predicts_the_completion()
    {
        var forecasts = Host.Get<Forecasts>();
        forecasts.Take(Forecast(DateTimeOffset.UtcNow));
        using var predicted = await Host.PostAsync("model=words&class=bulk", Line("a", "x"));
        var job = await predicted.JsonAsync();
        var wait = job.GetProperty("predicted_at").GetDateTimeOffset() - job.GetProperty("created_at").GetDateTimeOffset();
        Assert.InRange(wait.TotalSeconds, 3500, 3700);

        await using var other = await IngestHost.StartAsync();
        other.Get<Forecasts>().Take(Forecast(DateTimeOffset.UtcNow - TimeSpan.FromSeconds(60)));
        using var unknown = await other.PostAsync("model=words&class=bulk", Line("a", "x"));
        Assert.Equal(JsonValueKind.Null, (await unknown.JsonAsync()).GetProperty("predicted_at").ValueKind);
    }

    [Fact]
    public async Task A_forecast_on_the_bus_is_heard()
    {
        await OwnDoorAsync();
        await Host.Get<IBus>().Publish(Forecast(DateTimeOffset.UtcNow.AddHours(1)));
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        using var pace = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        while (Host.Get<Forecasts>().Fresh is null)
        {
            await pace.WaitForNextTickAsync(patience.Token);
        }
    }

    [Fact]
    public async Task Chunks_that_were_never_confirmed_are_swept()
    {
        await OwnDoorAsync();
        var job = await Host.SubmitAsync(1_000);
        await Host.Scheduler.NextChunkAsync();
        await Host.Scheduler.NextChunkAsync();
        await Host.Database.UntilAsync("SELECT bool_and(announced_at IS NOT NULL) FROM chunks");
        await Host.Database.ExecuteAsync("UPDATE chunks SET announced_at = NULL WHERE no = 1");

        var publisher = Host.Get<ChunkPublisher>();
        Assert.Equal(0, await publisher.SweepOnceAsync(CancellationToken.None));
        await Host.Database.ExecuteAsync(
            "UPDATE jobs SET queued_at = now() - interval '1 minute', created_at = now() - interval '1 minute'"
        );
        Assert.Equal(1, await publisher.SweepOnceAsync(CancellationToken.None));
        var chunk = await Host.Scheduler.NextChunkAsync();
        Assert.Equal((job, 1, 512, 488), (chunk.Job, chunk.No, chunk.FirstSeq, chunk.Tasks));
        Assert.Equal(0, await publisher.SweepOnceAsync(CancellationToken.None));
    }

    /// <summary>For a test that looks at what all tenants share.</summary>
    private async Task OwnDoorAsync()
    {
        await Host.DisposeAsync();
        _host = await door.StartAsync();
    }

    private static Forecast Forecast(DateTimeOffset at) =>
        new() { At = at, Pools = [new PoolForecast("default", new ModelRef("words", "1"), 2, [0, 0, 7_200_000], 0, 1_000_000, 1000)] };

    private static string Line(string id, string text) =>
        string.Create(CultureInfo.InvariantCulture, $$"""{"custom_id":"{{id}}","input":"{{text}}"}""");

    private static string? Text(JsonElement json, string name) => json.GetProperty(name).GetString();
}
