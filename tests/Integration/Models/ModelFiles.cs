using System.Security.Cryptography;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Tests.Integration.OnnxRuntime;

namespace Pipeline.Tests.Integration.Models;

/// <summary>A model's folder of a test's own, gone with it: the file, a manifest, and what else the test puts there.</summary>
internal sealed class ModelFiles : IDisposable
{
    private readonly TensorBufferPool _pool = new();
    private readonly List<OnnxModel> _loaded = [];

    public ModelFiles(byte[] model, ModelManifest manifest, params (string Name, string Text)[] others)
    {
        Manifest = manifest with { Sha256 = Convert.ToHexStringLower(SHA256.HashData(model)) };
        File.WriteAllBytes(PathOf(manifest.File), model);
        File.WriteAllText(PathOf(ModelFolder.ManifestFile), Manifest.ToJson());
        foreach (var (name, text) in others)
            File.WriteAllText(PathOf(name), text);
    }

    public string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("pipeline-model-").FullName;

    public ModelManifest Manifest { get; }

    public string PathOf(string name) => Path.Combine(Directory, name);

    /// <summary>Loads it; the model goes with the folder.</summary>
    public OnnxModel Load(string provider = ExecutionProviders.Cpu)
    {
        var model = OnnxModel.Load(Directory, Engine.Options(provider), _pool);
        _loaded.Add(model);
        return model;
    }

    public void Dispose()
    {
        _loaded.ForEach(model => model.Dispose());
        _pool.Dispose();
        System.IO.Directory.Delete(Directory, recursive: true);
    }
}
