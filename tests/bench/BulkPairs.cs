using Pipeline.Tests.Support;

namespace Pipeline.Bench;

/// <summary>Figures of one bulk job.</summary>
/// <param name="Rate">Tasks a second.</param>
/// <param name="CpuUs">CPU of the four services a task, in microseconds.</param>
/// <param name="ServerCpuUs">The same of PostgreSQL.</param>
internal readonly record struct BulkFigures(double Rate, double CpuUs, double ServerCpuUs);

/// <summary>
/// Pairs of the job of <c>bulk</c>, without something and with it: in turns, over the same servers, each time with services started anew. What
/// counts is the median of the pairs, since a machine drifts.
/// </summary>
internal sealed class BulkPairs(ProcessRig rig, int tasks, int pairs)
{
    private static readonly string[] Services = ["ingest", "scheduler", "gpu-worker", "results-api"];

    /// <param name="begin">Prepares the servers for a job without it (false) or with it (true), and gives the services' environment.</param>
    public async Task<List<(BulkFigures Off, BulkFigures On)>> RunAsync(
        Func<bool, Task<Dictionary<string, string>?>> begin,
        CancellationToken stop
    )
    {
        var texts = ShortTexts.Read();
        var measured = new List<(BulkFigures Off, BulkFigures On)>();
        for (var pair = 0; pair < pairs; pair++)
        {
            // Who comes first changes from pair to pair, so that what grows with time is no one's advantage.
            var firstOn = pair % 2 == 1;
            var first = await MeasureAsync(await begin(firstOn), texts, stop);
            var second = await MeasureAsync(await begin(!firstOn), texts, stop);
            var (off, on) = firstOn ? (second, first) : (first, second);
            measured.Add((off, on));
            Figures.Say($"off {off.Rate:N0} tasks/s, {off.CpuUs:0.00} µs of CPU a task; on {on.Rate:N0}, {on.CpuUs:0.00}");
        }

        return measured;
    }

    /// <summary>By how many percent jobs are slower with it.</summary>
    public static double OverheadPct(IEnumerable<(BulkFigures Off, BulkFigures On)> measured) =>
        Median(measured.Select(m => 100 * (1 - (m.On.Rate / m.Off.Rate))));

    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        var middle = sorted.Length / 2;
        return Math.Round(sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2, 2);
    }

    private async Task<BulkFigures> MeasureAsync(Dictionary<string, string>? environment, string[] texts, CancellationToken stop)
    {
        await rig.StartServicesAsync(environment, stop);
        await BulkBench.RunJobAsync(rig, texts, BulkBench.WarmTasks, stop);
        var before = Figures.CpuSeconds(rig);
        var (seconds, _) = await BulkBench.RunJobAsync(rig, texts, tasks, stop);
        var after = Figures.CpuSeconds(rig);
        await rig.StopServicesAsync();
        return new(tasks / seconds, Services.Sum(CpuUs), CpuUs("postgres"));

        double CpuUs(string name) => (after[name] - before[name]) * 1e6 / tasks;
    }
}
