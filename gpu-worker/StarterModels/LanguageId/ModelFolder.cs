using System.Security.Cryptography;
using System.Text;

namespace Pipeline.StarterModels.LanguageId;

/// <summary>A model as it ships: the ONNX file, its labels, and the manifest that describes them.</summary>
internal static class ModelFolder
{
    /// <summary>The folder's files by name, with the bytes they must have.</summary>
    public static IReadOnlyDictionary<string, byte[]> Files(LanguageIdModel model)
    {
        var onnx = LanguageIdGraph.Build(model);
        return new Dictionary<string, byte[]>
        {
            ["model.onnx"] = onnx,
            ["labels.txt"] = Encoding.UTF8.GetBytes(string.Join('\n', model.Languages) + "\n"),
            ["model.json"] = Encoding.UTF8.GetBytes(Manifest(model.Spec.Name, onnx)),
        };
    }

    public static void Write(string folder, IReadOnlyDictionary<string, byte[]> files)
    {
        Directory.CreateDirectory(folder);
        foreach (var (name, bytes) in files)
            File.WriteAllBytes(Path.Combine(folder, name), bytes);
    }

    /// <summary>Names of the files in <paramref name="folder"/> that are missing or differ.</summary>
    public static IReadOnlyList<string> Differences(string folder, IReadOnlyDictionary<string, byte[]> files) =>
        [
            .. files
                .Where(file => !IsSame(Path.Combine(folder, file.Key), file.Value))
                .Select(file => file.Key)
                .Order(StringComparer.Ordinal),
        ];

    private static bool IsSame(string path, byte[] bytes) => File.Exists(path) && File.ReadAllBytes(path).AsSpan().SequenceEqual(bytes);

    private static string Manifest(string name, byte[] onnx) =>
        $$"""
            {
              "name": "{{name}}", "version": "1.0.0", "file": "model.onnx",
              "sha256": "{{Convert.ToHexStringLower(SHA256.HashData(onnx))}}",
              "kind": "text",
              "tokenizer": { "type": "bytes", "max_length": 512 },
              "inputs": { "{{LanguageIdGraph.Input}}": { "batch_axis": 0 } },
              "outputs": { "{{LanguageIdGraph.Output}}": { "batch_axis": 0 } },
              "result": { "type": "labels", "from": "{{LanguageIdGraph.Output}}", "labels": "labels.txt", "top_k": 3 },
              "limits": { "batch_rows_max": 512, "padded_units_max": 65536 }
            }

            """;
}
