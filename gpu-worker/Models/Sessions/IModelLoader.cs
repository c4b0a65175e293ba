using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.GpuWorker.Models.Registration;
using Pipeline.GpuWorker.OnnxRuntime;
using SessionOptions = Pipeline.GpuWorker.OnnxRuntime.SessionOptions;

namespace Pipeline.GpuWorker.Models.Sessions;

/// <summary>Where <see cref="SessionCache"/> gets models from.</summary>
internal interface IModelLoader
{
    /// <summary>Bytes the model will at least take, known before it is loaded.</summary>
    long EstimateBytes(ModelRef model);

    /// <summary>Loads and warms a model: its first run, which is slow, is over when this returns.</summary>
    /// <exception cref="InvalidModelException">There is no such model, or it cannot be used.</exception>
    /// <exception cref="OnnxRuntimeException">The device is at fault.</exception>
    IModel Load(ModelRef model);
}

/// <summary>Loads registered models from their folders, <c>&lt;name&gt;/&lt;version&gt;/</c> each.</summary>
/// <param name="modelsFolder">Holds all of them.</param>
/// <param name="options">Where they run.</param>
/// <param name="pool">Memory for their batches.</param>
internal sealed class FolderModelLoader(string modelsFolder, SessionOptions options, TensorBufferPool pool) : IModelLoader
{
    public long EstimateBytes(ModelRef model)
    {
        var folder = new DirectoryInfo(FolderOf(model));
        return folder.Exists ? folder.EnumerateFiles().Sum(file => file.Length) : 0;
    }

    public IModel Load(ModelRef model)
    {
        var loaded = OnnxModel.Load(FolderOf(model), options, pool);
        try
        {
            Warm(loaded);
            return loaded;
        }
        catch
        {
            loaded.Dispose();
            throw;
        }
    }

    private string FolderOf(ModelRef model)
    {
        // The name comes from messages; it must not lead out of the folder.
        if (!ModelFolder.IsName(model.Name) || !ModelFolder.IsName(model.Version))
            throw new InvalidModelException(new ModelMistake(ModelFolder.ManifestFile, "", "a registered model", $"\"{model}\""));
        return ModelFolder.PathOf(modelsFolder, model);
    }

    private void Warm(OnnxModel model)
    {
        try
        {
            var task = model.Prepare(SampleInputs.First(model.Manifest, FolderOf(model.Manifest.Ref)));
            model.Run(model.Pack([task]), CancellationToken.None).Dispose();
        }
        catch (Exception failure) when (failure is OnnxRuntimeException or TaskInputException)
        {
            // A made-up input may be nonsense to this graph. Then its first batch is the slow one.
        }
    }
}
