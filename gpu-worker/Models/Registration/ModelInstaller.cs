using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.GpuWorker.OnnxRuntime;
using SessionOptions = Pipeline.GpuWorker.OnnxRuntime.SessionOptions;

namespace Pipeline.GpuWorker.Models.Registration;

/// <summary>How a model is tried when it is registered.</summary>
internal sealed record InstallOptions
{
    /// <summary>Where it runs; the profile holds for that device.</summary>
    public SessionOptions Session { get; init; } = new();

    /// <summary>Task inputs as they are stored, to try it with; made up where there are none. The first is kept beside the model.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> Samples { get; init; } = [];

    public ProfileOptions Profile { get; init; } = new();

    public TimeProvider Time { get; init; } = TimeProvider.System;
}

/// <summary>A model version that workers can load.</summary>
/// <param name="Manifest">Completed from the graph.</param>
/// <param name="Directory">Where it lies now.</param>
/// <param name="FileBytes">Bytes of the model and its external data.</param>
internal sealed record InstalledModel(ModelManifest Manifest, ModelProfile Profile, string Directory, long FileBytes);

/// <summary>
/// Brings a model among the registered ones: copied aside, loaded, run and measured there, and only then given its place by a rename.
/// A version never changes; the same one again is welcome, another under its name is refused.
/// </summary>
internal static class ModelInstaller
{
    /// <param name="directory">Holds <c>model.json</c>, the model, its external data (<c>model.onnx.data</c> and the like), labels, vocabulary.</param>
    /// <param name="modelsFolder">Receives <c>&lt;name&gt;/&lt;version&gt;/</c>.</param>
    /// <param name="options">How it is tried.</param>
    /// <param name="stop">Ends the trial; nothing is left behind.</param>
    /// <exception cref="InvalidModelException">The files, the manifest or the graph are at fault, or the version is taken.</exception>
    /// <exception cref="OnnxRuntimeException">The device is at fault.</exception>
    public static Task<InstalledModel> AddAsync(string directory, string modelsFolder, InstallOptions options, CancellationToken stop) =>
        Task.Run(() => Add(directory, modelsFolder, options, stop), stop);

    private static InstalledModel Add(string directory, string modelsFolder, InstallOptions options, CancellationToken stop)
    {
        var source = ModelFolder.Read(directory);
        var place = Path.GetFullPath(ModelFolder.PathOf(modelsFolder, source.Manifest.Ref));
        // Beside its later place, so that the rename stays within one file system.
        var aside = Path.Combine(Path.GetDirectoryName(place)!, $".{source.Manifest.Version}.{Guid.NewGuid():N}");
        Directory.CreateDirectory(aside);
        try
        {
            var fileBytes = CopyFiles(source, aside, options.Samples);
            var (manifest, profile) = Try(aside, options, stop);
            WriteThrough(
                Path.Combine(aside, ModelFolder.ManifestFile),
                new MemoryStream(System.Text.Encoding.UTF8.GetBytes(manifest.ToJson()))
            );
            if (!TryPlace(aside, place))
                RequireSame(aside, place, manifest);
            return new InstalledModel(manifest, profile, place, fileBytes);
        }
        finally
        {
            if (Directory.Exists(aside))
                Directory.Delete(aside, recursive: true);
        }
    }

    /// <returns>Bytes of the model and its external data.</returns>
    private static long CopyFiles(ModelFolder source, string to, IReadOnlyList<ReadOnlyMemory<byte>> samples)
    {
        var bytes = 0L;
        foreach (var file in ModelFiles(source))
        {
            Copy(file.Name);
            bytes += file.Length;
        }
        foreach (var name in new[] { ModelFolder.ManifestFile, source.Manifest.Result.Labels, source.Manifest.Tokenizer?.Vocab }.Distinct())
            if (name is not null)
                Copy(name);
        if (samples.Count > 0)
            WriteThrough(Path.Combine(to, SampleInputs.File), new MemoryStream(samples[0].ToArray()));
        else if (File.Exists(Path.Combine(source.Directory, SampleInputs.File)))
            Copy(SampleInputs.File);
        return bytes;

        void Copy(string name)
        {
            using var from = File.OpenRead(Path.Combine(source.Directory, name));
            WriteThrough(Path.Combine(to, name), from);
        }
    }

    /// <summary>
    /// The model, and what exporters leave beside it for weights over 2 GiB: files named after it, <c>model.onnx.data</c>,
    /// <c>model.onnx_data</c>, <c>model.data</c>. One that is missing shows when the copy is loaded.
    /// </summary>
    private static IEnumerable<FileInfo> ModelFiles(ModelFolder source)
    {
        var stem = Path.GetFileNameWithoutExtension(source.Manifest.File);
        string[] data = [$"{source.Manifest.File}.data", $"{source.Manifest.File}_data", $"{stem}.data", $"{stem}.bin", $"{stem}.weights"];
        return new DirectoryInfo(source.Directory)
            .EnumerateFiles()
            .Where(file => file.Name == source.Manifest.File || data.Contains(file.Name));
    }

    private static (ModelManifest Manifest, ModelProfile Profile) Try(string directory, InstallOptions options, CancellationToken stop)
    {
        using var pool = new TensorBufferPool();
        using var model = OnnxModel.Load(directory, options.Session, pool);
        try
        {
            var samples = options.Samples.Count > 0 ? options.Samples : KeptSample(directory);
            RunOnce(model, samples.Count > 0 ? samples[0] : SampleInputs.First(model.Manifest, directory), stop);
            return (model.Manifest, new ModelProfiler(model, options.Profile, options.Time).Measure(samples, stop));
        }
        catch (TaskInputException failure)
        {
            throw new InvalidModelException(new ModelMistake(SampleInputs.File, "", "an input of this model", failure.Message), failure);
        }
        catch (OnnxRuntimeException failure) when (failure.Code != OrtErrorCode.ExecutionProviderFail)
        {
            var expected =
                options.Samples.Count > 0
                    ? "to run on the samples given"
                    : "to run on made-up inputs (give samples, --samples, if it wants special ones)";
            throw new InvalidModelException(new ModelMistake(model.Manifest.File, "", expected, failure.Message), failure);
        }
    }

    /// <summary>Loading does not make the result; only a run shows that labels and pooling suit the output.</summary>
    private static void RunOnce(OnnxModel model, ReadOnlyMemory<byte> input, CancellationToken stop)
    {
        using var ran = model.Run(model.Pack([model.Prepare(input)]), stop);
        _ = ran.Result(0);
    }

    private static IReadOnlyList<ReadOnlyMemory<byte>> KeptSample(string directory)
    {
        var path = Path.Combine(directory, SampleInputs.File);
        return File.Exists(path) ? [File.ReadAllBytes(path)] : [];
    }

    private static bool TryPlace(string aside, string place)
    {
        try
        {
            Directory.Move(aside, place);
            return true;
        }
        catch (IOException) when (Directory.Exists(place))
        {
            return false;
        }
    }

    private static void RequireSame(string aside, string place, ModelManifest manifest)
    {
        foreach (var name in new[] { ModelFolder.ManifestFile, manifest.File, manifest.Result.Labels, manifest.Tokenizer?.Vocab })
        {
            if (name is null)
                continue;
            var there = Path.Combine(place, name);
            if (!File.Exists(there) || ModelFolder.Sha256(there) != ModelFolder.Sha256(Path.Combine(aside, name)))
                throw new InvalidModelException(
                    new ModelMistake(
                        ModelFolder.ManifestFile,
                        "version",
                        "one that is not taken, as versions never change",
                        $"\"{manifest.Version}\", which is registered with another {name}"
                    )
                );
        }
    }

    /// <summary>Written and on the disk: the rename must not come before the bytes.</summary>
    private static void WriteThrough(string path, Stream content)
    {
        using var file = File.Create(path);
        content.CopyTo(file);
        file.Flush(flushToDisk: true);
    }
}
