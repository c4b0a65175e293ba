using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.GpuWorker.Models.Registration;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Migrations;

namespace Pipeline.Standalone.Host;

/// <summary>Registers models: loads, runs and measures them, puts them among the registered ones, and tells the database.</summary>
internal static partial class ModelSetup
{
    private static string StarterFolder => Path.Combine(AppContext.BaseDirectory, "starter-models");

    /// <summary>Registers the starter models that the database does not know yet, or whose files are gone.</summary>
    public static async Task EnsureStartersAsync(NpgsqlDataSource storage, string modelsFolder, ILogger log, CancellationToken stop)
    {
        var known = (await ModelRegistry.ReadAllAsync(storage, stop)).Select(model => model.Manifest.Name).ToHashSet();
        foreach (var folder in Directory.GetDirectories(StarterFolder).Order(StringComparer.Ordinal))
        {
            var name = Path.GetFileName(folder);
            if (!known.Contains(name) || !Directory.Exists(Path.Combine(modelsFolder, name)))
            {
                await AddAsync(storage, folder, modelsFolder, new InstallOptions(), makeCurrent: false, log, stop);
            }
        }
    }

    /// <summary>Registers the model of a folder.</summary>
    /// <exception cref="GpuWorker.Models.InvalidModelException">The files, the manifest or the graph are at fault.</exception>
    /// <exception cref="OnnxRuntimeException">The device is at fault.</exception>
    public static async Task<InstalledModel> AddAsync(
        NpgsqlDataSource storage,
        string folder,
        string modelsFolder,
        InstallOptions options,
        bool makeCurrent,
        ILogger log,
        CancellationToken stop
    )
    {
        var installed = await ModelInstaller.AddAsync(folder, modelsFolder, options, stop);
        await ModelRegistry.PutAsync(storage, installed.Manifest, installed.Profile, installed.FileBytes, makeCurrent, stop);
        LogAdded(
            log,
            installed.Manifest.Ref.ToString(),
            installed.Profile.Provider,
            installed.Profile.AlphaNs / 1e3,
            installed.Profile.BetaNs
        );
        return installed;
    }

    [LoggerMessage(
        1,
        LogLevel.Information,
        "Registered {Model} on {Provider}: a batch takes {AlphaUs:F0} µs + {BetaNs:F1} ns per padded unit"
    )]
    private static partial void LogAdded(ILogger log, string model, string provider, double alphaUs, double betaNs);
}
