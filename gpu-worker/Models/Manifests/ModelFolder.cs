using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Models.Manifests;

/// <summary>
/// A model version as files: the manifest, the model and what the manifest names beside it, read and checked as far as they can be
/// without opening the graph.
/// </summary>
/// <param name="Manifest">As its owner wrote it; <see cref="ManifestCheck.Complete"/> completes it from the graph.</param>
/// <param name="Labels">Lines of the labels file; empty where the result needs none.</param>
/// <param name="Vocabulary">Lines of the vocabulary, the line's number being the token's id; empty where the tokenizer needs none.</param>
internal sealed partial record ModelFolder(
    string Directory,
    ModelManifest Manifest,
    IReadOnlyList<string> Labels,
    IReadOnlyList<string> Vocabulary
)
{
    public const string ManifestFile = "model.json";

    /// <summary>Throws on bytes that are not UTF-8 instead of replacing them.</summary>
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public string ModelPath => Path.Combine(Directory, Manifest.File);

    public string ManifestPath => Path.Combine(Directory, ManifestFile);

    /// <summary>Where a version lives among the registered models.</summary>
    public static string PathOf(string modelsFolder, ModelRef model) => Path.Combine(modelsFolder, model.Name, model.Version);

    /// <summary>True for a name or version that can be a folder's name and a word of a routing key.</summary>
    public static bool IsName(string text) => Name().IsMatch(text);

    /// <summary>SHA-256 of a file, lower-case hex.</summary>
    public static string Sha256(string path)
    {
        using var stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    /// <exception cref="InvalidModelException">A file is missing or damaged, or the manifest contradicts itself.</exception>
    public static ModelFolder Read(string directory)
    {
        var manifest = ReadManifest(directory);
        var mistakes = new List<ModelMistake>();
        CheckWords(manifest, mistakes);
        CheckModelFile(directory, manifest, mistakes);
        var labels = ReadLines(directory, "result.labels", manifest.Result.Labels, mistakes);
        var vocabulary = ReadLines(directory, "tokenizer.vocab", manifest.Tokenizer?.Vocab, mistakes);
        return mistakes.Count == 0 ? new ModelFolder(directory, manifest, labels, vocabulary) : throw new InvalidModelException(mistakes);
    }

    private static ModelManifest ReadManifest(string directory)
    {
        var path = Path.Combine(directory, ManifestFile);
        if (!File.Exists(path))
            throw new InvalidModelException(new ModelMistake(ManifestFile, "", $"the file in {directory}", "no such file"));
        try
        {
            ReadOnlySpan<byte> text = File.ReadAllBytes(path);
            return ModelManifest.Parse(text.StartsWith("\uFEFF"u8) ? text[3..] : text);
        }
        catch (JsonException failure)
        {
            var field = failure.Path is { Length: > 2 } place ? place[2..] : "";
            throw new InvalidModelException(new ModelMistake(ManifestFile, field, "a model's manifest", failure.Message), failure);
        }
    }

    private static void CheckWords(ModelManifest manifest, List<ModelMistake> mistakes)
    {
        Expect(IsName(manifest.Name), "name", "1 to 100 of A-Z a-z 0-9 . _ -, a letter or digit first", manifest.Name);
        Expect(IsName(manifest.Version), "version", "1 to 100 of A-Z a-z 0-9 . _ -, a letter or digit first", manifest.Version);
        Expect(manifest.Inputs.Count > 0, "inputs", "at least one", "none");
        Expect(manifest.Outputs.Count > 0, "outputs", "at least one", "none");
        Expect(manifest.Limits.BatchRowsMax is >= 1 and <= 65_536, "limits.batch_rows_max", "1 to 65536", manifest.Limits.BatchRowsMax);
        Expect(manifest.Limits.PaddedUnitsMax >= 1, "limits.padded_units_max", "1 or more", manifest.Limits.PaddedUnitsMax);
        Expect(manifest.Limits.InputBytesMax >= 1, "limits.input_bytes_max", "1 or more", manifest.Limits.InputBytesMax);
        Expect(manifest.Result.TopK >= 1, "result.top_k", "1 or more", manifest.Result.TopK);
        Expect(
            manifest.Result.Type != ResultType.Labels || manifest.Result.Labels is not null,
            "result.labels",
            "the labels' file",
            "none"
        );
        Expect(
            manifest.Result.From is not { } from || manifest.Outputs.ContainsKey(from),
            "result.from",
            $"one of the outputs {string.Join(", ", manifest.Outputs.Keys)}",
            manifest.Result.From
        );
        if (manifest.Kind == ModelKind.Tensor)
        {
            Expect(manifest.Tokenizer is null, "tokenizer", "none, as the kind is tensor", "one");
        }
        else if (manifest.Tokenizer is not { } tokenizer)
        {
            Expect(false, "tokenizer", "one, as the kind is text", "none");
        }
        else
        {
            var wordPiece = tokenizer.Type == TokenizerType.WordPiece;
            var least = wordPiece ? 2 : 1;
            Expect(tokenizer.MaxLength >= least, "tokenizer.max_length", $"{least} or more", tokenizer.MaxLength);
            Expect(!wordPiece || tokenizer.Vocab is not null, "tokenizer.vocab", "the vocabulary's file", "none");
        }

        void Expect(bool holds, string field, string expected, object? given)
        {
            if (!holds)
                mistakes.Add(new ModelMistake(ManifestFile, field, expected, given is string text ? $"\"{text}\"" : $"{given}"));
        }
    }

    private static void CheckModelFile(string directory, ModelManifest manifest, List<ModelMistake> mistakes)
    {
        if (!IsThere(directory, "file", manifest.File, mistakes))
            return;
        var sha256 = Sha256(Path.Combine(directory, manifest.File));
        if (!sha256.Equals(manifest.Sha256, StringComparison.OrdinalIgnoreCase))
            mistakes.Add(new ModelMistake(ManifestFile, "sha256", $"{sha256}, as {manifest.File} has", $"\"{manifest.Sha256}\""));
    }

    private static string[] ReadLines(string directory, string field, string? name, List<ModelMistake> mistakes)
    {
        if (name is null || !IsThere(directory, field, name, mistakes))
            return [];
        try
        {
            var lines = StrictUtf8.GetString(File.ReadAllBytes(Path.Combine(directory, name))).TrimStart('\uFEFF').Split('\n');
            for (var i = 0; i < lines.Length; i++)
                lines[i] = lines[i].TrimEnd('\r');
            return lines[^1].Length == 0 ? lines[..^1] : lines;
        }
        catch (DecoderFallbackException failure)
        {
            mistakes.Add(new ModelMistake(name, "", "UTF-8 text, one entry a line", failure.Message));
            return [];
        }
    }

    /// <summary>A file beside the manifest; a path that leads elsewhere is none.</summary>
    private static bool IsThere(string directory, string field, string name, List<ModelMistake> mistakes)
    {
        if (name.Length == 0 || Path.GetFileName(name) != name)
            mistakes.Add(new ModelMistake(ManifestFile, field, "the name of a file beside the manifest", $"\"{name}\""));
        else if (!File.Exists(Path.Combine(directory, name)))
            mistakes.Add(new ModelMistake(ManifestFile, field, $"a file beside the manifest", $"\"{name}\", which is not there"));
        else
            return true;
        return false;
    }

    [GeneratedRegex(@"\A[A-Za-z0-9][A-Za-z0-9._-]{0,99}\z")]
    private static partial Regex Name();
}
