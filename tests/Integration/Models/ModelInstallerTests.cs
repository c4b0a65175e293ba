using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.GpuWorker.Models.Registration;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Tests.Integration.OnnxRuntime;
using Pipeline.Tests.Support.Models;
using Xunit;
using static Pipeline.Tests.Support.Models.Manifests;

namespace Pipeline.Tests.Integration.Models;

public sealed class ModelInstallerTests : IDisposable
{
    private readonly string _models = Directory.CreateTempSubdirectory("pipeline-models-").FullName;

    public void Dispose() => Directory.Delete(_models, recursive: true);

    [Fact]
    public async Task Puts_a_tried_and_measured_model_in_its_place()
    {
        using var files = Labels("up\nflat\ndown\n");

        var installed = await AddAsync(files);

        Assert.Equal(Path.Combine(_models, "a-model", "1.0.0"), installed.Directory);
        Assert.Equal(["labels.txt", "model.json", "model.onnx"], Entries(installed.Directory));
        Assert.Equal("int32", installed.Manifest.Inputs["ids"].Type);
        Assert.Equal(new FileInfo(files.PathOf("model.onnx")).Length, installed.FileBytes);
        Assert.Equal([1, 2, 4, 8, 1, 2, 4, 8], installed.Profile.Points.Select(point => point.Rows));
        Assert.Equal([8, 16, 32, 64, 32, 64, 128, 256], installed.Profile.Points.Select(point => point.PaddedUnits));
        Assert.All(installed.Profile.Points, point => Assert.True(point.DeviceNs > 0));
        Assert.True(installed.Profile is { AlphaNs: >= 0, BetaNs: >= 0, MemoryBytes: > 0 });
        Assert.InRange(installed.Profile.BatchDrift, 0, 1e-5);
        Assert.Equal(ExecutionProviders.Cpu, installed.Profile.Provider);

        // What lies there now is what workers load.
        using var pool = new TensorBufferPool();
        using var model = OnnxModel.Load(installed.Directory, Engine.Options(ExecutionProviders.Cpu), pool);
        Assert.Equal(installed.Manifest.ToJson(), model.Manifest.ToJson());
    }

    [Fact]
    public async Task Takes_the_same_version_twice_and_no_other_under_its_name()
    {
        using var files = Labels("up\nflat\ndown\n");
        using var same = Labels("up\nflat\ndown\n");
        using var other = Labels("up\nflat\nsideways\n");

        var first = await AddAsync(files);
        var second = await AddAsync(same);
        var failure = await Assert.ThrowsAsync<InvalidModelException>(() => AddAsync(other));

        Assert.Equal(first.Directory, second.Directory);
        Assert.Equal(
            "model.json: version: expected one that is not taken, as versions never change, given \"1.0.0\", which is registered with another labels.txt.",
            failure.Message
        );
        Assert.Equal(["1.0.0"], Entries(Path.Combine(_models, "a-model")));
    }

    [Fact]
    public async Task Leaves_nothing_behind_of_a_model_that_fails_its_run()
    {
        using var files = new ModelFiles(
            Graphs.SumAndProduct(),
            Describe(
                ModelKind.Tensor,
                new()
                {
                    ["a"] = Along(0),
                    ["b"] = Along(0),
                    ["scale"] = Along(null),
                },
                new() { ["sum"] = Along(0) }
            )
        );
        var wrong = Packs.Of(Packs.Floats("a", [2], 1, 2), Packs.Floats("b", [3], 1, 2, 3), Packs.Floats("scale", [], 1));

        var failure = await Assert.ThrowsAsync<InvalidModelException>(() => AddAsync(files, wrong));

        Assert.Equal("to run on the samples given", Assert.Single(failure.Mistakes).Expected);
        Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(_models, "a-model")));
    }

    [Fact]
    public async Task Refuses_a_sample_that_does_not_suit_the_model()
    {
        using var files = new ModelFiles(
            TextGraphs.FourRows(),
            Describe(ModelKind.Tensor, new() { ["x"] = Along(0) }, new() { ["y"] = Along(0) })
        );

        var failure = await Assert.ThrowsAsync<InvalidModelException>(() => AddAsync(files, Packs.Of(Packs.Floats("x", [3], 1, 2, 3))));

        Assert.Equal("sample.bin: expected an input of this model, given x: expected the shape [2], given [3]..", failure.Message);
    }

    [Fact]
    public async Task Keeps_the_owners_sample_and_measures_with_it()
    {
        // Made-up windows of 16 samples are too short for this graph.
        using var files = PublishedModelTests.Files("silero-vad-16k");
        var samples = PublishedModel
            .Find("silero-vad-16k")
            .Cases(countMax: 8)
            .Select(one => (ReadOnlyMemory<byte>)PublishedModelTests.Input(files.Load(), one))
            .ToArray();

        var failure = await Assert.ThrowsAsync<InvalidModelException>(() => AddAsync(files));
        Assert.StartsWith("to run on made-up inputs", Assert.Single(failure.Mistakes).Expected, StringComparison.Ordinal);
        var installed = await ModelInstaller.AddAsync(
            files.Directory,
            _models,
            Options() with
            {
                Samples = samples,
            },
            CancellationToken.None
        );

        Assert.Equal(samples[0].ToArray(), await File.ReadAllBytesAsync(Path.Combine(installed.Directory, "sample.bin")));
        Assert.InRange(installed.Profile.BatchDrift, 0, 1e-4);
        Assert.All(installed.Profile.Points, point => Assert.Equal(point.Rows * (576 + 256), point.PaddedUnits));
    }

    [Fact]
    public async Task Measures_how_far_batching_moves_a_published_model()
    {
        using var files = PublishedModelTests.Files("magika-v3_3");
        var model = files.Load();
        ReadOnlyMemory<byte>[] samples =
        [
            .. PublishedModel.Find("magika-v3_3").Cases().Select(one => (ReadOnlyMemory<byte>)PublishedModelTests.Input(model, one)),
        ];
        var profiler = new ModelProfiler(
            model,
            new ProfileOptions
            {
                DriftRows = 42,
                RunsPerPoint = 1,
                BatchTimeMax = TimeSpan.FromTicks(1),
            },
            TimeProvider.System
        );

        var profile = await Task.Run(() => profiler.Measure(samples, CancellationToken.None));

        // The source of these files measured 4.9e-4 on them, from a batch of 1 to all 42.
        Assert.InRange(profile.BatchDrift, 1e-9, 1e-2);
        Assert.Single(profile.Points);
    }

    [Fact]
    public void Writes_a_first_manifest_from_the_graph()
    {
        using var files = PublishedModelTests.Files("silero-vad-16k");
        File.Delete(files.PathOf(ModelFolder.ManifestFile));

        var path = ManifestSkeleton.Write(files.PathOf("model.onnx"));

        var manifest = ModelManifest.Parse(File.ReadAllBytes(path));
        Assert.Equal(0, manifest.Inputs["input"].BatchAxis);
        Assert.Equal(1, manifest.Inputs["state"].BatchAxis);
        Assert.Null(manifest.Inputs["sr"].BatchAxis);
        Assert.Equal(1, manifest.Outputs["stateN"].BatchAxis);
        Assert.Equal(files.Manifest.Sha256, manifest.Sha256);
        // It can be used as it is.
        Assert.Equal(manifest.Ref, files.Load().Manifest.Ref);
        // And is not written over.
        Assert.Throws<InvalidModelException>(() => ManifestSkeleton.Write(files.PathOf("model.onnx")));
    }

    [Theory]
    [MemberData(nameof(PublishedModelTests.Names), MemberType = typeof(PublishedModelTests))]
    public void Guesses_the_batch_axes_of_the_published_models(string name)
    {
        var model = PublishedModel.Find(name);
        var manifest = ManifestSkeleton.Create(model.Path);
        var expected = PublishedManifests.Of(name);

        Assert.Equal(Axes(expected.Inputs), Axes(manifest.Inputs));
        Assert.Equal(Axes(expected.Outputs), Axes(manifest.Outputs));
        Assert.Equal(name, manifest.Name);

        static IEnumerable<string> Axes(IReadOnlyDictionary<string, TensorSpec> specs) =>
            specs.OrderBy(spec => spec.Key, StringComparer.Ordinal).Select(spec => $"{spec.Key}: {spec.Value.BatchAxis}");
    }

    private Task<InstalledModel> AddAsync(ModelFiles files, params byte[][] samples) =>
        ModelInstaller.AddAsync(
            files.Directory,
            _models,
            Options() with
            {
                Samples = [.. samples.Select(sample => (ReadOnlyMemory<byte>)sample)],
            },
            CancellationToken.None
        );

    private static InstallOptions Options() =>
        new()
        {
            Session = Engine.Options(ExecutionProviders.Cpu),
            Profile = new ProfileOptions { RunsPerPoint = 1 },
        };

    private static ModelFiles Labels(string labels) =>
        new(
            TextGraphs.Logits(),
            Describe(
                ModelKind.Text,
                new() { ["ids"] = Along(0) },
                new() { ["logits"] = Along(0) },
                new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = 32 },
                new ResultSpec
                {
                    Type = ResultType.Labels,
                    Labels = "labels.txt",
                    Softmax = true,
                },
                new LimitSpec { BatchRowsMax = 8 }
            ),
            ("labels.txt", labels)
        );

    private static IEnumerable<string> Entries(string directory) =>
        Directory.EnumerateFileSystemEntries(directory).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal);
}
