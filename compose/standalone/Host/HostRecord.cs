using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Serialization;
using Pipeline.Hosting;

namespace Pipeline.Standalone.Host;

/// <summary>
/// What a running host leaves in its data folder so that the client commands find it without being told: addresses, a key, a pid.
/// Readable by its owner only, since it holds the key.
/// </summary>
internal sealed record HostRecord
{
    private const string FileName = "pipeline.json";

    public required Uri Ingest { get; init; }
    public required Uri Results { get; init; }
    public required string ApiKey { get; init; }
    public required int ProcessId { get; init; }

    /// <summary>Where models are registered: a connection string and a folder.</summary>
    public required string Database { get; init; }
    public required string ModelsFolder { get; init; }

    /// <summary>The link for the dashboard's first admin, while there is none. It is told once and not kept.</summary>
    [JsonIgnore]
    public Uri? FirstAdminLink { get; init; }

    /// <summary>Where everything lives unless <c>--data</c> says otherwise: the user's data folder (XDG base directories).</summary>
    public static string DefaultFolder =>
        Path.Combine(
            Environment.GetEnvironmentVariable("XDG_DATA_HOME") is { Length: > 0 } home
                ? home
                : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".local", "share"),
            "pipeline"
        );

    /// <summary>True while the process that wrote the record lives.</summary>
    public bool IsAlive
    {
        get
        {
            try
            {
                using var process = Process.GetProcessById(ProcessId);
                return !process.HasExited;
            }
            catch (ArgumentException)
            {
                return false;
            }
        }
    }

    public static HostRecord? Find(string folder)
    {
        try
        {
            return JsonSerializer.Deserialize<HostRecord>(File.ReadAllBytes(Path.Combine(folder, FileName)), ApiJson.Options);
        }
        catch (Exception e) when (e is IOException or JsonException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    public void Save(string folder)
    {
        using var file = CreatePrivateFile(Path.Combine(folder, FileName));
        JsonSerializer.Serialize(file, this, ApiJson.Options);
    }

    /// <summary>Creates a file that only its owner may read. One that is there already is replaced: it would keep its mode.</summary>
    public static FileStream CreatePrivateFile(string path)
    {
        File.Delete(path);
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        return new FileStream(path, options);
    }

    public static void Remove(string folder) => File.Delete(Path.Combine(folder, FileName));
}
