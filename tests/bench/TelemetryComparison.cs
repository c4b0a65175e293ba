using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;
using Pipeline.Tests.Support;

namespace Pipeline.Bench;

/// <summary>
/// <c>bulk --telemetry</c>: what telemetry costs. The same job with all of it off, and with metrics, logs and sampled traces sent by OTLP to
/// a sink in this process; in turns, over the same servers, each time with services started anew. What counts is the median of the pairs.
/// </summary>
internal static class TelemetryComparison
{
    private const int WarmTasks = 20_000;
    private static readonly string[] Services = ["ingest", "scheduler", "gpu-worker", "results-api"];

    private static readonly Dictionary<string, string> Off = new() { ["TELEMETRY__METRICS"] = "false" };

    public static async Task<int> RunAsync(int tasks, int pairs, CancellationToken stop)
    {
        await using var sink = await StartSinkAsync();
        var on = new Dictionary<string, string>
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.Urls.First(),
            ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf",
            ["OTEL_METRIC_EXPORT_INTERVAL"] = "5000",
        };
        await using var rig = await ProcessRig.StartAsync(stop);
        await rig.AddStarterModelsAsync(stop);
        var texts = ShortTexts.Read();
        var (rates, cpu) = (new List<(double Off, double On)>(), new List<(double Off, double On)>());
        for (var pair = 0; pair < pairs; pair++)
        {
            // Who comes first changes from pair to pair, so that what grows with time is no one's advantage.
            var firstOn = pair % 2 == 1;
            var first = await MeasureAsync(rig, firstOn ? on : Off, texts, tasks, stop);
            var second = await MeasureAsync(rig, firstOn ? Off : on, texts, tasks, stop);
            var (off, with) = firstOn ? (second, first) : (first, second);
            rates.Add((off.Rate, with.Rate));
            cpu.Add((off.CpuUs, with.CpuUs));
            Figures.Say($"off {off.Rate:N0} tasks/s, {off.CpuUs:0.00} µs of CPU a task; on {with.Rate:N0}, {with.CpuUs:0.00}");
        }

        Figures.Report(
            new
            {
                benchmark = "bulk-telemetry",
                telemetry_overhead_pct = Median(rates.Select(r => 100 * (1 - (r.On / r.Off)))),
                services_cpu_overhead_pct = Median(cpu.Select(c => 100 * ((c.On / c.Off) - 1))),
                tasks_per_s = rates.Select(r => new { off = Math.Round(r.Off), on = Math.Round(r.On) }),
                services_cpu_us_per_task = cpu.Select(c => new { off = Math.Round(c.Off, 2), on = Math.Round(c.On, 2) }),
                settings = new
                {
                    tasks,
                    pairs,
                    cores = Environment.ProcessorCount,
                    durability = await Figures.DurabilityAsync(rig, stop),
                },
            }
        );
        return 0;
    }

    private static async Task<(double Rate, double CpuUs)> MeasureAsync(
        ProcessRig rig,
        Dictionary<string, string> environment,
        string[] texts,
        int tasks,
        CancellationToken stop
    )
    {
        await rig.StartServicesAsync(environment, stop);
        await BulkBench.RunJobAsync(rig, texts, WarmTasks, stop);
        var before = Figures.CpuSeconds(rig);
        var (seconds, _) = await BulkBench.RunJobAsync(rig, texts, tasks, stop);
        var after = Figures.CpuSeconds(rig);
        await rig.StopServicesAsync();
        return (tasks / seconds, Services.Sum(name => after[name] - before[name]) * 1e6 / tasks);
    }

    private static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        var middle = sorted.Length / 2;
        return Math.Round(sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2, 2);
    }

    /// <summary>Takes what is sent, and looks at none of it.</summary>
    private static async Task<WebApplication> StartSinkAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var app = builder.Build();
        app.Run(static http => http.Request.Body.CopyToAsync(Stream.Null, http.RequestAborted));
        await app.StartAsync();
        return app;
    }
}
