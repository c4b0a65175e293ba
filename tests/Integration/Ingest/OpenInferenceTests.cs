using System.Buffers;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using MassTransit;
using Pipeline.Contracts;
using Pipeline.Ingest;
using Xunit;

namespace Pipeline.Tests.Integration.Ingest;

/// <summary>The Open Inference Protocol as its specification and Triton's extensions write it, over the door by itself.</summary>
public sealed class OpenInferenceTests(OpenInferenceTests.Door door) : IClassFixture<OpenInferenceTests.Door>, IAsyncLifetime
{
    private const string JsonLength = "Inference-Header-Content-Length";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan AnswerAgainAfter = TimeSpan.FromMilliseconds(20);
    private IngestHost? _host;

    private IngestHost Host => _host!;

    public async ValueTask InitializeAsync() => _host = await door.NewTenantAsync();

    public ValueTask DisposeAsync() => _host?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task The_server_tells_its_extensions_and_its_health_without_a_key()
    {
        using var server = await Host.Client.GetAsync("/v2");
        var told = await server.JsonAsync();
        Assert.Equal("pipeline", told.GetProperty("name").GetString());
        Assert.NotEmpty(told.GetProperty("version").GetString()!);
        Assert.Equal(["binary_tensor_data", "schedule_policy"], told.GetProperty("extensions").EnumerateArray().Select(e => e.GetString()));

        using var stranger = new HttpClient { BaseAddress = Host.Address };
        using var live = await stranger.GetAsync("/v2/health/live");
        using var ready = await stranger.GetAsync("/v2/health/ready");
        Assert.Equal("""{"live":true}""", await live.Content.ReadAsStringAsync());
        Assert.Equal("""{"live":true,"ready":true}""", await ready.Content.ReadAsStringAsync());

        using var refused = await stranger.GetAsync("/v2/models/words");
        Assert.Equal(HttpStatusCode.Unauthorized, refused.StatusCode);
        Assert.Equal("application/json", refused.Content.Headers.ContentType?.MediaType);
        var (error, code) = Error(await refused.JsonAsync());
        Assert.Equal(("Send your API key as \"Authorization: Bearer <key>\".", "invalid_api_key"), (error, code));
    }

    [Theory]
    [InlineData(
        "mymodel",
        """{"name":"mymodel","versions":["1"],"platform":"onnx_onnxv1","inputs":[{"name":"input0","datatype":"UINT32","shape":[2,2]},{"name":"input1","datatype":"BOOL","shape":[3]}],"outputs":[{"name":"output0","datatype":"FP32","shape":[3,2]}]}"""
    )]
    [InlineData(
        "stack/versions/1",
        """{"name":"stack","versions":["1"],"platform":"onnx_onnxv1","inputs":[{"name":"rate","datatype":"INT64","shape":[]},{"name":"state","datatype":"INT32","shape":[2,-1,-1]}],"outputs":[{"name":"rate","datatype":"INT64","shape":[]},{"name":"state","datatype":"INT32","shape":[2,-1,-1]}]}"""
    )]
    [InlineData(
        "languages",
        """{"name":"languages","versions":["1"],"platform":"onnx_onnxv1","inputs":[{"name":"text","datatype":"BYTES","shape":[-1]}],"outputs":[{"name":"labels","datatype":"BYTES","shape":[-1,3]},{"name":"scores","datatype":"FP32","shape":[-1,3]}]}"""
    )]
    [InlineData(
        "vectors",
        """{"name":"vectors","versions":["1"],"platform":"onnx_onnxv1","inputs":[{"name":"text","datatype":"BYTES","shape":[-1]}],"outputs":[{"name":"embedding","datatype":"FP32","shape":[-1,4]}]}"""
    )]
    [InlineData(
        "words/versions/2",
        """{"name":"words","versions":["1","2"],"platform":"onnx_onnxv1","inputs":[{"name":"text","datatype":"BYTES","shape":[-1]}],"outputs":[]}"""
    )]
    public async Task A_model_tells_its_tensors(string address, string expected)
    {
        using var response = await Host.Client.GetAsync($"/v2/models/{address}");

        AssertJson(expected, await response.JsonAsync());
    }

    [Fact]
    public async Task A_model_is_ready_when_a_worker_may_run_it()
    {
        using var before = await Host.Client.GetAsync("/v2/models/words/ready");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, before.StatusCode);
        AssertJson("""{"name":"words","ready":false}""", await before.JsonAsync());

        Host.Forecast();
        using var after = await Host.Client.GetAsync("/v2/models/words/ready");
        using var other = await Host.Client.GetAsync("/v2/models/words/versions/2/ready");
        Assert.Equal(HttpStatusCode.OK, after.StatusCode);
        AssertJson("""{"name":"words","ready":true}""", await after.JsonAsync());
        Assert.Equal(HttpStatusCode.ServiceUnavailable, other.StatusCode);
    }

    [Theory]
    [InlineData("GET", "/v2/models/nobody")]
    [InlineData("GET", "/v2/models/nobody/ready")]
    [InlineData("POST", "/v2/models/nobody/infer")]
    [InlineData("GET", "/v2/models/words/versions/9")]
    [InlineData("GET", "/v2/models/words/versions/9/ready")]
    [InlineData("POST", "/v2/models/words/versions/9/infer")]
    public async Task A_model_nobody_registered_is_not_found(string method, string address)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), address);
        using var response = await Host.Client.SendAsync(request);
        var (error, code) = Error(await response.JsonAsync());

        Assert.Equal((HttpStatusCode.NotFound, "model_not_found"), (response.StatusCode, code));
        Assert.StartsWith("No model ", error, StringComparison.Ordinal);
    }

    /// <summary>"Inference Request Examples" of inference_rest.md, where the BOOL tensor of three has only one element, which no server can take.</summary>
    [Fact]
    public async Task The_specifications_example_is_answered_as_it_says()
    {
        var waiting = InferAsync(
            "mymodel",
            """
            {
              "id" : "42",
              "inputs" : [
                { "name" : "input0", "shape" : [ 2, 2 ], "datatype" : "UINT32", "data" : [ 1, 2, 3, 4 ] },
                { "name" : "input1", "shape" : [ 3 ], "datatype" : "BOOL", "data" : [ true, false, true ] }
              ],
              "outputs" : [ { "name" : "output0" } ]
            }
            """
        );
        var inputs = await WorkAsync(_ => Floats("output0", [3, 2], 1.0f, 1.1f, 2.0f, 2.1f, 3.0f, 3.1f));

        Assert.Equal(("input0", "01000000020000000300000004000000"), (inputs[0][0].Name, Convert.ToHexString(inputs[0][0].Data.Span)));
        Assert.Equal(("input1", "010001"), (inputs[0][1].Name, Convert.ToHexString(inputs[0][1].Data.Span)));
        using var response = await waiting.WaitAsync(Patience);
        var answer = await response.JsonAsync();
        Assert.Equal("application/json", response.Content.Headers.ContentType?.MediaType);
        Assert.False(response.Headers.Contains(JsonLength));
        Assert.Equal("42", answer.GetProperty("id").GetString());
        Assert.Equal(("mymodel", "1"), (answer.GetProperty("model_name").GetString(), answer.GetProperty("model_version").GetString()));
        AssertJson(
            """[{"name":"output0","shape":[3,2],"datatype":"FP32","data":[1.0,1.1,2.0,2.1,3.0,3.1]}]""",
            answer.GetProperty("outputs")
        );
    }

    [Fact]
    public async Task A_request_sent_again_under_its_key_is_the_same_work()
    {
        const string Json = """
            {"inputs":[{"name":"input0","shape":[2,2],"datatype":"UINT32","data":[1,2,3,4]},{"name":"input1","shape":[3],"datatype":"BOOL","data":[true,false,true]}]}
            """;
        var key = $"oip-{Guid.NewGuid()}";
        var first = InferAsync("mymodel", Json, key: key);
        var chunk = await Host.Scheduler.NextChunkAsync();
        HttpResponseMessage other;
        do
        {
            // 409 for the moment until the first has let go of the key; its chunk is out a little before.
            other = await InferAsync("mymodel", Json.Replace("[1,2,3,4]", "[1,2,3,5]", StringComparison.Ordinal), key: key);
        } while (other.StatusCode == HttpStatusCode.Conflict);

        Assert.Equal("idempotency_key_reused", Error(await other.JsonAsync()).Code);
        var again = InferAsync("mymodel", Json, key: key);

        do
        {
            // Sent until the second waits for it as well: a worker's results could be read from their rows, but this one writes none.
            await AnswerAsync(chunk, Floats("output0", [3, 2], 1.0f, 1.1f, 2.0f, 2.1f, 3.0f, 3.1f));
        } while (await Task.WhenAny(again, Task.Delay(AnswerAgainAfter)) != again);

        using var one = await first.WaitAsync(Patience);
        using var two = await again;
        Assert.True(JsonElement.DeepEquals(await AnswerAsync(one), await AnswerAsync(two)));
        Assert.False(one.Headers.Contains("Idempotency-Replayed"));
        Assert.Equal(["true"], two.Headers.GetValues("Idempotency-Replayed"));
    }

    /// <summary>The example of Triton's extension_binary_data.md: 16 and 3 bytes behind the JSON, 24 behind that of the answer.</summary>
    [Fact]
    public async Task The_binary_extensions_example_is_answered_as_it_says()
    {
        const string Json = """
            {
              "model_name" : "mymodel",
              "inputs" : [
                { "name" : "input0", "shape" : [ 2, 2 ], "datatype" : "UINT32", "parameters" : { "binary_data_size" : 16 } },
                { "name" : "input1", "shape" : [ 3 ], "datatype" : "BOOL", "parameters" : { "binary_data_size" : 3 } }
              ],
              "outputs" : [ { "name" : "output0", "parameters" : { "binary_data" : true } } ]
            }
            """;
        var waiting = InferAsync("mymodel", Json, Convert.FromHexString("01000000020000000300000004000000" + "010001"));
        var inputs = await WorkAsync(_ => Floats("output0", [3, 2], 1.0f, 1.1f, 2.0f, 2.1f, 3.0f, 3.1f));

        Assert.Equal("01000000020000000300000004000000", Convert.ToHexString(inputs[0][0].Data.Span));
        Assert.Equal("010001", Convert.ToHexString(inputs[0][1].Data.Span));
        using var response = await waiting.WaitAsync(Patience);
        var (answer, binary) = await BinaryAsync(response);
        Assert.Equal("application/octet-stream", response.Content.Headers.ContentType?.MediaType);
        Assert.False(answer.TryGetProperty("id", out _));
        AssertJson(
            """[{"name":"output0","shape":[3,2],"datatype":"FP32","parameters":{"binary_data_size":24}}]""",
            answer.GetProperty("outputs")
        );
        Assert.Equal([1.0f, 1.1f, 2.0f, 2.1f, 3.0f, 3.1f], MemoryMarshal.Cast<byte, float>(binary).ToArray());
    }

    private static readonly Dictionary<string, (string Data, string Binary)> Samples = new()
    {
        ["BOOL"] = ("[true,false,false,true]", "01000001"),
        ["UINT8"] = ("[0,255,7,1]", "00FF0701"),
        ["UINT16"] = ("[0,65535,7,1]", "0000FFFF07000100"),
        ["UINT32"] = ("[0,4294967295,7,1]", "00000000FFFFFFFF0700000001000000"),
        ["UINT64"] = ("[0,18446744073709551615,7,1]", "0000000000000000FFFFFFFFFFFFFFFF07000000000000000100000000000000"),
        ["INT8"] = ("[-128,127,-1,0]", "807FFF00"),
        ["INT16"] = ("[-32768,32767,-1,0]", "0080FF7FFFFF0000"),
        ["INT32"] = ("[-2147483648,2147483647,-1,0]", "00000080FFFFFF7FFFFFFFFF00000000"),
        ["INT64"] = ("[-9223372036854775808,9223372036854775807,-1,0]", "0000000000000080FFFFFFFFFFFFFF7FFFFFFFFFFFFFFFFF0000000000000000"),
        ["FP16"] = ("[1.5,-2,65504,0]", "003E00C0FF7B0000"),
        ["BF16"] = ("[1.5,-2,1,0]", "C03F00C0803F0000"),
        ["FP32"] = ("[1.5,-2,0.1,0]", "0000C03F000000C0CDCCCC3D00000000"),
        ["FP64"] = ("[1.5,-2,0.1,0]", "000000000000F83F00000000000000C09A9999999999B93F0000000000000000"),
        ["BYTES"] = ("[\"a\",\"\",\"grüß\",\"\\n\"]", "01000000" + "61" + "00000000" + "06000000" + "6772C3BCC39F" + "01000000" + "0A"),
    };

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task Every_datatype_comes_back_as_it_went_in(bool binaryIn, bool binaryOut)
    {
        var tail = new MemoryStream();
        var inputs = OpenInferenceModels.Datatypes.Select(d =>
        {
            var (data, hex) = Samples[d.Datatype];
            if (!binaryIn)
            {
                return $$"""{"name":"{{d.Datatype}}","datatype":"{{d.Datatype}}","shape":[2,2],"data":{{data}}}""";
            }

            var bytes = Convert.FromHexString(hex);
            tail.Write(bytes);
            return $$"""{"name":"{{d.Datatype}}","datatype":"{{d.Datatype}}","shape":[2,2],"parameters":{"binary_data_size":{{bytes.Length}} } }""";
        });
        var json =
            $$"""{"inputs":[{{string.Join(',', inputs)}}],"parameters":{"binary_data_output":{{(binaryOut ? "true" : "false")}} } }""";
        var waiting = InferAsync("echo", json, binaryIn ? tail.ToArray() : null);
        var rows = await WorkAsync(input => (input.ToArray(), PackedTensors.ContentType));

        Assert.Equal(2, rows.Count);
        Assert.All(rows[1], tensor => Assert.Equal([2], tensor.Shape));
        using var response = await waiting.WaitAsync(Patience);
        var (answer, binary) = binaryOut ? await BinaryAsync(response) : (await response.JsonAsync(), []);
        var at = 0;
        foreach (var output in answer.GetProperty("outputs").EnumerateArray())
        {
            var datatype = output.GetProperty("datatype").GetString()!;
            Assert.Equal(datatype, output.GetProperty("name").GetString());
            AssertJson("[2,2]", output.GetProperty("shape"));
            if (binaryOut)
            {
                var size = output.GetProperty("parameters").GetProperty("binary_data_size").GetInt32();
                Assert.Equal((datatype, Samples[datatype].Binary), (datatype, Convert.ToHexString(binary.AsSpan(at, size))));
                at += size;
            }
            else
            {
                AssertJson(Samples[datatype].Data, output.GetProperty("data"));
            }
        }

        Assert.Equal(OpenInferenceModels.Datatypes.Length, answer.GetProperty("outputs").GetArrayLength());
        Assert.Equal(binary.Length, at);
    }

    [Fact]
    public async Task Rows_are_cut_and_stacked_along_the_models_batch_axis()
    {
        var waiting = InferAsync(
            "stack",
            """{"inputs":[{"name":"rate","datatype":"INT64","shape":[],"data":[8]},{"name":"state","datatype":"INT32","shape":[2,3,2],"data":[[[0,1],[10,11],[20,21]],[[2,3],[12,13],[22,23]]]}]}"""
        );
        var rows = await WorkAsync(input => (input.ToArray(), PackedTensors.ContentType));

        int[] Of(int row) => MemoryMarshal.Cast<byte, int>(rows[row].Single(t => t.Name == "state").Data.Span).ToArray();
        Assert.Equal(
            [
                [0, 1, 2, 3],
                [10, 11, 12, 13],
                [20, 21, 22, 23],
            ],
            new[] { Of(0), Of(1), Of(2) }
        );
        Assert.All(rows, row => Assert.Empty(row.Single(t => t.Name == "rate").Shape));
        using var response = await waiting.WaitAsync(Patience);
        AssertJson(
            """[{"name":"rate","datatype":"INT64","shape":[],"data":[8]},{"name":"state","datatype":"INT32","shape":[2,3,2],"data":[0,1,10,11,20,21,2,3,12,13,22,23]}]""",
            (await AnswerAsync(response)).GetProperty("outputs")
        );
    }

    [Fact]
    public async Task Texts_come_back_with_their_best_labels_and_scores()
    {
        var waiting = InferAsync(
            "languages",
            """{"inputs":[{"name":"text","datatype":"BYTES","shape":[2],"data":["Guten Tag","good day"]}]}"""
        );
        var chunk = await Host.Scheduler.NextChunkAsync();
        Assert.Equal(["Guten Tag", "good day"], Inputs(chunk).Select(Encoding.UTF8.GetString));
        await AnswerAsync(
            chunk,
            ("""{"labels":[{"label":"de","score":0.9},{"label":"nl","score":0.1}]}"""u8.ToArray(), "application/json"),
            ("""{"labels":[{"label":"en","score":0.75},{"label":"de","score":null}]}"""u8.ToArray(), "application/json")
        );

        using var response = await waiting.WaitAsync(Patience);
        AssertJson(
            """[{"name":"labels","datatype":"BYTES","shape":[2,2],"data":["de","nl","en","de"]},{"name":"scores","datatype":"FP32","shape":[2,2],"data":[0.9,0.1,0.75,"NaN"]}]""",
            (await AnswerAsync(response)).GetProperty("outputs")
        );
    }

    [Fact]
    public async Task Only_the_outputs_asked_for_come_back_each_as_it_was_asked_for()
    {
        var waiting = InferAsync(
            "languages",
            """{"parameters":{"binary_data_output":true},"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}}],"outputs":[{"name":"scores","parameters":{"binary_data":false}},{"name":"labels"}]}""",
            [2, 0, 0, 0, (byte)'h', (byte)'i']
        );
        var chunk = await Host.Scheduler.NextChunkAsync();
        Assert.Equal("hi", Encoding.UTF8.GetString(Inputs(chunk).Single()));
        await AnswerAsync(chunk, ("""{"labels":[{"label":"en","score":0.5}]}"""u8.ToArray(), "application/json"));

        using var response = await waiting.WaitAsync(Patience);
        var (answer, binary) = await BinaryAsync(response);
        AssertJson(
            """[{"name":"scores","datatype":"FP32","shape":[1,1],"data":[0.5]},{"name":"labels","datatype":"BYTES","shape":[1,1],"parameters":{"binary_data_size":6}}]""",
            answer.GetProperty("outputs")
        );
        Assert.Equal("02000000656E", Convert.ToHexString(binary));
    }

    [Fact]
    public async Task An_embedding_is_one_tensor_of_vectors()
    {
        var waiting = InferAsync("vectors", """{"inputs":[{"name":"text","datatype":"BYTES","shape":[2],"data":["a","b"]}]}""");
        var chunk = await Host.Scheduler.NextChunkAsync();
        await AnswerAsync(chunk, Floats("embedding", [4], 1, 2, 3, 4), Floats("embedding", [4], 5, 6, 7, 8));

        using var response = await waiting.WaitAsync(Patience);
        AssertJson(
            """[{"name":"embedding","datatype":"FP32","shape":[2,4],"data":[1,2,3,4,5,6,7,8]}]""",
            (await AnswerAsync(response)).GetProperty("outputs")
        );
    }

    [Fact]
    public async Task Rows_of_different_shapes_are_refused_with_the_place_of_their_results()
    {
        var waiting = InferAsync("vectors", """{"inputs":[{"name":"text","datatype":"BYTES","shape":[2],"data":["a","b"]}]}""");
        var chunk = await Host.Scheduler.NextChunkAsync();
        await AnswerAsync(chunk, Floats("embedding", [1], 1), Floats("embedding", [2], 5, 6));

        using var response = await waiting.WaitAsync(Patience);
        var body = await response.JsonAsync();
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains($"/v1/jobs/{chunk.Job}/results", Error(body).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_failed_row_is_the_answer()
    {
        var waiting = InferAsync("vectors", """{"inputs":[{"name":"text","datatype":"BYTES","shape":[2],"data":["a","b"]}]}""");
        var chunk = await Host.Scheduler.NextChunkAsync();
        await SendAsync(
            chunk,
            Answer(chunk, 0, Floats("embedding", [1], 1)),
            Answer(chunk, 1, ([], "")) with
            {
                Status = "failed",
                Output = null,
                ErrorCode = "model_failed",
                ErrorMessage = "out of range",
            }
        );

        using var response = await waiting.WaitAsync(Patience);
        var body = await response.JsonAsync();
        Assert.Equal(HttpStatusCode.InternalServerError, response.StatusCode);
        Assert.Equal(("Row 1: out of range", "model_failed"), Error(body));
        Assert.Equal(chunk.Job.ToString(), body.GetProperty("job").GetString());
    }

    [Theory]
    [InlineData(0, LatencyClass.Standard)]
    [InlineData(2, LatencyClass.Standard)]
    public async Task Without_a_promise_of_express_the_default_is_standard(int priority, LatencyClass expected)
    {
        var waiting = InferAsync("languages", Prioritised(priority, 0));
        var chunk = await Host.Scheduler.NextChunkAsync();
        Assert.Equal(expected, chunk.Class);
        await AnswerAsync(chunk, ("""{"labels":[]}"""u8.ToArray(), "application/json"));

        using var response = await waiting.WaitAsync(Patience);
        Assert.Equal(expected.Name(), (await response.JsonAsync()).GetProperty("parameters").GetProperty("class").GetString());
    }

    [Theory]
    [InlineData(0, LatencyClass.Express)]
    [InlineData(1, LatencyClass.Express)]
    [InlineData(2, LatencyClass.Standard)]
    public async Task Priority_is_the_class_and_timeout_the_deadline_in_microseconds(int priority, LatencyClass expected)
    {
        Forecast("languages");
        var waiting = InferAsync("languages", Prioritised(priority, 7_000_000));
        var chunk = await Host.Scheduler.NextChunkAsync();
        Assert.Equal(expected, chunk.Class);
        Assert.InRange(chunk.Deadline - chunk.QueuedAt, TimeSpan.FromSeconds(6), TimeSpan.FromSeconds(7));
        await AnswerAsync(chunk, ("""{"labels":[]}"""u8.ToArray(), "application/json"));

        using var response = await waiting.WaitAsync(Patience);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
    }

    [Fact]
    public async Task Express_that_cannot_be_promised_is_refused_with_what_to_do()
    {
        using var response = await InferAsync("languages", Prioritised(1, 0));
        var body = await response.JsonAsync();

        Assert.Equal((HttpStatusCode.TooManyRequests, "express_unavailable"), (response.StatusCode, Error(body).Code));
        Assert.True(response.Headers.RetryAfter?.Delta > TimeSpan.Zero);
    }

    [Fact]
    public async Task Work_that_did_not_run_in_time_says_so()
    {
        var waiting = InferAsync("languages", Prioritised(2, 3_000_000));
        var chunk = await Host.Scheduler.NextChunkAsync();
        await SendAsync(
            chunk,
            Answer(chunk, 0, ([], "")) with
            {
                Status = "expired",
                Output = null,
                ErrorCode = "deadline_passed",
                ErrorMessage = "The deadline passed before the task ran.",
            }
        );

        using var response = await waiting.WaitAsync(Patience);
        Assert.Equal((HttpStatusCode.GatewayTimeout, "deadline_passed"), (response.StatusCode, Error(await response.JsonAsync()).Code));
    }

    [Theory]
    [InlineData("", "a JSON object", "an empty body")]
    [InlineData("[1]", "a JSON object", "an array")]
    [InlineData("{", "a JSON object", "not JSON at byte")]
    [InlineData("{}", "\"inputs\" expects an array of tensors", "nothing")]
    [InlineData("""{"inputs":[]}""", "\"inputs\" expects \"rate\", INT64 of shape []", "no tensor of that name")]
    [InlineData("""{"id":7,"inputs":[]}""", "\"id\" expects a string", "the number 7")]
    [InlineData("""{"inputs":[7]}""", "\"inputs[0]\" expects an object", "the number 7")]
    [InlineData("""{"inputs":[{"datatype":"INT64","shape":[],"data":[1]}]}""", "\"inputs[0].name\" expects a string", "nothing")]
    [InlineData("""{"inputs":[{"name":"rate","shape":[],"data":[1]}]}""", "\"inputs[0].datatype\" expects a string", "nothing")]
    [InlineData("""{"inputs":[{"name":"rate","datatype":"INT64","data":[1]}]}""", "\"inputs[0].shape\" expects an array", "nothing")]
    [InlineData(
        """{"inputs":[{"name":"rate","datatype":"INT64","shape":[-1],"data":[1]}]}""",
        "\"inputs[0].shape[0]\" expects a whole number",
        "the number -1"
    )]
    [InlineData(
        """{"inputs":[{"name":"rate","datatype":"INT64","shape":[]}]}""",
        "\"inputs[0].data\" expects data, or binary_data_size",
        "nothing"
    )]
    [InlineData(
        """{"inputs":[{"name":"rate","datatype":"INT64","shape":[],"data":[1],"parameters":{"binary_data_size":8}}]}""",
        "\"inputs[0].data\" expects data, or binary_data_size",
        "both"
    )]
    [InlineData(
        """{"inputs":[{"name":"x","datatype":"INT64","shape":[],"data":[1]}]}""",
        "\"inputs[0].name\" expects an input of the model: \"rate\", \"state\"",
        "\"x\""
    )]
    [InlineData(
        """{"inputs":[{"name":"rate","datatype":"INT32","shape":[],"data":[1]}]}""",
        "\"inputs[0].datatype\" expects INT64",
        "\"INT32\""
    )]
    [InlineData("""{"inputs":[{"name":"rate","datatype":"INT64","shape":[1],"data":[1]}]}""", "\"inputs[0].shape\" expects []", "[1]")]
    [InlineData(
        """{"inputs":[{"name":"state","datatype":"INT32","shape":[3,1,1],"data":[1,2,3]}]}""",
        "\"inputs[0].shape\" expects [2, any, any]",
        "[3, 1, 1]"
    )]
    [InlineData(
        """{"inputs":[{"name":"state","datatype":"INT32","shape":[2,0,1],"data":[]}]}""",
        "\"inputs[0].shape\" expects [2, any, any]",
        "[2, 0, 1]"
    )]
    [InlineData(
        """{"inputs":[{"name":"state","datatype":"INT32","shape":[2,1,2],"data":[1,2,3]}]}""",
        "\"inputs[0].data\" expects 4 elements",
        "3 elements"
    )]
    [InlineData(
        """{"inputs":[{"name":"state","datatype":"INT32","shape":[2,1,2],"data":[[1,2],[3,4]]}]}""",
        "\"inputs[0].data\" expects flat, or nested as [2, 1, 2]",
        "nested as [2, 2]"
    )]
    [InlineData(
        """{"inputs":[{"name":"state","datatype":"INT32","shape":[2,1,1],"data":[1,2.5]}]}""",
        "\"inputs[0].data[1]\" expects a whole number of type int32",
        "the number 2.5"
    )]
    [InlineData(
        """{"inputs":[{"name":"state","datatype":"INT32","shape":[2,1,1],"data":7}]}""",
        "\"inputs[0].data\" expects an array of elements",
        "the number 7"
    )]
    [InlineData(
        """{"inputs":[{"name":"state","datatype":"INT32","shape":[2,65,1],"data":[]}]}""",
        "\"inputs[0].data\" expects 130 elements",
        "0 elements"
    )]
    [InlineData(
        """{"inputs":[],"outputs":[{"name":"y"}]}""",
        "\"outputs[0].name\" expects an output of the model: \"rate\", \"state\"",
        "\"y\""
    )]
    [InlineData(
        """{"inputs":[],"outputs":[{"name":"rate"},{"name":"rate"}]}""",
        "\"outputs[1].name\" expects every output once",
        "\"rate\" twice"
    )]
    [InlineData(
        """{"inputs":[],"outputs":[{"name":"rate","parameters":{"classification":2}}]}""",
        "\"outputs[0].parameters.classification\" expects to be absent",
        "2"
    )]
    [InlineData(
        """{"inputs":[],"outputs":[{"name":"rate","parameters":{"binary_data":1}}]}""",
        "\"outputs[0].parameters.binary_data\" expects true or false",
        "1"
    )]
    [InlineData("""{"inputs":[],"parameters":{"priority":3}}""", "\"parameters.priority\" expects a whole number, 0 to 2", "3")]
    [InlineData(
        """{"inputs":[],"parameters":{"timeout":-1}}""",
        "\"parameters.timeout\" expects a whole number, 0 or more: microseconds",
        "-1"
    )]
    [InlineData("""{"inputs":[],"parameters":{"sequence_id":5}}""", "\"parameters.sequence_id\" expects to be absent", "5")]
    [InlineData(
        """{"inputs":[],"parameters":{"\ud800":5}}""",
        "\"parameters\" expects text whose surrogates come in pairs",
        "half of a pair"
    )]
    public async Task A_bad_request_is_told_what_was_expected(string body, string expected, string given)
    {
        using var response = await InferAsync("stack", body);
        var (error, code) = Error(await response.JsonAsync());

        Assert.Equal((HttpStatusCode.BadRequest, "invalid_request"), (response.StatusCode, code));
        Assert.Contains(expected, error, StringComparison.Ordinal);
        Assert.Contains($"given {given}", error, StringComparison.Ordinal);
        Assert.Equal(0, await Host.CountRowsAsync());
    }

    [Theory]
    [InlineData(
        "stack",
        "INT64",
        "[]",
        8,
        0,
        "\"binary_data_size\" expects 0 bytes for all inputs together, as many as follow the JSON, given 8"
    )]
    [InlineData(
        "stack",
        "INT64",
        "[]",
        8,
        9,
        "\"binary_data_size\" expects 9 bytes for all inputs together, as many as follow the JSON, given 8"
    )]
    [InlineData("stack", "INT64", "[]", 7, 7, "\"inputs[0].parameters.binary_data_size\" expects 8 for INT64 of shape [], given 7")]
    [InlineData("languages", "BYTES", "[1]", 3, 3, "\"inputs[0].data[0]\" expects four bytes of length, given 3 bytes at the end")]
    [InlineData(
        "languages",
        "BYTES",
        "[1]",
        5,
        5,
        "\"inputs[0].data[0]\" expects 67305985 bytes, as its length says, given 1 bytes at the end"
    )]
    public async Task Binary_sizes_that_do_not_add_up_are_refused(
        string model,
        string datatype,
        string shape,
        int size,
        int sent,
        string expected
    )
    {
        var name = model == "stack" ? "rate" : "text";
        var json =
            $$"""{"inputs":[{"name":"{{name}}","datatype":"{{datatype}}","shape":{{shape}},"parameters":{"binary_data_size":{{size}} } }]}""";
        using var response = await InferAsync(model, json, [.. Enumerable.Range(1, sent).Select(i => (byte)i)]);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains(expected, Error(await response.JsonAsync()).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_raw_tensor_is_a_request_by_itself()
    {
        var waiting = RawAsync("row", Convert.FromHexString("010002000300040005000600"));
        var rows = await WorkAsync(input => (input.ToArray(), PackedTensors.ContentType));
        Assert.Equal([2, 3], Assert.Single(Assert.Single(rows)).Shape);
        using var response = await waiting.WaitAsync(Patience);
        var (answer, binary) = await BinaryAsync(response);
        AssertJson(
            """[{"name":"cells","datatype":"INT16","shape":[1,2,3],"parameters":{"binary_data_size":12}}]""",
            answer.GetProperty("outputs")
        );
        Assert.Equal("010002000300040005000600", Convert.ToHexString(binary));

        var text = RawAsync("languages", "Guten Morgen"u8.ToArray());
        var chunk = await Host.Scheduler.NextChunkAsync();
        Assert.Equal("Guten Morgen", Encoding.UTF8.GetString(Inputs(chunk).Single()));
        await AnswerAsync(chunk, ("""{"labels":[{"label":"de","score":0.5}]}"""u8.ToArray(), "application/json"));
        using var labels = await text.WaitAsync(Patience);
        Assert.Equal("02000000" + "6465" + "0000003F", Convert.ToHexString((await BinaryAsync(labels)).Binary));
    }

    [Theory]
    [InlineData("row", 6, "\"inputs[0].parameters.binary_data_size\" expects 4 for INT16 of shape [1, 2, 1], given 6")]
    [InlineData("mymodel", 16, "since the model has several inputs, given 0")]
    [InlineData("languages", 0, "\"inputs[0].data[0]\" expects text that is not empty")]
    public async Task A_raw_tensor_whose_shape_is_not_plain_is_refused(string model, int bytes, string expected)
    {
        using var response = await RawAsync(model, new byte[bytes]);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains(expected, Error(await response.JsonAsync()).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nobody_waits_longer_than_anybody_may()
    {
        await using var host = await IngestHost.StartAsync(("Ingest:ExpressWaitMax", "00:00:00.2"));
        using var content = new StringContent("""{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["a"]}]}""");
        var waiting = host.Client.PostAsync("/v2/models/words/infer", content);
        var chunk = await host.Scheduler.NextChunkAsync();

        using var response = await waiting.WaitAsync(Patience);
        var body = await response.JsonAsync();
        Assert.Equal((HttpStatusCode.GatewayTimeout, "deadline_passed"), (response.StatusCode, Error(body).Code));
        Assert.Equal(chunk.Job.ToString(), body.GetProperty("job").GetString());
        Assert.True(chunk.Deadline - chunk.QueuedAt <= TimeSpan.FromSeconds(0.2));
    }

    [Theory]
    [InlineData("-1")]
    [InlineData("13")]
    [InlineData("x")]
    public async Task A_length_of_the_json_that_cannot_be_is_refused(string length)
    {
        using var content = new ByteArrayContent("{\"inputs\":[]}"u8.ToArray()[..12]);
        content.Headers.Add(JsonLength, length);
        using var response = await Host.Client.PostAsync("/v2/models/languages/infer", content);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.StartsWith($"\"{JsonLength}\" expects 0 to 12", Error(await response.JsonAsync()).Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[2]", "[\"a\",\"\"]", "\"inputs[0].data[1]\" expects text that is not empty, given \"\"")]
    [InlineData("[1,1]", "[\"a\"]", "\"inputs[0].shape\" expects [any], given [1, 1]")]
    public async Task A_text_that_a_model_cannot_take_is_refused_where_it_stands(string shape, string data, string expected)
    {
        using var response = await InferAsync(
            "languages",
            $$"""{"inputs":[{"name":"text","datatype":"BYTES","shape":{{shape}},"data":{{data}}}]}"""
        );

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.StartsWith(expected, Error(await response.JsonAsync()).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task More_rows_than_a_request_may_have_are_refused_and_shown_the_way()
    {
        var texts = string.Join(',', Enumerable.Repeat("\"a\"", 2049));
        using var response = await InferAsync(
            "languages",
            $$"""{"inputs":[{"name":"text","datatype":"BYTES","shape":[2049],"data":[{{texts}}]}]}"""
        );

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal(
            "\"inputs[0].shape[0]\" expects 1 to 2048 rows; send more as a job, POST /v1/jobs, given 2049.",
            Error(await response.JsonAsync()).Error
        );
    }

    [Fact]
    public async Task A_body_that_is_too_large_is_refused()
    {
        using var response = await InferAsync("languages", new string(' ', 5 * 1024 * 1024));

        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, response.StatusCode);
        Assert.Equal("input_too_large", Error(await response.JsonAsync()).Code);
    }

    private static string Prioritised(int priority, int timeout) =>
        $$"""{"parameters":{"priority":{{priority}},"timeout":{{timeout}}},"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["a"]}]}""";

    /// <summary>What the protocol's reply to a failure says.</summary>
    private static (string Error, string Code) Error(JsonElement body) =>
        (body.GetProperty("error").GetString()!, body.GetProperty("code").GetString()!);

    private static void AssertJson(string expected, JsonElement given) =>
        Assert.True(JsonElement.DeepEquals(JsonElement.Parse(expected), given), $"Expected {expected}, given {given.GetRawText()}.");

    private async Task<HttpResponseMessage> InferAsync(string model, string json, byte[]? binary = null, string? key = null)
    {
        var head = Encoding.UTF8.GetBytes(json);
        using var content = new ByteArrayContent([.. head, .. binary ?? []]);
        content.Headers.ContentType = new MediaTypeHeaderValue(binary is null ? "application/json" : "application/octet-stream");
        if (binary is not null)
        {
            content.Headers.Add(JsonLength, $"{head.Length}");
        }

        using var request = new HttpRequestMessage(HttpMethod.Post, $"/v2/models/{model}/infer") { Content = content };
        if (key is not null)
        {
            request.Headers.Add("Idempotency-Key", key);
        }

        return await Host.Client.SendAsync(request);
    }

    private async Task<HttpResponseMessage> RawAsync(string model, byte[] tensor)
    {
        using var content = new ByteArrayContent(tensor);
        content.Headers.Add(JsonLength, "0");
        return await Host.Client.PostAsync($"/v2/models/{model}/infer", content);
    }

    private static async Task<JsonElement> AnswerAsync(HttpResponseMessage response)
    {
        var answer = await response.JsonAsync();
        Assert.True(response.IsSuccessStatusCode, answer.GetRawText());
        return answer;
    }

    private static async Task<(JsonElement Json, byte[] Binary)> BinaryAsync(HttpResponseMessage response)
    {
        var body = await response.Content.ReadAsByteArrayAsync();
        Assert.True(response.IsSuccessStatusCode, Encoding.UTF8.GetString(body));
        var length = int.Parse(response.Headers.GetValues(JsonLength).Single(), System.Globalization.CultureInfo.InvariantCulture);
        Assert.Equal(body.Length, response.Content.Headers.ContentLength);
        return (JsonElement.Parse(body.AsSpan(0, length)), body[length..]);
    }

    /// <summary>Runs the next chunk as a worker does; gives the tensors of its tasks.</summary>
    private async Task<List<IReadOnlyList<PackedTensor>>> WorkAsync(Func<byte[], (byte[] Output, string Type)> run)
    {
        var chunk = await Host.Scheduler.NextChunkAsync();
        var inputs = Inputs(chunk);
        await AnswerAsync(chunk, [.. inputs.Select(run)]);
        return [.. inputs.Select(input => PackedTensors.Read(input))];
    }

    private static List<byte[]> Inputs(ChunkSubmitted chunk)
    {
        using var payload = ChunkPayload.Read(chunk.Payload);
        return [.. Enumerable.Range(0, payload.Count).Select(i => payload.Input(i).ToArray())];
    }

    private static (byte[], string) Floats(string name, long[] shape, params float[] numbers)
    {
        var pack = new ArrayBufferWriter<byte>();
        PackedTensors.WriteCount(pack, 1);
        PackedTensors.WriteTensor(pack, name, TensorElementType.Float32, shape, MemoryMarshal.AsBytes<float>(numbers));
        return (pack.WrittenSpan.ToArray(), PackedTensors.ContentType);
    }

    private Task AnswerAsync(ChunkSubmitted chunk, params (byte[] Output, string Type)[] outputs) =>
        SendAsync(chunk, [.. outputs.Select((output, seq) => Answer(chunk, seq, output))]);

    private Task SendAsync(ChunkSubmitted chunk, params TaskAnswer[] answers) =>
        Host.Get<IBus>().Publish(new TaskAnswered { ReplyTo = chunk.ReplyTo!.Value, Answers = answers });

    private static TaskAnswer Answer(ChunkSubmitted chunk, int seq, (byte[] Bytes, string Type) output) =>
        new(chunk.Job, seq, $"{seq}", "succeeded", output.Bytes, output.Type, null, null, chunk.Model.ToString(), 1, 556, 100, 10, 10, 120);

    /// <summary>Says that two workers are free for the model.</summary>
    private void Forecast(string model) =>
        Host.Get<Forecasts>()
            .Take(
                new Forecast
                {
                    At = DateTimeOffset.UtcNow,
                    Pools = [new PoolForecast("default", new ModelRef(model, "1"), 2, [0, 0, 0], 0, 1_000_000, 1000) { ErrorBand = 0.1 }],
                }
            );

    /// <summary>With the models.</summary>
    public sealed class Door : IngestDoor
    {
        private protected override (string Key, string Value)[] Settings =>
            [("Ingest:AnswerLookAfter", "00:00:00.05"), ("Ingest:AnswerLookPauseMax", "00:00:00.20")];

        public override async ValueTask InitializeAsync()
        {
            await base.InitializeAsync();
            await OpenInferenceModels.AddAsync(Host);
        }
    }
}
