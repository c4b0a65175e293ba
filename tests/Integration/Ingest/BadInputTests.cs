using System.Net;
using System.Net.Sockets;
using System.Text;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>The door under bad input: what, where, expected, given; and nothing left behind, which is looked at after every case.</summary>
public sealed class BadInputTests(BadInputHost shared) : IClassFixture<BadInputHost>, IAsyncDisposable
{
    private const string Task = "a JSON object {\"custom_id\": \"…\", \"input\": …}";
    private const string Id = "a string of 1 to 512 bytes";
    private const string Good = """{"custom_id":"good","input":"text"}""";

    private IngestHost Host => shared.Host;

    public async ValueTask DisposeAsync() => Assert.Equal(0, await Host.CountRowsAsync());

    public static TheoryData<string, string, long?, string?, string, string?, string?> Bodies() =>
        new()
        {
            { "model=words", "", 1, null, "at least one task, {\"custom_id\": \"…\", \"input\": …}", "an empty body", null },
            { "model=words", " \n\r\n\n", 1, null, "at least one task, {\"custom_id\": \"…\", \"input\": …}", "an empty body", null },
            { "model=words", Good + "\nhello\n", 2, null, Task, "not JSON at byte 0: hello", null },
            { "model=words", Good + "\n{\"custom_id\":\"x\",,}\n", 2, null, Task, "not JSON at byte 17: ,}", "x" },
            { "model=words", Good + "\n[1]\n", 2, null, Task, "[", null },
            { "model=words", Good + "\n" + Good + " {}\n", 2, null, Task, "not JSON at byte 36: {}", "good" },
            { "model=words", """{"input":"text"}""", 1, "custom_id", Id, "nothing", null },
            { "model=words", """{"custom_id":7,"input":"text"}""", 1, "custom_id", Id, "number", null },
            { "model=words", """{"custom_id":"","input":"text"}""", 1, "custom_id", Id, "0 bytes", "" },
            {
                "model=words",
                """{"custom_id":"a\u0000b","input":"text"}""",
                1,
                "custom_id",
                "text without U+0000",
                "\"a\\u0000b\"",
                "a\0b"
            },
            {
                "model=words",
                """{"custom_id":"\ud800","input":"text"}""",
                1,
                "custom_id",
                "text whose surrogates come in pairs",
                "\"\\ud800\"",
                null
            },
            {
                "model=words",
                Good + "\n" + """{"\ud800":1,"custom_id":"a","input":"x"}""",
                2,
                null,
                "text whose surrogates come in pairs",
                "half of a pair",
                "a"
            },
            {
                "model=words",
                Good + "\n\n" + Good + "\n",
                3,
                "custom_id",
                "one that no other task of the job has",
                "\"good\", used on line 1",
                "good"
            },
            { "model=words", """{"custom_id":"a"}""", 1, "input", "the task's input", "nothing", "a" },
            { "model=words", """{"custom_id":"a","input":7}""", 1, "input", "a string", "the number 7", "a" },
            { "model=words", """{"custom_id":"a","input":["x"]}""", 1, "input", "a string", "an array", "a" },
            {
                "model=words",
                """{"custom_id":"a","input":"\ud800 x"}""",
                1,
                "input",
                "text whose surrogates come in pairs",
                "the string \"\\ud800 x\"",
                "a"
            },
            {
                "model=words",
                """{"custom_id":"a","input":"x","inputs":1}""",
                1,
                "inputs",
                "only custom_id, input and group",
                "a field of that name",
                "a"
            },
            { "model=words", """{"custom_id":"a","input":"x","input":"y"}""", 1, "input", "the field once", "twice", "a" },
            {
                "model=words",
                Good + "\n{\"custom_id\":\"a\",\"inp",
                2,
                null,
                Task,
                "the body is cut off in {\"custom_id\":\"a\",\"inp (21 bytes)",
                "a"
            },
            {
                "model=grid",
                """{"custom_id":"a","input":[[1,NaN],[3,4]]}""",
                1,
                "input",
                "a finite number",
                "NaN],[3,4]]} at byte 29",
                "a"
            },
            {
                "model=grid",
                """{"custom_id":"a","input":[[1,-Infinity],[3,4]]}""",
                1,
                "input",
                "a finite number",
                "-Infinity],[3,4]]} at byte 30",
                "a"
            },
            {
                "model=grid",
                """{"custom_id":"a","input":[[1,"NaN"],[3,4]]}""",
                1,
                "input[0][1]",
                "a finite float32 number",
                "the string \"NaN\"",
                "a"
            },
            {
                "model=grid",
                """{"custom_id":"a","input":[[1,2],[3,1e39]]}""",
                1,
                "input[1][1]",
                "a finite float32 number",
                "the number 1e39",
                "a"
            },
            { "model=grid", """{"custom_id":"a","input":[[1,2],[3,null]]}""", 1, "input[1][1]", "a finite float32 number", "null", "a" },
            {
                "model=grid",
                """{"custom_id":"a","input":[[1,2],[3]]}""",
                1,
                "input[1]",
                "2 elements, as the arrays beside it have",
                "1 elements",
                "a"
            },
            { "model=grid", """{"custom_id":"a","input":[[1,2],[3,4],[5,6]]}""", 1, "input", "the shape [2, any]", "[3, 2]", "a" },
            { "model=grid", """{"custom_id":"a","input":[1,2,3]}""", 1, "input", "the shape [2, any]", "[3]", "a" },
            {
                "model=grid",
                """{"custom_id":"a","input":{"dots":[[1],[2]]}}""",
                1,
                "input.dots",
                "the input \"cells\", each once",
                "an input of that name",
                "a"
            },
            { "model=grid", """{"custom_id":"a","input":{}}""", 1, "input.cells", "float32 of shape [2, any]", "nothing", "a" },
            {
                "model=grid",
                """{"custom_id":"a","input":{"shape":[2,3],"data":[1,2,3,4]}}""",
                1,
                "input.data",
                "6 elements for the shape [2, 3]",
                "4 elements",
                "a"
            },
            {
                "model=grid",
                """{"custom_id":"a","input":{"cells":{"shape":[3,2],"data":[1,2,3,4,5,6]}}}""",
                1,
                "input.cells.shape",
                "[2, any]",
                "[3, 2]",
                "a"
            },
            {
                "model=grid",
                """{"custom_id":"a","input":{"cells":{"shape":[2,-1],"data":[]}}}""",
                1,
                "input.cells.shape[1]",
                "a whole number, 0 or more",
                "the number -1",
                "a"
            },
            {
                "model=grid",
                """{"custom_id":"a","input":{"shape":[2,1],"data_base64":"AACAPwAAwH8="}}""",
                1,
                "input.data_base64[1]",
                "a finite float32 number",
                "the bytes 0000C07F",
                "a"
            },
            {
                "model=grid",
                """{"custom_id":"a","input":{"shape":[2,1],"data_base64":"AACAPwAAgH8="}}""",
                1,
                "input.data_base64[1]",
                "a finite float32 number",
                "the bytes 0000807F",
                "a"
            },
            {
                "model=grid",
                """{"custom_id":"a","input":{"shape":[2,1],"data_base64":"AAA"}}""",
                1,
                "input.data_base64",
                "base64",
                "\"AAA\"",
                "a"
            },
            {
                "model=grid",
                """{"custom_id":"a","input":{"shape":[2,1],"data_base64":"AAAA"}}""",
                1,
                "input.data_base64",
                "whole float32 elements of 4 bytes",
                "3 bytes",
                "a"
            },
        };

    [Theory]
    [MemberData(nameof(Bodies))]
    public async Task A_bad_line_refuses_the_job_and_says_what_where_expected_and_given(
        string query,
        string body,
        long? line,
        string? field,
        string expected,
        string? given,
        string? customId
    )
    {
        using var response = await Host.PostAsync(query, body);
        var problem = await response.JsonAsync();

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType!.MediaType);
        Assert.Equal("invalid_input", problem.GetProperty("error").GetProperty("code").GetString());
        Assert.Equal((line, field, expected, given, customId), problem.FirstMistake());
    }

    public static TheoryData<string, HttpStatusCode, string, string, string> Parameters() =>
        new()
        {
            { "", HttpStatusCode.BadRequest, "model", "a registered model: grid@1, words@1, words@2", "nothing" },
            { "model=wrods", HttpStatusCode.NotFound, "model", "a registered model: grid@1, words@1, words@2", "\"wrods\"" },
            { "model=words@3", HttpStatusCode.NotFound, "model", "a registered model: grid@1, words@1, words@2", "\"words@3\"" },
            { "model=words&class=fast", HttpStatusCode.BadRequest, "class", "express, standard or bulk", "\"fast\"" },
            {
                "model=words&clas=bulk",
                HttpStatusCode.BadRequest,
                "clas",
                "class, deadline, fallback, group, max_cost, min_quality, model, reuse, route, webhook or metadata[key]",
                "the unknown name \"clas\""
            },
            {
                "model=words&deadline=soon",
                HttpStatusCode.BadRequest,
                "deadline",
                "a moment (RFC 3339) or a time from now like 90s, 30m, 2h or 7d",
                "\"soon\""
            },
            { "model=words&deadline=99d", HttpStatusCode.BadRequest, "deadline", "at most 30 days ahead", "\"99d\"" },
            {
                "model=words&webhook=nowhere",
                HttpStatusCode.BadRequest,
                "webhook",
                "an https address of at most 2048 characters",
                "\"nowhere\""
            },
            { "model=words&max_cost=-1", HttpStatusCode.BadRequest, "max_cost", "dollars, more than 0 and at most 9223372", "\"-1\"" },
            { "model=words&model=grid", HttpStatusCode.BadRequest, "model", "one value", "\"words\" and \"grid\"" },
        };

    [Theory]
    [MemberData(nameof(Parameters))]
    public async Task A_bad_parameter_is_refused_by_name(string query, HttpStatusCode status, string field, string expected, string given)
    {
        using var response = await Host.PostAsync(query, Good);
        var problem = await response.JsonAsync();

        Assert.Equal(status, response.StatusCode);
        Assert.Equal((null, field, expected, given, null), problem.FirstMistake());
        Assert.Equal(field, problem.GetProperty("error").GetProperty("param").GetString());
    }

    [Fact]
    public async Task A_deadline_in_the_past_is_refused()
    {
        using var response = await Host.PostAsync("model=words&deadline=2020-01-01T00:00:00Z", Good);
        var (_, field, expected, given, _) = (await response.JsonAsync()).FirstMistake();

        Assert.Equal("deadline", field);
        Assert.StartsWith("a moment after now, 2", expected, StringComparison.Ordinal);
        Assert.Equal("\"2020-01-01T00:00:00Z\"", given);
    }

    [Fact]
    public async Task Every_bad_parameter_is_told_at_once()
    {
        using var response = await Host.PostAsync("model=none&class=fast&deadline=soon&typo=1", Good);
        var problem = await response.JsonAsync();

        Assert.Equal(4, problem.GetProperty("errors_total").GetInt64());
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
    }

    [Fact]
    public async Task Invalid_utf8_is_told_with_line_and_byte()
    {
        byte[] body = [.. Encoding.UTF8.GetBytes(Good + "\n{\"custom_id\":\"b\",\"input\":\"caf"), 0xE9, (byte)'"', (byte)'}', (byte)'\n'];
        using var response = await Host.PostAsync("model=words", body);

        Assert.Equal((2, null, "UTF-8", "the bytes E9227D at byte 29 of the line", "b"), (await response.JsonAsync()).FirstMistake());
    }

    [Fact]
    public async Task A_task_above_its_limit_is_refused()
    {
        using var response = await Host.PostAsync("model=words", $$"""{"custom_id":"a","input":"{{new string('x', 1001)}}"}""");
        Assert.Equal((1, "input", "at most 1000 bytes", "1001 bytes", "a"), (await response.JsonAsync()).FirstMistake());

        var elements = string.Join(',', Enumerable.Repeat("1", 300));
        using var tensor = await Host.PostAsync("model=grid", $$"""{"custom_id":"a","input":[{{elements}}]}""");
        Assert.Equal((1, "input[250]", "at most 1000 bytes", "more", "a"), (await tensor.JsonAsync()).FirstMistake());
    }

    [Fact]
    public async Task A_hundred_megabytes_on_one_line_are_skipped_and_told_with_the_line()
    {
        using var body = new GeneratedContent(
            Encoding.UTF8.GetBytes(Good + "\n{\"custom_id\":\"big\",\"input\":\""),
            new byte[1024 * 1024]
                .Select(_ => (byte)'x')
                .ToArray(),
            100,
            "\"}\n{\"custom_id\":\"last\",\"input\":8}\n"u8.ToArray()
        );
        using var response = await Host.PostAsync("model=words", body, "application/x-ndjson");
        var problem = await response.JsonAsync();
        var (line, field, expected, given, _) = problem.FirstMistake();

        Assert.Equal((2, null, "a line of at most 8000 bytes"), (line, field, expected));
        Assert.StartsWith("104857630 bytes, beginning {\"custom_id\":\"big\"", given, StringComparison.Ordinal);
        Assert.Equal(2, problem.GetProperty("errors_total").GetInt64());
        Assert.Equal(3, problem.GetProperty("errors")[1].GetProperty("line").GetInt64());
    }

    [Fact]
    public async Task The_first_hundred_mistakes_are_told_and_all_are_counted()
    {
        var body = string.Concat(Enumerable.Range(0, 250).Select(i => $$"""{"custom_id":"t-{{i}}","input":{{i}}}""" + "\n"));
        using var response = await Host.PostAsync("model=words", body);
        var problem = await response.JsonAsync();

        Assert.Equal(100, problem.GetProperty("errors").GetArrayLength());
        Assert.Equal(250, problem.GetProperty("errors_total").GetInt64());
        Assert.Equal(
            "Line 1, \"input\": expected a string, given the number 0. 250 mistakes in all. Nothing was stored.",
            problem.GetProperty("detail").GetString()
        );
    }

    [Fact]
    public async Task A_bad_line_after_thousands_of_stored_ones_takes_all_back()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:StoreChunksMax", "2"));
        var lines = Enumerable.Range(0, 20_000).Select(i => $$"""{"custom_id":"t-{{i}}","input":"text"}""").Append("{}");
        using var response = await host.PostAsync("model=words", string.Join('\n', lines));
        var problem = await response.JsonAsync();

        Assert.Equal(20_001, problem.FirstMistake().Line);
        Assert.Equal(0, await host.CountRowsAsync());
    }

    [Fact]
    public async Task A_client_that_leaves_in_the_middle_leaves_nothing_behind()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:StoreChunksMax", "1"));
        using var socket = new TcpClient();
        await socket.ConnectAsync(host.Address.Host, host.Address.Port);
        var stream = socket.GetStream();
        var lines = string.Concat(Enumerable.Range(0, 5_000).Select(i => $$"""{"custom_id":"t-{{i}}","input":"text"}""" + "\n"));
        await stream.WriteAsync(
            Encoding.ASCII.GetBytes(
                $"POST /v1/jobs?model=words HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {host.Key}\r\nContent-Length: 10000000\r\n\r\n{lines}"
            )
        );
        await host.Database.UntilAsync("SELECT count(*) > 3 FROM chunks");
        socket.Close();

        await host.Database.UntilAsync("SELECT NOT EXISTS (SELECT FROM jobs)");
        Assert.Equal(0, await host.CountRowsAsync());
    }

    [Fact]
    public async Task A_job_line_with_half_of_a_surrogate_pair_is_refused()
    {
        using var response = await Host.PostAsync("", """{"job":{"model":"\ud800"}}""" + "\n" + Good);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal((1, "job"), ((await response.JsonAsync()).FirstMistake() is var m ? (m.Line, m.Field) : default));
    }

    [Fact]
    public async Task A_packed_body_that_is_cut_off_or_not_packed_is_refused()
    {
        var packed = IngestHost.Gzip(
            string.Concat(Enumerable.Range(0, 500).Select(i => $$"""{"custom_id":"{{i}}","input":"{{i * i}}"}""" + "\n"))
        );
        foreach (
            var (encoding, body) in new[]
            {
                ("gzip", packed[..(packed.Length / 2)]),
                ("gzip", "plain"u8.ToArray()),
                ("deflate", "plain"u8.ToArray()),
                ("br", "plain"u8.ToArray()),
                ("br", [0xff, 0xff, 0xff, 0xff]),
            }
        )
        {
            using var response = await Host.PostAsync("model=words", body, ("Content-Encoding", encoding));
            Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
            Assert.Contains("The packed body cannot be read", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        using var unknown = await Host.PostAsync("model=words", Good, ("Content-Encoding", "zstd"));
        Assert.Equal((null, "Content-Encoding", "gzip, deflate, br or none", "\"zstd\"", null), (await unknown.JsonAsync()).FirstMistake());
    }

    [Theory]
    [InlineData("""{"model":"words","tasks":[]}""", null, null, "an empty body")]
    [InlineData("""{"model":"words","tasks":7}""", null, "tasks", "number")]
    [InlineData(
        """{"model":"words","tasks":[{"custom_id":"a","input":"x"},{"custom_id":"a","input":"y"}]}""",
        null,
        "tasks[1].custom_id",
        "\"a\", used on tasks[0]"
    )]
    [InlineData("""{"model":"words","tasks":[{"custom_id":"a","input":3}]}""", null, "tasks[0].input", "the number 3")]
    [InlineData("""{"model":"words","task":[]}""", null, "task", "the unknown name \"task\"")]
    [InlineData("""{"model":"words","\ud800":1,"tasks":[]}""", null, null, "half of a pair")]
    [InlineData("""{"model":"words","group":"\ud800","tasks":[]}""", null, "group", "half of a pair")]
    [InlineData("""{"model":"words","tasks":[{"\ud800":1,"custom_id":"a","input":"x"}]}""", null, "tasks[0]", "half of a pair")]
    [InlineData("{\"model\":\"words\",\n\"tasks\":[}", 2L, null, "not JSON at byte 9 of the line")]
    public async Task A_bad_inline_body_is_refused(string body, long? line, string? field, string given)
    {
        using var response = await Host.PostAsync("", new StringContent(body), "application/json");
        var mistake = (await response.JsonAsync()).FirstMistake();

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal((field, given), (mistake.Field, mistake.Given));
        Assert.Equal(line ?? mistake.Line, mistake.Line);
    }

    [Fact]
    public async Task A_wrong_or_missing_key_is_refused()
    {
        using var client = new HttpClient { BaseAddress = Host.Address };
        using var body = new StringContent(Good);
        using var missing = await client.PostAsync("/v1/jobs?model=words", body);
        client.DefaultRequestHeaders.Authorization = new("Bearer", "pk_wrong_one");
        using var wrong = await client.PostAsync("/v1/jobs?model=words", body);

        Assert.Equal(HttpStatusCode.Unauthorized, wrong.StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, missing.StatusCode);
        Assert.Contains("pk_wrong…", await wrong.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_lost_database_is_answered_503_and_work_resumes()
    {
        await using var host = await IngestHost.StartAsync();
        await host.SubmitAsync();
        await host.Database.ExecuteAsync(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        );

        // The pool's connections are dead: the first requests may meet them, and a later one gets through.
        for (var attempt = 0; ; attempt++)
        {
            using var response = await host.PostAsync("model=words", Good);
            if (response.StatusCode == HttpStatusCode.OK)
            {
                break;
            }

            Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
            Assert.NotNull(response.Headers.RetryAfter);
            Assert.InRange(attempt, 0, 20);
        }
    }
}

/// <summary>One door for all bad input, since none of it leaves anything behind.</summary>
public sealed class BadInputHost : IngestDoor
{
    private protected override (string Key, string Value)[] Settings => [("Ingest:TaskBytesMax", "1000"), ("Ingest:LineBytesMax", "8000")];
}

/// <summary>A long body made as it is sent.</summary>
internal sealed class GeneratedContent(byte[] head, byte[] repeated, int times, byte[] tail) : HttpContent
{
    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
    {
        await stream.WriteAsync(head);
        for (var i = 0; i < times; i++)
        {
            await stream.WriteAsync(repeated);
        }

        await stream.WriteAsync(tail);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = head.Length + ((long)repeated.Length * times) + tail.Length;
        return true;
    }
}
