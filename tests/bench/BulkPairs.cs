using Pipeline.Tests.Support;

namespace Pipeline.Bench;

/// <summary>Figures of one bulk job.</summary>
/// <param name="Rate">Tasks a second.</param>
/// <param name="CpuUs">CPU a task, in microseconds, of each service and server by its name.</param>
internal readonly record struct BulkFigures(double Rate, IReadOnlyDictionary<string, double> CpuUs)
{
    private static readonly string[] Services = ["ingest", "scheduler", "gpu-worker", "results-api"];

    /// <summary>Of the four services together.</summary>
    public double ServicesCpuUs => CpuUs.Where(c => Services.Contains(c.Key)).Sum(c => c.Value);

    /// <summary>Of services and servers together.</summary>
    public double AllCpuUs => CpuUs.Values.Sum();
}

/// <summary>
/// Pairs of the job of <c>bulk</c>, without something and with it. Two whole systems live side by side, one without and one with it, and one
/// of them works at a time: so no pair begins with services that are new, and the two halves of a pair are seconds apart, which counts on a
/// machine that drifts. What is told is the median of the pairs.
/// </summary>
internal sealed class BulkPairs(ProcessRig off, ProcessRig on, int tasks, int pairs)
{
    /// <summary>One of the two systems, with its services.</summary>
    public static async Task<ProcessRig> StartAsync(IReadOnlyDictionary<string, string>? environment, CancellationToken stop)
    {
        var rig = await ProcessRig.StartAsync(stop);
        await rig.AddStarterModelsAsync(stop);
        await rig.StartServicesAsync(environment, stop);
        return rig;
    }

    public async Task<List<(BulkFigures Off, BulkFigures On)>> RunAsync(CancellationToken stop)
    {
        var texts = ShortTexts.Read();
        foreach (var rig in new[] { off, on })
        {
            await BulkBench.RunJobAsync(rig, texts, BulkBench.WarmTasks, stop);
        }

        var measured = new List<(BulkFigures Off, BulkFigures On)>();
        for (var pair = 0; pair < pairs; pair++)
        {
            // Who comes first changes from pair to pair, so that what grows with time is no one's advantage.
            var onFirst = pair % 2 == 1;
            var first = await MeasureAsync(onFirst ? on : off, texts, stop);
            var second = await MeasureAsync(onFirst ? off : on, texts, stop);
            var (without, with) = onFirst ? (second, first) : (first, second);
            measured.Add((without, with));
            Figures.Say(
                $"off {without.Rate:N0} tasks/s, {without.ServicesCpuUs:0.00} µs of CPU a task; on {with.Rate:N0}, {with.ServicesCpuUs:0.00}"
            );
        }

        return measured;
    }

    /// <summary>By how many percent jobs are slower with it.</summary>
    public static double OverheadPct(IEnumerable<(BulkFigures Off, BulkFigures On)> measured) =>
        Median(measured.Select(m => 100 * (1 - (m.On.Rate / m.Off.Rate))));

    /// <summary>How many percent more CPU a task takes with it.</summary>
    public static double CpuOverheadPct(IEnumerable<(BulkFigures Off, BulkFigures On)> measured, Func<BulkFigures, double> cpuUs) =>
        Median(measured.Select(m => 100 * ((cpuUs(m.On) / cpuUs(m.Off)) - 1)));

    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        var middle = sorted.Length / 2;
        return Math.Round(sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2, 2);
    }

    private async Task<BulkFigures> MeasureAsync(ProcessRig rig, string[] texts, CancellationToken stop)
    {
        var before = Figures.CpuSeconds(rig);
        var (seconds, _) = await BulkBench.RunJobAsync(rig, texts, tasks, stop);
        var after = Figures.CpuSeconds(rig);
        return new(tasks / seconds, after.ToDictionary(c => c.Key, c => (c.Value - before.GetValueOrDefault(c.Key)) * 1e6 / tasks));
    }
}
