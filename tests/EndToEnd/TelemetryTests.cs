using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Pipeline.Hosting.Telemetry;
using Pipeline.Tests.Support;
using Pipeline.Tests.Support.Servers;
using Pipeline.Tests.Support.Telemetry;
using Xunit;

namespace Pipeline.Tests.EndToEnd;

/// <summary>What four processes tell of themselves: traces over RabbitMQ by OTLP, logs in them, and the metrics of the catalogue.</summary>
[Collection(RunningSystem.Collection)]
public sealed class TelemetryTests(RunningSystem system) : IDisposable
{
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromMinutes(1) };

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public void Dispose() => _http.Dispose();

    [Fact]
    public async Task A_traced_jobs_spans_are_one_trace_from_the_door_to_the_callback()
    {
        await using var receiver = await WebhookReceiver.StartNewAsync();
        var trace = Trace.New();
        using var body = new StringContent("{\"custom_id\":\"a\",\"input\":\"hello\"}\n", Encoding.UTF8, "application/x-ndjson");
        using var request = Request(
            trace,
            $"v1/jobs?model={RunningSystem.SmallModel}&class=standard&webhook={receiver.Url("/traced")}",
            body
        );
        using var response = await _http.SendAsync(request, Stop);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);

        var spans = await SpansAsync(trace, "webhook job.completed", "write results", "announce chunks");
        var door = Assert.Single(spans, span => span.ParentId == trace.SpanId);
        Assert.Equal(("ingest", "POST /v1/jobs/"), (door.Service, door.Name));
        Assert.Equal("scheduler", Named("queue").Service);
        Assert.Equal(["scheduler"], spans.Where(span => span.Name == "dispatch").Select(span => span.Service).Distinct());
        Assert.Equal("results-api", Named("webhook job.completed").Service);
        Assert.Equal("204", Named("webhook job.completed").Attributes["http.response.status_code"]);

        var infer = Named($"infer {RunningSystem.SmallModel}");
        Assert.Equal("gpu-worker", infer.Service);
        Assert.Equal([(trace.TraceId, door.SpanId)], infer.Links);
        Assert.StartsWith($"{RunningSystem.SmallModel}@", infer.Attributes[Metrics.Model], StringComparison.Ordinal);

        // By messages: what the scheduler sent and the worker took; and by statements: what each wrote.
        Assert.Contains(spans, span => span is { Service: "ingest", Scope: "MassTransit" });
        Assert.Contains(spans, span => span is { Service: "gpu-worker", Scope: "MassTransit" });
        Assert.Contains(spans, span => span.Scope == "Npgsql" && span.ParentId == Named("write results").SpanId);

        // The receiver is somebody else: it is not told of the trace.
        Assert.DoesNotContain("traceparent", Assert.Single(await receiver.UntilAsync(1)).Headers.Keys);

        SentSpan Named(string name) => spans.First(span => span.Name == name);
    }

    [Fact]
    public async Task A_request_that_is_waited_for_is_one_trace_with_its_wait_its_device_time_and_its_write()
    {
        var trace = Trace.New();
        using var body = new StringContent(
            JsonSerializer.Serialize(
                new
                {
                    model = RunningSystem.SmallModel,
                    input = "Guten Morgen",
                    fallback = "standard",
                }
            ),
            Encoding.UTF8,
            "application/json"
        );
        using var request = Request(trace, "v1/infer", body);
        using var response = await _http.SendAsync(request, Stop);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);

        var spans = await SpansAsync(
            trace,
            "POST /v1/infer",
            "store job",
            "await results",
            "queue",
            "dispatch",
            $"infer {RunningSystem.SmallModel}",
            "write results"
        );
        Assert.Equal(["gpu-worker", "ingest", "scheduler"], spans.Select(span => span.Service).Distinct().Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Each_service_shows_valid_metrics_of_the_catalogue_and_together_all_that_always_have_a_value()
    {
        await SettleAsync();
        var shown = new Dictionary<string, string>();
        foreach (var service in system.Rig.Services.All.Where(service => !service.HasExited))
        {
            // A worker that another test has put there may still be starting; those of this fixture are not.
            using var response = await _http.GetAsync(new Uri(service.Address, "metrics"), Stop);
            Assert.StartsWith("text/plain", response.Content.Headers.ContentType?.MediaType, StringComparison.Ordinal);
            var scrape = Exposition.Parse(await response.Content.ReadAsStringAsync(Stop));
            foreach (var (name, type) in scrape.Types)
            {
                shown[name] = type;
            }

            Assert.Contains("dotnet_process_cpu_time_seconds_total", scrape.Types.Keys);
            AssertLabels(scrape);
        }

        Assert.True(shown.Remove("target_info"));
        var known = Metrics.All.ToDictionary(metric => metric.PrometheusName, metric => metric.Kind.ToString().ToLowerInvariant());
        Assert.All(shown, metric => Assert.Equal((metric.Key, known.GetValueOrDefault(metric.Key)), (metric.Key, metric.Value)));
        var missing = Metrics.All.Except(OnlySometimes).Where(metric => !shown.ContainsKey(metric.PrometheusName));
        Assert.Empty(missing.Select(metric => metric.PrometheusName));
    }

    [Fact]
    public async Task A_Prometheus_knows_every_service_and_answers_each_rule_and_each_panel_of_the_dashboards()
    {
        var services = system
            .Rig.Services.All.Where(service => !service.HasExited)
            .ToLookup(service => service.Name, service => service.Address);
        await using var prometheus = await PrometheusServer.StartAsync(services, Stop);
        await SettleAsync();

        var targets = await prometheus.UntilAsync(
            "api/v1/targets?state=active",
            data => data.GetProperty("activeTargets").EnumerateArray().All(target => target.GetProperty("health").GetString() == "up"),
            Stop
        );
        Assert.Equal(
            services.SelectMany(service => service.Select(_ => service.Key)).Order(StringComparer.Ordinal),
            targets
                .GetProperty("activeTargets")
                .EnumerateArray()
                .Select(target => target.GetProperty("labels").GetProperty("service").GetString())
                .Order(StringComparer.Ordinal)
        );

        var rules = await prometheus.UntilAsync(
            "api/v1/rules",
            data =>
                RulesOf(data).All(rule => rule.GetProperty("health").GetString() != "unknown")
                // It waits for a moment, until the scheduler was asked for the first time.
                && RulesOf(data).Single(rule => NameOf(rule) == "NoActiveScheduler").GetProperty("state").GetString() == "inactive",
            Stop
        );
        Assert.All(RulesOf(rules), rule => Assert.Equal("ok", rule.GetProperty("health").GetString()));

        foreach (
            var query in Panels()
                .Where(query => !OnlySometimes.Any(metric => query.Contains(metric.PrometheusName, StringComparison.Ordinal)))
        )
        {
            await prometheus.UntilAsync(
                $"api/v1/query?query={Uri.EscapeDataString(query)}",
                data => data.GetProperty("result").GetArrayLength() > 0,
                Stop
            );
        }
    }

    [Fact]
    public async Task Where_no_scheduler_plans_an_alert_says_so()
    {
        await using var prometheus = await PrometheusServer.StartAsync(
            new[] { system.Ingest }.ToLookup(service => service.Name, service => service.Address),
            Stop
        );

        var alerts = await prometheus.UntilAsync("api/v1/alerts", data => data.GetProperty("alerts").GetArrayLength() > 0, Stop);

        var alert = Assert.Single(alerts.GetProperty("alerts").EnumerateArray());
        Assert.Equal("NoActiveScheduler", alert.GetProperty("labels").GetProperty("alertname").GetString());
        Assert.Equal(
            ("page", "pending"),
            (alert.GetProperty("labels").GetProperty("severity").GetString(), alert.GetProperty("state").GetString())
        );
    }

    [Fact]
    public async Task Metrics_and_logs_are_sent_too()
    {
        await system.Telemetry.UntilMetricAsync("ingest", Metrics.WorkingSet.Name);
        await system.Telemetry.UntilMetricAsync("scheduler", Metrics.SchedulerActive.Name);
        await system.Telemetry.UntilAsync(
            (_, logs) =>
                logs.FirstOrDefault(log => log.Service == "gpu-worker" && log.Body.Contains("takes work", StringComparison.Ordinal)),
            "line of the worker's log"
        );
    }

    /// <summary>Metrics without a value until something happens that no test here can wait for, or that needs a device.</summary>
    private static readonly Metric[] OnlySometimes =
    [
        Metrics.Disconnects,
        Metrics.LostAnswers,
        Metrics.QueueSlack,
        Metrics.JobsOpen,
        Metrics.OldestAge,
        Metrics.GpuUtilization,
        Metrics.GpuMemoryUsage,
        Metrics.GpuMemoryLimit,
        Metrics.GpuPower,
        Metrics.GpuTemperature,
    ];

    /// <summary>Lets every part do its work once: a job with a copy in it, express, a refusal, a callback.</summary>
    private async Task SettleAsync()
    {
        await using var receiver = await WebhookReceiver.StartNewAsync();
        using var body = new StringContent(
            "{\"custom_id\":\"a\",\"input\":\"twice\"}\n{\"custom_id\":\"b\",\"input\":\"twice\"}\n",
            Encoding.UTF8,
            "application/x-ndjson"
        );
        using var job = Request(null, $"v1/jobs?model={RunningSystem.SmallModel}&class=standard&webhook={receiver.Url("/settled")}", body);
        using var accepted = await _http.SendAsync(job, Stop);
        Assert.Equal(HttpStatusCode.OK, accepted.StatusCode);
        using var input = new StringContent(
            "{\"model\":\"language-id-small\",\"input\":\"now\",\"fallback\":\"standard\"}",
            Encoding.UTF8,
            "application/json"
        );
        using var express = Request(null, "v1/infer", input);
        using var answered = await _http.SendAsync(express, Stop);
        Assert.Equal(HttpStatusCode.OK, answered.StatusCode);
        using var refused = await _http.GetAsync(new Uri(system.Ingest.Address, "v1/nothing"), Stop);
        Assert.Equal(HttpStatusCode.NotFound, refused.StatusCode);
        await receiver.UntilAsync(1);
    }

    private static IEnumerable<JsonElement> RulesOf(JsonElement data) =>
        data.GetProperty("groups").EnumerateArray().SelectMany(group => group.GetProperty("rules").EnumerateArray());

    private static string? NameOf(JsonElement rule) => rule.GetProperty("name").GetString();

    /// <summary>The queries of all panels.</summary>
    private static IEnumerable<string> Panels() =>
        GrafanaDashboards.ReadAll().SelectMany(GrafanaDashboards.Targets).Select(target => target.GetProperty("expr").GetString()!);

    private static void AssertLabels(Exposition scrape)
    {
        var labels = Metrics
            .All.SelectMany(metric => metric.SeriesNames.Select(series => (series, metric.Labels)))
            .ToDictionary(m => m.series, m => m.Labels.Select(label => label.Replace('.', '_')).Append("le").ToHashSet());
        Assert.All(
            scrape.Samples.Where(sample => sample.Name != "target_info"),
            sample => Assert.Superset(sample.Labels.Keys.ToHashSet(), labels[sample.Name])
        );
    }

    private HttpRequestMessage Request(Trace? trace, string path, HttpContent body)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, new Uri(system.Ingest.Address, path)) { Content = body };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", system.Rig.ApiKey);
        if (trace is not null)
        {
            request.Headers.Add("traceparent", $"00-{trace.TraceId}-{trace.SpanId}-01");
        }

        return request;
    }

    /// <summary>The spans of a trace, once those of these names are among them, and the parents of all.</summary>
    private Task<List<SentSpan>> SpansAsync(Trace trace, params string[] names) =>
        system.Telemetry.UntilAsync(
            (spans, _) =>
            {
                var ofTrace = spans.Where(span => span.TraceId == trace.TraceId).ToList();
                return
                    Array.TrueForAll(names, name => ofTrace.Exists(span => span.Name == name))
                    && ofTrace.TrueForAll(span => span.ParentId == trace.SpanId || ofTrace.Exists(parent => parent.SpanId == span.ParentId))
                    ? ofTrace
                    : null;
            },
            $"trace {trace.TraceId[..6]} with {string.Join(", ", names)}"
        );

    /// <summary>A caller that records.</summary>
    private sealed record Trace(string TraceId, string SpanId)
    {
        public static Trace New() =>
            new(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)), Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8)));
    }
}
