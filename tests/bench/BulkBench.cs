using System.CommandLine;
using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Pipeline.Bench.Peers;
using Pipeline.Contracts;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support;

namespace Pipeline.Bench;

internal sealed record BulkSettings
{
    public int Tasks { get; init; } = 500_000;
    public int PeerTasks { get; init; } = 20_000;
    public bool Peers { get; init; } = true;
}

/// <summary>
/// <c>bulk</c>: one large job of short texts through the small starter model, HTTP body in to last result committed, beside two peers
/// with the same model, servers and durability.
/// </summary>
internal static class BulkBench
{
    /// <summary>
    /// Before what is measured: models loaded, connections open, code compiled. Services compile in tiers: they take twice the CPU a task in
    /// their first million tasks.
    /// </summary>
    internal const int WarmTasks = 2_000_000;

    private const string Model = "language-id-small";

    public static Command Create()
    {
        var tasks = new Option<int>("--tasks") { Description = "Tasks of the job", DefaultValueFactory = _ => new BulkSettings().Tasks };
        var peerTasks = new Option<int>("--peer-tasks")
        {
            Description = "Tasks each peer gets (their rate does not depend on it)",
            DefaultValueFactory = _ => new BulkSettings().PeerTasks,
        };
        var noPeers = new Option<bool>("--no-peers") { Description = "Leave the peers out" };
        var telemetry = new Option<bool>("--telemetry")
        {
            Description = "Only compare: the job with telemetry off and on, in turns (metrics, and OTLP with traces sampled)",
        };
        var accounting = new Option<bool>("--accounting")
        {
            Description = "Only compare: the job with the books' rows left out by PostgreSQL and written, in turns",
        };
        var pairs = new Option<int>("--pairs")
        {
            Description = "With --telemetry or --accounting: pairs of off and on",
            DefaultValueFactory = _ => 5,
        };
        var command = new Command("bulk", "One large bulk job through four processes, beside two peers.")
        {
            tasks,
            peerTasks,
            noPeers,
            telemetry,
            accounting,
            pairs,
        };
        command.SetAction(
            (parsed, stop) =>
                parsed.GetValue(telemetry) ? TelemetryComparison.RunAsync(parsed.GetValue(tasks), parsed.GetValue(pairs), stop)
                : parsed.GetValue(accounting) ? AccountingComparison.RunAsync(parsed.GetValue(tasks), parsed.GetValue(pairs), stop)
                : RunAsync(
                    new BulkSettings
                    {
                        Tasks = parsed.GetValue(tasks),
                        PeerTasks = parsed.GetValue(peerTasks),
                        Peers = !parsed.GetValue(noPeers),
                    },
                    stop
                )
        );
        return command;
    }

    public static async Task<int> RunAsync(BulkSettings settings, CancellationToken stop)
    {
        await using var rig = await ProcessRig.StartAsync(stop);
        await rig.AddStarterModelsAsync(stop);
        var peers = settings.Peers ? await PeerRuns.RunAsync(rig, settings.PeerTasks, stop) : [];

        await rig.StartServicesAsync(null, stop);
        var texts = ShortTexts.Read();
        await RunJobAsync(rig, texts, WarmTasks, stop);
        var before = Figures.CpuSeconds(rig);
        var (seconds, job) = await RunJobAsync(rig, texts, settings.Tasks, stop);
        var after = Figures.CpuSeconds(rig);
        var wrong = await CheckAsync(rig, job, texts, settings.Tasks, stop);

        var rate = settings.Tasks / seconds;
        var cpu = after.ToDictionary(c => c.Key, c => Math.Round((c.Value - before.GetValueOrDefault(c.Key)) * 1e6 / settings.Tasks, 2));
        Figures.Say(
            $"{settings.Tasks:N0} tasks in {seconds:0.0} s; CPU µs per task: {string.Join(", ", cpu.Select(c => $"{c.Key} {c.Value}"))}"
        );
        var peer = peers.Count > 0 ? peers.Values.Max() : 0;
        Figures.Report(
            new
            {
                benchmark = "bulk",
                tasks_per_s = Math.Round(rate),
                peer_tasks_per_s = Math.Round(peer),
                ratio = peer > 0 ? Math.Round(rate / peer, 1) : 0,
                peak_rss_mb = Figures.PeakServiceMemoryMb(rig),
                wrong_outputs = wrong,
                peers = peers.ToDictionary(p => p.Key, p => Math.Round(p.Value)),
                cpu_us_per_task = cpu,
                settings = new
                {
                    tasks = settings.Tasks,
                    peer_tasks = settings.PeerTasks,
                    model = Model,
                    bytes_per_text = Math.Round(texts.Average(t => Encoding.UTF8.GetByteCount(t)), 1),
                    cores = Environment.ProcessorCount,
                    durability = await Figures.DurabilityAsync(rig, stop),
                },
            }
        );
        return wrong == 0 ? 0 : 1;
    }

    internal static async Task<(double Seconds, string Job)> RunJobAsync(ProcessRig rig, string[] texts, int tasks, CancellationToken stop)
    {
        var path = Path.Combine(rig.Folder, $"body-{tasks}.ndjson");
        await ShortTexts.WriteBodyAsync(path, texts, tasks, stop);
        await using var file = File.OpenRead(path);
        using var body = new StreamContent(file, 256 * 1024);
        body.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
        var started = DateTimeOffset.UtcNow;
        var job = await rig.Client.SubmitAsync(body, [new("model", Model), new("class", "bulk"), new("reuse", "false")], null, stop);
        Figures.Say($"{tasks:N0} tasks accepted after {(DateTimeOffset.UtcNow - started).TotalSeconds:0.0} s");
        while (!job.State.IsEnd())
        {
            await Task.Delay(100, stop);
            job = await rig.Client.GetJobAsync(job.Id, stop);
        }

        return job.State == JobState.Completed && job.Counts.Succeeded == tasks
            ? ((job.FinishedAt!.Value - started).TotalSeconds, job.Id)
            : throw new InvalidOperationException($"The job ended {job.State} with {job.Counts.Succeeded} of {tasks} succeeded.");
    }

    /// <summary>Reads every result back and compares it with what the model says of that text alone; the number that differ.</summary>
    private static async Task<int> CheckAsync(ProcessRig rig, string job, string[] texts, int tasks, CancellationToken stop)
    {
        Figures.Say("checking every output");
        using var model = PeerRuns.LoadModel(rig.Options.ModelsFolder, Model);
        var expected = new PeerModel(model).Run(texts).Select(Best).ToArray();
        var (seen, wrong) = (0, 0);
        await foreach (var line in rig.Client.ResultsAsync(job, "order=task", stop))
        {
            using var result = JsonDocument.Parse(line);
            var root = result.RootElement;
            var ok =
                root.GetProperty("seq").GetInt32() == seen
                && root.GetProperty("custom_id").GetString() == ShortTexts.CustomId(seen)
                && root.GetProperty("output").GetProperty("labels")[0].GetProperty("label").GetString() == expected[seen % texts.Length];
            wrong += ok ? 0 : 1;
            seen++;
        }

        return wrong + Math.Abs(tasks - seen);
    }

    private static string Best(string output)
    {
        using var json = JsonDocument.Parse(output);
        return json.RootElement.GetProperty("labels")[0].GetProperty("label").GetString()!;
    }
}
