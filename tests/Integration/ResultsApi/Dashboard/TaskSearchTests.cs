using System.Net;
using System.Text.RegularExpressions;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Integration.Ingest;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

/// <summary>Tasks found by their custom_id in all jobs, a bounded step at a time.</summary>
public sealed partial class TaskSearchTests : IAsyncLifetime
{
    private IngestHost _ingest = null!;
    private DashboardHost _host = null!;
    private DashboardBrowser _viewer = null!;

    /// <summary>Each look reads four tasks, and shows two.</summary>
    public async ValueTask InitializeAsync()
    {
        _ingest = await IngestHost.StartAsync();
        _host = await DashboardHost.StartBesideAsync(
            _ingest.Database,
            ("SearchTimeMax", "00:00:00"),
            ("SearchRowsAtOnce", "4"),
            ("PageItems", "2")
        );
        _viewer = await _host.SignInAsync(OperatorRole.Viewer);
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        await _ingest.DisposeAsync();
    }

    [Fact]
    public async Task A_task_is_found_in_all_jobs_step_by_step_through_small_jobs_and_large_ones()
    {
        var jobs = new List<JobId>();
        foreach (var tasks in new[] { 3, 9, 3, 1 })
        {
            jobs.Add(await _ingest.SubmitAsync(tasks));
            await _ingest.EndAllAsync(jobs[^1], TaskOutcome.Succeeded);
        }

        Assert.Equal([jobs[2], jobs[1], jobs[0]], await FindAllAsync("custom_id=t-2"));
        Assert.Equal([jobs[1]], await FindAllAsync("custom_id=t-8"));
        Assert.Equal([jobs[3], jobs[2], jobs[1], jobs[0]], await FindAllAsync("custom_id=t-0"));
        Assert.Empty(await FindAllAsync("custom_id=t-9"));
        Assert.Empty(await FindAllAsync("custom_id=t-0&tenant=nobody"));
        Assert.Empty(await FindAllAsync("custom_id=t-0&created_before=2020-01-01T00:00:00Z&created_after=2019-01-01T00:00:00Z"));
    }

    [Fact]
    public async Task The_page_says_how_far_it_came_and_the_form_of_jobs_leads_to_it()
    {
        var job = await _ingest.SubmitAsync(6);
        await _ingest.EndAllAsync(job, TaskOutcome.Succeeded);

        var first = (await _viewer.GetAsync("/dashboard/tasks?custom_id=t-5")).Body;
        Assert.Contains("4 tasks looked through", first, StringComparison.Ordinal);
        Assert.Contains("Not found so far", first, StringComparison.Ordinal);
        var led = await _viewer.GetAsync("/dashboard/jobs?state=&custom_id=t-5&tenant=test");
        Assert.Equal("/dashboard/tasks?custom_id=t-5&tenant=test", led.Location);
        Assert.Contains("Which task?", (await _viewer.GetAsync("/dashboard/tasks")).Body, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.BadRequest, (await _viewer.GetAsync("/dashboard/tasks?custom_id=t-5&after=x")).Status);
    }

    /// <summary>Follows the search to its end; gives the jobs in which it was found.</summary>
    private async Task<List<JobId>> FindAllAsync(string query)
    {
        var found = new List<JobId>();
        for (var next = $"/dashboard/tasks?{query}"; next is not null; )
        {
            var page = (await _viewer.GetAsync(next)).Body;
            found.AddRange(JobLink().Matches(page).Select(m => new JobId(Guid.Parse(m.Groups[1].Value))));
            next = NextLink().Match(page) is { Success: true } link ? WebUtility.HtmlDecode(link.Groups[1].Value) : null;
        }

        return found;
    }

    [GeneratedRegex("href=\"/dashboard/jobs/([0-9a-f-]{36})\\?custom_id")]
    private static partial Regex JobLink();

    [GeneratedRegex("rel=\"next\" href=\"([^\"]+)\"")]
    private static partial Regex NextLink();
}
