using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.EndToEnd.OpenAi;

/// <summary>npm's <c>openai</c>, unchanged, with ingest's address as its one base URL.</summary>
[Collection(RunningSystem.Collection)]
public sealed class NodeClientTests(RunningSystem system)
{
    [Fact]
    public async Task OpenAIs_client_for_Node_gets_everything_it_asks_for()
    {
        var folder = Path.Combine(OpenAiSteps.Folder, "node");
        Assert.SkipUnless(
            Directory.Exists(Path.Combine(folder, "node_modules", "openai")),
            $"Run \"npm ci\" in {folder}, or ./pipeline test."
        );
        var limited = await system.StartLimitedIngestAsync();
        var start = new ProcessStartInfo("node")
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.ArgumentList.Add("client.mjs");
        start.ArgumentList.Add(system.OpenAiAddress().ToString());
        start.ArgumentList.Add(system.Rig.ApiKey);
        start.ArgumentList.Add(SlowEncoder.Name);
        start.ArgumentList.Add(RunningSystem.SmallModel);
        start.ArgumentList.Add(new Uri(limited.Address, "v1").ToString());
        var key = await system.OperatorKeyAsync();
        start.ArgumentList.Add(key);

        using var node = Process.Start(start)!;
        var output = node.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        var errors = node.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await node.WaitForExitAsync(TestContext.Current.CancellationToken);

        limited.Kill();
        await LetGoAsync(RunningSystem.SmallModel, key);
        TestContext.Current.TestOutputHelper?.WriteLine(await output);
        if (node.ExitCode != 0)
        {
            system.TellLogs();
        }

        Assert.True(node.ExitCode == 0, $"{await output}\n{await errors}");
        Assert.Contains("every call held", await output, StringComparison.Ordinal);
    }

    /// <summary>What a script that failed in the middle has left held.</summary>
    private async Task LetGoAsync(string model, string key)
    {
        using var client = new HttpClient { BaseAddress = system.Ingest.Address };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        using var gone = await client.DeleteAsync(new Uri($"v1/holds/model/{model}", UriKind.Relative));
        Assert.Equal(HttpStatusCode.NoContent, gone.StatusCode);
    }
}
