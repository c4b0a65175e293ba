using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;
using Pipeline.Tests.Support;

namespace Pipeline.Bench;

/// <summary>
/// <c>bulk --telemetry</c>: what telemetry costs. The same job with all of it off, and with metrics, logs and sampled traces sent by OTLP to
/// a sink in this process; in turns. What counts is the median of the pairs.
/// </summary>
internal static class TelemetryComparison
{
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
        await using var without = await BulkPairs.StartAsync(Off, stop);
        await using var with = await BulkPairs.StartAsync(on, stop);
        var measured = await new BulkPairs(without, with, tasks, pairs).RunAsync(stop);
        Figures.Report(
            new
            {
                benchmark = "bulk-telemetry",
                telemetry_overhead_pct = BulkPairs.OverheadPct(measured),
                cpu_overhead_pct = BulkPairs.CpuOverheadPct(measured, static job => job.AllCpuUs),
                services_cpu_overhead_pct = BulkPairs.CpuOverheadPct(measured, static job => job.ServicesCpuUs),
                tasks_per_s = measured.Select(m => new { off = Math.Round(m.Off.Rate), on = Math.Round(m.On.Rate) }),
                cpu_us_per_task = new { off = CpuUs(measured.Select(m => m.Off)), on = CpuUs(measured.Select(m => m.On)) },
                settings = new
                {
                    tasks,
                    pairs,
                    cores = Environment.ProcessorCount,
                    durability = await Figures.DurabilityAsync(with, stop),
                },
            }
        );
        return 0;
    }

    private static Dictionary<string, double> CpuUs(IEnumerable<BulkFigures> jobs) =>
        jobs.SelectMany(job => job.CpuUs).GroupBy(c => c.Key).ToDictionary(c => c.Key, c => BulkPairs.Median(c.Select(us => us.Value)));

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
