using System.Buffers;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Ingest;
using Pipeline.Ingest.OpenInference;
using Pipeline.Ingest.Tasks;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

/// <summary>Tensors of the Open Inference Protocol, as JSON and as binary data, cut into tasks and stacked again.</summary>
public sealed class OpenInferenceTests
{
    [Theory]
    [InlineData("bool", "BOOL", "[true,false,false,true]", "01000001")]
    [InlineData("uint8", "UINT8", "[0,255,7,1]", "00FF0701")]
    [InlineData("uint16", "UINT16", "[0,65535,7,1]", "0000FFFF07000100")]
    [InlineData("uint32", "UINT32", "[0,4294967295,7,1]", "00000000FFFFFFFF0700000001000000")]
    [InlineData("uint64", "UINT64", "[0,18446744073709551615,7,1]", "0000000000000000FFFFFFFFFFFFFFFF07000000000000000100000000000000")]
    [InlineData("int8", "INT8", "[-128,127,-1,0]", "807FFF00")]
    [InlineData("int16", "INT16", "[-32768,32767,-1,0]", "0080FF7FFFFF0000")]
    [InlineData("int32", "INT32", "[-2147483648,2147483647,-1,0]", "00000080FFFFFF7FFFFFFFFF00000000")]
    [InlineData("int64", "INT64", "[-9223372036854775808,1,-1,0]", "00000000000000800100000000000000FFFFFFFFFFFFFFFF0000000000000000")]
    [InlineData("float16", "FP16", "[1.5,-2,65504,0]", "003E00C0FF7B0000")]
    [InlineData("bfloat16", "BF16", "[1.5,-2,1,0]", "C03F00C0803F0000")]
    [InlineData("float32", "FP32", "[1.5,-2,0.1,0]", "0000C03F000000C0CDCCCC3D00000000")]
    [InlineData("float64", "FP64", "[1.5,-2,0.1,0]", "000000000000F83F00000000000000C09A9999999999B93F0000000000000000")]
    [InlineData("string", "BYTES", "[\"a\",\"\",\"grüß\",\"\\n\"]", "010000006100000000060000006772C3BCC39F010000000A")]
    public void Every_datatype_is_the_same_flat_nested_and_binary_and_comes_back(string type, string datatype, string flat, string binary)
    {
        var model = Tensors(("x", type, 0, [-1, 2]));
        var elements = JsonElement.Parse(flat).EnumerateArray().Select(e => e.GetRawText()).ToArray();
        var nested = $"[[{elements[0]},{elements[1]}],[{elements[2]},{elements[3]}]]";
        var bytes = Convert.FromHexString(binary);

        foreach (var rows in new[] { Json(model, datatype, flat), Json(model, datatype, nested), Binary(model, datatype, bytes) })
        {
            Assert.Equal(2, rows.Length);
            Assert.All(rows, row => Assert.Equal([2], row.Shape));
            var stacked = new ArrayBufferWriter<byte>();
            Elements.Stack(stacked, rows, batchAxis: 0);
            var tensor = new PackedTensor("x", rows[0].Type, [2, 2], stacked.WrittenMemory);
            var back = new ArrayBufferWriter<byte>();
            Elements.WriteBinary(back, tensor);
            Assert.Equal(binary, Convert.ToHexString(back.WrittenSpan));
            Assert.True(JsonElement.DeepEquals(JsonElement.Parse(flat), Shown(tensor)), Shown(tensor).GetRawText());
        }
    }

    [Fact]
    public void Every_element_type_has_a_name_of_its_own()
    {
        var types = Enum.GetValues<TensorElementType>().Where(type => type != TensorElementType.Undefined).ToArray();

        Assert.Equal(types.Length, types.Select(Datatypes.Datatype).Distinct().Count());
        Assert.Equal("FP16", TensorElementType.Float16.Datatype());
        Assert.Equal("UINT8", TensorElementType.UInt8.Datatype());
    }

    [Fact]
    public void Rows_are_cut_and_stacked_along_any_axis()
    {
        byte[] batch = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
        var elements = new Elements(TensorElementType.UInt8, 12, batch);
        var rows = Enumerable
            .Range(0, 3)
            .Select(row =>
            {
                var cut = new ArrayBufferWriter<byte>();
                elements.CopyRow(cut, [2, 2, 3], 2, row);
                return new PackedTensor("x", TensorElementType.UInt8, [2, 2], cut.WrittenMemory);
            })
            .ToArray();

        Assert.Equal([1, 4, 7, 10], rows[1].Data.ToArray());
        var stacked = new ArrayBufferWriter<byte>();
        Elements.Stack(stacked, rows, batchAxis: 2);
        Assert.Equal(batch, stacked.WrittenSpan.ToArray());
    }

    [Theory]
    [InlineData("float32", "FP32", "0000C07F", "inputs[0].data[0] expects a finite float32 number, given the bytes 0000C07F")]
    [InlineData("bool", "BOOL", "02", "inputs[0].data[0] expects true or false, given the bytes 02")]
    [InlineData("string", "BYTES", "01000000FF", "inputs[0].data[0] expects UTF-8, given the bytes FF")]
    [InlineData(
        "string",
        "BYTES",
        "FFFFFFFF41",
        "inputs[0].data[0] expects 4294967295 bytes, as its length says, given 1 bytes at the end"
    )]
    [InlineData("string", "BYTES", "0000000000", "inputs[0].data[1] expects four bytes of length, given 1 bytes at the end")]
    [InlineData("string", "BYTES", "0000000000000000", "inputs[0].data expects 1 elements for the shape [1, 1], given 2 elements")]
    public void Binary_data_is_checked_as_json_is(string type, string datatype, string binary, string expected)
    {
        var mistakes = new Mistakes(10);
        ReadBinary(Tensors(("x", type, 0, [-1, 1])), datatype, "[1,1]", Convert.FromHexString(binary), mistakes);

        var mistake = Assert.Single(mistakes.Kept);
        Assert.Equal(expected, $"{mistake.Field} expects {mistake.Expected}, given {mistake.Given}");
    }

    [Fact]
    public void Sizes_beyond_all_memory_are_refused()
    {
        var mistakes = new Mistakes(10);
        const string Shape = "[64,2147483647,2147483647,2147483647]";
        ReadBinary(Tensors(("x", "float64", 0, [-1, -1, -1, -1])), "FP64", Shape, [0, 0, 0, 0, 0, 0, 0, 0], mistakes);

        Assert.Equal("inputs[0].parameters.binary_data_size", Assert.Single(mistakes.Kept).Field);
    }

    [Fact]
    public void Batched_inputs_have_the_same_rows()
    {
        var mistakes = new Mistakes(10);
        Read(
            Tensors(("x", "int8", 0, [-1, 1]), ("y", "int8", 1, [1, -1])),
            """{"inputs":[{"name":"x","datatype":"INT8","shape":[2,1],"data":[1,2]},{"name":"y","datatype":"INT8","shape":[1,3],"data":[1,2,3]}]}""",
            [],
            mistakes
        );

        var mistake = Assert.Single(mistakes.Kept);
        Assert.Equal(("inputs[1].shape[1]", "2 rows, as the other inputs have", "3"), (mistake.Field, mistake.Expected, mistake.Given));
    }

    private static PackedTensor[] Json(ModelManifest model, string datatype, string data)
    {
        var mistakes = new Mistakes(10);
        var json = $$"""{"inputs":[{"name":"x","datatype":"{{datatype}}","shape":[2,2],"data":{{data}} }]}""";
        return Read(model, json, [], mistakes);
    }

    private static PackedTensor[] Binary(ModelManifest model, string datatype, byte[] data) =>
        ReadBinary(model, datatype, "[2,2]", data, new Mistakes(10));

    private static PackedTensor[] ReadBinary(ModelManifest model, string datatype, string shape, byte[] data, Mistakes mistakes) =>
        Read(
            model,
            $$"""{"inputs":[{"name":"x","datatype":"{{datatype}}","shape":{{shape}},"parameters":{"binary_data_size":{{data.Length}} } }]}""",
            data,
            mistakes
        );

    [Theory]
    [InlineData("\"run-1\"", "run-1", null)]
    [InlineData("null", null, null)]
    [InlineData("\"a b\"", null, "parameters.group")]
    [InlineData("7", null, "parameters.group")]
    public void A_request_may_name_the_group_its_rows_belong_to(string group, string? read, string? mistake)
    {
        var mistakes = new Mistakes(5);
        var json = Encoding.UTF8.GetBytes($$"""{"parameters":{"group":{{group}} },"inputs":[]}""");

        Assert.Equal(read, InferenceRequest.Read(json, json.Length, mistakes).Group);
        Assert.Equal(mistake, mistakes.Any ? mistakes.Kept[0].Field : null);
    }

    /// <summary>The only tensor of each task; none when there are mistakes.</summary>
    private static PackedTensor[] Read(ModelManifest model, string json, byte[] binary, Mistakes mistakes)
    {
        var text = Encoding.UTF8.GetBytes(json);
        byte[] body = [.. text, .. binary];
        var request = InferenceRequest.Read(body, text.Length, mistakes);
        var tasks = new InferenceInputs(model, ModelTensors.Of(model), new IngestOptions(), mistakes).Read(request, body);
        if (mistakes.Any)
        {
            return [];
        }

        using var chunk = ChunkPayload.Read(Assert.Single(tasks.Finish()).Payload);
        return [.. Enumerable.Range(0, chunk.Count).Select(i => PackedTensors.Read(chunk.Input(i).ToArray()).Single())];
    }

    private static JsonElement Shown(PackedTensor tensor)
    {
        var to = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(to))
        {
            json.WriteStartArray();
            PackedTensors.WriteElements(json, tensor);
            json.WriteEndArray();
        }

        return JsonElement.Parse(to.WrittenSpan);
    }

    private static ModelManifest Tensors(params (string Name, string Type, int? Axis, long[] Shape)[] tensors)
    {
        var specs = tensors.ToDictionary(
            t => t.Name,
            t => new TensorSpec
            {
                BatchAxis = t.Axis,
                Type = t.Type,
                Shape = t.Shape,
            }
        );
        return new ModelManifest
        {
            Name = "m",
            Version = "1",
            File = "model.onnx",
            Sha256 = "",
            Kind = ModelKind.Tensor,
            Inputs = specs,
            Outputs = specs,
        };
    }
}
