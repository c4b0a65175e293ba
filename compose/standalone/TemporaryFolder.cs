namespace Pipeline.Standalone;

/// <summary>Folders for a run that leaves nothing behind.</summary>
internal static class TemporaryFolder
{
    private const UnixFileMode OwnerAll = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode OthersEnter = UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    /// <summary>
    /// Makes an empty folder that other users may pass through but not list. Where root starts a private PostgreSQL in it, the server's
    /// user gets in, and the server's files need not be put elsewhere, where they would stay.
    /// </summary>
    public static string Create(string prefix)
    {
        var folder = Directory.CreateTempSubdirectory(prefix).FullName;
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(folder, OwnerAll | OthersEnter);
        }

        return folder;
    }
}
