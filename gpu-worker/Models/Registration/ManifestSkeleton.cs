using System.Text.RegularExpressions;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.GpuWorker.OnnxRuntime;
using SessionOptions = Pipeline.GpuWorker.OnnxRuntime.SessionOptions;

namespace Pipeline.GpuWorker.Models.Registration;

/// <summary>Writes a first manifest from a graph, for its owner to complete: what the graph tells, and a guess at the batch axes.</summary>
internal static partial class ManifestSkeleton
{
    /// <summary>Writes <c>model.json</c> beside a model.</summary>
    /// <returns>Its path.</returns>
    /// <exception cref="InvalidModelException">The model cannot be loaded, or a manifest is there already.</exception>
    public static string Write(string modelPath)
    {
        var path = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(modelPath))!, ModelFolder.ManifestFile);
        if (File.Exists(path))
            throw new InvalidModelException(new ModelMistake(ModelFolder.ManifestFile, "", "no such file yet", path));
        File.WriteAllText(path, Create(modelPath).ToJson() + "\n");
        return path;
    }

    /// <exception cref="InvalidModelException">The model cannot be loaded.</exception>
    public static ModelManifest Create(string modelPath)
    {
        var file = Path.GetFileName(modelPath);
        if (!File.Exists(modelPath))
            throw new InvalidModelException(new ModelMistake(file, "", "an ONNX file", $"no such file ({modelPath})"));
        try
        {
            using var session = InferenceSession.Load(modelPath, new SessionOptions { Providers = [ExecutionProviders.Cpu] });
            return new ModelManifest
            {
                Name = NameOf(modelPath),
                Version = "1.0.0",
                File = file,
                Sha256 = ModelFolder.Sha256(modelPath),
                Kind = ModelKind.Tensor,
                Inputs = Specs(session.Inputs),
                Outputs = Specs(session.Outputs),
            };
        }
        catch (OnnxRuntimeException failure)
        {
            throw new InvalidModelException(new ModelMistake(file, "", "a model that ONNX Runtime loads", failure.Message), failure);
        }
    }

    /// <summary>The axis named after the batch; else the first one if it is free or 1; else none: shared.</summary>
    internal static int? GuessBatchAxis(TensorInfo tensor)
    {
        var named = Array.FindIndex(tensor.SymbolicShape, name => BatchName().IsMatch(name));
        if (named >= 0)
            return named;
        return tensor.Shape is [-1 or 1, ..] ? 0 : null;
    }

    private static Dictionary<string, TensorSpec> Specs(IReadOnlyList<TensorInfo> tensors) =>
        tensors
            .Where(tensor => tensor.Kind == OnnxValueKind.Tensor)
            .ToDictionary(
                tensor => tensor.Name,
                tensor => new TensorSpec
                {
                    BatchAxis = GuessBatchAxis(tensor),
                    Type = tensor.ElementType.Name(),
                    Shape = tensor.Shape,
                    Symbols = tensor.SymbolicShape,
                }
            );

    private static string NameOf(string modelPath)
    {
        var stem = Path.GetFileNameWithoutExtension(modelPath);
        if (stem.Equals("model", StringComparison.OrdinalIgnoreCase))
            stem = Path.GetFileName(Path.GetDirectoryName(Path.GetFullPath(modelPath))) ?? stem;
        var name = Unusable().Replace(stem.ToLowerInvariant(), "-").Trim('-', '.', '_');
        return name.Length > 0 ? name[..Math.Min(100, name.Length)] : "model";
    }

    [GeneratedRegex(@"\A(N|bs|.*batch.*)\z", RegexOptions.IgnoreCase)]
    private static partial Regex BatchName();

    [GeneratedRegex("[^a-z0-9._-]+")]
    private static partial Regex Unusable();
}
