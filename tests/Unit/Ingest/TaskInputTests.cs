using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Ingest.Tasks;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

/// <summary>Inputs of every element type and form, as the door stores them, and as it refuses them.</summary>
public sealed class TaskInputTests
{
    [Theory]
    [InlineData("float32", "[1.5,-2]", "0000C03F000000C0")]
    [InlineData("float64", "[1.5]", "000000000000F83F")]
    [InlineData("float16", "[1.5,65504]", "003EFF7B")]
    [InlineData("bfloat16", "[1.5,1.00390625]", "C03F803F")] // the second lies half way and is rounded to even
    [InlineData("int8", "[-1,127]", "FF7F")]
    [InlineData("uint8", "[0,255]", "00FF")]
    [InlineData("int16", "[-2]", "FEFF")]
    [InlineData("uint16", "[65535]", "FFFF")]
    [InlineData("int32", "[-2147483648]", "00000080")]
    [InlineData("uint32", "[4294967295]", "FFFFFFFF")]
    [InlineData("int64", "[9223372036854775807]", "FFFFFFFFFFFFFF7F")]
    [InlineData("uint64", "[18446744073709551615]", "FFFFFFFFFFFFFFFF")]
    [InlineData("bool", "[true,false]", "0100")]
    [InlineData("string", "[\"a\\u00e9\",\"\"]", "0361C3A900")]
    public void Elements_are_stored_little_endian(string type, string input, string expected)
    {
        var (stored, _, mistake) = Read(Tensors(("x", type, 0, [-1, -1])), input);
        Assert.Null(mistake);
        Assert.Equal(expected, Convert.ToHexString(PackedTensors.Read(stored)[0].Data.Span));
    }

    [Theory]
    [InlineData("int8", "[128]", "input[0] expects a whole number of type int8, given the number 128")]
    [InlineData("uint8", "[-1]", "input[0] expects a whole number of type uint8, given the number -1")]
    [InlineData("int64", "[1,1.5]", "input[1] expects a whole number of type int64, given the number 1.5")]
    [InlineData("int32", "[[1],2]", "input[1] expects arrays nested equally deep, given the number 2")]
    [InlineData("int32", "[1,[2]]", "input[1] expects a whole number of type int32, given an array")]
    [InlineData("float16", "[65520]", "input[0] expects a finite float16 number, given the number 65520")]
    [InlineData("bfloat16", "[3.4e38]", "input[0] expects a finite bfloat16 number, given the number 3.4e38")]
    [InlineData("float64", "[1e400]", "input[0] expects a finite float64 number, given the number 1e400")]
    [InlineData("bool", "[1]", "input[0] expects true or false, given the number 1")]
    [InlineData("string", "[1]", "input[0] expects a string whose surrogates come in pairs, given the number 1")]
    [InlineData("complex64", "[1]", "input expects complex64 elements in data_base64, given JSON")]
    [InlineData(
        "float32",
        "{\"data\":[1],\"data_base64\":\"\"}",
        "input.data_base64 expects shape with either data or data_base64, each once, given a field of that name"
    )]
    [InlineData("string", "{\"data_base64\":\"AAAA\"}", "input.data_base64 expects strings in data, given base64")]
    [InlineData("bool", "{\"data_base64\":\"AAI=\"}", "input.data_base64[1] expects true or false, given the bytes 02")]
    [InlineData("float32", "{\"shape\":[1]}", "input.data expects float32 of shape [any], given nothing")]
    [InlineData("float32", "{\"shape\":[0],\"data\":[]}", "input.shape expects [any], given [0]")]
    [InlineData("float32", "{\"shape\":7,\"data\":[]}", "input.shape expects an array of whole numbers, given the number 7")]
    [InlineData("float32", "{\"shape\":[2,2],\"data\":[1,2,3,4]}", "input.shape expects [any], given [2, 2]")]
    [InlineData("float32", "null", "input expects a finite float32 number, given null")]
    public void What_does_not_fit_is_refused_where_it_stands(string type, string input, string expected)
    {
        var (_, _, mistake) = Read(Tensors(("x", type, 0, [-1, -1])), input);
        Assert.Equal(expected, mistake);
    }

    [Fact]
    public void Several_inputs_come_by_name_and_a_shared_one_counts_no_units()
    {
        var manifest = Tensors(("input", "float32", 0, [-1, -1]), ("state", "float32", 1, [2, -1, 3]), ("sr", "int64", null, []));
        var (stored, units, mistake) = Read(manifest, """{"sr":16000,"state":[[0,0,0],[0,0,0]],"input":{"shape":[4],"data":[1,2,3,4]}}""");

        Assert.Null(mistake);
        Assert.Equal(["sr", "state", "input"], PackedTensors.Read(stored).Select(t => t.Name));
        Assert.Empty(PackedTensors.Read(stored)[0].Shape);
        Assert.Equal([2, 3], PackedTensors.Read(stored)[1].Shape);
        Assert.Equal(10, units);

        Assert.Equal(
            "input.sr expects int64 of shape [], given nothing",
            Read(manifest, """{"state":[[0,0,0],[0,0,0]],"input":[1]}""").Mistake
        );
        Assert.Equal(
            "input.sr expects the inputs \"input\", \"state\", \"sr\", each once, given twice",
            Read(manifest, """{"sr":1,"sr":1}""").Mistake
        );
        Assert.Equal("input expects an object with the inputs \"input\", \"state\", \"sr\", given an array", Read(manifest, "[1]").Mistake);
        Assert.Equal("input.sr expects the shape [], given [2]", Read(manifest, """{"sr":[1,2]}""").Mistake);
    }

    [Fact]
    public void A_flat_run_is_folded_where_one_shape_is_possible()
    {
        var image = Tensors(("x", "uint8", 0, [-1, 3, 2, 2]));
        Assert.Equal([3, 2, 2], PackedTensors.Read(Read(image, "[1,2,3,4,5,6,7,8,9,10,11,12]").Stored)[0].Shape);
        Assert.Equal("input expects the shape [3, 2, 2], given [11]", Read(image, "[1,2,3,4,5,6,7,8,9,10,11]").Mistake);

        var open = Tensors(("x", "uint8", 0, [-1, -1, -1]));
        Assert.Equal("input expects the shape [any, any], given [4]", Read(open, "[1,2,3,4]").Mistake);
        Assert.Equal([2, 2], PackedTensors.Read(Read(open, "[[1,2],[3,4]]").Stored)[0].Shape);
    }

    [Fact]
    public void An_input_may_be_called_as_a_field_of_a_tensor_is()
    {
        var (stored, _, mistake) = Read(Tensors(("data", "int32", 0, [-1, -1])), """{"data":[1,2]}""");
        Assert.Null(mistake);
        Assert.Equal("data", PackedTensors.Read(stored)[0].Name);
    }

    [Theory]
    [InlineData(TokenizerType.Bytes, "", 1)]
    [InlineData(TokenizerType.Bytes, "héllo", 6)]
    [InlineData(TokenizerType.Bytes, "longer than ten", 10)]
    [InlineData(TokenizerType.WordPiece, "", 2)]
    [InlineData(TokenizerType.WordPiece, "twelve bytes", 5)]
    [InlineData(TokenizerType.WordPiece, "a text of many more bytes than ten pieces have", 10)]
    public void Units_of_a_text_are_estimated_at_the_door(TokenizerType tokenizer, string text, int expected)
    {
        var manifest = Manifest(ModelKind.Text, []) with
        {
            Tokenizer = new TokenizerSpec { Type = tokenizer, MaxLength = 10 },
        };
        var (stored, units, mistake) = Read(manifest, JsonSerializer.Serialize(text));

        Assert.Null(mistake);
        Assert.Equal(expected, units);
        Assert.Equal(text, Encoding.UTF8.GetString(stored));
    }

    private static (byte[] Stored, int Units, string? Mistake) Read(ModelManifest manifest, string json)
    {
        var mistakes = new Mistakes(10);
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(json));
        reader.Read();
        var read = TaskInput.For(manifest, 1 << 20).TryRead(ref reader, new TaskPlace(1), mistakes, out var stored, out var units);
        Assert.Equal(read, !mistakes.Any);
        var first = mistakes.Kept.Count > 0 ? mistakes.Kept[0] : null;
        return (read ? stored.ToArray() : [], units, first is null ? null : $"{first.Field} expects {first.Expected}, given {first.Given}");
    }

    private static ModelManifest Tensors(params (string Name, string Type, int? BatchAxis, long[] Shape)[] inputs) =>
        Manifest(
            ModelKind.Tensor,
            inputs.ToDictionary(
                i => i.Name,
                i => new TensorSpec
                {
                    Type = i.Type,
                    BatchAxis = i.BatchAxis,
                    Shape = i.Shape,
                }
            )
        );

    private static ModelManifest Manifest(ModelKind kind, Dictionary<string, TensorSpec> inputs) =>
        new()
        {
            Name = "m",
            Version = "1",
            File = "model.onnx",
            Sha256 = "",
            Kind = kind,
            Inputs = inputs,
            Outputs = new Dictionary<string, TensorSpec>(),
        };
}
