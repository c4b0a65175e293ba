using System.Runtime.CompilerServices;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Models;
using Xunit;

namespace Pipeline.Tests.EndToEnd.OpenAi;

/// <summary>What the tests of OpenAI's clients share.</summary>
internal static class OpenAiSteps
{
    /// <summary>A model that is registered and that no worker has, so that nobody promises express for it.</summary>
    public const string Unserved = "unserved-encoder";

    /// <summary>This folder in the source tree, where the Node client is.</summary>
    public static string Folder { get; } = Here();

    /// <summary>The base URL that OpenAI's clients are given.</summary>
    public static Uri OpenAiAddress(this RunningSystem system) => new(system.Ingest.Address, "v1");

    public static async Task AddUnservedEncoderAsync(this RunningSystem system)
    {
        var stop = TestContext.Current.CancellationToken;
        var models = await ModelRegistry.ReadAllAsync(system.Database, stop);
        var encoder = models.First(model => model.Manifest.Name == SlowEncoder.Name).Manifest;
        if (models.All(model => model.Manifest.Name != Unserved))
        {
            await ModelRegistry.PutAsync(system.Database, encoder with { Name = Unserved }, null, 1, makeCurrent: true, stop);
        }
    }

    private static string Here([CallerFilePath] string path = "") => Path.GetDirectoryName(path)!;
}
