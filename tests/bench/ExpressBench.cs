using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Bench.Peers;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support;
using Pipeline.Tests.Support.Models;

namespace Pipeline.Bench;

internal sealed record ExpressSettings
{
    /// <summary>Requests a second, idle and beside bulk.</summary>
    public double Rate { get; init; } = 50;

    /// <summary>Of each measurement.</summary>
    public int Seconds { get; init; } = 20;

    /// <summary>Bound on a bulk batch's device time beside express.</summary>
    public int BatchTimeMaxMs { get; init; } = 50;

    /// <summary>Of each step of the search for the highest rate; 0 leaves the search out.</summary>
    public int SearchSeconds { get; init; } = 5;

    /// <summary>Whether bulk is measured, alone and beside express, and the queue without lanes.</summary>
    public bool Bulk { get; init; } = true;
}

/// <summary>
/// <c>express</c>: answers while the caller waits, one short text a request through the small starter model, open loop: idle, and while a bulk
/// job of an encoder saturates the one worker. Beside it the same mixed load through one first-come queue, and the highest rate that keeps
/// p99 under 100 ms.
/// </summary>
internal static class ExpressBench
{
    private const string Model = "language-id-small";
    private const double P99LimitMs = 100;
    private const double RefusedShareMax = 0.01;

    // Services live for days, so what is compiled in the first half minute of a load is left out: .NET compiles what runs often twice more.
    private static readonly TimeSpan Settle = TimeSpan.FromSeconds(30);

    public static Command Create()
    {
        var usual = new ExpressSettings();
        var rate = new Option<double>("--rate") { Description = "Requests a second", DefaultValueFactory = _ => usual.Rate };
        var seconds = new Option<int>("--seconds") { Description = "Of each measurement", DefaultValueFactory = _ => usual.Seconds };
        var batch = new Option<int>("--batch-time-max")
        {
            Description = "Bound on a bulk batch's device time beside express, milliseconds",
            DefaultValueFactory = _ => usual.BatchTimeMaxMs,
        };
        var search = new Option<int>("--search-seconds")
        {
            Description = "Of each step of the search for the highest rate; 0 leaves it out",
            DefaultValueFactory = _ => usual.SearchSeconds,
        };
        var noBulk = new Option<bool>("--no-bulk") { Description = "Only idle and the search" };
        var command = new Command("express", "Answers while the caller waits, idle and beside bulk.")
        {
            rate,
            seconds,
            batch,
            search,
            noBulk,
        };
        command.SetAction(
            (parsed, stop) =>
                RunAsync(
                    new ExpressSettings
                    {
                        Rate = parsed.GetValue(rate),
                        Seconds = parsed.GetValue(seconds),
                        BatchTimeMaxMs = parsed.GetValue(batch),
                        SearchSeconds = parsed.GetValue(search),
                        Bulk = !parsed.GetValue(noBulk),
                    },
                    stop
                )
        );
        return command;
    }

    public static async Task<int> RunAsync(ExpressSettings settings, CancellationToken stop)
    {
        await using var rig = await ProcessRig.StartAsync(stop);
        await rig.AddStarterModelsAsync(stop);
        var folder = Path.Combine(rig.Folder, SlowEncoder.Name);
        SlowEncoder.Write(folder);
        await ModelSetup.AddAsync(rig.Storage, folder, rig.Options.ModelsFolder, new(), makeCurrent: true, NullLogger.Instance, stop);
        var texts = ShortTexts.Read();
        var length = TimeSpan.FromSeconds(settings.Seconds);

        double? best = settings.Bulk ? await BulkAloneAsync(rig, texts, length, stop) : null;
        await using var services = new ServiceProcesses(rig.Options, Path.Combine(rig.Folder, "logs"), Environment(settings));
        await services.StartAllAsync(0, 0, stop);
        using var http = Client(services, rig.ApiKey);
        var load = new OpenLoop(http, Model, texts);
        await WarmAsync(load, stop);

        var before = Cpu(services, rig);
        var idle = await load.RunAsync(settings.Rate, length, stop);
        Say("idle", idle);
        Figures.Say($"idle, medians: {idle.Parts}");
        SayCpu(before, Cpu(services, rig), idle.Sent);
        Busy? busy = settings.Bulk ? await BesideBulkAsync(rig, http, load, texts, settings, best!.Value, stop) : null;
        double? fifo = settings.Bulk ? FirstCome(rig, texts, settings, best!.Value) : null;
        var most = settings.SearchSeconds > 0 ? await SearchAsync(load, settings, stop) : (double?)null;
        Figures.Report(
            new
            {
                benchmark = "express",
                idle_p50_ms = Round(idle.BesideP(50)),
                idle_p99_ms = Round(idle.BesideP(99)),
                busy_p99_ms = Round(busy?.Express.P(99)),
                batch_time_max_ms = Round(busy?.BatchMs),
                bulk_retained = busy is null ? null : (double?)Math.Round(busy.BulkPerSecond / best!.Value, 3),
                fifo_busy_p99_ms = Round(fifo),
                max_rate_per_s = most,
                idle_total_p50_ms = Round(idle.P(50)),
                idle_total_p99_ms = Round(idle.P(99)),
                busy_p50_ms = Round(busy?.Express.P(50)),
                busy_limit_ms = Round(idle.P(99) + (1.2 * settings.BatchTimeMaxMs)),
                bulk_per_s = Round(busy?.BulkPerSecond),
                bulk_alone_best_per_s = Round(best),
                refused = idle.Refused + (busy?.Express.Refused ?? 0),
                failed = idle.Failed + (busy?.Express.Failed ?? 0),
                settings = new
                {
                    rate_per_s = settings.Rate,
                    seconds = settings.Seconds,
                    batch_time_max_ms = settings.BatchTimeMaxMs,
                    cores = System.Environment.ProcessorCount,
                    durability = await Figures.DurabilityAsync(rig, stop),
                },
            }
        );
        return 0;
    }

    private static double? Round(double? value) => value is { } number ? Math.Round(number, 2) : null;

    private static Dictionary<string, string> Environment(ExpressSettings settings) =>
        new()
        {
            ["WORKER__INTRAOPTHREADS"] = "1",
            ["SCHEDULER__POLICY__BULKBATCHTIMEMAX"] = TimeSpan
                .FromMilliseconds(settings.BatchTimeMaxMs)
                .ToString("c", CultureInfo.InvariantCulture),
            // Express goes out at once beside bulk, too: waiting for company leaves bulk more, and costs what is measured here.
            ["SCHEDULER__POLICY__EXPRESSDEFERSHARE"] = "0",
            ["INGEST__KEYRATEPERSECOND"] = "100000",
            ["INGEST__KEYBURSTMAX"] = "100000",
            ["INGEST__KEYCONCURRENTMAX"] = "100000",
        };

    private static HttpClient Client(ServiceProcesses services, string key)
    {
        var http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 1024 }) { BaseAddress = services.Ingest.Address };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return http;
    }

    /// <summary>Until express is let in, and everything that runs often is compiled and connected.</summary>
    private static async Task WarmAsync(OpenLoop load, CancellationToken stop)
    {
        while ((await load.RunAsync(5, TimeSpan.FromSeconds(1), stop)).LatencyMs.Length == 0) { }

        await load.RunAsync(50, 2 * Settle, stop);
    }

    private static void Say(string what, LoadResult result) =>
        Figures.Say(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{what}: p50 {result.P(50):0.0} ms, p99 {result.P(99):0.0} ms; without device p50 {result.BesideP(50):0.0}, p99 {result.BesideP(99):0.0}; {result.Refused} refused, {result.Failed} failed of {result.Sent}{(result.FirstOther is { } told ? $", the first: {told}" : "")}"
            )
        );

    // Bulk

    /// <summary>Tasks per second of the bulk job alone, with the settings that are best for it: the defaults.</summary>
    private static async Task<double> BulkAloneAsync(ProcessRig rig, string[] texts, TimeSpan length, CancellationToken stop)
    {
        await using var services = new ServiceProcesses(
            rig.Options,
            Path.Combine(rig.Folder, "logs-alone"),
            new Dictionary<string, string> { ["WORKER__INTRAOPTHREADS"] = "1" }
        );
        await services.StartAllAsync(0, 0, stop);
        using var http = Client(services, rig.ApiKey);
        var job = await SubmitBulkAsync(http, texts, 400_000, stop);
        await Task.Delay(Settle, stop);
        var perSecond = await BulkPerSecondAsync(rig, job, () => Task.Delay(length, stop), stop);
        await CancelAsync(rig, http, job, stop);
        Figures.Say(string.Create(CultureInfo.InvariantCulture, $"bulk alone: {perSecond:0.0} tasks/s"));
        return perSecond;
    }

    private sealed record Busy(LoadResult Express, double BulkPerSecond, double BatchMs);

    private static async Task<Busy> BesideBulkAsync(
        ProcessRig rig,
        HttpClient http,
        OpenLoop load,
        string[] texts,
        ExpressSettings settings,
        double best,
        CancellationToken stop
    )
    {
        var tasks = (int)(best * (settings.Seconds + (1.2 * Settle.TotalSeconds)) * 1.3);
        var job = await SubmitBulkAsync(http, texts, tasks, stop);
        await Task.Delay(Settle, stop);
        LoadResult? express = null;
        var began = DateTimeOffset.UtcNow;
        var perSecond = await BulkPerSecondAsync(
            rig,
            job,
            async () => express = await load.RunAsync(settings.Rate, TimeSpan.FromSeconds(settings.Seconds), stop),
            stop
        );
        await using var command = rig.Storage.CreateCommand(
            "SELECT max(device_ns) / 1e6::float8 FROM batches WHERE lane = 'bulk' AND started_at >= $1"
        );
        command.Parameters.Add(new NpgsqlParameter { Value = began });
        var batchMs = (double)(await command.ExecuteScalarAsync(stop))!;
        await CancelAsync(rig, http, job, stop);
        Say("beside bulk", express!);
        Figures.Say(string.Create(CultureInfo.InvariantCulture, $"bulk beside: {perSecond:0.0} tasks/s, longest batch {batchMs:0.0} ms"));
        return new Busy(express!, perSecond, batchMs);
    }

    private static async Task<Guid> SubmitBulkAsync(HttpClient http, string[] texts, int tasks, CancellationToken stop)
    {
        var body = new StringBuilder();
        for (var i = 0; i < tasks; i++)
        {
            body.Append(JsonSerializer.Serialize(new { custom_id = $"t{i}", input = texts[i % texts.Length] })).Append('\n');
        }

        using var content = new StringContent(body.ToString(), Encoding.UTF8, "application/x-ndjson");
        using var answer = await http.PostAsync($"v1/jobs?model={SlowEncoder.Name}&class=bulk&reuse=false", content, stop);
        answer.EnsureSuccessStatusCode();
        return JsonElement.Parse(await answer.Content.ReadAsByteArrayAsync(stop)).GetProperty("id").GetGuid();
    }

    /// <summary>Results a second that were committed while something else went on.</summary>
    private static async Task<double> BulkPerSecondAsync(ProcessRig rig, Guid job, Func<Task> meanwhile, CancellationToken stop)
    {
        var from = DateTimeOffset.UtcNow;
        await meanwhile();
        var to = DateTimeOffset.UtcNow;
        await using var command = rig.Storage.CreateCommand(
            "SELECT count(*) FROM results WHERE job = $1 AND finished_at >= $2 AND finished_at < $3"
        );
        command.Parameters.Add(new NpgsqlParameter { Value = job });
        command.Parameters.Add(new NpgsqlParameter { Value = from });
        command.Parameters.Add(new NpgsqlParameter { Value = to });
        return (long)(await command.ExecuteScalarAsync(stop))! / (to - from).TotalSeconds;
    }

    private static async Task CancelAsync(ProcessRig rig, HttpClient http, Guid job, CancellationToken stop)
    {
        using var answer = await http.PostAsync($"v1/jobs/{job}/cancel", null, stop);
        answer.EnsureSuccessStatusCode();
        await using var command = rig.Storage.CreateCommand("SELECT count(*) FROM jobs WHERE id = $1 AND finished_at IS NULL");
        command.Parameters.Add(new NpgsqlParameter { Value = job });
        while ((long)(await command.ExecuteScalarAsync(stop))! > 0)
        {
            await Task.Delay(50, stop);
        }
    }

    // The queue without lanes

    /// <summary>
    /// The same models, texts, rate and time in this process: one queue, first come first served, the bulk job in it when express begins to
    /// come. No HTTP, broker or database takes part, so it is the device's order alone that is measured, and in the queue's favour.
    /// </summary>
    /// <returns>p99 of express, from the intended time to the end of its device call, in milliseconds.</returns>
    private static double FirstCome(ProcessRig rig, string[] texts, ExpressSettings settings, double bulkPerSecond)
    {
        const int BatchRows = 64;
        using var small = PeerRuns.LoadModel(rig.Options.ModelsFolder, Model, 1);
        using var encoder = PeerRuns.LoadModel(rig.Options.ModelsFolder, SlowEncoder.Name, 1);
        var bulk = new Queue<int>(Enumerable.Range(0, (int)(bulkPerSecond * settings.Seconds / BatchRows)));
        var arrivals = Enumerable.Range(0, (int)(settings.Rate * settings.Seconds)).Select(i => i / settings.Rate * 1000).ToArray();
        var clock = Stopwatch.StartNew();
        while (bulk.TryDequeue(out var batch))
        {
            Run(encoder, Enumerable.Range(batch * BatchRows, BatchRows).Select(i => texts[i % texts.Length]));
        }

        var latency = new double[arrivals.Length];
        for (var i = 0; i < arrivals.Length; i++)
        {
            SpinWait.SpinUntil(() => clock.Elapsed.TotalMilliseconds >= arrivals[i]);
            Run(small, [texts[i % texts.Length]]);
            latency[i] = clock.Elapsed.TotalMilliseconds - arrivals[i];
        }

        Array.Sort(latency);
        var p99 = Figures.Percentile(latency, 99);
        Figures.Say(string.Create(CultureInfo.InvariantCulture, $"one first-come queue: p99 {p99:0} ms"));
        return p99;
    }

    private static void Run(IModel model, IEnumerable<string> texts)
    {
        PreparedTask[] tasks = [.. texts.Select(text => model.Prepare(Encoding.UTF8.GetBytes(text)))];
        using var ran = model.Run(model.Pack(tasks), CancellationToken.None);
        _ = ran.Result(0);
    }

    // The highest rate

    /// <summary>Doubles the rate until p99 is over the limit, then halves the gap: the highest rate that was seen to keep it.</summary>
    private static async Task<double> SearchAsync(OpenLoop load, ExpressSettings settings, CancellationToken stop)
    {
        var (good, bad) = (0.0, double.PositiveInfinity);
        for (var rate = 2 * settings.Rate; bad / Math.Max(1, good) > 1.15; )
        {
            var result = await load.RunAsync(rate, TimeSpan.FromSeconds(settings.SearchSeconds), stop);
            var missed = result.Refused + result.Failed;
            Say(string.Create(CultureInfo.InvariantCulture, $"{rate:0}/s"), result);
            if (missed <= RefusedShareMax * result.Sent && result.P(99) <= P99LimitMs)
            {
                good = rate;
            }
            else
            {
                bad = rate;
            }

            rate = double.IsInfinity(bad) ? rate * 2 : Math.Round((good + bad) / 2);
        }

        return good;
    }

    // Where the time goes

    private static Dictionary<string, double> Cpu(ServiceProcesses services, ProcessRig rig) => Figures.CpuSeconds(services.All, rig);

    private static void SayCpu(Dictionary<string, double> before, Dictionary<string, double> after, int requests) =>
        Figures.Say(
            $"CPU, ms a request: {string.Join(", ", after.Select(a => $"{a.Key} {(a.Value - before.GetValueOrDefault(a.Key)) * 1000 / requests:0.00}"))}"
        );
}
