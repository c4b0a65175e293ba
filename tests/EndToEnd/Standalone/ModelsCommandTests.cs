using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Manifests;
using Pipeline.StarterModels.Onnx;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Standalone;

/// <summary><c>pipeline models</c>: from an ONNX file to a model that answers, and what is said of files that will not do.</summary>
[Collection(StandaloneHost.Collection)]
public sealed class ModelsCommandTests(StandaloneHost host)
{
    [Fact]
    public async Task Writes_a_manifest_for_a_graph_registers_it_and_it_answers()
    {
        var folder = WriteModel("doubling", Doubling());

        var init = (await ToolRun.RunAsync("models", "init", Path.Combine(folder, "doubling.onnx"))).Ended(0);
        var add = (await host.RunAsync("models", "add", folder)).Ended(0);
        var again = (await ToolRun.RunAsync("models", "init", Path.Combine(folder, "doubling.onnx"))).Ended(1);
        var list = (await host.RunAsync("models")).Ended(0);

        Assert.Contains("models add", init.Output, StringComparison.Ordinal);
        Assert.Contains("Registered doubling@1.0.0", add.Output, StringComparison.Ordinal);
        Assert.Contains("no such file yet", again.Error, StringComparison.Ordinal);
        Assert.Contains("doubling@1.0.0", list.Output, StringComparison.Ordinal);
        var tasks = Path.Combine(folder, "tasks.ndjson");
        await File.WriteAllTextAsync(tasks, """{"custom_id":"a","input":[1.5,-2]}""", TestContext.Current.CancellationToken);
        (await host.RunAsync("submit", tasks, "--model", "doubling", "--watch")).Ended(0);
    }

    [Fact]
    public async Task Refuses_a_corrupt_file()
    {
        var folder = WriteModel("corrupt", Doubling());
        (await ToolRun.RunAsync("models", "init", Path.Combine(folder, "corrupt.onnx"))).Ended(0);
        await File.WriteAllBytesAsync(Path.Combine(folder, "corrupt.onnx"), Doubling()[..^40], TestContext.Current.CancellationToken);

        await AssertRefusedAsync(folder, "corrupt", "corrupt.onnx", "sha256");
    }

    [Fact]
    public async Task Refuses_a_manifest_whose_names_do_not_match_the_graph()
    {
        var folder = WriteModel("mismatched", Doubling());
        (await ToolRun.RunAsync("models", "init", Path.Combine(folder, "mismatched.onnx"))).Ended(0);
        var path = Path.Combine(folder, ModelFolder.ManifestFile);
        var manifest = ModelManifest.Parse(await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken));
        var renamed = manifest with { Inputs = new Dictionary<string, TensorSpec> { ["pixels"] = manifest.Inputs["x"] } };
        await File.WriteAllTextAsync(path, renamed.ToJson(), TestContext.Current.CancellationToken);

        await AssertRefusedAsync(folder, "mismatched", "pixels", "x");
    }

    [Fact]
    public async Task Refuses_an_operator_that_the_engine_does_not_have()
    {
        var model = new OnnxModel("unheard-of");
        var x = model.Input("x", TensorElementType.Float32, "batch", 2);
        model.Output(model.Node("Enlighten", [x], "y"), TensorElementType.Float32, "batch", 2);
        var folder = WriteModel("unheard-of", model.ToBytes());

        var init = (await ToolRun.RunAsync("models", "init", Path.Combine(folder, "unheard-of.onnx"))).Ended(1);

        Assert.Contains("Enlighten", init.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(folder, ModelFolder.ManifestFile)), "A manifest was left behind.");
    }

    private async Task AssertRefusedAsync(string folder, string model, params string[] words)
    {
        var run = (await host.RunAsync("models", "add", folder)).Ended(1);

        Assert.All(words, word => Assert.Contains(word, run.Error, StringComparison.Ordinal));
        Assert.Contains("expected", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain($"{model}@", (await host.RunAsync("models")).Output, StringComparison.Ordinal);
        Assert.False(
            Directory.Exists(Path.Combine(host.Process.Record.ModelsFolder, model, "1.0.0")),
            "Files were left among the registered models."
        );
    }

    private string WriteModel(string name, byte[] bytes)
    {
        var folder = host.NewFolder();
        File.WriteAllBytes(Path.Combine(folder, $"{name}.onnx"), bytes);
        return folder;
    }

    /// <summary><c>y = x + x</c>.</summary>
    private static byte[] Doubling()
    {
        var model = new OnnxModel("doubling");
        var x = model.Input("x", TensorElementType.Float32, "batch", 2);
        model.Output(model.Node("Add", [x, x], "y"), TensorElementType.Float32, "batch", 2);
        return model.ToBytes();
    }
}
