using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.EndToEnd.OpenInference;

/// <summary>The Open Inference Protocol against the running system, by a client that knows nothing but the specification.</summary>
[Collection(RunningSystem.Collection)]
public sealed class NodeClientTests(RunningSystem system)
{
    [Theory]
    [InlineData("json")]
    [InlineData("binary")]
    public async Task A_client_written_from_the_specification_gets_the_right_labels(string form)
    {
        var texts = RunningSystem.Texts(5);
        var outputs = (await RunAsync(RunningSystem.SmallModel, texts)).GetProperty(form);
        using var direct = system.Direct(RunningSystem.SmallModel);

        var labels = Data(outputs, "labels").Select(label => label.GetString()).Chunk(3);
        var scores = Data(outputs, "scores").Select(score => score.GetDouble()).Chunk(3);
        foreach (var (text, best) in texts.Zip(labels.Zip(scores, (names, values) => names.Zip(values))))
        {
            var given = new { labels = best.Select(pair => new { label = pair.First, score = pair.Second }) };
            direct.AssertSame(text, JsonSerializer.SerializeToElement(given));
        }
    }

    [Theory]
    [InlineData("json")]
    [InlineData("binary")]
    public async Task A_client_written_from_the_specification_gets_the_right_vectors(string form)
    {
        var texts = RunningSystem.Texts(3);
        var outputs = (await RunAsync(SlowEncoder.Name, texts)).GetProperty(form);
        using var direct = system.Direct(SlowEncoder.Name);

        var numbers = Data(outputs, "embedding").ToArray();
        foreach (var (text, vector) in texts.Zip(numbers.Chunk(numbers.Length / texts.Length)))
        {
            direct.AssertSame(text, JsonSerializer.SerializeToElement(new { embedding = vector }));
        }
    }

    private static JsonElement.ArrayEnumerator Data(JsonElement outputs, string name) =>
        outputs.EnumerateArray().Single(output => output.GetProperty("name").GetString() == name).GetProperty("data").EnumerateArray();

    private async Task<JsonElement> RunAsync(string model, string[] texts)
    {
        var stop = TestContext.Current.CancellationToken;
        var start = new ProcessStartInfo("node") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])[Client(), system.Ingest.Address.ToString(), system.Rig.ApiKey, model, .. texts])
        {
            start.ArgumentList.Add(argument);
        }

        using var node = Start(start);
        var output = node.StandardOutput.ReadToEndAsync(stop);
        var errors = node.StandardError.ReadToEndAsync(stop);
        await node.WaitForExitAsync(stop);
        if (node.ExitCode != 0)
        {
            system.TellLogs();
        }

        Assert.True(node.ExitCode == 0, $"{await output}\n{await errors}");
        return JsonElement.Parse(await output);
    }

    private static Process Start(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            Assert.Skip($"Node.js is not installed: {e.Message}");
            throw;
        }
    }

    private static string Client([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "client.mjs");
}
