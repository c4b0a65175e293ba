using System.CommandLine;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Fidelity;
using Pipeline.Tests.Support;

namespace Pipeline.Bench;

internal sealed record FidelitySettings
{
    /// <summary>How long express jobs come in each pair.</summary>
    public double Seconds { get; init; } = 40;

    /// <summary>Lives whose mean is the simulator's answer.</summary>
    public int Lives { get; init; } = 20;

    /// <summary>Seed of the arrivals.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Where the figures are written.</summary>
    public string Out { get; init; } = Path.Combine("tests", "simulator", "fidelity.json");

    /// <summary>Where what was seen is kept, to be judged again; null for nowhere.</summary>
    public string? Record { get; init; }
}

/// <summary>
/// <c>fidelity</c>: the same arrivals run for real (four processes, RabbitMQ, PostgreSQL, an encoder on the CPU) and in the simulator
/// with measured parameters. What is compared is the share of express tasks done by their due time, over pairs of load, burstiness,
/// target and company; parameters come from a calibration before the pairs, and from a stream of their kind before each; nothing comes from
/// the pairs themselves.
/// </summary>
internal static class FidelityBench
{
    private static readonly JsonSerializerOptions Indented = new(ApiJson.Options)
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static Command Create()
    {
        var usual = new FidelitySettings();
        var seconds = new Option<double>("--seconds") { Description = "Length of a pair", DefaultValueFactory = _ => usual.Seconds };
        var lives = new Option<int>("--lives") { Description = "Simulated lives of a pair", DefaultValueFactory = _ => usual.Lives };
        var seed = new Option<ulong>("--seed") { Description = "Seed of the arrivals", DefaultValueFactory = _ => usual.Seed };
        var target = new Option<string>("--out") { Description = "Receives the figures", DefaultValueFactory = _ => usual.Out };
        var record = new Option<string?>("--record") { Description = "Receives what was seen, for --from" };
        var from = new Option<string?>("--from") { Description = "Judges what was recorded, instead of running it" };
        var command = new Command("fidelity", "The same work for real and in the simulator: how far apart?")
        {
            seconds,
            lives,
            seed,
            target,
            record,
            from,
        };
        command.SetAction(
            async (parsed, stop) =>
            {
                var settings = new FidelitySettings
                {
                    Seconds = parsed.GetValue(seconds),
                    Lives = parsed.GetValue(lives),
                    Seed = parsed.GetValue(seed),
                    Out = parsed.GetValue(target)!,
                    Record = parsed.GetValue(record),
                };
                return parsed.GetValue(from) is { } path
                    ? await JudgeAsync(
                        settings,
                        JsonSerializer.Deserialize<List<Observed>>(await File.ReadAllTextAsync(path, stop), JournalForm.Json)!,
                        stop
                    )
                    : await RunAsync(settings, stop);
            }
        );
        return command;
    }

    public static async Task<int> RunAsync(FidelitySettings settings, CancellationToken stop)
    {
        var seen = new List<Observed>();
        await using (var rig = await ProcessRig.StartAsync(stop))
        {
            var run = await FidelityRun.PrepareAsync(rig, settings, stop);
            foreach (var group in FidelityPair.All.GroupBy(p => p.TargetMs))
            {
                seen.Add(await run.ObserveAsync([.. group], stop));
                if (settings.Record is { } path)
                {
                    await File.WriteAllTextAsync(path, JsonSerializer.Serialize(seen, JournalForm.Json), stop);
                }
            }
        }

        return await JudgeAsync(settings, seen, stop);
    }

    private static async Task<int> JudgeAsync(FidelitySettings settings, IReadOnlyList<Observed> groups, CancellationToken stop)
    {
        var rows = groups.SelectMany(seen => Judge(settings, seen)).ToList();
        var figures = new
        {
            benchmark = "fidelity",
            pairs = rows.Count,
            mean_pt = Math.Round(rows.Average(r => Math.Abs(r.DifferencePt)), 2),
            max_pt = Math.Round(rows.Max(r => Math.Abs(r.DifferencePt)), 2),
            // A normal deviation's mean distance from its middle is √(2/π) of it.
            perfect_mean_pt = Math.Round(rows.Average(r => r.LifePt) * Math.Sqrt(2 / Math.PI), 2),
            own_parameters_mean_pt = Math.Round(rows.Average(r => Math.Abs(r.OwnParametersPt)), 2),
            settings = new
            {
                seconds_a_pair = settings.Seconds,
                simulated_lives = settings.Lives,
                cores = Environment.ProcessorCount,
            },
        };
        await File.WriteAllTextAsync(
            settings.Out,
            JsonSerializer.Serialize(
                new
                {
                    figures.pairs,
                    figures.mean_pt,
                    figures.max_pt,
                    figures.perfect_mean_pt,
                    figures.own_parameters_mean_pt,
                    figures.settings,
                    measured = groups.Select(seen => Parameters(seen)),
                    table = rows,
                },
                Indented
            ) + "\n",
            stop
        );
        Figures.Report(figures);
        return 0;
    }

    private static IEnumerable<FidelityRow> Judge(FidelitySettings settings, Observed seen)
    {
        Figures.Say($"measured: {JsonSerializer.Serialize(Parameters(seen), ApiJson.Options)}");
        foreach (var number in seen.Jobs.Select(j => j.Mark).Where(m => m >= 0).Distinct().Order())
        {
            var pair = FidelityPair.All[number];
            var measured = Measured.Before(seen, number);
            var (mean, deviation) = Twin.Attainment(seen, measured, number, settings.Lives);
            var (own, _) = Twin.Attainment(seen, Measured.From(seen, number), number, settings.Lives);
            var real = Twin.Attained(seen, number);
            var row = new FidelityRow(
                pair.TargetMs,
                pair.Load,
                pair.Cv,
                pair.Bulk,
                Twin.Express(seen, number).Count,
                Math.Round(100 * real, 2),
                Math.Round(100 * mean, 2),
                Math.Round(100 * (mean - real), 2),
                Math.Round(100 * deviation, 2),
                Math.Round(100 * (own - real), 2),
                Math.Round(100 * Twin.DeviceDrift(seen, measured, number), 1)
            );
            Figures.Say(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"target {row.TargetMs, 4} ms, load {row.Load:0.00}, cv {row.Cv}, bulk {(row.Bulk ? "yes" : "no"), -3}: {row.Tasks, 4} tasks, real {row.RealPct, 6:0.00} %, simulated {row.SimulatedPct, 6:0.00} % ± {row.LifePt:0.00}, {row.DifferencePt, 6:+0.00;-0.00} pt (own parameters {row.OwnParametersPt, 6:+0.00;-0.00} pt, device {row.DeviceDriftPct:+0.0;-0.0} %)"
                )
            );
            yield return row;
        }
    }

    private static object Parameters(Observed seen)
    {
        var measured = Measured.Before(seen, seen.Jobs.Max(j => j.Mark));
        return new
        {
            target_ms = seen.Policy.Classes[LatencyClass.Express].Target.TotalMilliseconds,
            device_ms = measured.Device.Points.Select(p => new { padded_units = p.Units, ms = Math.Round(p.Ns / 1e6, 2) }),
            scatter = Spread(measured.Scatter),
            submit_to_scheduler_ms = Spread(measured.SubmitToScheduler),
            scheduler_to_worker_ms = Spread(measured.SchedulerToWorker),
            begin_ms = Spread(measured.BeginTime),
            device_to_result_ms = Spread(measured.DeviceToResult),
            worker_to_scheduler_ms = Spread(measured.WorkerToScheduler),
        };
    }

    private static object? Spread(Simulator.Delay delay) => delay.Measured is { } ticks ? Spread([.. ticks.Select(t => t / 1e4)]) : null;

    private static object Spread(double[] values)
    {
        var sorted = values.Order().ToArray();
        return new
        {
            n = sorted.Length,
            mean = Math.Round(sorted.Average(), 2),
            p50 = Math.Round(sorted[sorted.Length / 2], 2),
            p95 = Math.Round(sorted[(int)(sorted.Length * 0.95)], 2),
            max = Math.Round(sorted[^1], 2),
        };
    }
}

/// <summary>One cell of the comparison.</summary>
/// <param name="Load">Express tasks over what the device can do in batches as large as express may have them.</param>
/// <param name="Cv">Coefficient of variation of the gaps between arrivals.</param>
/// <param name="Bulk">Whether a bulk job lies beside, which fills what express leaves.</param>
internal sealed record FidelityPair(double TargetMs, double Load, double Cv, bool Bulk)
{
    private static readonly (double Load, double Cv, bool Bulk)[] Works =
    [
        (0.4, 1, false),
        (0.5, 2, true),
        (0.6, 1, true),
        (0.7, 2, false),
        (0.8, 1, false),
        (0.8, 2, true),
        (0.9, 1, false),
        (1.1, 1, false),
    ];

    public static IReadOnlyList<FidelityPair> All { get; } =
    [.. new double[] { 300, 600, 1200 }.SelectMany(target => Works.Select(w => new FidelityPair(target, w.Load, w.Cv, w.Bulk)))];
}

/// <summary>What became of a pair; shares in per cent, differences in points.</summary>
/// <param name="SimulatedPct">The mean of the simulated lives.</param>
/// <param name="LifePt">How far one simulated life is from that mean (standard deviation).</param>
/// <param name="OwnParametersPt">The difference had the parameters been measured in this very pair: what is left is not their drift.</param>
/// <param name="DeviceDriftPct">How much longer the device took in this run than in the stream before it.</param>
internal sealed record FidelityRow(
    double TargetMs,
    double Load,
    double Cv,
    bool Bulk,
    int Tasks,
    double RealPct,
    double SimulatedPct,
    double DifferencePt,
    double LifePt,
    double OwnParametersPt,
    double DeviceDriftPct
);
