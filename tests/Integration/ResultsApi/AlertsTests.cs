using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Alerts;
using Pipeline.ResultsApi.Alerts.Probes;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

/// <summary>
/// Alerts and probes over a real database. Looks are taken by the tests and not by time; the rules are the service's own, so each test works with
/// labels that no other has, one after the other.
/// </summary>
public sealed class AlertsTests(AlertsFixture fixture) : IClassFixture<AlertsFixture>
{
    [Fact]
    public async Task A_probe_that_is_answered_wrong_raises_an_alert_that_is_told_and_ends_when_the_answers_are_right()
    {
        var api = await fixture.OperatorAsync();
        var (name, model) = Name();
        fixture.Door[model] = "nl";
        var (made, probe) = await api.SendAsync(HttpMethod.Put, $"/v1/probes/{name}", ProbeOf(model, "de"));
        Assert.Equal((HttpStatusCode.OK, "express"), (made, probe.GetProperty("class").GetString()));

        await fixture.RunAsync(api, name, times: 1);
        Assert.Null(await AlertAsync(api, name));
        await fixture.RunAsync(api, name, times: 1);

        var alert = (await AlertAsync(api, name))!.Value;
        Assert.Equal(
            ("firing", "critical", "probe_failing"),
            (alert.GetProperty("state").GetString(), alert.GetProperty("severity").GetString(), alert.GetProperty("rule").GetString())
        );
        Assert.Contains("\"nl\"", alert.GetProperty("evidence").GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Equal(["alert.raised"], await EventsAsync(api, alert));

        fixture.Door[model] = "de";
        await fixture.RunAsync(api, name, times: 2);
        Assert.Equal("resolved", (await AlertAsync(api, name))!.Value.GetProperty("state").GetString());
        Assert.Equal(["alert.raised", "alert.resolved"], await EventsAsync(api, alert));
        var (_, runs) = await api.GetAsync($"/v1/probes/{name}/runs?limit=3");
        Assert.Equal(
            ["right", "right", "wrong"],
            runs.GetProperty("data").EnumerateArray().Select(r => r.GetProperty("outcome").GetString())
        );
        Assert.True(runs.GetProperty("has_more").GetBoolean());
    }

    [Fact]
    public async Task A_probe_is_sent_by_one_of_two_instances()
    {
        var api = await fixture.OperatorAsync();
        var (name, model) = Name();
        fixture.Door[model] = "de";
        await api.SendAsync(HttpMethod.Put, $"/v1/probes/{name}", ProbeOf(model, "de"));
        var prober = fixture.Service<Prober>();

        await Task.WhenAll(prober.TurnAsync(CancellationToken.None), prober.TurnAsync(CancellationToken.None));

        Assert.Equal(1, await api.Database.ScalarAsync<long>("SELECT count(*) FROM probe_runs WHERE probe = $1", name));
    }

    [Fact]
    public async Task Errors_of_a_model_are_found_in_the_sums_by_minute()
    {
        var api = await fixture.OperatorAsync();
        var (_, model) = Name();
        await fixture.AddMinuteAsync(api.Tenant, model, succeeded: 800, failed: 200);
        await fixture.LookAsync();
        await api.Database.ExecuteAsync("UPDATE alerts SET since = since - interval '1 minute' WHERE labels ->> 'model' = $1", model);

        await fixture.LookAsync();

        var (_, list) = await api.GetAsync("/v1/alerts?rule=error_rate&state=firing&limit=100");
        var alert = Assert.Single(
            list.GetProperty("data").EnumerateArray(),
            a => a.GetProperty("labels").GetProperty("model").GetString() == model
        );
        Assert.Contains("200 of 1000 tasks", alert.GetProperty("summary").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_job_whose_predicted_end_is_after_its_deadline_is_at_risk()
    {
        var api = await fixture.OperatorAsync();
        var (_, model) = Name();
        var job = await SeededJob.CreateAsync(
            api.Database,
            api.Tenant,
            new SeededJob { Model = model, PredictedAt = DateTimeOffset.UtcNow.AddDays(3) }
        );
        await api.Database.ExecuteAsync("UPDATE jobs SET deadline = now() + interval '1 hour' WHERE id = $1", job.Id.Value);

        var found = (await fixture.LookAsync()).Where(c =>
            c.Alert.Labels.GetValueOrDefault("model")?.StartsWith(model, StringComparison.Ordinal) == true
        );

        var alert = Assert.Single(found).Alert;
        Assert.Equal((AlertRules.DeadlineAtRisk, AlertState.Pending), (alert.Rule, alert.State));
        Assert.Equal(job.Id.ToString(), alert.Evidence["first"]![0]!["job"]!.GetValue<string>());
    }

    [Fact]
    public async Task An_alert_can_be_acknowledged_and_ended_once()
    {
        var api = await fixture.OperatorAsync();
        var (name, model) = Name();
        fixture.Door[model] = "nl";
        await api.SendAsync(HttpMethod.Put, $"/v1/probes/{name}", ProbeOf(model, "de"));
        await fixture.RunAsync(api, name, times: 2);
        var path = $"/v1/alerts/{(await AlertAsync(api, name))!.Value.GetProperty("id").GetString()}";

        var (_, acknowledged) = await api.SendAsync(HttpMethod.Post, $"{path}/acknowledge", """{"note": "looking"}""");
        Assert.Equal("looking", acknowledged.GetProperty("note").GetString());
        Assert.NotEqual(JsonValueKind.Null, acknowledged.GetProperty("acknowledged_at").ValueKind);

        var (_, resolved) = await api.SendAsync(HttpMethod.Post, $"{path}/resolve");
        Assert.Equal("resolved", resolved.GetProperty("state").GetString());
        Assert.Equal(HttpStatusCode.Conflict, (await api.SendAsync(HttpMethod.Post, $"{path}/resolve")).Status);
        Assert.Equal(["alert.raised", "alert.resolved"], await EventsAsync(api, resolved));
    }

    [Fact]
    public async Task A_silenced_alert_is_listed_and_told_to_nobody_until_the_silence_ends()
    {
        var api = await fixture.OperatorAsync();
        var (name, model) = Name();
        fixture.Door[model] = "nl";
        await api.SendAsync(HttpMethod.Put, $"/v1/probes/{name}", ProbeOf(model, "de"));
        var (status, silence) = await api.SendAsync(
            HttpMethod.Post,
            "/v1/alert_silences",
            $$"""{"labels": {"probe": "{{name}}"}, "ends_at": "{{DateTime.UtcNow.AddHours(1):O}}", "reason": "a new version"}"""
        );
        Assert.Equal(HttpStatusCode.OK, status);

        await fixture.RunAsync(api, name, times: 2);
        var alert = (await AlertAsync(api, name))!.Value;
        Assert.Equal(silence.GetProperty("id").GetString(), alert.GetProperty("silenced_by").GetString());
        Assert.Empty(await EventsAsync(api, alert));

        var (ended, _) = await api.SendAsync(HttpMethod.Delete, $"/v1/alert_silences/{silence.GetProperty("id").GetString()}");
        Assert.Equal(HttpStatusCode.OK, ended);
        await fixture.LookAsync();
        Assert.Equal(["alert.raised"], await EventsAsync(api, alert));
    }

    [Fact]
    public async Task Of_two_looks_at_once_one_judges()
    {
        await using var connection = await fixture.Host.Database.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using (
            var command = new NpgsqlCommand("SELECT pg_advisory_xact_lock(hashtextextended('alerts', 0))", connection, transaction)
        )
        {
            await command.ExecuteNonQueryAsync();
        }

        Assert.Empty(await fixture.Service<Alerter>().TurnAsync(CancellationToken.None));
    }

    [Fact]
    public async Task A_rule_is_changed_in_part_and_taken_back()
    {
        var api = await fixture.OperatorAsync();
        const string Path = "/v1/alert_rules/cache_share_low";

        await api.SendAsync(HttpMethod.Patch, Path, """{"threshold": 0.3, "for_seconds": 60}""");
        var (_, changed) = await api.SendAsync(HttpMethod.Patch, Path, """{"severity": "critical"}""");
        Assert.Equal(
            (0.3, 60, "critical", false),
            (
                changed.GetProperty("threshold").GetDouble(),
                changed.GetProperty("for_seconds").GetInt32(),
                changed.GetProperty("severity").GetString(),
                changed.GetProperty("enabled").GetBoolean()
            )
        );

        var (_, reset) = await api.SendAsync(HttpMethod.Delete, Path);
        Assert.Equal(AlertRules.Find("cache_share_low")!.Threshold, reset.GetProperty("threshold").GetDouble());
        var (_, all) = await api.GetAsync("/v1/alert_rules");
        Assert.Equal(
            AlertRules.All.Select(r => r.Name),
            all.GetProperty("data").EnumerateArray().Select(r => r.GetProperty("name").GetString())
        );
        var first = AlertRules.Find("cache_share_low")!;
        Assert.Equal(
            [$"{first.Threshold} {first.Severity}", $"0.3 {first.Severity}", "0.3 critical"],
            (
                await fixture.Host.Database.ScalarAsync<string[]>(
                    "SELECT array_agg(concat_ws(' ', before ->> 'threshold', before ->> 'severity') ORDER BY id) FROM audit WHERE subject = $1",
                    Path
                )
            )!,
            StringComparer.OrdinalIgnoreCase
        );
    }

    [Theory]
    [InlineData("PATCH", "/v1/alert_rules/error_rate", """{"threshold": 1.5}""", 400, "threshold")]
    [InlineData("PATCH", "/v1/alert_rules/error_budget_burn", """{"threshold": 1}""", 400, "threshold")]
    [InlineData("PATCH", "/v1/alert_rules/nonsense", """{"enabled": true}""", 404, "id")]
    [InlineData("POST", "/v1/alert_silences", """{"reason": "x"}""", 400, "ends_at")]
    [InlineData("POST", "/v1/alert_silences", """{"ends_at": "2999-01-01T00:00:00Z", "reason": "\ud800"}""", 400, null)]
    [InlineData("POST", "/v1/alert_silences", """{"labels": {"a": "x", "a": "y"}, "reason": "x"}""", 400, "labels")]
    [InlineData("POST", "/v1/alert_silences", """{"labels": {"a": "\u0000"}, "reason": "x"}""", 400, "labels")]
    [InlineData("POST", "/v1/alert_silences", """{"ends_at": "2999-01-01T00:00:00Z"}""", 400, "reason")]
    [InlineData("POST", "/v1/alert_silences", """{"ends_at": "2020-01-01T00:00:00Z", "reason": "x"}""", 400, "ends_at")]
    [InlineData("PUT", "/v1/probes/x", """{"model": "m", "input": "a", "expect": {}}""", 400, "expect")]
    [InlineData("PUT", "/v1/probes/x", """{"model": "m", "expect": {"label": "de"}}""", 400, "input")]
    [InlineData("PUT", "/v1/probes/No%20Name", """{"model": "m", "input": "a", "expect": {"label": "de"}}""", 400, "name")]
    [InlineData("DELETE", "/v1/probes/nobody", null, 404, "name")]
    [InlineData("POST", "/v1/alerts/nobody/resolve", null, 404, "id")]
    public async Task What_cannot_be_is_refused_by_the_name_of_its_field(
        string method,
        string path,
        string? body,
        int status,
        string? field
    )
    {
        var api = await fixture.OperatorAsync();

        var (given, problem) = await api.SendAsync(new HttpMethod(method), path, body);

        Assert.Equal((status, field), ((int)given, problem.GetProperty("error").GetProperty("param").GetString()));
    }

    [Theory]
    [InlineData("/v1/alerts")]
    [InlineData("/v1/alert_rules")]
    [InlineData("/v1/alert_silences")]
    [InlineData("/v1/probes")]
    public async Task Tenants_are_told_that_it_is_for_operators(string path)
    {
        var tenant = await fixture.Host.AddTenantAsync();

        Assert.Equal(HttpStatusCode.Forbidden, (await tenant.GetAsync(path)).Status);
    }

    private static (string Name, string Model) Name()
    {
        var name = $"p-{Guid.NewGuid():N}";
        return (name, $"words-{name}");
    }

    private static string ProbeOf(string model, string label) =>
        $$"""{"model": "{{model}}", "input": "Guten Morgen", "expect": {"label": "{{label}}"}, "every_seconds": 86400}""";

    private static async Task<JsonElement?> AlertAsync(ApiCaller api, string probe)
    {
        var (_, list) = await api.GetAsync("/v1/alerts?rule=probe_failing&limit=100");
        var found = list.GetProperty("data").EnumerateArray().Where(a => a.GetProperty("labels").GetProperty("probe").GetString() == probe);
        return found.Select(a => (JsonElement?)a).SingleOrDefault();
    }

    /// <summary>What the caller's tenant was told of an alert.</summary>
    private static async Task<List<string>> EventsAsync(ApiCaller api, JsonElement alert)
    {
        await using var command = api.Database.DataSource.CreateCommand(
            "SELECT type FROM events WHERE tenant = $1 AND data ->> 'alert' = $2 ORDER BY id"
        );
        command.Parameters.Add(new() { Value = api.Tenant.Value });
        command.Parameters.Add(new() { Value = alert.GetProperty("id").GetString() });
        await using var reader = await command.ExecuteReaderAsync();
        var types = new List<string>();
        while (await reader.ReadAsync())
        {
            types.Add(reader.GetString(0));
        }

        return types;
    }
}

/// <summary>results-api, and a door before it that answers as tests say.</summary>
public sealed class AlertsFixture : IAsyncLifetime
{
    private WebApplication? _door;

    internal ResultsApiHost Host { get; private set; } = null!;

    /// <summary>The label that the door answers for a model.</summary>
    internal System.Collections.Concurrent.ConcurrentDictionary<string, string> Door { get; } = [];

    public async ValueTask InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        _door = builder.Build();
        _door.MapPost("/v1/infer", (Delegate)AnswerAsync);
        await _door.StartAsync();
        // Nothing looks or sends by itself while the tests run.
        Host = await ResultsApiHost.StartAsync(
            ("Alerts:LookEvery", "00:05:00"),
            ("Alerts:GroupWindow", "00:00:00"),
            ("Probes:Address", _door.Urls.First()),
            ("Probes:ApiKey", "pk_test"),
            ("Probes:LookEvery", "00:01:00"),
            ("UsageEvery", "00:00:00.1")
        );
    }

    public async ValueTask DisposeAsync()
    {
        await Host.DisposeAsync();
        if (_door is not null)
        {
            await _door.DisposeAsync();
        }
    }

    internal T Service<T>()
        where T : IHostedService => Host.Services.GetServices<IHostedService>().OfType<T>().Single();

    internal async Task<ApiCaller> OperatorAsync()
    {
        var api = await Host.AddTenantAsync();
        var key = await ApiKeyIssuer.IssueAsync(Host.Database.DataSource, api.Tenant, "operator", isOperator: true);
        return api with { Http = Host.Client(key) };
    }

    internal Task<IReadOnlyList<AlertChange>> LookAsync() => Service<Alerter>().TurnAsync(CancellationToken.None);

    /// <summary>Sends a probe, and looks after each answer.</summary>
    internal async Task RunAsync(ApiCaller api, string probe, int times)
    {
        for (var i = 0; i < times; i++)
        {
            await Host.Database.ExecuteAsync("UPDATE probes SET due_at = now() - interval '1 second' WHERE name = $1", probe);
            await Service<Prober>().TurnAsync(CancellationToken.None);
            await LookAsync();
        }
    }

    /// <summary>Counts tasks for the minute before last.</summary>
    internal async Task AddMinuteAsync(TenantId tenant, string model, long succeeded, long failed)
    {
        var sums = new Dictionary<string, object>();
        foreach (var count in SlaSums.Counts)
        {
            sums[SlaTables.Column(count.ToString())] = 0L;
        }

        foreach (var time in SlaSums.Times)
        {
            sums[SlaTables.Column(time.ToString())] = Array.Empty<byte>();
        }

        sums["succeeded"] = succeeded;
        sums["failed"] = failed;
        await using var command = Host.Database.DataSource.CreateCommand(
            $"""
            INSERT INTO sla_minutes (at, tenant, class, model, {string.Join(", ", sums.Keys)})
            VALUES (date_trunc('minute', now()) - interval '2 minutes', $1, 'bulk', $2, {string.Join(
                ", ",
                sums.Keys.Select((_, i) => $"${i + 3}")
            )})
            """
        );
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = model });
        foreach (var value in sums.Values)
        {
            command.Parameters.Add(new() { Value = value });
        }

        await command.ExecuteNonQueryAsync();
    }

    private async Task<IResult> AnswerAsync(HttpContext http)
    {
        var body = (await JsonDocument.ParseAsync(http.Request.Body)).RootElement;
        var model = body.GetProperty("model").GetString()!;
        return Results.Json(
            new { model = $"{model}@1", results = new[] { new { status = "succeeded", output = new { label = Door[model] } } } }
        );
    }
}
