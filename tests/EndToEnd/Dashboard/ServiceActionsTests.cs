using Microsoft.Playwright;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Dashboard;

/// <summary>What operators do in the browser about alerts, probes, reports and recurring work, and what comes of it in the database.</summary>
[Collection(RunningSystem.Collection)]
public sealed class ServiceActionsTests(RunningSystem system, DashboardBrowser browser) : IAsyncLifetime
{
    private readonly string _name = $"night-{Guid.NewGuid():N}"[..20];

    public async ValueTask InitializeAsync() => await browser.OpenAsync(system);

    public ValueTask DisposeAsync()
    {
        browser.AssertNoErrors();
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task An_alert_is_acknowledged_silenced_and_resolved()
    {
        var alert = await FindWrongAsync();
        await browser.LookAtAsync("alerts", $"alerts/{alert}");
        await browser.DoAsync(new("Actions", "Acknowledge", "The alert is acknowledged.", "alert.acknowledge"));
        Assert.True(await OfAlertAsync("acknowledged_at IS NOT NULL AND note = 'why alert.acknowledge is tried'"));
        await browser.DoAsync(new("New silence", "Silence", "Silent until", "silence.add"));
        Assert.Equal(1L, await SilencesAsync("ends_at > now()"));
        await browser.LookHereAsync("alerts-silences");
        await browser.DoAsync(new(null, "End", "The silence is over.", "silence.end") { Row = _name });
        Assert.Equal(0L, await SilencesAsync("ends_at > now()"));
        await browser.GoAsync($"alerts/{alert}");
        await browser.DoAsync(new("Actions", "Resolve", "The alert is resolved.", "alert.resolve"));
        Assert.True(await OfAlertAsync("state = 'resolved' AND by_hand"));

        Task<bool> OfAlertAsync(string sql) => system.ScalarAsync<bool>($"SELECT {sql} FROM alerts WHERE id = $1", alert);

        Task<long> SilencesAsync(string sql) =>
            system.ScalarAsync<long>($"SELECT count(*) FROM alert_silences WHERE labels ->> 'model' = $1 AND {sql}", _name);
    }

    [Fact]
    public async Task A_rule_is_set_and_taken_back_to_its_defaults()
    {
        const string told =
            "SELECT coalesce(min(threshold::text || ' ' || severity), 'defaults') FROM alert_rules WHERE name = 'error_rate'";
        await browser.LookAtAsync("alerts/rules", "alerts/rules/error_rate");
        await browser.DoAsync(
            new("Setting", "Set", "The rule holds so from the next look.", "alert_rule.set")
            {
                Fields = [("Threshold", "0.5"), ("Severity", "info")],
            }
        );
        Assert.Equal("0.5 info", await system.ScalarAsync<string>(told));
        await browser.DoAsync(new("Setting", "Back to its defaults", "The rule has its defaults again.", "alert_rule.reset"));
        Assert.Equal("defaults", await system.ScalarAsync<string>(told));
    }

    [Fact]
    public async Task A_probe_is_made_run_and_deleted()
    {
        await browser.LookAtAsync("alerts/probes");
        await browser.DoAsync(
            new("New probe", "Set", "is set.", "probe.set")
            {
                Fields =
                [
                    ("Name", _name),
                    ("Model or route", RunningSystem.SmallModel),
                    ("Class", "standard"),
                    ("Input", "Guten Morgen, wie geht es dir heute?"),
                    ("Expected", """{"label": "de"}"""),
                    ("Every", "3600"),
                    ("Slow from", "30000"),
                ],
            }
        );
        await UntilAnsweredAsync(1);
        await browser.GoAsync($"alerts/probes/{_name}");
        await browser.DoAsync(new("Actions", "Run now", "It is sent as soon as an instance looks.", "probe.run"));
        await UntilAnsweredAsync(2);
        await browser.LookAtAsync("alerts/probes", $"alerts/probes/{_name}");
        await browser.DoAsync(
            new("Delete", "Delete", $"The probe \"{_name}\" is gone", "probe.delete") { Fields = [($"Type {_name}", _name)] }
        );
        Assert.Equal(0L, await system.ScalarAsync<long>("SELECT count(*) FROM probes WHERE name = $1", _name));

        Task UntilAnsweredAsync(long times) =>
            system.UntilAsync("SELECT count(*) = $2 FROM probe_runs WHERE probe = $1 AND outcome = 'right'", _name, times);
    }

    [Fact]
    public async Task A_report_is_kept_and_a_maintenance_window_added_and_withdrawn()
    {
        await browser.LookAtAsync("reports");
        var kept = await ReportsAsync();
        await browser.DoAsync(new("Keep this report", "Keep this report", "The report is kept.", "report.keep"));
        Assert.Equal(kept + 1, await ReportsAsync());
        await browser.LookHereAsync("reports-kept");
        await browser.LookAtAsync($"reports/kept/{await system.ScalarAsync<Guid>("SELECT max(id::text)::uuid FROM reports")}");

        await browser.GoAsync("reports/windows");
        await browser.DoAsync(
            new("New window", "Add", "Reports leave that time out", "sla_exclusion.add")
            {
                Fields = [("From", "2020-02-03T04:05"), ("To", "2020-02-03T05:06")],
            }
        );
        Assert.Equal(1L, await WindowsAsync("withdrawn_at IS NULL"));
        await browser.LookHereAsync("reports-windows");
        await browser.DoAsync(
            new("Withdraw", "Withdraw", "That time counts again.", "sla_exclusion.withdraw") { Row = "2020-02-03 04:05" }
        );
        Assert.Equal(1L, await WindowsAsync("withdrawn_at IS NOT NULL"));

        Task<long> ReportsAsync() => system.ScalarAsync<long>("SELECT count(*) FROM reports WHERE occasion = 'request' AND all_tenants");

        Task<long> WindowsAsync(string sql) =>
            system.ScalarAsync<long>(
                $"SELECT count(*) FROM sla_exclusions WHERE from_at = '2020-02-03 04:05Z' AND to_at = '2020-02-03 05:06Z' AND {sql}"
            );
    }

    [Fact]
    public async Task Recurring_work_is_paused_run_and_resumed()
    {
        const string work = "cache-eviction";
        await browser.LookAtAsync("recurring", $"recurring/{work}");
        await browser.DoAsync(new("Actions", "Pause", "It runs only when asked to", "recurring.pause"));
        Assert.Equal("PAUSED", await StateAsync());
        await browser.DoAsync(new("Actions", "Run now", "It runs as soon as an instance can.", "recurring.run"));
        await system.UntilAsync(
            """
            SELECT EXISTS (
              SELECT FROM recurring_runs r JOIN audit a ON a.action = 'recurring.run' AND a.subject = r.name
              WHERE r.name = $1 AND r.outcome = 'ok' AND r.started_at >= a.at
            )
            """,
            work
        );
        await browser.DoAsync(new("Actions", "Resume", "It runs by its schedule again.", "recurring.resume"));
        Assert.NotEqual("PAUSED", await StateAsync());

        Task<string?> StateAsync() =>
            system.ScalarAsync<string>(
                "SELECT trigger_state FROM quartz.qrtz_triggers WHERE trigger_name = $1 AND trigger_group = 'due'",
                work
            );
    }

    /// <summary>An alert as the looks write it: what would raise one takes minutes to be sure.</summary>
    private async Task<Guid> FindWrongAsync() =>
        await system.ScalarAsync<Guid>(
            """
            INSERT INTO alerts (id, rule, fingerprint, labels, state, severity, summary, evidence, since, seen_at, raised_at, told_at)
            VALUES ($1, 'error_rate', $2, jsonb_build_object('class', 'bulk', 'model', $2), 'firing', 'critical', '40 of 100 tasks failed.',
                    '{"tasks": 100, "failed": 40, "expired": 0}', now(), now(), now(), now())
            RETURNING id
            """,
            Guid.CreateVersion7(),
            _name
        );
}
