using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

public sealed class ModelManifestTests
{
    private const string Complete = """
        {
          "name": "language-id", "version": "1.0.0", "file": "model.onnx", "sha256": "00ff",
          "kind": "text", // comments are allowed
          "tokenizer": { "type": "bytes", "max_length": 512 },
          "inputs":  { "bytes": { "batch_axis": 0 } },
          "outputs": { "probabilities": { "batch_axis": 0 } },
          "result":  { "type": "labels", "from": "probabilities", "labels": "labels.txt", "top_k": 3 },
          "limits":  { "batch_rows_max": 512, "padded_units_max": 65536 },
        }
        """;

    [Fact]
    public void The_manifest_of_the_design_is_read()
    {
        var manifest = Parse(Complete);

        Assert.Equal(new ModelRef("language-id", "1.0.0"), manifest.Ref);
        Assert.Equal((ModelKind.Text, TokenizerType.Bytes, 512), (manifest.Kind, manifest.Tokenizer!.Type, manifest.Tokenizer.MaxLength));
        Assert.Equal(0, manifest.Inputs["bytes"].BatchAxis);
        Assert.Equal((ResultType.Labels, "labels.txt", 3), (manifest.Result.Type, manifest.Result.Labels, manifest.Result.TopK));
        Assert.Equal((512, 65_536L), (manifest.Limits.BatchRowsMax, manifest.Limits.PaddedUnitsMax));
    }

    [Fact]
    public void What_was_written_reads_back_the_same()
    {
        var json = Parse(Complete).ToJson();

        Assert.Equal(json, Parse(json).ToJson());
        Assert.Contains("\"batch_axis\": 0", json, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_absent_has_its_default()
    {
        var manifest = Parse(
            """{"name":"m","version":"1","file":"m.onnx","sha256":"","kind":"tensor","inputs":{"x":{"batch_axis":null}},"outputs":{}}"""
        );

        Assert.Null(manifest.Inputs["x"].BatchAxis);
        Assert.Equal(ResultType.Raw, manifest.Result.Type);
        Assert.Equal(new LimitSpec(), manifest.Limits);
    }

    [Theory]
    [InlineData("\"kind\": \"text\"", "\"kind\": \"audio\"", "kind")]
    [InlineData("\"name\": \"language-id\", ", "", "name")]
    [InlineData("\"max_length\": 512", "\"max_length\": \"long\"", "max_length")]
    [InlineData("\"batch_rows_max\"", "\"batch_row_max\"", "batch_row_max")]
    [InlineData("\"type\": \"bytes\"", "\"type\": \"sentencepiece\"", "type")]
    public void A_mistake_is_told_by_the_name_of_its_field(string right, string wrong, string field)
    {
        var text = Complete.Replace(right, wrong, StringComparison.Ordinal);
        Assert.NotEqual(Complete, text);

        Assert.Contains(field, Assert.Throws<JsonException>(() => Parse(text)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{")]
    [InlineData("")]
    public void What_is_no_JSON_object_is_refused(string text) => Assert.Throws<JsonException>(() => Parse(text));

    [Fact]
    public void A_tasks_shape_is_the_graphs_without_the_batch_axis()
    {
        Assert.Equal([-1, 8], new TensorSpec { BatchAxis = 1, Shape = [-1, 4, 8] }.TaskShape());
        Assert.Equal([2, 3], new TensorSpec { BatchAxis = null, Shape = [2, 3] }.TaskShape());
        Assert.Throws<InvalidOperationException>(() => new TensorSpec { BatchAxis = 0 }.TaskShape());
    }

    private static ModelManifest Parse(string json) => ModelManifest.Parse(Encoding.UTF8.GetBytes(json));
}
