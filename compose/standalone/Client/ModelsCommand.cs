using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.GpuWorker.Models.Registration;
using Pipeline.Hosting;
using Pipeline.Standalone.Host;

namespace Pipeline.Standalone.Client;

/// <summary><c>models</c>: lists them; <c>init</c> writes a manifest from a graph; <c>add</c> registers a folder.</summary>
internal static class ModelsCommand
{
    public static Command Create(Connection connection)
    {
        var json = new Option<bool>("--json") { Description = "Print JSON, one object a line" };
        var command = new Command("models", "List models; init writes a manifest for an ONNX file, add registers a folder.")
        {
            json,
            CreateInit(),
            CreateAdd(),
        };
        connection.AddTo(command);
        command.SetAction(
            async (parsed, stop) =>
            {
                using var client = connection.Open(parsed);
                Show((await client.ListModelsAsync(stop)).Data, parsed.GetValue(json));
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static Command CreateInit()
    {
        var model = new Argument<FileInfo>("model") { Description = "An ONNX file" };
        model.AcceptExistingOnly();
        var command = new Command("init", "Write model.json beside an ONNX file, from its graph, for you to complete.") { model };
        command.SetAction(parsed =>
        {
            var path = ManifestSkeleton.Write(parsed.GetValue(model)!.FullName);
            Console.WriteLine(
                $"Wrote {path}. Look through it (name, batch axes, result), then: ./pipeline models add {Path.GetDirectoryName(path)}"
            );
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command CreateAdd()
    {
        var folder = new Argument<DirectoryInfo>("folder") { Description = "Holds model.json, the model, and its labels or vocabulary" };
        folder.AcceptExistingOnly();
        var current = new Option<bool>("--make-current") { Description = "Let this version answer for its name from now on" };
        var samples = new Option<FileInfo>("--samples")
        {
            Description = "Task lines to try and measure it with, as a job has them (default: made-up inputs)",
        };
        samples.AcceptExistingOnly();
        var data = new Option<string>("--data")
        {
            Description = "Data folder of the host started with up",
            DefaultValueFactory = _ => HostRecord.DefaultFolder,
        };
        var database = new Option<string?>("--database")
        {
            Description = "Connection string (default: PIPELINE__DATABASE, or the running host's)",
        };
        var modelsFolder = new Option<string?>("--models-folder")
        {
            Description = "Folder the workers load from (default: PIPELINE__MODELSFOLDER, or the running host's)",
        };
        var command = new Command("add", "Check a model by loading and running it, measure its latency over batch sizes, and register it.")
        {
            folder,
            current,
            samples,
            data,
            database,
            modelsFolder,
        };
        command.SetAction(
            async (parsed, stop) =>
            {
                var connection = GivenServers.Database(parsed.GetValue(database), parsed.GetValue(data)!);
                var target = GivenServers.ModelsFolder(parsed.GetValue(modelsFolder), parsed.GetValue(data)!);
                Console.WriteLine("Loading, running, measuring…");
                await using var storage = NpgsqlDataSource.Create(connection);
                var source = parsed.GetValue(folder)!.FullName;
                var options = new InstallOptions();
                if (parsed.GetValue(samples) is { } file)
                {
                    options = options with { Samples = await SampleFile.ReadAsync(file.FullName, source, options.Session, stop) };
                }

                var added = await ModelSetup.AddAsync(
                    storage,
                    source,
                    target,
                    options,
                    parsed.GetValue(current),
                    NullLogger.Instance,
                    stop
                );
                Tell(added);
                return ExitCode.Ok;
            }
        );
        return command;
    }

    private static void Tell(InstalledModel added)
    {
        var profile = added.Profile;
        Console.WriteLine($"Registered {added.Manifest.Ref} ({added.FileBytes / 1e6:0.0} MB) on {profile.Provider}, {profile.Device}.");
        PlainTable.Write(
            ["rows", "padded units", "ms", "rows/s"],
            profile.Points.Select(point =>
                new[]
                {
                    point.Rows.ToString(CultureInfo.InvariantCulture),
                    point.PaddedUnits.ToString("N0", CultureInfo.InvariantCulture),
                    (point.DeviceNs / 1e6).ToString("0.00", CultureInfo.InvariantCulture),
                    (point.Rows / (point.DeviceNs / 1e9)).ToString("N0", CultureInfo.InvariantCulture),
                }
            )
        );
        Console.WriteLine(
            $"A row alone and in a batch differ by at most {profile.BatchDrift:0.0e+0}. The session takes {profile.MemoryBytes / 1e6:0} MB."
        );
    }

    private static void Show(IReadOnlyList<JsonElement> models, bool json)
    {
        if (json)
        {
            foreach (var model in models)
            {
                Console.WriteLine(JsonSerializer.Serialize(model, ApiJson.Options));
            }

            return;
        }

        static string Text(JsonElement model, string name) => model.TryGetProperty(name, out var value) ? value.ToString() : "";
        PlainTable.Write(["model", "kind"], models.Select(model => new[] { Text(model, "id"), Text(model, "kind") }));
    }
}
