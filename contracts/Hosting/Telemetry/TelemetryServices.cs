using System.Reflection;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using OpenTelemetry;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using Pipeline.Hosting.Api;

namespace Pipeline.Hosting.Telemetry;

/// <summary>Traces, metrics and logs of a process: one call for each program.</summary>
public static class TelemetryServices
{
    /// <summary>
    /// Measures, shows the metrics at <c>/metrics</c> (<see cref="MapMetrics"/>), and sends what OpenTelemetry's variables ask for; by default
    /// nothing leaves the process. Call after <c>AddPipelineDefaults</c>, and after the console's log was chosen.
    /// </summary>
    /// <param name="serviceName"><c>ingest</c>, <c>scheduler</c>, …; <c>OTEL_SERVICE_NAME</c> goes before.</param>
    /// <exception cref="OptionsException">An option or a variable is none that is known.</exception>
    public static IServiceCollection AddPipelineTelemetry(
        this IServiceCollection services,
        IConfiguration configuration,
        string serviceName
    )
    {
        var options = TelemetryOptions.Read(configuration);
        services.AddSingleton(options);
        if (options.JsonLogs)
        {
            services.AddLogging(static log =>
                log.AddJsonConsole(static console =>
                {
                    (console.IncludeScopes, console.UseUtcTimestamp) = (true, true);
                    console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ";
                })
            );
        }

        var version = Assembly.GetExecutingAssembly().GetName().Version?.ToString(3);
        var telemetry = services
            .AddOpenTelemetry()
            .ConfigureResource(resource =>
                resource
                    .AddService(configuration["OTEL_SERVICE_NAME"] ?? serviceName, "pipeline", version)
                    // Once more, so that what the operator says goes before what is said here.
                    .AddEnvironmentVariableDetector()
            );
        if (options.Metrics)
        {
            telemetry.WithMetrics(metrics => Measure(metrics, options, OtelVariables.Sends(configuration, "METRICS")));
        }

        if (OtelVariables.Sends(configuration, "TRACES"))
        {
            var (ratio, followsCaller) = OtelVariables.Sampling(configuration, options.SampleRatio);
            telemetry.WithTracing(traces => Trace(traces, new DoorSampler(ratio, followsCaller)));
        }

        if (OtelVariables.Sends(configuration, "LOGS"))
        {
            telemetry.WithLogging(
                static logs => logs.AddOtlpExporter(),
                static log => (log.IncludeFormattedMessage, log.ParseStateValues) = (true, true)
            );
        }

        return services;
    }

    private static void Measure(MeterProviderBuilder metrics, TelemetryOptions options, bool sends)
    {
        var known = Metrics.All.ToDictionary(metric => metric.Name, metric => StreamOf(metric, options));
        metrics
            .AddMeter(Metrics.Meters)
            .AddView(instrument => known.GetValueOrDefault(instrument.Name, MetricStreamConfiguration.Drop))
            .AddPrometheusExporter(static prometheus => prometheus.ScopeInfoEnabled = false);
        if (sends)
        {
            metrics.AddOtlpExporter();
        }
    }

    /// <summary>Only the labels of the catalogue, in bounded number.</summary>
    private static MetricStreamConfiguration StreamOf(Metric metric, TelemetryOptions options) =>
        metric.Buckets.Length > 0
            ? new ExplicitBucketHistogramConfiguration
            {
                Boundaries = metric.Buckets,
                TagKeys = metric.Labels,
                CardinalityLimit = options.SeriesMax,
            }
            : new MetricStreamConfiguration { TagKeys = metric.Labels, CardinalityLimit = options.SeriesMax };

    private static void Trace(TracerProviderBuilder traces, DoorSampler sampler) =>
        traces
            .SetSampler(sampler)
            .AddSource(Traces.SourceName, "MassTransit", "Npgsql")
            // Probes and scrapes are no requests of anybody.
            .AddAspNetCoreInstrumentation(static web => web.Filter = static http => !IsProbe(http.Request.Path))
            .AddOtlpExporter();

    private static bool IsProbe(PathString path) => path.StartsWithSegments("/healthz") || path.StartsWithSegments("/metrics");

    private static readonly ApiOperation Scrape = new(
        "getMetrics",
        ApiTags.Service,
        "What the process measures, for Prometheus.",
        "Text exposition format. Needs no key unless the process was started with `Telemetry:MetricsNeedKey`, and then an operator's. "
            + "The metrics are listed in contracts/Hosting/Telemetry."
    )
    {
        IsPublic = true,
        Answers = [new(StatusCodes.Status200OK, "text/plain", null, "The metrics.")],
    };

    /// <summary><c>GET /metrics</c>, on the port of the health endpoints; not there where nothing is measured.</summary>
    public static void MapMetrics(this IEndpointRouteBuilder endpoints)
    {
        var options = endpoints.ServiceProvider.GetRequiredService<TelemetryOptions>();
        if (!options.Metrics)
        {
            return;
        }

        var scrape = endpoints
            .CreateApplicationBuilder()
            .UseOpenTelemetryPrometheusScrapingEndpoint(
                meterProvider: null,
                predicate: static _ => true,
                path: null,
                configureBranchedPipeline: null,
                optionsName: null
            )
            .Build();
        var route = endpoints
            .MapGet(
                "/metrics",
                async (HttpContext http) =>
                {
                    await scrape(http);
                    return Results.Empty;
                }
            )
            .Describe(Scrape)
            .DisableHttpMetrics();
        if (options.MetricsNeedKey)
        {
            route.RequireApiKey().RequireOperator();
        }
    }
}
