using System.Runtime.CompilerServices;
using Pipeline.Standalone.Host;
using Xunit;

namespace Pipeline.Tests.EndToEnd.OpenAi;

/// <summary>What the tests of OpenAI's clients share.</summary>
internal static class OpenAiSteps
{
    /// <summary>This folder in the source tree, where the Node client is.</summary>
    public static string Folder { get; } = Here();

    /// <summary>The base URL that OpenAI's clients are given.</summary>
    public static Uri OpenAiAddress(this RunningSystem system) => new(system.Ingest.Address, "v1");

    /// <summary>One more ingest, which lets a key ask once a second: where a client is refused with 429. Stop it at the end.</summary>
    public static async Task<ServiceProcess> StartLimitedIngestAsync(this RunningSystem system)
    {
        var limits = new Dictionary<string, string> { ["INGEST__KEYRATEPERSECOND"] = "1", ["INGEST__KEYBURSTMAX"] = "1" };
        var ingest = system.Rig.Services.Start("limited-ingest", "Pipeline.Ingest.dll", 0, limits);
        await ingest.UntilReadyAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
        return ingest;
    }

    private static string Here([CallerFilePath] string path = "") => Path.GetDirectoryName(path)!;
}
