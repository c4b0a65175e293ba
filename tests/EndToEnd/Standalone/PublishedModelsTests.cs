using System.Globalization;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Standalone;

/// <summary>Published models, registered as an owner would and run through the whole pipeline, give the answers they are published with.</summary>
[Collection(StandaloneHost.Collection)]
public sealed class PublishedModelsTests(StandaloneHost host)
{
    public static TheoryData<string> Names() => [.. PublishedManifests.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task Gives_the_published_answers_through_the_whole_pipeline(string name)
    {
        var published = PublishedModel.Find(name);
        var cases = published.Cases();
        var folder = await WriteAsync(name, published);
        var (manifest, tasks) = (CompletedManifest(folder), Path.Combine(folder, "tasks.ndjson"));
        await File.WriteAllLinesAsync(tasks, cases.Select(one => TaskLine(manifest, one)), TestContext.Current.CancellationToken);
        (await host.RunAsync("models", "add", folder, "--samples", tasks)).Ended(0);

        var job = await SubmitAsync(name, tasks, cases);

        var ended = await host.Client.UntilEndAsync(job);
        Assert.Equal((JobState.Completed, (long)cases.Count), (ended.State, ended.Counts.Succeeded));
        var seq = 0;
        await foreach (var line in host.Client.ResultsAsync(job.Id, "order=task", TestContext.Current.CancellationToken))
        {
            AssertAnswer(cases[seq++], manifest, JsonElement.Parse(line));
        }

        Assert.Equal(cases.Count, seq);
    }

    private async Task<string> WriteAsync(string name, PublishedModel published)
    {
        var folder = host.NewFolder();
        var bytes = await File.ReadAllBytesAsync(published.Path, TestContext.Current.CancellationToken);
        var manifest = PublishedManifests.Of(name) with { Sha256 = Convert.ToHexStringLower(SHA256.HashData(bytes)) };
        await File.WriteAllBytesAsync(Path.Combine(folder, "model.onnx"), bytes, TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(Path.Combine(folder, "model.json"), manifest.ToJson(), TestContext.Current.CancellationToken);
        return folder;
    }

    private static ModelManifest CompletedManifest(string folder)
    {
        using var pool = new TensorBufferPool();
        using var model = OnnxModel.Load(folder, new SessionOptions { Providers = [ExecutionProviders.Cpu] }, pool);
        return model.Manifest;
    }

    private async Task<SentJob> SubmitAsync(string name, string tasks, IReadOnlyList<PublishedCase> cases)
    {
        using var content = new StringContent(await File.ReadAllTextAsync(tasks, TestContext.Current.CancellationToken), Encoding.UTF8);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
        var job = await host.Client.SubmitAsync(content, [new("model", name)], null, TestContext.Current.CancellationToken);
        return new SentJob(job.Id, name, [.. cases.Select(one => one.Id)]);
    }

    private static string TaskLine(ModelManifest manifest, PublishedCase one) =>
        JsonSerializer.Serialize(new { custom_id = one.Id, input = Input(manifest, one) });

    /// <summary>Every input without its batch axis; the elements as base64. A shared input has the shape that the graph declares.</summary>
    private static Dictionary<string, object> Input(ModelManifest manifest, PublishedCase one) =>
        one.Inputs.ToDictionary(
            input => input.Key,
            object (input) =>
                new
                {
                    shape = manifest.Inputs[input.Key].BatchAxis is { } axis
                        ? input.Value.Shape.Where((_, i) => i != axis)
                        : manifest.Inputs[input.Key].TaskShape(),
                    data_base64 = Convert.ToBase64String(input.Value.Bytes),
                }
        );

    private static void AssertAnswer(PublishedCase one, ModelManifest manifest, JsonElement line)
    {
        Assert.Equal(one.Id, line.GetProperty("custom_id").GetString());
        foreach (var (name, expected) in one.Expected)
        {
            var given = line.GetProperty("output").GetProperty(name);
            Assert.Equal(
                expected.Shape.Where((_, i) => i != manifest.Outputs[name].BatchAxis),
                given.GetProperty("shape").EnumerateArray().Select(dim => dim.GetInt64())
            );
            double[] data = [.. given.GetProperty("data").EnumerateArray().Select(element => element.GetDouble())];
            foreach (var (index, value) in expected.Elements)
            {
                // The published tolerance is absolute; logits of hundreds have fewer digits behind the point.
                var difference = Math.Abs(data[index] - value);
                Assert.True(
                    difference <= one.Tolerance + (1e-5 * Math.Abs(value)),
                    string.Create(CultureInfo.InvariantCulture, $"{one.Id}, {name}[{index}]: {difference} off, {one.Tolerance} allowed.")
                );
            }
        }
    }
}
