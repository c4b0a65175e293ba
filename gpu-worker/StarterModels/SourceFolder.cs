namespace Pipeline.StarterModels;

/// <summary>Where this project's sources lie: sentences are read from there, and models written there.</summary>
internal static class SourceFolder
{
    /// <exception cref="DirectoryNotFoundException">The program does not run from inside the repository.</exception>
    public static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Pipeline.sln")))
                return Path.Combine(folder.FullName, "gpu-worker", "StarterModels");
        }
        throw new DirectoryNotFoundException(
            $"no folder above {AppContext.BaseDirectory} holds Pipeline.sln; run from a clone of the repository"
        );
    }
}
