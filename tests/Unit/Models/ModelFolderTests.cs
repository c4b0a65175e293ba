using System.Security.Cryptography;
using System.Text;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.Models.Manifests;
using Xunit;

namespace Pipeline.Tests.Unit.Models;

public sealed class ModelFolderTests : IDisposable
{
    private static readonly byte[] Model = "not a graph, but a file"u8.ToArray();
    private static readonly string Sha256 = Convert.ToHexStringLower(SHA256.HashData(Model));

    private readonly string _directory = Directory.CreateTempSubdirectory("pipeline-folder-").FullName;

    public ModelFolderTests() => File.WriteAllBytes(Path.Combine(_directory, "model.onnx"), Model);

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void Reads_the_manifest_and_the_lines_beside_it()
    {
        Write(Manifest(result: """{ "type": "labels", "labels": "labels.txt" }"""));
        File.WriteAllText(Path.Combine(_directory, "labels.txt"), "de\r\nen\n");

        var folder = ModelFolder.Read(_directory);

        Assert.Equal("m@1.0.0", folder.Manifest.Ref.ToString());
        Assert.Equal(["de", "en"], folder.Labels);
        Assert.Empty(folder.Vocabulary);
    }

    [Fact]
    public void Refuses_a_folder_without_a_manifest() =>
        AssertRefused($"model.json: expected the file in {_directory}, given no such file.");

    [Fact]
    public void Refuses_a_field_it_does_not_know()
    {
        Write(Manifest().Replace("\"kind\"", "\"tokeniser\": 1, \"kind\"", StringComparison.Ordinal));

        Assert.Contains("tokeniser", Refused(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("null")]
    [InlineData("""{ "name": "m" }""")]
    public void Refuses_what_is_no_manifest(string text)
    {
        Write(text);

        Assert.StartsWith("model.json: ", Refused(), StringComparison.Ordinal);
    }

    [Fact]
    public void Refuses_a_model_file_that_is_not_there()
    {
        Write(Manifest(file: "other.onnx"));

        AssertRefused("model.json: file: expected a file beside the manifest, given \"other.onnx\", which is not there.");
    }

    [Theory]
    [InlineData("../model.onnx")]
    [InlineData("/etc/passwd")]
    [InlineData("")]
    public void Refuses_a_file_that_is_not_beside_the_manifest(string file)
    {
        Write(Manifest(file: file));

        AssertRefused($"model.json: file: expected the name of a file beside the manifest, given \"{file}\".");
    }

    [Fact]
    public void Refuses_another_checksum()
    {
        Write(Manifest(sha256: "00ff"));

        AssertRefused($"model.json: sha256: expected {Sha256}, as model.onnx has, given \"00ff\".");
    }

    [Fact]
    public void Refuses_labels_that_are_not_there()
    {
        Write(Manifest(result: """{ "type": "labels", "labels": "labels.txt" }"""));

        AssertRefused("model.json: result.labels: expected a file beside the manifest, given \"labels.txt\", which is not there.");
    }

    [Fact]
    public void Refuses_labels_that_are_no_text()
    {
        Write(Manifest(result: """{ "type": "labels", "labels": "labels.txt" }"""));
        File.WriteAllBytes(Path.Combine(_directory, "labels.txt"), [0xFF, 0xFE]);

        Assert.StartsWith("labels.txt: expected UTF-8 text, one entry a line, given ", Refused(), StringComparison.Ordinal);
    }

    [Fact]
    public void Tells_every_mistake_at_once()
    {
        Write(
            Manifest(name: "a/b", result: """{ "type": "labels", "top_k": 0, "from": "z" }""")
                .Replace("\"kind\": \"tensor\"", "\"kind\": \"text\"", StringComparison.Ordinal)
        );

        AssertRefused(
            "model.json: name: expected 1 to 100 of A-Z a-z 0-9 . _ -, a letter or digit first, given \"a/b\".",
            "model.json: result.top_k: expected 1 or more, given 0.",
            "model.json: result.labels: expected the labels' file, given \"none\".",
            "model.json: result.from: expected one of the outputs y, given \"z\".",
            "model.json: tokenizer: expected one, as the kind is text, given \"none\"."
        );
    }

    private void Write(string manifest) => File.WriteAllText(Path.Combine(_directory, "model.json"), manifest, Encoding.UTF8);

    private static string Manifest(string name = "m", string file = "model.onnx", string? sha256 = null, string result = "{}") =>
        $$"""
            {
              "name": "{{name}}", "version": "1.0.0", "file": "{{file}}", "sha256": "{{sha256 ?? Sha256}}", "kind": "tensor",
              "inputs": { "x": { "batch_axis": 0 } }, "outputs": { "y": { "batch_axis": 0 } },
              "result": {{result}}
            }
            """;

    private string Refused() => Assert.Throws<InvalidModelException>(() => ModelFolder.Read(_directory)).Message;

    private void AssertRefused(params string[] mistakes) => Assert.Equal(string.Join(Environment.NewLine, mistakes), Refused());
}
