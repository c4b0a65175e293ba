using System.Net;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Integration.Ingest;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

/// <summary>Queues and workers at the dashboard: what is held and let go through ingest, and audited.</summary>
public sealed class QueuesPageTests : IAsyncLifetime
{
    private const string Page = "/dashboard/workers";
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
    public async Task A_model_is_held_and_let_go_with_who_and_why_in_the_row_and_in_the_audit()
    {
        await _ingest.SubmitAsync(7);
        var page = await _operator.GetAsync(Page);
        Assert.Contains("Nothing is held", page.Body, StringComparison.Ordinal);
        Assert.Contains("words@1", page.Body, StringComparison.Ordinal);

        await _operator.PostAsync($"{Page}/hold", page, ("kind", "model"), ("name", "words"), ("reason", "<b>nonsense</b>"));
        Assert.Equal(
            $"model|words|<b>nonsense</b>|{_operator.Name}",
            await _host.Database.ScalarAsync<string>("SELECT concat_ws('|', kind, name, reason, by) FROM holds")
        );
        var held = await _operator.GetAsync(Page);
        Assert.Contains("&lt;b&gt;nonsense&lt;/b&gt;", held.Body, StringComparison.Ordinal);

        await _operator.PostAsync($"{Page}/hold", held, ("kind", "model"), ("name", "words"), ("reason", "still"));
        await _operator.PostAsync($"{Page}/release", held, ("what", "model/words"), ("reason", "repaired"));
        Assert.Equal(0L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM holds"));
        Assert.Equal(
            $"""
            hold.set <b>nonsense</b> true not held
            hold.set still true <b>nonsense</b> by {_operator.Name}
            hold.remove repaired true still by {_operator.Name}
            """,
            await _host.Database.ScalarAsync<string>(
                """
                SELECT string_agg(concat_ws(' ', action, reason, done::text,
                         CASE before ->> 'held' WHEN 'false' THEN 'not held' ELSE (before ->> 'reason') || ' by ' || (before ->> 'by') END), E'\n' ORDER BY id)
                FROM audit WHERE subject = 'words'
                """
            )
        );
    }

    [Fact]
    public async Task A_living_worker_is_drained_by_its_id_and_shown_so()
    {
        var worker = WorkerId.New(DateTimeOffset.UtcNow);
        await _host.Database.ExecuteAsync(
            """
            INSERT INTO workers (id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen)
            VALUES ($1, 'w-1', 'default', 'cpu', 'none', 1, 'alive', now(), now())
            """,
            worker.Value
        );
        var page = await _operator.GetAsync(Page);

        await _operator.PostAsync($"{Page}/hold", page, ("what", $"worker/{worker}"), ("reason", "new driver"));

        Assert.Equal($"worker {worker}", await _host.Database.ScalarAsync<string>("SELECT kind || ' ' || name FROM holds"));
        Assert.Contains(">held</span>", (await _operator.GetAsync(Page)).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_each_lane_of_a_pool_ran_is_told()
    {
        await RanBatches.AddAsync(_host.Database, "bulk", rows: 90, deviceMs: 40);
        await RanBatches.AddAsync(_host.Database, "bulk", rows: 10, deviceMs: 20);
        await RanBatches.AddAsync(_host.Database, "express", rows: 1, deviceMs: 2);

        var page = (await _operator.GetAsync(Page)).Body;

        const string number = "</td><td class=\"number\">";
        Assert.Contains(
            $"<td>default</td><td>express{string.Concat(new[] { "1", "1", "1", "2 ms", "2 ms", "2 ms" }.Select(n => number + n))}",
            page,
            StringComparison.Ordinal
        );
        Assert.Contains(
            $"<td>default</td><td>bulk{string.Concat(new[] { "2", "100", "50", "30 ms", "40 ms", "60 ms" }.Select(n => number + n))}",
            page,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task What_does_not_exist_or_has_no_reason_is_told_and_not_held()
    {
        var page = await _operator.GetAsync(Page);

        await _operator.PostAsync($"{Page}/hold", page, ("kind", "pool"), ("name", "nowhere"), ("reason", "why"));
        Assert.Contains("There is no pool", (await _operator.GetAsync(Page)).Body, StringComparison.Ordinal);
        await _operator.PostAsync($"{Page}/hold", page, ("kind", "model"), ("name", "words"));
        Assert.Contains("Say why", (await _operator.GetAsync(Page)).Body, StringComparison.Ordinal);

        Assert.Equal(0L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM holds"));
        Assert.Equal(1L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM audit WHERE action = 'hold.set' AND NOT done"));
    }

    [Fact]
    public async Task Viewers_see_it_and_change_nothing()
    {
        var viewer = await _host.SignInAsync(OperatorRole.Viewer);
        var page = await viewer.GetAsync(Page);
        Assert.Equal(HttpStatusCode.OK, page.Status);
        Assert.DoesNotContain("Hold a", page.Body, StringComparison.Ordinal);

        var answer = await viewer.PostAsync($"{Page}/hold", page, ("kind", "model"), ("name", "words"), ("reason", "why"));

        Assert.Equal(HttpStatusCode.Forbidden, answer.Status);
        Assert.Equal(0L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM holds"));
    }
}
