using System.Security.Cryptography;
using Pipeline.Contracts;
using Pipeline.StarterModels;
using Xunit;

namespace Pipeline.Tests.Unit.StarterModels;

public sealed class ModelFolderTests
{
    [Theory]
    [InlineData("language-id-small")]
    [InlineData("language-id-large")]
    public void The_committed_manifest_describes_the_committed_file(string name)
    {
        var folder = Path.Combine(SourceFolder.Find(), name);
        var manifest = ModelManifest.Parse(File.ReadAllBytes(Path.Combine(folder, "model.json")));

        Assert.Equal(name, manifest.Name);
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Path.Combine(folder, manifest.File)))), manifest.Sha256);
        Assert.Equal(TrainedModels.Sentences.Languages, File.ReadAllLines(Path.Combine(folder, manifest.Result.Labels!)));
    }

    [Theory]
    [InlineData("language-id-small")]
    [InlineData("language-id-large")]
    public void The_models_lie_beside_programs_that_use_them(string name) =>
        Assert.True(File.Exists(Path.Combine(AppContext.BaseDirectory, "starter-models", name, "model.onnx")));
}
