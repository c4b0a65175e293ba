using System.Net;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Integration.Ingest;
using Pipeline.Tests.Integration.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

public sealed class NowPageTests : IAsyncLifetime
{
    private IngestHost _ingest = null!;
    private DashboardHost _host = null!;
    private DashboardBrowser _viewer = null!;

    public async ValueTask InitializeAsync()
    {
        _ingest = await IngestHost.StartAsync();
        _host = await DashboardHost.StartBesideAsync(_ingest.Database, ("Ingest", _ingest.Address.ToString()));
        _viewer = await _host.SignInAsync(OperatorRole.Viewer);
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        await _ingest.DisposeAsync();
    }

    [Fact]
    public async Task A_job_that_will_be_late_comes_before_those_that_are_due_sooner_and_is_counted_for_its_class()
    {
        for (var i = 0; i < 15; i++)
        {
            await _ingest.SubmitAsync(1);
        }

        var late = await _ingest.SubmitAsync(1);
        await _host.Database.ExecuteAsync($"UPDATE jobs SET deadline = now() - interval '1 second' WHERE id = '{late}'");
        var later = await _ingest.SubmitAsync(1);
        await _host.Database.ExecuteAsync($"UPDATE jobs SET deadline = now() + interval '9 days' WHERE id = '{later}'");

        var page = (await _viewer.GetAsync("/dashboard/now")).Body;

        Assert.Contains("<dt>At risk</dt><dd><a class=\"alarm\" href=\"#h-due\">1 job</a>", page, StringComparison.Ordinal);
        var due = page[page.IndexOf("h-due\">", StringComparison.Ordinal)..];
        Assert.True(due.IndexOf(late.ToString(), StringComparison.Ordinal) < due.IndexOf("not known", StringComparison.Ordinal));
        Assert.DoesNotContain(later.ToString(), due, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_was_is_shown_by_the_hour_and_by_the_day()
    {
        var job = await _ingest.SubmitAsync(3);
        await _ingest.EndAllAsync(job, TaskOutcome.Succeeded);
        await RolledUp.Async(_host.Database);
        await _host.Database.ExecuteAsync(
            """
            INSERT INTO device_days (day, pool, price_per_hour_pico, account, detail, ns, pico)
            VALUES (current_date, 'blue', 1, 'task', '', 30, 1), (current_date, 'blue', 1, 'idle', '', 70, 1)
            """
        );

        foreach (var range in new[] { "24h", "7d", "30d" })
        {
            var page = WebUtility.HtmlDecode((await _viewer.GetAsync($"/dashboard/now?range={range}")).Body);
            Assert.Contains("\"name\":\"bulk\",\"colour\":\"bulk\",\"points\":true,\"y\":[3]", page, StringComparison.Ordinal);
            Assert.Contains($"href=\"/dashboard/now?range={range}#h-history\" aria-current=\"true\"", page, StringComparison.Ordinal);
            Assert.Equal(
                range != "24h",
                page.Contains("\"name\":\"idle\",\"colour\":\"soft\",\"points\":true,\"y\":[70]", StringComparison.Ordinal)
            );
        }
    }
}
