using System.CommandLine;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;
using Pipeline.Contracts;
using Pipeline.Standalone.Client;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support;
using Pipeline.Tests.Support.Models;

namespace Pipeline.Bench;

internal sealed record DuplicatesSettings
{
    public int Tasks { get; init; } = 30_000;
    public int QuickTasks { get; init; } = 200_000;
    public int Rounds { get; init; } = 5;
}

/// <summary>
/// <c>duplicates</c>: as many tasks without and with half of them repeating an earlier one, at random over the whole job, through a model
/// whose device time is nearly all there is; and what looking for duplicates costs a job that has none, through one whose is not.
/// </summary>
internal static class DuplicatesBench
{
    private const string QuickModel = "language-id-small";

    public static Command Create()
    {
        var defaults = new DuplicatesSettings();
        var tasks = new Option<int>("--tasks")
        {
            Description = "Tasks of each job of the slow model",
            DefaultValueFactory = _ => defaults.Tasks,
        };
        var quickTasks = new Option<int>("--quick-tasks")
        {
            Description = "Tasks of each job of the quick model, which shows the overhead",
            DefaultValueFactory = _ => defaults.QuickTasks,
        };
        var rounds = new Option<int>("--rounds") { Description = "How often they take turns", DefaultValueFactory = _ => defaults.Rounds };
        var command = new Command("duplicates", "A job whose inputs repeat beside one whose do not.") { tasks, quickTasks, rounds };
        command.SetAction(
            (parsed, stop) =>
                RunAsync(
                    new DuplicatesSettings
                    {
                        Tasks = parsed.GetValue(tasks),
                        QuickTasks = parsed.GetValue(quickTasks),
                        Rounds = parsed.GetValue(rounds),
                    },
                    stop
                )
        );
        return command;
    }

    public static async Task<int> RunAsync(DuplicatesSettings settings, CancellationToken stop)
    {
        await using var rig = await ProcessRig.StartAsync(stop);
        await rig.AddStarterModelsAsync(stop);
        var folder = Path.Combine(rig.Folder, SlowEncoder.Name);
        SlowEncoder.Write(folder);
        await ModelSetup.AddAsync(rig.Storage, folder, rig.Options.ModelsFolder, new(), makeCurrent: true, NullLogger.Instance, stop);
        await rig.StartServicesAsync(null, stop);
        var sentences = ShortTexts.Read();
        await RunJobAsync(rig, SlowEncoder.Name, Texts(sentences, settings.Tasks / 10, 0), reuse: true, stop); // warm
        await RunJobAsync(rig, QuickModel, Texts(sentences, settings.QuickTasks / 10, 0), reuse: true, stop);

        // The machine's speed drifts, so they take turns, and each pair is compared by itself.
        var (distinct, repeated) = (Texts(sentences, settings.Tasks, 0), Texts(sentences, settings.Tasks, 0.5));
        var quick = Texts(sentences, settings.QuickTasks, 0);
        var (speedups, overheads) = (new List<double>(), new List<double>());
        for (var round = 0; round < settings.Rounds; round++)
        {
            var (without, with) = (
                await RunJobAsync(rig, SlowEncoder.Name, distinct, reuse: true, stop),
                await RunJobAsync(rig, SlowEncoder.Name, repeated, reuse: true, stop)
            );
            var (unlooked, looked) = (
                await RunJobAsync(rig, QuickModel, quick, reuse: false, stop),
                await RunJobAsync(rig, QuickModel, quick, reuse: true, stop)
            );
            speedups.Add(without.Seconds / with.Seconds);
            overheads.Add(looked.Seconds / unlooked.Seconds);
            Figures.Say(
                $"round {round + 1}: {without.Seconds:0.0} s ({without.Ran:N0} ran), with duplicates {with.Seconds:0.0} s ({with.Ran:N0} ran); "
                    + $"without looking {unlooked.Seconds:0.0} s, with {looked.Seconds:0.0} s"
            );
        }

        Figures.Report(
            new
            {
                benchmark = "duplicates",
                duplicates_speedup = Math.Round(Median(speedups), 2),
                speedups = speedups.Select(s => Math.Round(s, 2)),
                overhead = Math.Round(Median(overheads), 3),
                overheads = overheads.Select(o => Math.Round(o, 3)),
                settings = new
                {
                    tasks = settings.Tasks,
                    quick_tasks = settings.QuickTasks,
                    duplicates = 0.5,
                    cores = Environment.ProcessorCount,
                    durability = await Figures.DurabilityAsync(rig, stop),
                },
            }
        );
        return 0;
    }

    /// <summary>Texts of which each is new, or with that chance one that came before, whichever.</summary>
    private static string[] Texts(string[] sentences, int count, double duplicates)
    {
        var random = new Random(11);
        var texts = new string[count];
        var left = (int)(count * duplicates);
        for (var i = 0; i < count; i++)
        {
            // Exactly so many, spread evenly: the first has none before it.
            var repeats = i > 0 && random.Next(count - i) < left;
            left -= repeats ? 1 : 0;
            texts[i] = repeats
                ? texts[random.Next(i)]
                : string.Create(CultureInfo.InvariantCulture, $"{sentences[i % sentences.Length]} {i}");
        }

        return texts;
    }

    private static async Task<(double Seconds, long Ran)> RunJobAsync(
        ProcessRig rig,
        string model,
        string[] texts,
        bool reuse,
        CancellationToken stop
    )
    {
        var lines = texts.Select((text, i) => JsonSerializer.Serialize(new { custom_id = $"t{i}", input = text }));
        using var body = new StringContent(string.Join('\n', lines), Encoding.UTF8);
        body.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
        var started = DateTimeOffset.UtcNow;
        var job = await rig.Client.SubmitAsync(
            body,
            [new("model", model), new("class", "bulk"), new("reuse", reuse ? "true" : "false")],
            null,
            stop
        );
        while (!job.State.IsEnd())
        {
            await Task.Delay(50, stop);
            job = await rig.Client.GetJobAsync(job.Id, stop);
        }

        return job.Counts.Succeeded == texts.Length
            ? ((job.FinishedAt!.Value - started).TotalSeconds, await RanAsync(rig, job, stop))
            : throw new InvalidOperationException($"{job.Counts.Succeeded} of {texts.Length} succeeded.");
    }

    private static async Task<long> RanAsync(ProcessRig rig, ApiJob job, CancellationToken stop)
    {
        await using var command = rig.Storage.CreateCommand("SELECT count(batch) FROM results WHERE job = $1");
        command.Parameters.Add(new() { Value = Guid.Parse(job.Id) });
        return (long)(await command.ExecuteScalarAsync(stop))!;
    }

    private static double Median(IEnumerable<double> values) =>
        values.Order().ToArray() is { Length: > 0 } sorted ? sorted[sorted.Length / 2] : 0;
}
