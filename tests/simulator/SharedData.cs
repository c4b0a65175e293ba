namespace Pipeline.Simulator;

/// <summary>Recorded traces and profiles, which stay outside the repository: beside it, in ../shared/data.</summary>
internal static class SharedData
{
    /// <summary>The repository's root; null where the process runs outside of it.</summary>
    public static string? Repository { get; } = Find();

    private static readonly string Folder = Repository is null
        ? "data"
        : Path.GetFullPath(Path.Combine(Repository, "..", "shared", "data"));

    public static bool Exists(string name) => File.Exists(PathOf(name));

    public static string PathOf(string name) => Path.Combine(Folder, name);

    /// <summary>From wherever in the repository the process runs, or was built.</summary>
    private static string? Find()
    {
        foreach (var start in (string[])[Directory.GetCurrentDirectory(), AppContext.BaseDirectory])
        {
            for (var folder = new DirectoryInfo(start); folder is not null; folder = folder.Parent)
            {
                if (File.Exists(Path.Combine(folder.FullName, "Pipeline.sln")))
                {
                    return folder.FullName;
                }
            }
        }

        return null;
    }
}
