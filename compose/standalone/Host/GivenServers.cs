using Pipeline.Hosting;
using Pipeline.Standalone.Client;

namespace Pipeline.Standalone.Host;

/// <summary>
/// Where commands that go past the API find the database and the models: their options, else what the services are told by
/// <c>PIPELINE__DATABASE</c> and <c>PIPELINE__MODELSFOLDER</c>, else what a running host left in its data folder.
/// </summary>
internal static class GivenServers
{
    /// <exception cref="CommandException">No database is known.</exception>
    public static string Database(string? option, string dataFolder) =>
        option
        ?? FromEnvironment(nameof(PipelineOptions.Database))
        ?? HostRecord.Find(dataFolder)?.Database
        ?? throw new CommandException("No host is up here. Start one with \"./pipeline up\", or give --database (or PIPELINE__DATABASE).");

    /// <exception cref="CommandException">No folder is known.</exception>
    public static string ModelsFolder(string? option, string dataFolder) =>
        option
        ?? FromEnvironment(nameof(PipelineOptions.ModelsFolder))
        ?? HostRecord.Find(dataFolder)?.ModelsFolder
        ?? throw new CommandException(
            "No host is up here. Start one with \"./pipeline up\", or give --models-folder (or PIPELINE__MODELSFOLDER)."
        );

    private static string? FromEnvironment(string option) =>
        Environment.GetEnvironmentVariable($"{PipelineOptions.Section}__{option}".ToUpperInvariant()) is { Length: > 0 } given
            ? given
            : null;
}
