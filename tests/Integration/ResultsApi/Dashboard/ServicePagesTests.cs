using System.Globalization;
using System.Net;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Integration.Migrations;
using Pipeline.Tests.Support.Servers;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

/// <summary>The pages about the service itself: alerts, reports, recurring work, routes and models. What is done there is looked for in the database.</summary>
public sealed class ServicePagesTests(ServicePagesFixture fixture) : IClassFixture<ServicePagesFixture>, IAsyncLifetime
{
    private DashboardBrowser _operator = null!;

    private DashboardHost Host => fixture.Host;

    private TestDatabase Database => fixture.Host.Database;

    public async ValueTask InitializeAsync() => _operator = await Host.SignInAsync(OperatorRole.Operator);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task An_alert_is_shown_with_its_numbers_and_as_text()
    {
        var alert = await AddAlertAsync("critical", "<b>40</b> of 100 tasks failed");
        var mild = await AddAlertAsync("info", "a little late");

        var list = await _operator.GetAsync("/dashboard/alerts?severity=critical&rule=error_rate");
        Assert.Equal((true, false), (Has(list, alert), Has(list, mild)));
        Assert.False(Has(await _operator.GetAsync("/dashboard/alerts?state=resolved"), alert));
        Assert.Equal(HttpStatusCode.BadRequest, (await _operator.GetAsync("/dashboard/alerts?severity=dreadful")).Status);

        var page = (await _operator.GetAsync($"/dashboard/alerts/{alert}")).Body;
        Assert.Contains("&lt;b&gt;40&lt;/b&gt; of 100", page, StringComparison.Ordinal);
        Assert.Contains("<dt>tasks</dt>", page, StringComparison.Ordinal);
        Assert.Contains($"/dashboard/jobs/{Guid.Empty}", page, StringComparison.Ordinal);
        var json = JsonElement.Parse((await _operator.GetAsync("/dashboard/alerts/export?state=any&format=json")).Body);
        Assert.Contains(json.EnumerateArray(), a => a.GetProperty("id").GetString() == alert.ToString());
    }

    [Fact]
    public async Task An_alert_is_acknowledged_and_resolved_with_a_reason_and_once()
    {
        var alert = await AddAlertAsync("warning", "slow");
        var (path, page) = ($"/dashboard/alerts/{alert}", await _operator.GetAsync($"/dashboard/alerts/{alert}"));

        await _operator.PostAsync($"{path}/acknowledge", page);
        Assert.Equal("firing||", await StateAsync());
        await _operator.PostAsync($"{path}/acknowledge", page, ("reason", "the driver update"));
        Assert.Equal("firing|acknowledged|the driver update", await StateAsync());
        await _operator.PostAsync($"{path}/resolve", page, ("reason", "it is undone"));
        await _operator.PostAsync($"{path}/resolve", page, ("reason", "again"));

        Assert.Equal("resolved|acknowledged|it is undone", await StateAsync());
        Assert.Equal(
            "the driver update true firing firing, it is undone true firing resolved, again false resolved -",
            await AuditAsync(alert.ToString(), "state")
        );
        Assert.Contains("it is undone", (await _operator.GetAsync(path)).Body, StringComparison.Ordinal);

        Task<string?> StateAsync() =>
            Database.ScalarAsync<string>(
                "SELECT state || '|' || CASE WHEN acknowledged_at IS NULL THEN '' ELSE 'acknowledged' END || '|' || coalesce(note, '') FROM alerts WHERE id = $1",
                alert
            );
    }

    [Fact]
    public async Task A_silence_is_made_by_the_rules_of_the_api_and_ended()
    {
        var page = await _operator.GetAsync("/dashboard/alerts/silences");
        var until = DateTime.UtcNow.AddHours(2).ToString("yyyy-MM-ddTHH:mm", CultureInfo.InvariantCulture);
        (string, string)[] fields =
        [
            ("rule", "error_rate"),
            ("labels", "pool=spot\r\nclass=bulk"),
            ("starts_at", ""),
            ("reason", "new drivers"),
        ];

        await _operator.PostAsync("/dashboard/alerts/silences", page, [.. fields, ("ends_at", "2020-01-01T00:00")]);
        Assert.Contains("a time after now", (await _operator.GetAsync("/dashboard/alerts/silences")).Body, StringComparison.Ordinal);
        await _operator.PostAsync("/dashboard/alerts/silences", page, [.. fields, ("ends_at", until)]);

        var id = await Database.ScalarAsync<Guid>(
            """
            SELECT id FROM alert_silences WHERE rule = 'error_rate' AND labels = '{"pool": "spot", "class": "bulk"}' AND reason = 'new drivers'
              AND ends_at = $1::timestamptz
            """,
            $"{until}Z"
        );
        Assert.Contains("new drivers", (await _operator.GetAsync("/dashboard/alerts/silences")).Body, StringComparison.Ordinal);
        await _operator.PostAsync($"/dashboard/alerts/silences/{id}/end", page, ("reason", "done early"));
        Assert.True(await Database.ScalarAsync<bool>("SELECT ends_at <= now() FROM alert_silences WHERE id = $1", id));
        Assert.Equal("new drivers true - error_rate, done early true error_rate -", await AuditAsync(id.ToString(), "rule"));
        Assert.Contains("new drivers", (await _operator.GetAsync("/dashboard/alerts/silences?past=true")).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_rule_is_set_by_the_rules_of_the_api_and_taken_back_to_its_defaults()
    {
        const string path = "/dashboard/alerts/rules/error_rate";
        var page = await _operator.GetAsync(path);
        (string, string)[] fields = [("enabled", "true"), ("severity", "warning"), ("for_seconds", "300"), ("reason", "too loud")];

        await _operator.PostAsync(path, page, [.. fields, ("threshold", "much")]);
        Assert.Contains("threshold", (await _operator.GetAsync(path)).Body.Split("role=\"status\"")[1][..200], StringComparison.Ordinal);
        Assert.Equal(0L, await Database.ScalarAsync<long>("SELECT count(*) FROM alert_rules WHERE name = 'error_rate'"));
        await _operator.PostAsync(path, page, [.. fields, ("threshold", "0.25")]);
        Assert.Equal(
            "true warning 0.25 300",
            await Database.ScalarAsync<string>(
                "SELECT concat_ws(' ', enabled::text, severity, threshold, for_seconds) FROM alert_rules WHERE name = 'error_rate'"
            )
        );
        Assert.Contains("value=\"0.25\"", (await _operator.GetAsync(path)).Body, StringComparison.Ordinal);
        await _operator.PostAsync($"{path}/reset", page, ("reason", "it was right"));

        Assert.Equal(0L, await Database.ScalarAsync<long>("SELECT count(*) FROM alert_rules WHERE name = 'error_rate'"));
        Assert.Equal("too loud true 300, it was right true -", await ForAsync());
        Assert.Equal(HttpStatusCode.NotFound, (await _operator.GetAsync("/dashboard/alerts/rules/nothing")).Status);

        Task<string?> ForAsync() =>
            Database.ScalarAsync<string>(
                """
                SELECT string_agg(concat_ws(' ', reason, done::text, CASE WHEN action = 'alert_rule.set' THEN after ->> 'for_seconds' ELSE '-' END), ', ' ORDER BY id)
                FROM audit WHERE subject = 'error_rate' AND operator_name = $1
                """,
                _operator.Name
            );
    }

    [Fact]
    public async Task A_maintenance_window_is_added_and_withdrawn()
    {
        const string path = "/dashboard/reports/windows";
        var page = await _operator.GetAsync(path);

        await _operator.PostAsync(path, page, ("from", "2026-11-08T04:00"), ("to", "2026-11-08T02:00"), ("reason", "new disks"));
        Assert.Contains("a moment after from", (await _operator.GetAsync(path)).Body, StringComparison.Ordinal);
        await _operator.PostAsync(path, page, ("from", "2026-11-08T02:00"), ("to", "2026-11-08T04:00"), ("reason", "new disks"));

        var id = await Database.ScalarAsync<Guid>(
            "SELECT id FROM sla_exclusions WHERE from_at = '2026-11-08T02:00Z' AND to_at = '2026-11-08T04:00Z' AND reason = 'new disks'"
        );
        Assert.Contains("new disks", (await _operator.GetAsync(path)).Body, StringComparison.Ordinal);
        await _operator.PostAsync($"{path}/{id}/withdraw", page, ("reason", "it was put off"));
        Assert.True(await Database.ScalarAsync<bool>("SELECT withdrawn_at IS NOT NULL FROM sla_exclusions WHERE id = $1", id));
        Assert.Equal("it was put off true new disks new disks", await AuditAsync(id.ToString(), "reason"));
        Assert.Equal(
            1L,
            await Database.ScalarAsync<long>(
                "SELECT count(*) FROM audit WHERE action = 'sla_exclusion.add' AND done AND reason = 'new disks'"
            )
        );
    }

    [Fact]
    public async Task A_probe_is_made_set_and_deleted()
    {
        const string path = "/dashboard/alerts/probes";
        var page = await _operator.GetAsync(path);
        (string, string)[] fields =
        [
            ("name", "farewell"),
            ("model", "language-id"),
            ("class", "express"),
            ("input", "Auf Wiedersehen"),
            ("reason", "a second language"),
        ];

        await _operator.PostAsync(path, page, [.. fields, ("expect", "de")]);
        Assert.Contains("members that the output must have", (await _operator.GetAsync(path)).Body, StringComparison.Ordinal);
        await _operator.PostAsync(path, page, [.. fields, ("expect", """{"label": "de"}"""), ("every_seconds", "90")]);
        Assert.Equal(
            "\"Auf Wiedersehen\" de 90",
            await Database.ScalarAsync<string>(
                "SELECT concat_ws(' ', input::text, expect ->> 'label', every_seconds) FROM probes WHERE name = 'farewell'"
            )
        );
        await _operator.PostAsync($"{path}/farewell/delete", page, ("reason", "not needed"), ("confirm", "greeting"));
        Assert.Contains(
            "Type &quot;farewell&quot; to confirm.",
            (await _operator.GetAsync($"{path}/farewell")).Body,
            StringComparison.Ordinal
        );
        Assert.Equal(1L, await Database.ScalarAsync<long>("SELECT count(*) FROM probes WHERE name = 'farewell'"));
        await _operator.PostAsync($"{path}/farewell/delete", page, ("reason", "not needed"), ("confirm", "farewell"));

        Assert.Equal(0L, await Database.ScalarAsync<long>("SELECT count(*) FROM probes WHERE name = 'farewell'"));
        Assert.Equal("a second language true - 90, not needed true 90 -", await AuditAsync("farewell", "every_seconds"));
    }

    [Fact]
    public async Task A_probe_is_shown_with_its_runs_and_is_due_when_it_is_asked_for()
    {
        await Database.ExecuteAsync(
            """
            INSERT INTO probes (name, model, class, input, expect, tolerance, every_seconds, slow_ms, enabled, due_at)
            VALUES ('greeting', 'language-id', 'express', '"Guten Morgen"', '{"label": "de"}', 0.001, 3600, 500, true, now() + interval '1 hour')
            """
        );
        await Database.ExecuteAsync(
            """INSERT INTO probe_runs (probe, at, outcome, took_ms, model, detail) VALUES ('greeting', now(), 'wrong', 12, 'language-id@1', 'nl')"""
        );

        Assert.Contains(
            "/dashboard/alerts/probes/greeting",
            (await _operator.GetAsync("/dashboard/alerts/probes")).Body,
            StringComparison.Ordinal
        );
        var page = await _operator.GetAsync("/dashboard/alerts/probes/greeting");
        Assert.Contains("language-id@1", page.Body, StringComparison.Ordinal);
        await _operator.PostAsync("/dashboard/alerts/probes/greeting/run", page, ("reason", "is it well again?"));

        Assert.True(await Database.ScalarAsync<bool>("SELECT due_at <= now() FROM probes WHERE name = 'greeting'"));
        Assert.Equal("is it well again? true - -", await AuditAsync("greeting", "state"));
        Assert.Equal(HttpStatusCode.NotFound, (await _operator.GetAsync("/dashboard/alerts/probes/nobody")).Status);
    }

    [Fact]
    public async Task A_report_is_the_apis_with_links_to_the_jobs_that_were_late_and_can_be_kept()
    {
        var tenant = $"late-{Guid.NewGuid():N}";
        var work = new BookedWork(Database, seed: 4);
        var worker = await work.AddWorkerAsync("gpu", Cost.PicoPerUsd);
        var job = await work.AddJobAsync(tenant, LatencyClass.Express, "m@1", 2);

        // Noon of the day before yesterday: sums of long ago go.
        var ended = new DateTimeOffset(DateTime.UtcNow.Date.AddDays(-2).AddHours(12), TimeSpan.Zero);
        await Database.ExecuteAsync(
            "UPDATE jobs SET queued_at = $2, created_at = $2, deadline = $3 WHERE id = $1",
            job.Id.Value,
            ended.AddSeconds(-2),
            ended.AddDays(1)
        );
        await work.EndAsync(worker, job, [0, 1], ended);
        await RolledUp.Async(Database);
        var (from, to) = ($"{ended.AddDays(-1):yyyy-MM-dd}", $"{ended.AddDays(1):yyyy-MM-dd}");
        var query = $"window=custom&from={from}&to={to}&tz=Europe/Berlin&by=week&by=class&tenant={tenant}";

        var page = await _operator.GetAsync($"/dashboard/reports?{query}");
        Assert.Equal(HttpStatusCode.OK, page.Status);
        Assert.Contains($"href=\"/dashboard/jobs/{job.Id}\"", page.Body, StringComparison.Ordinal);
        Assert.Contains(
            $"{ISOWeek.GetYear(ended.DateTime)}-W{ISOWeek.GetWeekOfYear(ended.DateTime):00}",
            page.Body,
            StringComparison.Ordinal
        );
        Assert.DoesNotContain(" style=", page.Body, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.BadRequest, (await _operator.GetAsync("/dashboard/reports?tz=Nowhere/Town")).Status);
        foreach (var window in new[] { "24h", "day", "week", "month", "30d" })
        {
            Assert.Equal(HttpStatusCode.OK, (await _operator.GetAsync($"/dashboard/reports?window={window}&tz=Asia/Tokyo")).Status);
        }

        await _operator.PostAsync("/dashboard/reports", page, ("query", query), ("reason", "for the review"));
        var kept = await Database.ScalarAsync<Guid>("SELECT id FROM reports WHERE time_zone = 'Europe/Berlin'");
        Assert.Contains(
            $"/dashboard/reports/kept/{kept}",
            (await _operator.GetAsync("/dashboard/reports/kept")).Body,
            StringComparison.Ordinal
        );
        Assert.Contains($"{job.Id}", (await _operator.GetAsync($"/dashboard/reports/kept/{kept}")).Body, StringComparison.Ordinal);
        foreach (var format in new[] { "html", "csv", "json" })
        {
            var now = await _operator.GetAsync($"/dashboard/reports/export?{query}&format={format}&section=breaches");
            var then = await _operator.GetAsync($"/dashboard/reports/kept/{kept}/export?format={format}&section=breaches");
            Assert.Contains($"{job.Id}", then.Body, StringComparison.Ordinal);
            Assert.Equal(now.Body, then.Body);
            Assert.Equal("attachment", then.Response.Content.Headers.ContentDisposition!.DispositionType);
        }
    }

    [Fact]
    public async Task Recurring_work_is_paused_resumed_and_run()
    {
        const string Path = "/dashboard/recurring/retention";
        var page = await _operator.GetAsync(Path);
        Assert.Contains("It has not run yet", page.Body, StringComparison.Ordinal);

        await _operator.PostAsync($"{Path}/pause", page, ("reason", "the audit is on"));
        Assert.Equal("PAUSED", await TriggerAsync("due"));
        Assert.Contains("paused", (await _operator.GetAsync("/dashboard/recurring")).Body, StringComparison.Ordinal);
        await _operator.PostAsync($"{Path}/resume", page, ("reason", "the audit is over"));
        Assert.Equal("WAITING", await TriggerAsync("due"));
        await _operator.PostAsync($"{Path}/run", page, ("reason", "the disk is full"));
        Assert.Equal("WAITING", await TriggerAsync("asked"));

        Assert.Equal(
            "the audit is on true false true, the audit is over true true false, the disk is full true false false",
            await AuditAsync("retention", "paused")
        );
        Assert.Equal(
            HttpStatusCode.NotFound,
            (await _operator.PostAsync("/dashboard/recurring/nothing/run", page, ("reason", "x"))).Status
        );

        Task<string?> TriggerAsync(string group) =>
            Database.ScalarAsync<string>(
                "SELECT trigger_state FROM quartz.qrtz_triggers WHERE trigger_name = 'retention' AND trigger_group = $1",
                group
            );
    }

    [Fact]
    public async Task A_model_is_switched_to_another_version_and_back()
    {
        var name = $"org/words-{Guid.NewGuid():N}";
        foreach (var version in new[] { "1.0.0", "2.0.0" })
        {
            var manifest = new FakeModel(new ModelRef(name, version), 16).Manifest;
            await ModelRegistry.PutAsync(Database.DataSource, manifest, null, 1, makeCurrent: true);
        }

        var page = await _operator.GetAsync($"/dashboard/models/{name}");
        Assert.Equal(HttpStatusCode.OK, page.Status);
        await UseAsync("1.0.0", "it is slower");
        Assert.Equal("1.0.0", await CurrentAsync());
        await UseAsync("9.9.9", "a misprint");
        await UseAsync("2.0.0", "it was the driver");

        Assert.Equal("2.0.0", await CurrentAsync());
        Assert.Equal(
            "it is slower true 2.0.0 1.0.0, a misprint false 1.0.0 -, it was the driver true 1.0.0 2.0.0",
            await AuditAsync(name, "version")
        );
        Assert.Contains("it was the driver", (await _operator.GetAsync($"/dashboard/models/{name}")).Body, StringComparison.Ordinal);

        Task UseAsync(string version, string reason) =>
            _operator.PostAsync("/dashboard/models/use", page, ("model", name), ("version", version), ("reason", reason));

        Task<string?> CurrentAsync() => Database.ScalarAsync<string>("SELECT version FROM models WHERE name = $1 AND current", name);
    }

    [Fact]
    public async Task A_route_is_shown_with_its_thresholds_what_was_measured_and_its_earlier_versions()
    {
        await ModelRoutes.PutAsync(Database.DataSource, "cascade", [new("small", new Acceptance { ProbabilityMin = 0.8 }), new("large")]);
        await ModelRoutes.PutAsync(Database.DataSource, "cascade", [new("small", new Acceptance { ProbabilityMin = 0.843 }), new("large")]);

        Assert.Contains("Nothing was measured", (await _operator.GetAsync("/dashboard/routes")).Body, StringComparison.Ordinal);
        var quality = new RouteQuality(DateTimeOffset.UtcNow, 1554, [new("small@1", 0.8964, 130, 1), new("cascade@2", 0.9466, 240, 1.288)]);
        await ModelRoutes.SetQualityAsync(Database.DataSource, "cascade", 2, quality);

        var list = (await _operator.GetAsync("/dashboard/routes")).Body;
        Assert.Contains("0.843 or more", list, StringComparison.Ordinal);
        Assert.Contains("94.66 %", list, StringComparison.Ordinal);
        Assert.DoesNotContain("0.8 or more", list, StringComparison.Ordinal);
        Assert.Contains("0.8 or more", (await _operator.GetAsync("/dashboard/routes/cascade")).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_viewer_sees_all_of_it_and_no_form_that_acts()
    {
        var viewer = await Host.SignInAsync(OperatorRole.Viewer);
        var alert = await AddAlertAsync("critical", "all of it failed");
        foreach (
            var path in new[]
            {
                $"alerts/{alert}",
                "alerts/silences",
                "alerts/rules/error_rate",
                "reports",
                "reports/windows",
                "recurring/sla-reports",
            }
        )
        {
            var page = await viewer.GetAsync($"/dashboard/{path}");
            Assert.Equal(HttpStatusCode.OK, page.Status);
            Assert.DoesNotContain("name=\"reason\"", page.Body, StringComparison.Ordinal);
            Assert.Contains("name=\"reason\"", (await _operator.GetAsync($"/dashboard/{path}")).Body, StringComparison.Ordinal);
        }
    }

    private static bool Has(DashboardAnswer page, Guid alert) =>
        page.Body.Contains($"/dashboard/alerts/{alert}\"", StringComparison.Ordinal);

    /// <summary>An alert that fires, of labels that no other has.</summary>
    private async Task<Guid> AddAlertAsync(string severity, string summary)
    {
        var id = Guid.CreateVersion7();
        await Database.ExecuteAsync(
            """
            INSERT INTO alerts (id, rule, fingerprint, labels, state, severity, summary, evidence, since, seen_at, raised_at, told_at)
            VALUES ($1, 'error_rate', $2, jsonb_build_object('class', 'bulk', 'model', $2), 'firing', $3, $4, $5::jsonb, now(), now(), now(), now())
            """,
            id,
            $"m-{id}",
            severity,
            summary,
            $$"""{"tasks": 100, "first": [{"job": "{{Guid.Empty}}"}]}"""
        );
        return id;
    }

    /// <summary>What was done to something: reasons, whether it was done, and a field of how it was before and after.</summary>
    private Task<string?> AuditAsync(string subject, string field) =>
        Database.ScalarAsync<string>(
            """
            SELECT string_agg(concat_ws(' ', reason, done::text, coalesce(before ->> $2, '-'), coalesce(after ->> $2, '-')), ', ' ORDER BY id)
            FROM audit WHERE subject = $1 AND operator_name = $3
            """,
            subject,
            field,
            _operator.Name
        );
}

/// <summary>A dashboard beside which nothing looks or sends by itself.</summary>
public sealed class ServicePagesFixture : IAsyncLifetime
{
    internal DashboardHost Host { get; private set; } = null!;

    public async ValueTask InitializeAsync() =>
        Host = await DashboardHost.StartAsync(
            ("Alerts:LookEvery", "00:05:00"),
            ("Probes:Address", "http://127.0.0.1:9"),
            ("Probes:ApiKey", "pk_test"),
            ("Probes:LookEvery", "00:01:00")
        );

    public async ValueTask DisposeAsync()
    {
        if (Host is not null)
        {
            await Host.DisposeAsync();
        }
    }
}
