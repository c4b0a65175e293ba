using Microsoft.Extensions.Logging.Abstractions;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.GpuWorker.Models.Sessions;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Tests.Integration.OnnxRuntime;
using Xunit;
using static Pipeline.Tests.Support.Models.Manifests;

namespace Pipeline.Tests.Integration.Models;

public sealed class SessionCacheTests : IDisposable
{
    /// <summary>512² weights of 4 bytes: a MiB each, in the file and again in the session.</summary>
    private const int Side = 512;

    private readonly string _models = Directory.CreateTempSubdirectory("pipeline-models-").FullName;
    private readonly TensorBufferPool _pool = new();

    public void Dispose()
    {
        _pool.Dispose();
        Directory.Delete(_models, recursive: true);
    }

    [Theory]
    [ClassData(typeof(EachProvider))]
    public async Task Runs_three_models_in_the_room_of_two(string provider)
    {
        var options = Engine.Options(provider);
        ModelRef[] models = [Place("first"), Place("second"), Place("third")];
        var loader = new SizedLoader(new FolderModelLoader(_models, options, _pool));
        using var cache = new SessionCache(
            DeviceProbe.Find(options),
            loader,
            memoryBudgetBytes: 2 * SizedLoader.Bytes,
            TimeProvider.System,
            NullLogger<SessionCache>.Instance
        );
        Assert.Equal(provider, cache.Provider);
        var loads = new List<ModelLoad>();
        cache.ModelLoaded += loads.Add;

        for (var round = 0; round < 3; round++)
            foreach (var model in models)
            {
                using var lease = await cache.AcquireAsync(model, CancellationToken.None);
                Assert.Equal(Side * 0.5f, lease.Model.RunTogether(Input())[0].Tensor("y").FloatsOf()[7], tolerance: 1e-3);
                Assert.InRange(cache.Loaded.Count, 1, 2);
            }

        // Each time round the one that is needed next has just been closed: the worst that can be asked of a budget for two.
        Assert.Equal(9, loads.Count);
        Assert.All(loads, load => Assert.True(load.ToTimestamp > load.FromTimestamp));
    }

    [Fact]
    public async Task Says_which_model_is_unknown()
    {
        using var cache = new SessionCache(
            DeviceProbe.Find(Engine.Options(ExecutionProviders.Cpu)),
            new FolderModelLoader(_models, Engine.Options(ExecutionProviders.Cpu), _pool),
            1 << 20,
            TimeProvider.System,
            NullLogger<SessionCache>.Instance
        );

        await Assert.ThrowsAsync<InvalidModelException>(() => cache.AcquireAsync(new ModelRef("nobody", "1"), CancellationToken.None));
        await Assert.ThrowsAsync<InvalidModelException>(() => cache.AcquireAsync(new ModelRef("..", "1"), CancellationToken.None));
    }

    private ModelRef Place(string name)
    {
        var manifest = Describe(ModelKind.Tensor, new() { ["x"] = Along(0) }, new() { ["y"] = Along(0) }, name: name);
        using var files = new ModelFiles(Graphs.MatMul(Side), manifest);
        var place = ModelFolder.PathOf(_models, manifest.Ref);
        Directory.CreateDirectory(place);
        foreach (var file in Directory.EnumerateFiles(files.Directory))
            File.Copy(file, Path.Combine(place, Path.GetFileName(file)));
        return manifest.Ref;
    }

    private static byte[] Input() => Packs.Of(Packs.Floats("x", [Side], [.. Enumerable.Repeat(1f, Side)]));

    /// <summary>Real models, said to be of one size each: what a process's memory grows by when one is loaded, chance has a part in.</summary>
    private sealed class SizedLoader(FolderModelLoader loader) : IModelLoader
    {
        public const long Bytes = 1 << 20;

        public long EstimateBytes(ModelRef model) => Bytes;

        public IModel Load(ModelRef model) => new SizedModel(loader.Load(model));
    }

    private sealed class SizedModel(IModel model) : IModel
    {
        public ModelManifest Manifest => model.Manifest;

        public string Provider => model.Provider;

        public string Device => model.Device;

        public long MemoryBytes => SizedLoader.Bytes;

        public int FixedRows => model.FixedRows;

        public PreparedTask Prepare(ReadOnlyMemory<byte> input) => model.Prepare(input);

        public IPackedBatch Pack(ReadOnlySpan<PreparedTask> tasks) => model.Pack(tasks);

        public IRanBatch Run(IPackedBatch batch, CancellationToken stop) => model.Run(batch, stop);

        public void Dispose() => model.Dispose();
    }
}
