using System.Collections.Concurrent;
using System.CommandLine;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support;
using Pipeline.Tests.Support.Models;
using Pipeline.Tests.Support.Worker;

namespace Pipeline.Bench;

internal sealed record LedgerSettings
{
    public double Minutes { get; init; } = 5;

    /// <summary>Draws the load and the kills.</summary>
    public int Seed { get; init; } = 1;
    public int Workers { get; init; } = 2;
    public int Tenants { get; init; } = 3;

    /// <summary>Mean seconds between two kills.</summary>
    public double KillEvery { get; init; } = 15;
}

/// <summary>
/// <c>ledger</c>: a mixed load of several tenants (bulk jobs of an encoder and of the small starter model, standard jobs, express) on workers
/// that are killed at random moments and started again. At the end nothing may be lost, the books must close to the pico-dollar, by the
/// database's own word and by the script that recomputes them, and the predictions made at acceptance are held against what happened.
/// </summary>
internal static class LedgerBench
{
    private const string Small = "language-id-small";
    private static readonly TimeSpan EndWait = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan RollupWait = TimeSpan.FromSeconds(30);

    public static Command Create()
    {
        var usual = new LedgerSettings();
        var minutes = new Option<double>("--minutes") { Description = "How long load comes in", DefaultValueFactory = _ => usual.Minutes };
        var seed = new Option<int>("--seed") { Description = "Draws load and kills", DefaultValueFactory = _ => usual.Seed };
        var workers = new Option<int>("--workers") { Description = "Worker processes", DefaultValueFactory = _ => usual.Workers };
        var kill = new Option<double>("--kill-every")
        {
            Description = "Mean seconds between two kills; 0 kills none",
            DefaultValueFactory = _ => usual.KillEvery,
        };
        var command = new Command("ledger", "Mixed load on workers that are killed: do the books close, do predictions hold?")
        {
            minutes,
            seed,
            workers,
            kill,
        };
        command.SetAction(
            (parsed, stop) =>
                RunAsync(
                    usual with
                    {
                        Minutes = parsed.GetValue(minutes),
                        Seed = parsed.GetValue(seed),
                        Workers = parsed.GetValue(workers),
                        KillEvery = parsed.GetValue(kill),
                    },
                    stop
                )
        );
        return command;
    }

    public static async Task<int> RunAsync(LedgerSettings settings, CancellationToken stop)
    {
        await using var rig = await ProcessRig.StartAsync(stop);
        await rig.AddStarterModelsAsync(stop);
        var folder = Path.Combine(rig.Folder, SlowEncoder.Name);
        SlowEncoder.Write(folder);
        await ModelSetup.AddAsync(rig.Storage, folder, rig.Options.ModelsFolder, new(), makeCurrent: true, NullLogger.Instance, stop);

        // As many threads together as there are cores, so that what a worker takes does not depend on what the others do.
        var environment = new Dictionary<string, string>
        {
            ["WORKER__INTRAOPTHREADS"] = $"{Math.Max(1, Environment.ProcessorCount / settings.Workers)}",
        };
        await rig.StartServicesAsync(environment, stop);
        var workers = rig.Services.All.Where(service => service.Name == "gpu-worker").ToList();
        while (workers.Count < settings.Workers)
        {
            workers.Add(StartWorker(rig));
        }

        await Task.WhenAll(workers.Select(worker => worker.UntilReadyAsync(TimeSpan.FromMinutes(1), stop)));
        using var load = await MixedLoad.CreateAsync(rig, settings, stop);
        await load.WarmAsync(stop);

        using var ends = CancellationTokenSource.CreateLinkedTokenSource(stop);
        ends.CancelAfter(TimeSpan.FromMinutes(settings.Minutes));
        var killing = KillAsync(rig, workers, settings, ends.Token);
        await load.RunAsync(ends.Token);
        var kills = await killing;
        Figures.Say($"{load.Accepted.Count:N0} jobs accepted, {load.Refused:N0} express requests refused, {kills} workers killed");
        await UntilEndedAsync(rig, load.Accepted, stop);

        var tasks = load.Accepted.Values.Sum(accepted => (long)accepted);
        var (lost, failed) = await CountAsync(rig, load.Accepted, stop);
        var difference = await ScalarAsync<decimal>(rig, "SELECT coalesce(sum(abs(pico)), 0) FROM ledger_difference()", stop);
        var script = await LedgerScript.RecomputeAsync(rig.Storage);
        var scores = await ScoresAsync(rig, stop);
        foreach (var score in scores)
        {
            Figures.Say($"{score}");
        }

        var whole = Score.Sum(scores);
        Figures.Report(
            new
            {
                benchmark = "ledger",
                difference_pico_usd = difference,
                script_agrees = script is { } ran ? ran.Exit == 0 : (bool?)null,
                lost_pct = Math.Round(100.0 * lost / Math.Max(1, tasks), 6),
                kills,
                tasks,
                failed_tasks = failed,
                jobs = load.Accepted.Count,
                scored_jobs = whole.Jobs,
                coverage_pct = Percent(whole.Coverage),
                mape_pct = Percent(whole.Mape),
                cost_mape_pct = Percent(whole.CostMape),
                by_class = scores
                    .GroupBy(score => score.Class)
                    .ToDictionary(
                        group => group.Key,
                        group =>
                        {
                            var sum = Score.Sum(group);
                            return new
                            {
                                jobs = sum.Jobs,
                                coverage_pct = Percent(sum.Coverage),
                                mape_pct = Percent(sum.Mape),
                                cost_mape_pct = Percent(sum.CostMape),
                            };
                        }
                    ),
                settings = new
                {
                    minutes = settings.Minutes,
                    seed = settings.Seed,
                    workers = settings.Workers,
                    tenants = settings.Tenants,
                    kill_every_s = settings.KillEvery,
                    cores = Environment.ProcessorCount,
                    durability = await Figures.DurabilityAsync(rig, stop),
                },
            }
        );
        return difference == 0 && lost == 0 && script is not { Exit: not 0 } ? 0 : 1;
    }

    private static ServiceProcess StartWorker(ProcessRig rig) => rig.Services.Start("gpu-worker", "Pipeline.GpuWorker.dll", 0);

    /// <summary>Kills a worker drawn by lot, again and again, and starts another at once. Gives the number of kills.</summary>
    private static async Task<int> KillAsync(ProcessRig rig, List<ServiceProcess> workers, LedgerSettings settings, CancellationToken stop)
    {
        var random = new Random(settings.Seed);
        for (var kills = 0; ; kills++)
        {
            try
            {
                var pause = settings.KillEvery > 0 ? settings.KillEvery * (0.5 + random.NextDouble()) : double.PositiveInfinity;
                await Task.Delay(pause < 1e6 ? TimeSpan.FromSeconds(pause) : Timeout.InfiniteTimeSpan, stop);
            }
            catch (OperationCanceledException)
            {
                return kills;
            }

            var victim = random.Next(workers.Count);
            workers[victim].Kill();
            workers[victim] = StartWorker(rig);
        }
    }

    private static async Task UntilEndedAsync(ProcessRig rig, ConcurrentDictionary<Guid, int> jobs, CancellationToken stop)
    {
        for (var left = EndWait; left > TimeSpan.Zero; left -= TimeSpan.FromMilliseconds(200))
        {
            if (await ScalarAsync<long>(rig, "SELECT count(*) FROM jobs WHERE finished_at IS NULL", stop) == 0)
            {
                return;
            }

            await Task.Delay(200, stop);
        }

        Figures.Say($"not all of {jobs.Count:N0} jobs ended within {EndWait.TotalMinutes:0} minutes");
    }

    /// <summary>Accepted tasks without a result, by what the door had answered; and those that failed.</summary>
    private static async Task<(long Lost, long Failed)> CountAsync(
        ProcessRig rig,
        ConcurrentDictionary<Guid, int> jobs,
        CancellationToken stop
    )
    {
        await using var command = rig.Storage.CreateCommand(
            "SELECT job, count(*)::int, (count(*) FILTER (WHERE status <> 'succeeded'))::int FROM results GROUP BY job"
        );
        command.CommandTimeout = 0;
        await using var reader = await command.ExecuteReaderAsync(stop);
        var ended = new Dictionary<Guid, int>();
        var failed = 0L;
        while (await reader.ReadAsync(stop))
        {
            ended[reader.GetGuid(0)] = reader.GetInt32(1);
            failed += reader.GetInt32(2);
        }

        return (jobs.Sum(job => (long)Math.Abs(job.Value - ended.GetValueOrDefault(job.Key))), failed);
    }

    /// <summary>The calibration as operators are told it, once all ends are rolled up.</summary>
    private static async Task<List<Score>> ScoresAsync(ProcessRig rig, CancellationToken stop)
    {
        var tenant = await Tenants.EnsureAsync(rig.Storage, "operator", stop);
        var key = await ApiKeyIssuer.IssueAsync(rig.Storage, tenant, "operator", isOperator: true, cancellationToken: stop);
        using var http = new HttpClient { BaseAddress = rig.Services.Results.Address };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        var last = await ScalarAsync<string>(rig, "SELECT pg_current_xact_id()::text", stop);
        for (var left = RollupWait; left > TimeSpan.Zero; left -= TimeSpan.FromMilliseconds(200))
        {
            if (await ScalarAsync<bool>(rig, $"SELECT xid >= '{last}'::xid8 FROM rollups", stop))
            {
                break;
            }

            await Task.Delay(200, stop);
        }

        var list = JsonElement.Parse(await http.GetStringAsync("v1/calibration", stop));
        return [.. list.GetProperty("data").EnumerateArray().Select(Score.Of)];
    }

    private static async Task<T> ScalarAsync<T>(ProcessRig rig, string sql, CancellationToken stop)
    {
        await using var command = rig.Storage.CreateCommand(sql);
        command.CommandTimeout = 0;
        return (T)(await command.ExecuteScalarAsync(stop))!;
    }

    private static double? Percent(double? part) => part is { } value ? Math.Round(100 * value, 2) : null;

    /// <summary>A row of the calibration, as parts of 1.</summary>
    private sealed record Score(
        string Class,
        string Model,
        long Jobs,
        double Coverage,
        double Mape,
        double Bias,
        long CostJobs,
        double? CostMape
    )
    {
        public static Score Of(JsonElement row) =>
            new(
                row.GetProperty("class").GetString()!,
                row.GetProperty("model").GetString()!,
                row.GetProperty("jobs").GetInt64(),
                row.GetProperty("coverage").GetDouble(),
                row.GetProperty("completion_mape").GetDouble(),
                row.GetProperty("completion_bias").GetDouble(),
                row.GetProperty("cost_jobs").GetInt64(),
                row.GetProperty("cost_mape").ValueKind == JsonValueKind.Null ? null : row.GetProperty("cost_mape").GetDouble()
            );

        /// <summary>Means over all jobs of the rows.</summary>
        public static Score Sum(IEnumerable<Score> scores)
        {
            var rows = scores.ToList();
            var (jobs, costJobs) = (rows.Sum(row => row.Jobs), rows.Sum(row => row.CostJobs));
            double Mean(Func<Score, double> of) => jobs > 0 ? rows.Sum(row => of(row) * row.Jobs) / jobs : 0;
            return new Score(
                "",
                "",
                jobs,
                Mean(row => row.Coverage),
                Mean(row => row.Mape),
                Mean(row => row.Bias),
                costJobs,
                costJobs > 0 ? rows.Sum(row => (row.CostMape ?? 0) * row.CostJobs) / costJobs : null
            );
        }
    }
}

/// <summary>Jobs and requests of several tenants, drawn from a seed: their kinds, sizes and times do not depend on how they are answered.</summary>
internal sealed class MixedLoad : IDisposable
{
    private const string Small = "language-id-small";
    private static readonly int[] BulkSizes = [300, 1_000, 4_000, 12_000];

    /// <summary>Jobs whose texts come again and again; of the others none does.</summary>
    private const double RepeatingShare = 0.1;
    private readonly string[] _texts = ShortTexts.Read();
    private readonly List<HttpClient> _tenants = [];
    private readonly int _seed;
    private int _refused;

    private MixedLoad(int seed) => _seed = seed;

    /// <summary>Tasks of every accepted job, as the door answered.</summary>
    public ConcurrentDictionary<Guid, int> Accepted { get; } = new();

    /// <summary>Express requests that were answered 429.</summary>
    public int Refused => _refused;

    public static async Task<MixedLoad> CreateAsync(ProcessRig rig, LedgerSettings settings, CancellationToken stop)
    {
        var load = new MixedLoad(settings.Seed);
        for (var i = 0; i < settings.Tenants; i++)
        {
            var tenant = await Tenants.EnsureAsync(rig.Storage, $"tenant-{i}", stop);
            var http = new HttpClient { BaseAddress = rig.Services.Ingest.Address, Timeout = TimeSpan.FromMinutes(2) };
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue(
                "Bearer",
                await ApiKeyIssuer.IssueAsync(rig.Storage, tenant, "bench", cancellationToken: stop)
            );
            load._tenants.Add(http);
        }

        return load;
    }

    /// <summary>
    /// Compiles code, loads the models and lets the devices be measured. That alone: predictions learn from jobs while load comes in, and
    /// those they do not know yet are scored, too.
    /// </summary>
    public async Task WarmAsync(CancellationToken stop)
    {
        var random = new Random(_seed);
        foreach (var model in new[] { Small, SlowEncoder.Name })
        {
            await SubmitAsync(random, "bulk", model, 2_000, stop);
            await SubmitAsync(random, "standard", model, 50, stop);
        }

        await Task.Delay(TimeSpan.FromSeconds(5), stop);
    }

    /// <summary>Sends until it is told to stop; what was sent by then is waited for.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        await Task.WhenAll(
            StreamAsync(
                1,
                meanSeconds: 10,
                random => SubmitAsync(random, "bulk", SlowEncoder.Name, random.GetItems(BulkSizes, 1)[0], default),
                stop
            ),
            StreamAsync(
                2,
                meanSeconds: 5,
                random => SubmitAsync(random, "bulk", Small, 4 * random.GetItems(BulkSizes, 1)[0], default),
                stop
            ),
            StreamAsync(3, meanSeconds: 1, random => SubmitAsync(random, "standard", Small, random.Next(10, 200), default), stop),
            StreamAsync(4, meanSeconds: 2, random => SubmitAsync(random, "standard", SlowEncoder.Name, random.Next(5, 100), default), stop),
            StreamAsync(5, meanSeconds: 0.1, random => InferAsync(random, default), stop)
        );
    }

    public void Dispose() => _tenants.ForEach(http => http.Dispose());

    /// <summary>A Poisson stream: pauses are drawn from the exponential distribution.</summary>
    private async Task StreamAsync(int number, double meanSeconds, Func<Random, Task> send, CancellationToken stop)
    {
        var random = new Random((_seed * 100) + number);
        var sent = new List<Task>();
        try
        {
            while (true)
            {
                await Task.Delay(TimeSpan.FromSeconds(-meanSeconds * Math.Log(1 - random.NextDouble())), stop);

                // Each has its own draws, in an order that does not depend on when the others are answered.
                sent.Add(send(new Random(random.Next())));
                sent.RemoveAll(task => task.IsCompletedSuccessfully);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            await Task.WhenAll(sent);
        }
    }

    private async Task SubmitAsync(Random random, string latencyClass, string model, int tasks, CancellationToken stop)
    {
        var first = random.Next(_texts.Length);
        var repeats = random.NextDouble() < RepeatingShare;
        var lines = new StringBuilder();
        for (var i = 0; i < tasks; i++)
        {
            var text = _texts[(first + i) % _texts.Length];
            text = JsonSerializer.Serialize(repeats ? text : $"{text} {i}");
            lines.Append("{\"custom_id\":\"").Append(ShortTexts.CustomId(i)).Append("\",\"input\":").Append(text).Append("}\n");
        }

        using var body = new StringContent(lines.ToString(), Encoding.UTF8, "application/x-ndjson");
        using var answer = await Tenant(random).PostAsync($"v1/jobs?model={model}&class={latencyClass}", body, stop);
        await AcceptAsync(answer, stop);
    }

    private async Task InferAsync(Random random, CancellationToken stop)
    {
        var request = JsonSerializer.Serialize(new { model = Small, input = _texts[random.Next(_texts.Length)] });
        using var body = new StringContent(request, Encoding.UTF8, "application/json");
        using var answer = await Tenant(random).PostAsync("v1/infer", body, stop);
        if (answer.StatusCode == HttpStatusCode.TooManyRequests)
        {
            Interlocked.Increment(ref _refused);
            return;
        }

        await AcceptAsync(answer, stop);
    }

    private async Task AcceptAsync(HttpResponseMessage answer, CancellationToken stop)
    {
        var json = JsonElement.Parse(await answer.Content.ReadAsStringAsync(stop));
        if (!answer.IsSuccessStatusCode)
        {
            throw new InvalidOperationException($"The door answered {(int)answer.StatusCode}: {json.GetRawText()}");
        }

        Accepted[json.GetProperty("id").GetGuid()] = json.TryGetProperty("tasks", out var tasks) ? tasks.GetInt32() : 1;
    }

    private HttpClient Tenant(Random random) => _tenants[random.Next(_tenants.Count)];
}
