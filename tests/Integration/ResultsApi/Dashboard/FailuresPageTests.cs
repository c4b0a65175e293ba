using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Bulk;
using Pipeline.Tests.Integration.Ingest;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

/// <summary>Failures at the dashboard: told apart by kind, model and worker, and dismissed in bulk.</summary>
public sealed class FailuresPageTests : IAsyncLifetime
{
    private IngestHost _ingest = null!;
    private DashboardHost _host = null!;
    private DashboardBrowser _operator = null!;

    public async ValueTask InitializeAsync()
    {
        _ingest = await IngestHost.StartAsync();
        _host = await DashboardHost.StartBesideAsync(_ingest.Database, ("Ingest", _ingest.Address.ToString()));
        _operator = await _host.SignInAsync(OperatorRole.Operator);
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        await _ingest.DisposeAsync();
    }

    [Fact]
    public async Task Failures_are_told_apart_by_the_worker_that_ended_them_task_by_task()
    {
        var (sound, broken) = (await _ingest.AddWorkerAsync("gpu-1"), await _ingest.AddWorkerAsync("gpu-2"));
        var shared = await _ingest.SubmitAsync(5);
        await _ingest.EndAllAsync(shared, TaskOutcome.Failed, worker: sound, count: 1);
        await _ingest.EndAllAsync(shared, TaskOutcome.Failed, worker: broken);
        var unknown = await _ingest.SubmitAsync(2);
        await _ingest.EndAllAsync(unknown, TaskOutcome.Failed);

        var page = (await _operator.GetAsync("/dashboard/failures?by=worker")).Body;

        Assert.Equal("1", TasksOf(page, "model_failed of words@1 at gpu-1"));
        Assert.Equal("4", TasksOf(page, "model_failed of words@1 at gpu-2"));
        Assert.Equal("2", TasksOf(page, "model_failed of words@1 at (none)"));
        Assert.Equal("7", TasksOf((await _operator.GetAsync("/dashboard/failures")).Body, "model_failed of words@1"));
        Assert.Equal((true, false), await ListedAsync("failed_worker=gpu-2", shared, unknown));
        Assert.Equal((false, true), await ListedAsync("failed_worker=(none)", shared, unknown));
        Assert.Equal((false, false), await ListedAsync("failed_worker=gpu-2&error=invalid_input", shared, unknown));
    }

    [Fact]
    public async Task What_is_dismissed_leaves_the_open_failures_with_a_reason_and_nothing_is_erased()
    {
        var jobs = new[] { await _ingest.SubmitAsync(2), await _ingest.SubmitAsync(2) };
        foreach (var job in jobs)
        {
            await _ingest.EndAllAsync(job, TaskOutcome.Failed);
        }

        var other = await _ingest.SubmitAsync(3);
        await _ingest.EndAllAsync(other, TaskOutcome.Failed, "invalid_input", count: 1);
        await _ingest.EndAllAsync(other, TaskOutcome.Failed);
        var running = await _ingest.SubmitAsync(2);
        await _ingest.EndAllAsync(running, TaskOutcome.Failed, count: 1);

        var begun = await DismissAsync("error=model_failed&failed_model=words@1", "known: ticket 12");
        Assert.Contains("3 done, 0 refused, of 3 jobs", begun, StringComparison.Ordinal);
        Assert.Contains("2 failed tasks dismissed", begun, StringComparison.Ordinal);

        // What has not ended may fail on: its failure stays open, and so does another kind in a job that was meant.
        var open = (await _operator.GetAsync("/dashboard/failures")).Body;
        Assert.Equal(("1", "1"), (TasksOf(open, "model_failed of words@1"), TasksOf(open, "invalid_input of words@1")));
        var dismissed = (await _operator.GetAsync("/dashboard/failures?show=dismissed")).Body;
        Assert.Equal("6", TasksOf(dismissed, "model_failed of words@1"));
        Assert.Equal(8L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM results WHERE status = 'failed'"));
        Assert.Equal(
            (1L, 3L),
            (
                await _host.Database.ScalarAsync<long>("SELECT count(*) FROM audit WHERE action = 'bulk.dismiss'"),
                await _host.Database.ScalarAsync<long>(
                    "SELECT count(*) FROM audit WHERE action = 'job.dismiss' AND done AND reason = 'known: ticket 12'"
                )
            )
        );
        Assert.Contains(
            "No job fits",
            (await _operator.GetAsync("/dashboard/bulk/preview?action=dismiss&error=model_failed")).Body,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task The_failures_of_one_job_are_dismissed_once()
    {
        var job = await _ingest.SubmitAsync(2);
        await _ingest.EndAllAsync(job, TaskOutcome.Failed);
        var page = await _operator.GetAsync($"/dashboard/jobs/{job}");

        await _operator.PostAsync($"/dashboard/jobs/{job}/dismiss", page, ("reason", "seen"));
        var again = await _operator.PostAsync($"/dashboard/jobs/{job}/dismiss", page, ("reason", "seen"));

        Assert.Contains("no such failure that is open", (await _operator.GetAsync(again.Location!)).Body, StringComparison.Ordinal);
        Assert.Equal(
            "true false",
            await _host.Database.ScalarAsync<string>(
                "SELECT string_agg(done::text, ' ' ORDER BY id) FROM audit WHERE action = 'job.dismiss'"
            )
        );
    }

    /// <summary>From the preview to its page once it is finished.</summary>
    private async Task<string> DismissAsync(string filters, string reason)
    {
        var preview = await _operator.GetAsync($"/dashboard/bulk/preview?action=dismiss&{filters}");
        var begun = await _operator.PostAsync(
            "/dashboard/bulk",
            preview,
            ("action", "dismiss"),
            ("query", preview.Query),
            ("reason", reason)
        );
        await _host.Services.GetRequiredService<BulkRunner>().TurnAsync(CancellationToken.None);
        await _host.Database.UntilAsync("SELECT bool_and(finished_at IS NOT NULL) FROM bulk_actions");
        return (await _operator.GetAsync(begun.Location!)).Body;
    }

    private async Task<(bool First, bool Second)> ListedAsync(string filters, JobId first, JobId second)
    {
        var page = (await _operator.GetAsync($"/dashboard/jobs?{filters}")).Body;
        return (page.Contains($"/jobs/{first}\"", StringComparison.Ordinal), page.Contains($"/jobs/{second}\"", StringComparison.Ordinal));
    }

    /// <summary>How many tasks a group of the page has; null where there is no such group.</summary>
    private static string? TasksOf(string page, string group)
    {
        var start = page.IndexOf($"aria-label=\"{group}\"", StringComparison.Ordinal);
        if (start < 0)
        {
            return null;
        }

        start = page.IndexOf("<strong>", start, StringComparison.Ordinal) + "<strong>".Length;
        return page[start..page.IndexOf('<', start)];
    }
}
