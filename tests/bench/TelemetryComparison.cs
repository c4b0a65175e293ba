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
        var measured = await new BulkPairs(rig, tasks, pairs).RunAsync(
            with => Task.FromResult<Dictionary<string, string>?>(with ? on : Off),
            stop
        );
        Figures.Report(
            new
            {
                benchmark = "bulk-telemetry",
                telemetry_overhead_pct = BulkPairs.OverheadPct(measured),
                services_cpu_overhead_pct = BulkPairs.Median(measured.Select(m => 100 * ((m.On.CpuUs / m.Off.CpuUs) - 1))),
                tasks_per_s = measured.Select(m => new { off = Math.Round(m.Off.Rate), on = Math.Round(m.On.Rate) }),
                services_cpu_us_per_task = measured.Select(m => new { off = Math.Round(m.Off.CpuUs, 2), on = Math.Round(m.On.CpuUs, 2) }),
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
