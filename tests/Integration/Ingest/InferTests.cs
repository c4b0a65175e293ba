using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Net;
using System.Text;
using System.Text.Json;
using MassTransit;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting.Telemetry;
using Pipeline.Ingest;
using Pipeline.Ingest.Express;
using Pipeline.Ingest.Storage;
using Pipeline.Migrations;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>The express door by itself: what it announces, whom it waits for, what it refuses, and what it finds when an answer is lost.</summary>
public sealed class InferTests(InferTests.Door door) : IClassFixture<InferTests.Door>, IAsyncLifetime
{
    private const string One = """{"model":"words","input":"some text"}""";
    private const string Three = """{"model":"words","inputs":["a","b","c"]}""";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private IngestHost? _host;

    private IngestHost Host => _host!;

    public async ValueTask InitializeAsync()
    {
        _host = await door.NewTenantAsync();
        Host.Forecast();
    }

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Theory]
    [InlineData("", null, "a JSON object", "an empty body")]
    [InlineData("[1]", null, "a JSON object", "an array")]
    [InlineData("{\"model\":\"words\"}", "input", "input or inputs, once", "nothing")]
    [InlineData("{\"model\":\"words\",\"input\":\"a\",\"inputs\":[\"b\"]}", "input", "input or inputs, once", "several")]
    [InlineData("{\"model\":\"words\",\"input\":\"\"}", "input", "text that is not empty", "\"\"")]
    [InlineData("{\"model\":\"words\",\"input\":7}", "input", "a string", "the number 7")]
    [InlineData("{\"model\":\"words\",\"inputs\":[]}", "inputs", "1 to 2048 inputs", "0")]
    [InlineData("{\"model\":\"words\",\"inputs\":[\"a\",7]}", "inputs[1]", "a string", "the number 7")]
    [InlineData("{\"model\":\"words\",\"inputs\":\"a\"}", "inputs", "an array of inputs", "the string \"a\"")]
    [InlineData("""{"model":"words","\ud800":1,"input":"a"}""", null, "text whose surrogates come in pairs", "half of a pair")]
    [InlineData("""{"model":"\ud800","input":"a"}""", "model", "text whose surrogates come in pairs", "half of a pair")]
    [InlineData("{\"model\":\"words\",\"input\":\"a\",\"timeout\":-1}", "timeout", "more than 0 seconds", "\"-1\"")]
    [InlineData("{\"model\":\"words\",\"input\":\"a\",\"timeout\":0}", "timeout", "more than 0 seconds", "\"0\"")]
    [InlineData("{\"model\":\"words\",\"input\":\"a\",\"timeout\":1,\"deadline\":\"1s\"}", "timeout", "timeout or deadline", "both")]
    [InlineData("{\"model\":\"words\",\"input\":\"a\",\"class\":\"bulk\"}", "class", "express or standard", "\"bulk\"")]
    [InlineData(
        "{\"model\":\"words\",\"input\":\"a\",\"cancel_on_disconnect\":\"maybe\"}",
        "cancel_on_disconnect",
        "true or false",
        "\"maybe\""
    )]
    [InlineData("{\"model\":\"words\",\"inputs\":[\"a\"],\"custom_id\":\"x\"}", "custom_id", "to be absent beside inputs", "\"x\"")]
    [InlineData(
        "{\"model\":\"words\",\"input\":\"a\",\"webhook\":\"https://x\"}",
        "webhook",
        "cancel_on_disconnect, class",
        "the unknown name \"webhook\""
    )]
    public async Task A_bad_request_is_told_what_was_expected(string body, string? field, string expected, string given)
    {
        using var response = await SendAsync(body);
        var problem = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        var (_, givenField, givenExpected, givenGiven, _) = problem.FirstMistake();
        Assert.Equal(field, givenField);
        Assert.StartsWith(expected, givenExpected, StringComparison.Ordinal);
        Assert.StartsWith(given, givenGiven, StringComparison.Ordinal);
        Assert.Equal(0, await Host.CountRowsAsync());
    }

    [Fact]
    public async Task A_model_nobody_knows_is_refused_by_name()
    {
        using var response = await SendAsync("""{"model":"nothing","input":"a"}""");

        Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
        Assert.Equal("model_not_found", (await response.JsonAsync()).GetProperty("error").GetProperty("code").GetString());
    }

    [Fact]
    public async Task Too_many_inputs_are_refused_and_shown_the_way()
    {
        var inputs = string.Join(',', Enumerable.Repeat("\"a\"", 2049));
        using var response = await SendAsync($$"""{"model":"words","inputs":[{{inputs}}]}""");

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal(
            (null, "inputs", "1 to 2048 inputs; send more as a job, POST /v1/jobs", "2049", null),
            (await response.JsonAsync()).FirstMistake()
        );
    }

    [Fact]
    public async Task A_body_that_is_too_large_is_refused()
    {
        using var response = await SendAsync($$"""{"model":"words","input":"{{new string('x', 5 * 1024 * 1024)}}"}""");

        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, response.StatusCode);
    }

    [Fact]
    public async Task What_is_charged_more_than_its_budget_is_refused_and_what_is_not_keeps_it()
    {
        using var dear = await SendAsync("""{"model":"words","input":"a","max_cost":0.0000000001}""");
        var problem = await dear.JsonAsync();
        Assert.Equal((HttpStatusCode.UnprocessableEntity, "budget_exceeded"), (dear.StatusCode, problem.GetProperty("code").GetString()));
        Assert.Equal(0, await Host.CountRowsAsync());

        using var fits = await SendAsync("""{"model":"words","input":"a","max_cost":"0.5"}""", ("Prefer", "respond-async"));
        Assert.Equal(HttpStatusCode.Accepted, fits.StatusCode);
        Assert.Equal(
            500_000_000_000,
            await Host.Database.ScalarAsync<long>("SELECT max_cost_pico FROM jobs WHERE tenant = $1", Host.Tenant.Value)
        );
    }

    [Fact]
    public async Task The_rehearsal_before_the_door_opens_goes_the_whole_way_and_leaves_nothing()
    {
        const string EventsEver = "SELECT last_value FROM events_id_seq";
        using var accepted = await SendAsync(Three, ("Prefer", "respond-async"));
        await WriteAsync(await Host.Scheduler.NextChunkAsync());
        var (rows, events) = (await Host.CountRowsAsync(), await Host.Database.ScalarAsync<long>(EventsEver));
        Assert.True(rows > 0);

        await Host.Get<Rehearsal>().RehearseAsync(TestContext.Current.CancellationToken);

        Assert.Equal(rows, await Host.CountRowsAsync());
        Assert.True(await Host.Database.ScalarAsync<long>(EventsEver) > events, "Nothing was inserted and rolled back.");
        Assert.Equal(0, Host.Get<Waiters>().Count);
    }

    [Fact]
    public async Task A_wait_that_is_no_number_is_refused()
    {
        using var response = await SendAsync(One, ("Prefer", "wait=soon"));

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal("Prefer", (await response.JsonAsync()).FirstMistake().Field);
    }

    [Fact]
    public async Task Express_that_would_be_late_is_told_when_the_other_classes_would_have_it()
    {
        Host.Forecast(20_000, 20_000, 40_000);
        using var response = await SendAsync(One);
        var problem = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.TooManyRequests, response.StatusCode);
        Assert.True(response.Headers.RetryAfter?.Delta > TimeSpan.Zero);
        var offers = problem.GetProperty("offers").EnumerateArray().ToArray();
        Assert.Equal(["standard", "bulk"], offers.Select(o => o.GetProperty("class").GetString()));
        Assert.All(offers, o => Assert.True(o.GetProperty("predicted_at").GetDateTimeOffset() > DateTimeOffset.UtcNow));
        Assert.Equal(0, await Host.CountRowsAsync());
    }

    [Fact]
    public async Task The_announcement_carries_the_chunk_and_where_the_answer_is_awaited()
    {
        var waiting = SendAsync(Three);
        var chunk = await Host.Scheduler.NextChunkAsync();

        Assert.Equal((LatencyClass.Express, 3), (chunk.Class, chunk.Tasks));
        using (var payload = ChunkPayload.Read(chunk.Payload))
        {
            Assert.Equal("b", Encoding.UTF8.GetString(payload.Input(1).Span));
        }

        await AnswerAsync(chunk, 2, 0, 1);
        using var response = await waiting;
        var results = (await response.JsonAsync()).GetProperty("results").EnumerateArray().ToArray();
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal([0, 1, 2], results.Select(r => r.GetProperty("seq").GetInt32()));
    }

    [Fact]
    public async Task A_lost_answer_is_found_in_the_rows()
    {
        var waiting = SendAsync(One);
        var chunk = await Host.Scheduler.NextChunkAsync();
        await WriteAsync(chunk);

        using var response = await waiting.WaitAsync(Patience);
        var result = (await response.JsonAsync()).GetProperty("results")[0];
        Assert.Equal(("succeeded", "{\"n\":0}"), (result.GetProperty("status").GetString(), result.GetProperty("output").GetRawText()));
    }

    [Fact]
    public async Task A_failure_of_the_only_task_is_a_problem_with_its_job()
    {
        var waiting = SendAsync(One);
        var chunk = await Host.Scheduler.NextChunkAsync();
        await SendAnswersAsync(
            chunk,
            Answer(chunk, 0) with
            {
                Status = "failed",
                Output = null,
                ErrorCode = "model_failed",
                ErrorMessage = "no",
            }
        );

        using var response = await waiting.WaitAsync(Patience);
        var problem = await response.JsonAsync();
        Assert.Equal(HttpStatusCode.InternalServerError, response.StatusCode);
        Assert.Equal(chunk.Job.ToString(), problem.GetProperty("job").GetString());
        Assert.Equal("model_failed", problem.GetProperty("error").GetProperty("code").GetString());
    }

    [Fact]
    public async Task An_answer_is_found_again_by_its_id_and_not_by_strangers()
    {
        using var later = await SendAsync(One, ("Prefer", "respond-async"));
        var chunk = await Host.Scheduler.NextChunkAsync();
        using var early = await Host.Client.GetAsync(later.Headers.Location);
        Assert.Equal(HttpStatusCode.Accepted, early.StatusCode);

        await WriteAsync(chunk);
        using var found = await Host.Client.GetAsync(later.Headers.Location);
        Assert.Equal(HttpStatusCode.OK, found.StatusCode);

        var stranger = await Tenants.EnsureAsync(Host.Database.DataSource, "stranger");
        using var request = new HttpRequestMessage(HttpMethod.Get, later.Headers.Location);
        request.Headers.Authorization = new("Bearer", await ApiKeyIssuer.IssueAsync(Host.Database.DataSource, stranger, "other"));
        using var hidden = await Host.Client.SendAsync(request);
        Assert.Equal(HttpStatusCode.NotFound, hidden.StatusCode);
    }

    [Fact]
    public async Task A_stream_shows_each_result_as_it_lands_and_goes_on_where_it_broke()
    {
        // A client that leaves is counted, which another test listens to: here that ends with the door.
        await OwnDoorAsync();
        using var request = Request(Three, ("Accept", "text/event-stream"));
        using var response = await Host.Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        using var events = new StreamReader(await response.Content.ReadAsStreamAsync());
        var chunk = await Host.Scheduler.NextChunkAsync();

        Assert.Equal("accepted", (await NextAsync(events)).Type);
        Assert.Equal("position", (await NextAsync(events)).Type);
        await AnswerAsync(chunk, 1);
        Assert.Equal("started", (await NextAsync(events)).Type);
        var first = await NextAsync(events);
        Assert.Equal(("result", 1), (first.Type, JsonElement.Parse(first.Data).GetProperty("seq").GetInt32()));

        // The connection breaks here; the other results land meanwhile.
        response.Dispose();
        await WriteAsync(chunk);
        using var again = new HttpRequestMessage(HttpMethod.Get, $"/v1/infer/{chunk.Job}");
        again.Headers.Accept.ParseAdd("text/event-stream");
        again.Headers.Add("Last-Event-ID", first.Id);
        using var rest = await Host.Client.SendAsync(again, HttpCompletionOption.ResponseHeadersRead);
        using var more = new StreamReader(await rest.Content.ReadAsStreamAsync());
        var seqs = new List<int>();
        while (await NextAsync(more) is { Type: not "finished" } next)
        {
            Assert.Equal("result", next.Type);
            seqs.Add(JsonElement.Parse(next.Data).GetProperty("seq").GetInt32());
        }

        Assert.Equal([0, 2], seqs);
    }

    [Fact]
    public async Task A_key_that_asks_too_often_is_held_back_and_told_its_limits()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:KeyRatePerSecond", "1"), ("Ingest:KeyBurstMax", "2"));
        var replies = new List<HttpResponseMessage>();
        for (var i = 0; i < 3; i++)
        {
            using var body = new StringContent("{}", Encoding.UTF8, "application/json");
            replies.Add(await host.Client.PostAsync("/v1/infer", body));
        }

        Assert.Equal([400, 400, 429], replies.Select(r => (int)r.StatusCode));
        Assert.Equal("\"rate\";r=1;t=1", replies[0].Headers.GetValues("RateLimit").Single());
        Assert.All(
            replies,
            r =>
                Assert.Equal(
                    "\"rate\";q=1;w=1, \"concurrent\";q=1000;qu=\"concurrent-requests\"",
                    string.Join(", ", r.Headers.GetValues("RateLimit-Policy"))
                )
        );
        Assert.True(replies[2].Headers.RetryAfter?.Delta >= TimeSpan.FromSeconds(1));
        Assert.Equal("rate_limited", (await replies[2].JsonAsync()).GetProperty("error").GetProperty("code").GetString());
        replies.ForEach(r => r.Dispose());
    }

    [Fact]
    public async Task A_key_waits_for_so_many_answers_at_once_and_no_more()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:KeyConcurrentMax", "1"));
        host.Forecast();
        var waiting = host.Client.SendAsync(Request(One));
        await host.Scheduler.NextChunkAsync();
        using var second = await host.Client.SendAsync(Request(One, ("Prefer", "respond-async")));

        Assert.Equal(HttpStatusCode.TooManyRequests, second.StatusCode);
        Assert.Contains("1 requests of this key", (await second.JsonAsync()).GetProperty("detail").GetString(), StringComparison.Ordinal);
        host.Client.CancelPendingRequests();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
    }

    [Fact]
    public async Task Requests_that_come_together_share_a_commit()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:CommitWriters", "1"));
        host.Forecast();
        using var groups = new Measured<int>(host, Metrics.CommitJobs);
        await using var holder = await host.Database.DataSource.OpenConnectionAsync();
        await using var transaction = await holder.BeginTransactionAsync();
        await using (var hold = new NpgsqlCommand("LOCK TABLE jobs IN EXCLUSIVE MODE", holder, transaction))
        {
            await hold.ExecuteNonQueryAsync();
        }

        var waiting = Enumerable.Range(0, 20).Select(_ => host.Client.SendAsync(Request(One, ("Prefer", "respond-async")))).ToArray();
        await UntilAsync(() => host.Get<Pipeline.Ingest.Express.Waiters>().Count == waiting.Length);
        await transaction.CommitAsync();
        var replies = await Task.WhenAll(waiting);

        Assert.All(replies, r => Assert.Equal(HttpStatusCode.Accepted, r.StatusCode));
        Assert.Equal(20, groups.Values.Sum());
        Assert.True(groups.Values.Max() > 1, "Every request had a commit of its own.");
        Assert.Equal(20, replies.Select(r => r.Headers.Location).Distinct().Count());
        Array.ForEach(replies, r => r.Dispose());
    }

    [Fact]
    public async Task A_client_that_leaves_is_counted_by_how_long_it_waited()
    {
        using var left = new Measured<double>(Host, Metrics.Disconnects);
        using var leave = new CancellationTokenSource();
        var waiting = Host.Client.SendAsync(Request(One), leave.Token);
        await Host.Scheduler.NextChunkAsync();
        await leave.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);

        await UntilAsync(() => !left.Values.IsEmpty);
        Assert.InRange(Assert.Single(left.Values), 0, Patience.TotalSeconds);
        Assert.Equal("queued", await Host.Database.ScalarAsync<string>("SELECT state FROM jobs WHERE tenant = $1", Host.Tenant.Value));
    }

    [Fact]
    public async Task A_chunk_that_has_not_ended_soon_is_announced_once_more_to_be_kept()
    {
        await OwnDoorAsync();
        using var later = await SendAsync(One, ("Prefer", "respond-async"));
        var first = await Host.Scheduler.NextChunkAsync();
        var second = await Host.Scheduler.NextChunkAsync();

        Assert.NotNull(first.ReplyTo);
        Assert.Equal(first with { ReplyTo = null, Payload = null }, second);
        await Host.Database.UntilAsync("SELECT bool_and(announced_at IS NOT NULL) FROM chunks");
        Assert.Equal(0, await Host.Get<ChunkPublisher>().SweepOnceAsync(TestContext.Current.CancellationToken));
    }

    /// <summary>What happens when the server crashes before the commit is on its disk.</summary>
    [Fact]
    public async Task Who_waits_for_what_the_server_has_lost_is_told_to_send_it_again()
    {
        var waiting = SendAsync(One);
        var chunk = await Host.Scheduler.NextChunkAsync();
        await Host.Database.ExecuteAsync("DELETE FROM chunks WHERE job = $1", chunk.Job.Value);
        await Host.Database.ExecuteAsync("DELETE FROM jobs WHERE id = $1", chunk.Job.Value);

        using var answer = await waiting;

        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        Assert.True((await answer.JsonAsync()).GetProperty("retry").GetBoolean());
        Assert.NotNull(chunk.ReplyTo);
    }

    [Fact]
    public async Task What_is_told_to_be_accepted_is_on_the_disk()
    {
        await OwnDoorAsync();
        var store = Host.Get<JobStore>();
        const string Written = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn";
        const string Flushed = "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn";
        await Host.Database.ExecuteAsync("SET synchronous_commit = off; CREATE TABLE things (name text)");
        var written = await Host.Database.ScalarAsync<decimal>(Written);

        await store.SettleAsync(TestContext.Current.CancellationToken);

        Assert.InRange(await Host.Database.ScalarAsync<decimal>(Flushed), written, decimal.MaxValue);
    }

    /// <summary>For a test that looks at what all tenants share.</summary>
    private async Task OwnDoorAsync()
    {
        await Host.DisposeAsync();
        _host = await door.StartAsync();
        Host.Forecast();
    }

    private Task<HttpResponseMessage> SendAsync(string body, params (string Name, string Value)[] headers) =>
        Host.Client.SendAsync(Request(body, headers));

    private static HttpRequestMessage Request(string body, params (string Name, string Value)[] headers)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, "/v1/infer")
        {
            Content = new StringContent(body, Encoding.UTF8, "application/json"),
        };
        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return request;
    }

    private Task AnswerAsync(ChunkSubmitted chunk, params int[] seqs) =>
        SendAnswersAsync(chunk, [.. seqs.Select(seq => Answer(chunk, seq))]);

    private Task SendAnswersAsync(ChunkSubmitted chunk, params TaskAnswer[] answers) =>
        Host.Get<IBus>().Publish(new TaskAnswered { ReplyTo = chunk.ReplyTo!.Value, Answers = answers });

    private static TaskAnswer Answer(ChunkSubmitted chunk, int seq) =>
        new(
            chunk.Job,
            seq,
            $"{seq}",
            "succeeded",
            Encoding.UTF8.GetBytes($"{{\"n\":{seq}}}"),
            "application/json",
            null,
            null,
            chunk.Model.ToString(),
            1,
            556,
            100,
            10,
            10,
            120
        );

    /// <summary>Ends the chunk's tasks as a worker does, without telling anybody.</summary>
    private async Task WriteAsync(ChunkSubmitted chunk)
    {
        var rows = new TaskEndRows();
        for (var seq = 0; seq < chunk.Tasks; seq++)
        {
            var output = Answer(chunk, seq).Output;
            rows.Add(
                chunk.Job,
                0,
                seq,
                TaskOutcome.Succeeded,
                $"{seq}",
                output,
                "application/json",
                null,
                null,
                chunk.Model.ToString(),
                1,
                556,
                null,
                100,
                10,
                10,
                120
            );
        }

        await using var connection = await Host.Database.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await TaskEnds.WriteAsync(connection, transaction, rows, DateTimeOffset.UtcNow);
        await transaction.CommitAsync();
    }

    private static Task UntilAsync(Func<bool> isSo) => UntilAsync(() => Task.FromResult(isSo()));

    private static async Task UntilAsync(Func<Task<bool>> isSo)
    {
        using var late = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        late.CancelAfter(Patience);
        while (!await isSo())
        {
            await Task.Delay(TimeSpan.FromMilliseconds(10), late.Token);
        }
    }

    private static async Task<(string Type, string? Id, string Data)> NextAsync(StreamReader events)
    {
        var (type, data) = ("", "");
        string? id = null;
        while (await events.ReadLineAsync().WaitAsync(Patience) is { } line)
        {
            if (line.StartsWith("event: ", StringComparison.Ordinal))
            {
                type = line[7..];
            }
            else if (line.StartsWith("id: ", StringComparison.Ordinal))
            {
                id = line[4..];
            }
            else if (line.StartsWith("data: ", StringComparison.Ordinal))
            {
                data = line[6..];
            }
            else if (line.Length == 0 && type.Length > 0)
            {
                return (type, id, data);
            }
        }

        throw new InvalidOperationException("The stream ended.");
    }

    /// <summary>What an instrument of this door measures; others in this process have one of the same name.</summary>
    private sealed class Measured<T> : IDisposable
        where T : struct
    {
        private readonly MeterListener _listener = new();

        public Measured(IngestHost door, Metric metric)
        {
            var metrics = door.Get<IngestMetrics>();
            _listener.InstrumentPublished = (published, listener) =>
            {
                if (ReferenceEquals(published.Meter.Scope, metrics) && published.Name == metric.Name)
                {
                    listener.EnableMeasurementEvents(published);
                }
            };
            _listener.SetMeasurementEventCallback<T>((_, value, _, _) => Values.Enqueue(value));
            _listener.Start();
        }

        public ConcurrentQueue<T> Values { get; } = new();

        public void Dispose() => _listener.Dispose();
    }

    public sealed class Door : IngestDoor
    {
        private protected override (string Key, string Value)[] Settings =>
            [("Ingest:AnswerLookAfter", "00:00:00.05"), ("Ingest:AnswerLookPauseMax", "00:00:00.20")];
    }
}
