using System.Diagnostics.Metrics;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using OpenTelemetry.Logs;
using OpenTelemetry.Trace;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;
using Pipeline.Tests.Support.Telemetry;
using Xunit;

namespace Pipeline.Tests.Unit.Telemetry;

/// <summary>A process's <c>/metrics</c>: what of it is shown, to whom, and that it cannot grow; and that nothing leaves it unasked.</summary>
public sealed class MetricsEndpointTests : IDisposable
{
    private readonly Meter _meter = new("Pipeline.Tests");
    private readonly HttpClient _http = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _meter.Dispose();
        _http.Dispose();
    }

    [Fact]
    public async Task Shows_metrics_and_labels_of_the_catalogue_and_no_others()
    {
        await using var app = await StartAsync();
        _meter.Counter<long>(Metrics.JobsAccepted).Add(1, new(Metrics.Class, "bulk"), new("tenant", "somebody"));
        _meter.CreateCounter<long>("pipeline.unknown").Add(1);

        var scrape = await ScrapeAsync(app);

        var jobs = scrape.Samples.Where(sample => sample.Name == Metrics.JobsAccepted.PrometheusName);
        Assert.All(jobs, sample => Assert.DoesNotContain("tenant", sample.Labels.Keys));
        Assert.Contains(jobs, sample => sample.Labels.GetValueOrDefault("pipeline_class") == "bulk");
        Assert.DoesNotContain(scrape.Types.Keys, name => name.StartsWith("pipeline_unknown", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Tells_so_many_models_apart_and_counts_the_rest_together()
    {
        await using var app = await StartAsync(("Telemetry:ModelsMax", "2"));
        var (models, counter) = (app.Services.GetRequiredService<ModelLabels>(), _meter.Counter<long>(Metrics.TasksAccepted));
        foreach (var name in (string[])["a", "b", "c", "d", "a"])
        {
            counter.Add(1, new KeyValuePair<string, object?>(Metrics.Model, models.Of(new ModelRef(name, "1.0.0"))));
        }

        var scrape = await ScrapeAsync(app);

        Assert.Equal(["a 2", "b 1", "other 2"], ValuesOf(scrape, Metrics.TasksAccepted, "gen_ai_request_model"));
    }

    [Fact]
    public async Task Counts_series_beyond_the_maximum_together()
    {
        await using var app = await StartAsync(("Telemetry:SeriesMax", "100"));
        var counter = _meter.Counter<long>(Metrics.Decisions);
        for (var i = 0; i < 500; i++)
        {
            counter.Add(1, new KeyValuePair<string, object?>(Metrics.Reason, $"reason-{i}"));
        }

        var scrape = await ScrapeAsync(app);

        var series = scrape.Samples.Where(sample => sample.Name == Metrics.Decisions.PrometheusName).ToList();
        Assert.InRange(series.Count, 2, 101);
        Assert.Contains(series, sample => sample.Labels.ContainsKey("otel_metric_overflow") && sample.Value >= 399);
    }

    [Fact]
    public async Task Needs_no_key_unless_it_is_said_to()
    {
        await using var open = await StartAsync();
        await using var closed = await StartAsync(("Telemetry:MetricsNeedKey", "true"));
        await using var off = await StartAsync(("Telemetry:Metrics", "false"));

        Assert.Equal(HttpStatusCode.OK, await StatusAsync(open));
        Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(closed));
        Assert.Equal(HttpStatusCode.NotFound, await StatusAsync(off));
    }

    [Fact]
    public async Task Sends_nothing_unless_it_is_asked_to()
    {
        await using var app = await StartAsync();

        Assert.Null(app.Services.GetService<TracerProvider>());
        Assert.Null(app.Services.GetService<LoggerProvider>());
    }

    [Fact]
    public async Task Sends_where_the_variables_say()
    {
        await using var receiver = await OtlpReceiver.StartAsync();
        await using var app = await StartAsync([.. receiver.Environment.Select(variable => (variable.Key, variable.Value))]);

        await receiver.UntilMetricAsync("test", Metrics.WorkingSet.Name);
        Assert.NotNull(app.Services.GetService<TracerProvider>());
    }

    private static async Task<WebApplication> StartAsync(params (string Key, string Value)[] settings)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Configuration.AddInMemoryCollection(settings.Select(s => KeyValuePair.Create(s.Key, (string?)s.Value)));
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddPipelineDefaults(new PipelineOptions { Database = "Host=unused", Broker = PipelineOptions.InMemoryBroker });
        builder.Services.AddPipelineTelemetry(builder.Configuration, "test");
        var app = builder.Build();
        app.UseProblems();
        app.MapMetrics();
        await app.StartAsync(Stop);
        return app;
    }

    private async Task<Exposition> ScrapeAsync(WebApplication app) =>
        Exposition.Parse(await _http.GetStringAsync(new Uri(new Uri(app.Urls.First()), "metrics"), Stop));

    private async Task<HttpStatusCode> StatusAsync(WebApplication app)
    {
        using var response = await _http.GetAsync(new Uri(new Uri(app.Urls.First()), "metrics"), Stop);
        return response.StatusCode;
    }

    private static IEnumerable<string> ValuesOf(Exposition scrape, Metric metric, string label) =>
        scrape
            .Samples.Where(sample => sample.Name == metric.PrometheusName)
            .Select(sample => $"{sample.Labels[label]} {sample.Value}")
            .Order(StringComparer.Ordinal);
}
