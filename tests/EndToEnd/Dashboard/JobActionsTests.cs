using System.Globalization;
using Microsoft.Playwright;
using Pipeline.Contracts;
using Pipeline.Tests.Support.Worker;
using Xunit;

namespace Pipeline.Tests.EndToEnd.Dashboard;

/// <summary>What operators do to jobs in the browser, to one and to many, and what comes of it in the database.</summary>
[Collection(RunningSystem.Collection)]
public sealed class JobActionsTests(RunningSystem system, DashboardBrowser browser) : IAsyncLifetime
{
    /// <summary>More than are acted on at once, so that some are not begun when a bulk action is stopped.</summary>
    private const int Jobs = 6;

    private readonly string _group = $"held-{Guid.NewGuid():N}"[..20];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => await browser.OpenAsync(system);

    public ValueTask DisposeAsync()
    {
        browser.AssertNoErrors();
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task A_job_is_paused_resumed_changed_cancelled_retried_and_dismissed()
    {
        // No worker can load that model.
        var failed = await system.Client.SendAsync(FakeModels.Name.Name, RunningSystem.Texts(2));
        await using var held = await HeldModel.HoldAsync(system, browser, _group);
        var waiting = await held.SubmitAsync(system.Client);

        await browser.GoAsync($"jobs/{waiting}");
        await DoAsync("Pause", "job.pause", waiting, "paused", true);
        await DoAsync("Resume", "job.resume", waiting, "paused", false);
        await browser.LookAtAsync($"jobs/{waiting}/decisions", $"jobs/{waiting}/change?deadline=30h");
        await browser.DoAsync(
            new(null, "Change", "What waits goes on so from now.", "job.change") { Fields = [("Class", "standard"), ("Deadline", "40h")] }
        );
        Assert.Equal("standard", await OfJobAsync<string>(waiting, "class"));
        Assert.True(await OfJobAsync<bool>(waiting, "deadline > now() + interval '39 hours'"));
        await browser.LookHereAsync("jobs-one-waiting");
        await DoAsync("Cancel", "job.cancel", waiting, "state IN ('cancelling', 'cancelled')", true);

        await system.Client.UntilEndAsync(failed);
        var ended = Guid.Parse(failed.Id);
        await browser.LookAtAsync($"jobs/{ended}?status=failed", "tasks?custom_id=t-0");
        await browser.GoAsync($"jobs/{ended}");
        await browser.DoAsync(new("Actions", "Retry failed", "This job runs the failed tasks again.", "job.retry_failed"));
        var retried = Guid.Parse(browser.Page.Url.Split('/')[^1]);
        Assert.Equal(ended, await OfJobAsync<Guid>(retried, "retry_of"));
        await browser.GoAsync($"jobs/{ended}");
        await DoAsync("Dismiss failures", "job.dismiss", ended, "(SELECT sum(tasks) FROM dismissed_failures WHERE job = id)", 2L);
        await browser.LookAtAsync("failures?show=dismissed");
    }

    [Fact]
    public async Task Many_jobs_are_paused_resumed_changed_and_cancelled_and_a_bulk_action_is_stopped()
    {
        await using var held = await HeldModel.HoldAsync(system, browser, _group);
        for (var i = 0; i < Jobs; i++)
        {
            await held.SubmitAsync(system.Client);
        }

        await StopInTheMiddleAsync();
        var paused = (int)await OfGroupAsync("paused");
        Assert.InRange(paused, 1, Jobs - 1);
        await DoToAllAsync("resume", "Resume", paused);
        Assert.Equal(0, await OfGroupAsync("paused"));
        await DoToAllAsync("pause", "Pause", Jobs);
        Assert.Equal(Jobs, await OfGroupAsync("paused"));

        await PreviewAsync("change");
        await browser.Page.GetByLabel("Deadline").FillAsync("30h");
        await browser.Page.GetByRole(AriaRole.Button, new() { Name = "Estimate" }).ClickAsync();
        await Assertions.Expect(browser.Page.GetByText("What it would take")).ToBeVisibleAsync();
        await browser.LookHereAsync("bulk-change");
        await ConfirmAsync("Change class or deadline", Jobs, "bulk.change");
        Assert.Equal(Jobs, await OfGroupAsync("deadline > now() + interval '29 hours'"));

        await DoToAllAsync("cancel", "Cancel", Jobs, ("Type cancel", "cancel"));
        Assert.Equal(Jobs, await OfGroupAsync("state IN ('cancelling', 'cancelled')"));
        await browser.LookHereAsync("bulk-action");
    }

    [Fact]
    public async Task What_fails_is_found_retried_and_dismissed_by_its_kind()
    {
        var failed = await system.Client.SendAsync(FakeModels.Name.Name, RunningSystem.Texts(2));
        await system.Client.UntilEndAsync(failed);
        await browser.LookAtAsync("failures?range=1h", "failures?by=worker");

        await ChooseFailuresAsync("Retry these jobs");
        await browser.LookHereAsync("bulk-preview");
        await ConfirmAsync("Retry failed", null, "bulk.retry_failed");
        Assert.Equal(1L, await system.ScalarAsync<long>("SELECT count(*) FROM jobs WHERE retry_of = $1", Guid.Parse(failed.Id)));

        await ChooseFailuresAsync("Dismiss");
        await ConfirmAsync("Dismiss failures", null, "bulk.dismiss");
        Assert.Equal(1L, await system.ScalarAsync<long>("SELECT count(*) FROM dismissed_failures WHERE job = $1", Guid.Parse(failed.Id)));
    }

    /// <summary>Ingest waits for the jobs' rows, so only as many are begun as are acted on at once.</summary>
    private async Task StopInTheMiddleAsync()
    {
        await using (var connection = await system.Database.OpenConnectionAsync(Stop))
        await using (var transaction = await connection.BeginTransactionAsync(Stop))
        await using (var command = connection.CreateCommand())
        {
            command.CommandText = "SELECT id FROM jobs WHERE group_name = $1 FOR UPDATE";
            command.Parameters.Add(new() { Value = _group });
            await command.ExecuteNonQueryAsync(Stop);
            await PreviewAsync("pause");
            await browser.DoAsync(new("Confirm", $"Pause {Jobs} jobs", "At work", "bulk.pause"));
            await system.UntilAsync(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)) AND query LIKE '%jobs%'",
                connection.ProcessID
            );
            await browser.DoAsync(new(null, "Stop, and leave out the rest", "What was not begun is left out.", "bulk.stop"));
        }

        await Assertions.Expect(browser.Page.GetByText("Stopped")).ToBeVisibleAsync(new() { Timeout = 60_000 });
        Assert.Equal(
            await OfGroupAsync("NOT paused"),
            await system.ScalarAsync<long>(
                """
                SELECT count(*) FROM bulk_action_items i JOIN bulk_actions b ON b.id = i.bulk_action AND b.stopped
                JOIN jobs j ON j.id = i.job WHERE i.outcome = 'left_out' AND j.group_name = $1
                """,
                _group
            )
        );
    }

    private async Task DoAsync<T>(string button, string audited, Guid job, string sql, T expected)
    {
        await browser.DoAsync(new("Actions", button, $"{button}: done.", audited));
        Assert.Equal(expected, await OfJobAsync<T>(job, sql));
    }

    private async Task DoToAllAsync(string action, string name, int jobs, params (string, string)[] fields)
    {
        await PreviewAsync(action);
        await ConfirmAsync(name, jobs, $"bulk.{action}", fields);
    }

    private async Task PreviewAsync(string action)
    {
        await browser.GoAsync($"jobs?group={_group}&state=queued,running");
        await browser.Page.GetByLabel("All that fit").SelectOptionAsync(action);
        await browser.Page.GetByRole(AriaRole.Button, new() { Name = "Preview" }).ClickAsync();
        await Assertions.Expect(browser.Page.GetByText("The newest that fit the filters")).ToBeVisibleAsync();
    }

    private async Task ChooseFailuresAsync(string link)
    {
        await browser.GoAsync("failures?range=1h");
        await browser.Page.GetByLabel($"dispatch_failed of {FakeModels.Name}").GetByRole(AriaRole.Link, new() { Name = link }).ClickAsync();
        await Assertions.Expect(browser.Page.GetByText("The newest that fit the filters")).ToBeVisibleAsync();
    }

    /// <param name="jobs">How many the button says; null where other tests may have made some that fit, too.</param>
    private async Task ConfirmAsync(string name, int? jobs, string audited, params (string, string)[] fields)
    {
        var button = jobs is { } many
            ? string.Create(CultureInfo.InvariantCulture, $"{name} {many} {(many == 1 ? "job" : "jobs")}")
            : await browser.Page.GetByRole(AriaRole.Button, new() { NameRegex = new($"^{name} ") }).InnerTextAsync();
        await browser.DoAsync(new("Confirm", button, "Finished", audited) { Fields = fields });
    }

    private Task<T?> OfJobAsync<T>(Guid job, string sql) => system.ScalarAsync<T>($"SELECT {sql} FROM jobs WHERE id = $1", job);

    private Task<long> OfGroupAsync(string sql) =>
        system.ScalarAsync<long>($"SELECT count(*) FROM jobs WHERE group_name = $1 AND {sql}", _group);
}
