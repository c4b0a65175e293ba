using System.CommandLine;
using System.Diagnostics;
using System.Net.Http.Headers;
using Microsoft.EntityFrameworkCore;
using Pipeline.GpuWorker.Models;
using Pipeline.GpuWorker.OnnxRuntime;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support;

namespace Pipeline.Bench.Peers;

/// <summary>Runs each peer as two processes (door and worker) against the rig's servers, and says how many tasks a second it ends.</summary>
internal static class PeerRuns
{
    private const string Model = "language-id-small";

    /// <returns>Tasks per second by peer.</returns>
    public static async Task<Dictionary<string, double>> RunAsync(ProcessRig rig, int tasks, CancellationToken stop)
    {
        var texts = ShortTexts.Read();
        var rates = new Dictionary<string, double>();
        foreach (var kind in Enum.GetValues<PeerKind>())
        {
            await using var db = new PeerDb(new DbContextOptionsBuilder<PeerDb>().UseNpgsql(rig.Options.Database).Options);
            await db.Database.ExecuteSqlRawAsync(
                """
                DROP TABLE IF EXISTS peer_results;
                CREATE TABLE peer_results ("CustomId" text PRIMARY KEY, "Output" text NOT NULL, "FinishedAt" timestamptz NOT NULL)
                """,
                stop
            );
            await using var peers = new ServiceProcesses(rig.Options, Path.Combine(rig.Folder, "logs"));
            var worker = peers.Start($"peer-{kind}", "Pipeline.Bench.dll", 0, arguments: ["peer", "worker", kind.ToString()]);
            var door = peers.Start($"peer-door-{kind}", "Pipeline.Bench.dll", 0, arguments: ["peer", "door"]);
            await Task.WhenAll(
                worker.UntilReadyAsync(TimeSpan.FromSeconds(60), stop),
                door.UntilReadyAsync(TimeSpan.FromSeconds(60), stop)
            );
            await SendAsync(rig, db, door, texts, 500, 0, stop); // warm
            var seconds = await SendAsync(rig, db, door, texts, tasks, 500, stop);
            rates[kind == PeerKind.PerTask ? "per_task_message" : "batch_consumer"] = tasks / seconds;
            Figures.Say($"peer {kind}: {tasks:N0} tasks in {seconds:0.0} s, {tasks / seconds:N0}/s");
        }

        return rates;
    }

    /// <summary>The registered model as the worker loads it: same code, same options.</summary>
    public static IModel LoadModel(string modelsFolder, string name, int threads = 0) =>
        OnnxModel.Load(Path.Combine(modelsFolder, name, "1.0.0"), new SessionOptions { IntraOpThreads = threads }, new TensorBufferPool());

    private static async Task<double> SendAsync(
        ProcessRig rig,
        PeerDb db,
        ServiceProcess door,
        string[] texts,
        int tasks,
        int already,
        CancellationToken stop
    )
    {
        var path = Path.Combine(rig.Folder, $"peer-{Guid.NewGuid():N}.ndjson");
        await ShortTexts.WriteBodyAsync(path, texts, tasks, stop);
        if (already > 0)
        {
            // Other ids than the warm-up's.
            await File.WriteAllTextAsync(
                path,
                (await File.ReadAllTextAsync(path, stop)).Replace("\"task-", "\"again-", StringComparison.Ordinal),
                stop
            );
        }

        await using var file = File.OpenRead(path);
        using var http = new HttpClient { BaseAddress = door.Address, Timeout = Timeout.InfiniteTimeSpan };
        using var body = new StreamContent(file);
        body.Headers.ContentType = new MediaTypeHeaderValue("application/x-ndjson");
        var clock = Stopwatch.StartNew();
        using var answer = await http.PostAsync("tasks", body, stop);
        answer.EnsureSuccessStatusCode();
        while (await db.Results.CountAsync(stop) < tasks + already)
        {
            await Task.Delay(100, stop);
        }

        return clock.Elapsed.TotalSeconds;
    }
}

/// <summary><c>peer door|worker</c>: one process of a peer; started by the benchmark.</summary>
internal static class PeerCommand
{
    public static Command Create()
    {
        var door = new Command("door", "Publish what is posted");
        door.SetAction((_, stop) => PeerProgram.RunDoorAsync(Broker(), stop));
        var kind = new Argument<PeerKind>("kind");
        var worker = new Command("worker", "Consume, run the model, save") { kind };
        worker.SetAction(
            async (parsed, stop) =>
            {
                using var model = PeerRuns.LoadModel(Setting("PIPELINE__MODELSFOLDER"), "language-id-small");
                await PeerProgram.RunWorkerAsync(parsed.GetValue(kind), Broker(), Setting("PIPELINE__DATABASE"), model, stop);
            }
        );
        return new Command("peer", "One process of a peer (started by bulk)") { door, worker };
    }

    private static Uri Broker() => new(Setting("PIPELINE__BROKER"));

    private static string Setting(string name) =>
        Environment.GetEnvironmentVariable(name) ?? throw new InvalidOperationException($"{name} is not set.");
}
