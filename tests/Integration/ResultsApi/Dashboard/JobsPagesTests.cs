using System.Net;
using System.Text.RegularExpressions;
using Microsoft.Extensions.DependencyInjection;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard.Bulk;
using Pipeline.Tests.Integration.Ingest;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi.Dashboard;

/// <summary>Jobs at the dashboard: found, shown, and acted on through ingest, one by one and many at once.</summary>
public sealed class JobsPagesTests : IAsyncLifetime
{
    private IngestHost _ingest = null!;
    private DashboardHost _host = null!;
    private DashboardBrowser _operator = null!;

    public async ValueTask InitializeAsync()
    {
        _ingest = await IngestHost.StartAsync();
        _host = await DashboardHost.StartBesideAsync(_ingest.Database, ("Ingest", _ingest.Address.ToString()), ("PageItems", "2"));
        _operator = await _host.SignInAsync(OperatorRole.Operator);
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        await _ingest.DisposeAsync();
    }

    [Fact]
    public async Task Jobs_of_all_tenants_are_listed_newest_first_page_by_page()
    {
        var jobs = new[] { await _ingest.SubmitAsync(), await _ingest.SubmitAsync(), await _ingest.SubmitAsync() };

        var first = await _operator.GetAsync("/dashboard/jobs?class=bulk&model=&state=queued");
        Assert.Equal((true, true, false), (Has(first, jobs[2]), Has(first, jobs[1]), Has(first, jobs[0])));
        var second = await _operator.GetAsync($"/dashboard/jobs?state=queued&after={jobs[1]}");
        Assert.Equal((false, true), (Has(second, jobs[1]), Has(second, jobs[0])));
        Assert.Contains("No job fits", (await _operator.GetAsync("/dashboard/jobs?tenant=nobody")).Body, StringComparison.Ordinal);
        Assert.Equal($"/dashboard/jobs/{jobs[0]}", (await _operator.GetAsync($"/dashboard/jobs?id={jobs[0]}")).Location);

        var wrong = await _operator.GetAsync("/dashboard/jobs?state=sleeping");
        Assert.Equal(HttpStatusCode.BadRequest, wrong.Status);
        Assert.Contains("one or more of", wrong.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_a_job_holds_is_text_on_its_page_and_never_markup()
    {
        using var sent = await _ingest.PostAsync(
            "model=words&metadata[team]=<script>alert(1)</script>",
            """{"custom_id":"<img src=x>","input":"<b>bold</b>"}""" + "\n"
        );
        var job = JobId.From((await sent.JsonAsync()).GetProperty("id").GetGuid());
        await _ingest.EndAllAsync(job, TaskOutcome.Failed);

        var page = await _operator.GetAsync($"/dashboard/jobs/{job}");

        Assert.Equal(HttpStatusCode.OK, page.Status);
        Assert.Contains("&lt;img src=x&gt;", page.Body, StringComparison.Ordinal);
        Assert.Contains("&lt;b&gt;bold&lt;/b&gt;", page.Body, StringComparison.Ordinal);
        Assert.DoesNotContain("<script>alert", page.Body, StringComparison.Ordinal);
        Assert.DoesNotContain("<b>bold", page.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Inputs_and_outputs_are_not_shown_where_they_are_redacted()
    {
        var job = await _ingest.SubmitAsync(1);
        await _ingest.EndAllAsync(job, TaskOutcome.Succeeded);
        await using var redacted = await DashboardHost.StartBesideAsync(_host.Database, ("Redact", "true"));
        var browser = await redacted.SignInAsync(OperatorRole.Admin);

        Assert.Contains("text 0", (await _operator.GetAsync($"/dashboard/jobs/{job}")).Body, StringComparison.Ordinal);
        var page = (await browser.GetAsync($"/dashboard/jobs/{job}")).Body;
        Assert.DoesNotContain("text 0", page, StringComparison.Ordinal);
        Assert.Contains("t-0", page, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Cancelling_goes_through_ingest_and_is_audited_with_its_reason()
    {
        var job = await _ingest.SubmitAsync();
        var page = await _operator.GetAsync($"/dashboard/jobs/{job}");

        var silent = await _operator.PostAsync($"/dashboard/jobs/{job}/cancel", page);
        Assert.Equal($"/dashboard/jobs/{job}", silent.Location);
        Assert.Equal("queued", await StateAsync(job));
        await _operator.PostAsync($"/dashboard/jobs/{job}/cancel", page, ("reason", "sent twice"));

        Assert.Equal("cancelling", await StateAsync(job));
        Assert.Equal(
            "sent twice|true|queued|cancelling",
            await _host.Database.ScalarAsync<string>(
                """
                SELECT concat_ws('|', reason, done::text, before ->> 'state', after ->> 'state') FROM audit
                WHERE action = 'job.cancel' AND subject = $1 AND operator_name = $2 AND tenant IS NOT NULL
                """,
                job.ToString(),
                _operator.Name
            )
        );
        Assert.Contains("sent twice", (await _operator.GetAsync($"/dashboard/jobs/{job}")).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_ingest_refuses_is_told_and_audited_as_not_done()
    {
        var job = await _ingest.SubmitAsync(1);
        await _ingest.EndAllAsync(job, TaskOutcome.Succeeded);
        var page = await _operator.GetAsync("/dashboard/jobs");

        var answer = await _operator.PostAsync($"/dashboard/jobs/{job}/pause", page, ("reason", "too late"));
        var told = await _operator.GetAsync(answer.Location!);

        Assert.Contains("cannot be paused", told.Body, StringComparison.Ordinal);
        Assert.Equal(1L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM audit WHERE action = 'job.pause' AND NOT done"));
    }

    [Fact]
    public async Task A_change_of_class_is_estimated_first_and_audited_with_what_it_was_and_is()
    {
        var job = await _ingest.SubmitAsync();
        Assert.Contains(
            $"/dashboard/jobs/{job}/change",
            (await _operator.GetAsync($"/dashboard/jobs/{job}")).Body,
            StringComparison.Ordinal
        );
        var unknown = await _operator.GetAsync($"/dashboard/jobs/{job}/change");
        Assert.Contains("Nothing can be estimated", unknown.Body, StringComparison.Ordinal);
        _ingest.Forecast();
        var preview = await _operator.GetAsync($"/dashboard/jobs/{job}/change?deadline=5h");
        Assert.Equal(3, preview.Body.Split("accepted").Length - 1);
        Assert.Equal("bulk", await _host.Database.ScalarAsync<string>("SELECT class FROM jobs WHERE id = $1", job.Value));

        await _operator.PostAsync(
            $"/dashboard/jobs/{job}/change",
            preview,
            ("class", "standard"),
            ("deadline", "5h"),
            ("reason", "the board meets tonight")
        );

        Assert.Equal(
            "the board meets tonight|true|bulk|standard",
            await _host.Database.ScalarAsync<string>(
                """
                SELECT concat_ws('|', reason, done::text, before ->> 'class', after ->> 'class') FROM audit
                WHERE action = 'job.change' AND subject = $1 AND operator_name = $2
                """,
                job.ToString(),
                _operator.Name
            )
        );
        Assert.Contains("bulk to standard", (await _operator.GetAsync($"/dashboard/jobs/{job}")).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_change_that_ingest_refuses_is_told_and_changes_nothing()
    {
        var job = await _ingest.SubmitAsync(3_000);
        _ingest.Forecast();
        var page = await _operator.GetAsync($"/dashboard/jobs/{job}/change");

        var answer = await _operator.PostAsync($"/dashboard/jobs/{job}/change", page, ("deadline", "1s"), ("reason", "hurry"));

        Assert.Contains("cannot be done by", (await _operator.GetAsync(answer.Location!)).Body, StringComparison.Ordinal);
        Assert.Equal(1L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM audit WHERE action = 'job.change' AND NOT done"));
    }

    [Fact]
    public async Task A_double_click_on_retry_makes_one_job()
    {
        var job = await _ingest.SubmitAsync(2);
        await _ingest.EndAllAsync(job, TaskOutcome.Failed);
        var page = await _operator.GetAsync($"/dashboard/jobs/{job}");

        var first = await _operator.PostAsync($"/dashboard/jobs/{job}/retry-failed", page, ("reason", "again"), ("once", "1"));
        var second = await _operator.PostAsync($"/dashboard/jobs/{job}/retry-failed", page, ("reason", "again"), ("once", "1"));

        Assert.Equal(first.Location, second.Location);
        Assert.Equal(1L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM jobs WHERE retry_of = $1", job.Value));
        Assert.Contains($"href=\"{first.Location}\"", (await _operator.GetAsync($"/dashboard/jobs/{job}")).Body, StringComparison.Ordinal);
        Assert.Contains($"href=\"/dashboard/jobs/{job}\"", (await _operator.GetAsync(first.Location!)).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_job_shows_when_it_started_its_expected_end_with_a_band_and_each_tasks_models()
    {
        _ingest.Forecast(0, 0, 100_000);
        var job = await _ingest.SubmitAsync(2);
        var accepted = (await _operator.GetAsync($"/dashboard/jobs/{job}")).Body;
        Assert.Matches("19 of 20 <time [^>]+>in [^<]+</time> to <time", accepted);
        Assert.DoesNotContain("<span>started</span>", accepted, StringComparison.Ordinal);

        await _host.Database.ExecuteAsync(
            """
            INSERT INTO turns (job, seq, turn, chunk, model, batch, units, cost_pico, finished_at)
            SELECT $1, 1, n, 0, (ARRAY['tiny@1', 'small@3'])[n], gen_random_uuid(), 1, 1, now() FROM generate_series(1, 2) AS n
            """,
            job.Value
        );
        await _ingest.EndAllAsync(job, TaskOutcome.Succeeded);

        var ended = (await _operator.GetAsync($"/dashboard/jobs/{job}")).Body;
        var timeline = ended[ended.IndexOf("<ol class=\"timeline\"", StringComparison.Ordinal)..];
        Assert.Matches("(?s)<span>queued</span>.+<span>started</span>.+<span>completed</span>", timeline);
        Assert.Single(Regex.Matches(ended, "turn 3, after tiny@1, small@3"));
        Assert.Contains("<td>words@1", ended, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Failures_are_grouped_and_all_of_their_jobs_retried_once()
    {
        var jobs = new List<JobId>();
        for (var i = 0; i < 3; i++)
        {
            jobs.Add(await _ingest.SubmitAsync(2));
            await _ingest.EndAllAsync(jobs[i], TaskOutcome.Failed);
        }

        var failures = (await _operator.GetAsync("/dashboard/failures?range=1h")).Body;
        Assert.Contains("model_failed", failures, StringComparison.Ordinal);
        Assert.Contains("<strong>6</strong> tasks in <strong>3</strong> jobs", failures, StringComparison.Ordinal);

        var preview = await _operator.GetAsync("/dashboard/bulk/preview?action=retry-failed&error=model_failed&not_retried=true");
        Assert.Contains(">3<", preview.Body, StringComparison.Ordinal);
        var later = await _ingest.SubmitAsync(1);
        await _ingest.EndAllAsync(later, TaskOutcome.Failed);
        var begun = await _operator.PostAsync(
            "/dashboard/bulk",
            preview,
            ("action", "retry-failed"),
            ("query", preview.Query),
            ("reason", "the model is mended")
        );
        var runner = _host.Services.GetRequiredService<BulkRunner>();
        await runner.TurnAsync(CancellationToken.None);
        await _host.Database.UntilAsync("SELECT bool_and(finished_at IS NOT NULL) FROM bulk_actions");

        // What came after the preview is not in it, and nothing is retried twice, though two runners were at work.
        Assert.Equal(3L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM jobs WHERE retry_of IS NOT NULL"));
        Assert.Equal(0L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM jobs WHERE retry_of = $1", later.Value));
        Assert.Contains("3 done, 0 refused, of 3 jobs", (await _operator.GetAsync(begun.Location!)).Body, StringComparison.Ordinal);
        Assert.Equal(
            (1L, 3L),
            (
                await _host.Database.ScalarAsync<long>("SELECT count(*) FROM audit WHERE action = 'bulk.retry_failed'"),
                await _host.Database.ScalarAsync<long>(
                    "SELECT count(*) FROM audit WHERE action = 'job.retry_failed' AND done AND reason = 'the model is mended'"
                )
            )
        );
        var rest = await _operator.GetAsync("/dashboard/bulk/preview?action=retry-failed&error=model_failed&not_retried=true");
        Assert.Contains(">1<", rest.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Cancelling_many_wants_the_word_typed()
    {
        await _ingest.SubmitAsync();
        var preview = await _operator.GetAsync("/dashboard/bulk/preview?action=cancel&state=queued");
        (string, string)[] fields = [("action", "cancel"), ("query", preview.Query), ("reason", "clear")];

        var refused = await _operator.PostAsync("/dashboard/bulk", preview, fields);
        Assert.StartsWith("/dashboard/bulk/preview?", refused.Location, StringComparison.Ordinal);
        Assert.Equal(0L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM bulk_actions"));
        await _operator.PostAsync("/dashboard/bulk", preview, [.. fields, ("confirm", "cancel")]);
        await _host.Database.UntilAsync("SELECT bool_and(state = 'cancelling') FROM jobs");
    }

    [Fact]
    public async Task A_bulk_action_is_stopped_with_a_reason_and_where_it_stood()
    {
        var id = Guid.CreateVersion7();
        await _host.Database.ExecuteAsync(
            """
            INSERT INTO bulk_actions (id, action, query, reason, operator, operator_name, created_at, items)
            SELECT $1, 'pause', 'state=queued', 'too loud', id, name, now(), 1 FROM operators LIMIT 1
            """,
            id
        );
        var page = await _operator.GetAsync("/dashboard/workers");

        await _operator.PostAsync($"/dashboard/bulk/{id}/stop", page, ("reason", "the wrong ones"));
        var nothing = await _operator.PostAsync($"/dashboard/bulk/{Guid.Empty}/stop", page, ("reason", "the wrong ones"));

        Assert.Equal(HttpStatusCode.NotFound, nothing.Status);
        Assert.Equal(
            "the wrong ones true 1 0",
            await _host.Database.ScalarAsync<string>(
                "SELECT concat_ws(' ', reason, done::text, before ->> 'items', after ->> 'left_out') FROM audit WHERE action = 'bulk.stop'"
            )
        );
    }

    [Fact]
    public async Task Class_and_deadline_of_many_jobs_are_changed_and_each_says_what_came_of_it()
    {
        var (small, large) = (await _ingest.SubmitAsync(), await _ingest.SubmitAsync(3_000));
        _ingest.Forecast();
        var asked = await _operator.GetAsync("/dashboard/bulk/preview?action=change&state=queued");
        Assert.DoesNotContain("Why?", asked.Body, StringComparison.Ordinal);
        var preview = await _operator.GetAsync("/dashboard/bulk/preview?action=change&state=queued&to_class=standard&to_deadline=1s");
        Assert.Contains("2 of 2", preview.Body, StringComparison.Ordinal);
        Assert.Contains("<p class=\"big alarm\">1</p><p class=\"hint\">would stay as they are</p>", preview.Body, StringComparison.Ordinal);
        Assert.Contains("Their rest is charged", preview.Body, StringComparison.Ordinal);
        (string, string)[] fields = [("action", "change"), ("query", preview.Query), ("reason", "the board meets")];

        await _operator.PostAsync("/dashboard/bulk", preview, fields);
        Assert.Contains("Choose a class", (await _operator.GetAsync("/dashboard/bulk")).Body, StringComparison.Ordinal);
        await _operator.PostAsync("/dashboard/bulk", preview, [.. fields, ("deadline", "soon")]);
        Assert.Contains("A deadline is", (await _operator.GetAsync("/dashboard/bulk")).Body, StringComparison.Ordinal);
        Assert.Equal(0L, await _host.Database.ScalarAsync<long>("SELECT count(*) FROM bulk_actions"));

        // The deadline is kept by the one, and too near for the other, which stays as it is.
        var begun = await _operator.PostAsync("/dashboard/bulk", preview, [.. fields, ("class", "standard"), ("deadline", "1s")]);
        await _host.Database.UntilAsync("SELECT bool_and(finished_at IS NOT NULL) FROM bulk_actions");

        var page = (await _operator.GetAsync(begun.Location!)).Body;
        Assert.Contains("class standard, due 1s", page, StringComparison.Ordinal);
        Assert.Contains("1 done, 1 refused, of 2 jobs", page, StringComparison.Ordinal);
        Assert.Contains("cannot be done by", page, StringComparison.Ordinal);
        Assert.Equal(("standard", "bulk"), (await ClassAsync(small), await ClassAsync(large)));
        Assert.Equal(
            "false true",
            await _host.Database.ScalarAsync<string>(
                "SELECT string_agg(done::text, ' ' ORDER BY done) FROM audit WHERE action = 'job.change' AND reason = 'the board meets'"
            )
        );
    }

    [Fact]
    public async Task An_estimate_of_many_jobs_that_takes_too_long_leaves_the_change_to_be_made_without()
    {
        await _ingest.SubmitAsync();
        await using var hasty = await DashboardHost.StartBesideAsync(
            _ingest.Database,
            ("Ingest", _ingest.Address.ToString()),
            ("EstimateTimeMax", "00:00:00")
        );
        var browser = await hasty.SignInAsync(OperatorRole.Operator);

        var preview = (await browser.GetAsync("/dashboard/bulk/preview?action=change&to_class=standard")).Body;

        Assert.Contains("Ingest told of no job in time.", preview, StringComparison.Ordinal);
        Assert.Contains("Why?", preview, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Many_jobs_are_never_chosen_by_an_id()
    {
        var job = await _ingest.SubmitAsync();

        Assert.Equal(HttpStatusCode.BadRequest, (await _operator.GetAsync($"/dashboard/bulk/preview?action=cancel&id={job}")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await _operator.GetAsync("/dashboard/bulk/preview?action=cancel&custom_id=t-1")).Status);
    }

    [Fact]
    public async Task Jobs_are_found_by_what_they_cost_while_they_run_and_after()
    {
        var (ended, running) = (await _ingest.SubmitAsync(1), await _ingest.SubmitAsync(4));
        await _ingest.EndAllAsync(ended, TaskOutcome.Succeeded);
        await _ingest.EndAllAsync(running, TaskOutcome.Succeeded, count: 3);

        // A task costs 10 pico-dollars.
        Assert.Equal((true, true), await FoundAsync("cost_min=0.00000000001"));
        Assert.Equal((false, true), await FoundAsync("cost_min=0.00000000002"));
        Assert.Equal((true, false), await FoundAsync("cost_max=0.00000000002"));
        Assert.Equal((false, false), await FoundAsync("cost_min=0.00000000004"));
        Assert.Equal(HttpStatusCode.BadRequest, (await _operator.GetAsync("/dashboard/jobs?cost_min=much")).Status);

        async Task<(bool Ended, bool Running)> FoundAsync(string query)
        {
            var page = await _operator.GetAsync($"/dashboard/jobs?{query}");
            return (Has(page, ended), Has(page, running));
        }
    }

    [Fact]
    public async Task A_jobs_timeline_has_the_attempts_that_were_lost_with_a_worker()
    {
        var (job, other) = (await _ingest.SubmitAsync(2), await _ingest.SubmitAsync(2));
        var worker = await _ingest.AddWorkerAsync("gpu-7");
        await _host.Database.ExecuteAsync(
            $$"""
            UPDATE workers SET state = 'lost', ended_at = now() + interval '1 s', begun = '[{"job": "{{job}}", "no": 0}, {"job": "{{job}}", "no": 3}]'
            WHERE id = '{{worker}}';
            UPDATE chunks SET attempts = 1
            """
        );

        Assert.Contains(
            "<span>attempt lost: 2 chunks with worker gpu-7</span>",
            (await _operator.GetAsync($"/dashboard/jobs/{job}")).Body,
            StringComparison.Ordinal
        );
        Assert.DoesNotContain("attempt lost", (await _operator.GetAsync($"/dashboard/jobs/{other}")).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_job_shows_what_each_account_took_against_the_estimate()
    {
        var (job, other) = (await _ingest.SubmitAsync(2), await _ingest.SubmitAsync(3));
        await _ingest.EndAllAsync(job, TaskOutcome.Succeeded);
        await _ingest.EndAllAsync(other, TaskOutcome.Succeeded);

        // One batch of five tasks of a unit each, a fifth of whose padding is each task's.
        var (batch, worker) = (BatchId.New(DateTimeOffset.UtcNow), await _ingest.AddWorkerAsync("gpu-1"));
        await _host.Database.ExecuteAsync(
            $"""
            INSERT INTO batches (id, worker, dispatch, lane, model, provider, rows, units, padded_units, device_ns, cost_pico, padding_pico, started_at, finished_at)
            VALUES ('{batch}', '{worker}', '{batch}', 'bulk', 'words@1', 'cpu', 5, 5, 10, 100, 75, 25, now(), now());
            UPDATE results SET batch = '{batch}', units = 1;
            UPDATE jobs SET predicted_at = now(), predicted_early_at = now(), predicted_late_at = now(), predicted_cost_pico = 30 WHERE id = '{job}'
            """
        );

        var page = (await _operator.GetAsync($"/dashboard/jobs/{job}")).Body;

        Assert.Contains("<dt>Its tasks</dt><dd>$0.000000000020", page, StringComparison.Ordinal);
        Assert.Contains("<dt>Padding, its share</dt><dd>$0.000000000010", page, StringComparison.Ordinal);
        Assert.Contains("<dd>$0.000000000030", page, StringComparison.Ordinal);
        Assert.Contains("50 % too much", page, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_list_is_exported_as_it_is_filtered()
    {
        var job = await _ingest.SubmitAsync(2, "model=words&group=evening");
        await _ingest.SubmitAsync(1);

        var csv = await _operator.GetAsync("/dashboard/jobs/export?group=evening&format=csv");
        Assert.Equal("text/csv", csv.Response.Content.Headers.ContentType?.MediaType);
        Assert.Equal(2, csv.Body.TrimEnd().Split("\r\n").Length);
        var json = System.Text.Json.JsonElement.Parse((await _operator.GetAsync("/dashboard/jobs/export?group=evening&format=json")).Body);
        Assert.Equal((job.ToString(), "2"), (json[0].GetProperty("id").GetString(), json[0].GetProperty("tasks").GetString()));
    }

    [Fact]
    public async Task Every_list_leads_to_its_export_with_the_same_filters()
    {
        var job = await _ingest.SubmitAsync(3);
        await _ingest.EndAllAsync(job, TaskOutcome.Failed, worker: await _ingest.AddWorkerAsync("gpu-1"), count: 2);
        await _ingest.EndAllAsync(job, TaskOutcome.Succeeded);
        var bulk = Guid.CreateVersion7();
        await _host.Database.ExecuteAsync(
            """
            WITH made AS (
              INSERT INTO bulk_actions (id, action, query, reason, operator, operator_name, created_at, items)
              SELECT $1, 'pause', 'state=queued', 'too loud', id, name, now(), 1 FROM operators LIMIT 1 RETURNING id
            )
            INSERT INTO bulk_action_items (bulk_action, job, tenant, outcome) SELECT made.id, j.id, j.tenant, 'left_out' FROM made, jobs j
            """,
            bulk
        );
        await _host.Database.ExecuteAsync(
            """
            INSERT INTO recurring_runs (name, started_at, ended_at, outcome, counts, instance)
            VALUES ('sla-reports', now(), now(), 'ok', '{"kept": 2}', 'here')
            """
        );

        await ExportsAsync(
            $"jobs/{job}",
            "?status=failed",
            "seq,custom_id,status,model,models_before,error,",
            ",failed,words@1,,model_failed,",
            2
        );
        await ExportsAsync("failures", "?by=worker", "error,model,worker,tasks,jobs,", "model_failed,words@1,gpu-1,2,1,", 1);
        await ExportsAsync($"bulk/{bulk}", "?outcome=left_out", "job,outcome,detail", $"{job},left_out,", 1);
        await ExportsAsync("workers", "", "id,name,pool,", ",gpu-1,", 1);
        await ExportsAsync("recurring/sla-reports", "", "id,started_at,ended_at,duration_ms,outcome,counts,", "\"{\"\"kept\"\":2}\"", 1);

        async Task ExportsAsync(string page, string query, string columns, string row, int rows)
        {
            var link = Regex
                .Match((await _operator.GetAsync($"/dashboard/{page}{query}")).Body, "href=\"([^\"]+)\">CSV</a>")
                .Groups[1]
                .Value;
            Assert.StartsWith($"/dashboard/{page}/export?", link, StringComparison.Ordinal);
            var lines = (await _operator.GetAsync(WebUtility.HtmlDecode(link))).Body.TrimEnd('\n', '\r').Split("\r\n");
            Assert.StartsWith(columns, lines[0], StringComparison.Ordinal);
            Assert.Equal(rows, lines.Length - 1);
            Assert.Contains(row, lines[1], StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_page_Now_says_how_fast_the_error_budget_of_a_class_goes()
    {
        var (soon, late) = (await _ingest.SubmitAsync(1), await _ingest.SubmitAsync(1));
        const string End =
            "UPDATE jobs SET state = 'completed', open_chunks = 0, succeeded = 1, failed = 0, expired = 0, cancelled = 0, cost_pico = 0, "
            + "started_at = queued_at, finished_at = now()";
        await _host.Database.ExecuteAsync($"{End} WHERE id = '{soon}'");
        await _host.Database.ExecuteAsync($"{End}, queued_at = now() - interval '9 days' WHERE id = '{late}'");

        var page = (await _operator.GetAsync("/dashboard/now")).Body;

        // Half of them were late; one in a hundred may be.
        Assert.Contains("<span class=\"alarm\">50 ×</span>", System.Net.WebUtility.HtmlDecode(page), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_live_page_moves()
    {
        await _ingest.SubmitAsync(7);
        Assert.Contains("class-express", (await _operator.GetAsync("/dashboard/now")).Body, StringComparison.Ordinal);
        using var http = new HttpClient(new HttpClientHandler { CookieContainer = _operator.Cookies }) { BaseAddress = _host.Address };
        await using var stream = await http.GetStreamAsync("/dashboard/now/live");
        using var reader = new StreamReader(stream);
        for (var line = ""; !line.StartsWith("data: ", StringComparison.Ordinal); )
        {
            line = await reader.ReadLineAsync() ?? throw new EndOfStreamException();
            Assert.True(!line.StartsWith("data: ", StringComparison.Ordinal) || line.Contains("data-part", StringComparison.Ordinal), line);
        }
    }

    [Fact]
    public async Task The_other_pages_have_something_to_say_when_there_is_nothing()
    {
        string[] paths = ["workers", "models", "routes", "webhooks", "tenants", "failures", "bulk", "audit", "now?range=30d"];
        string[] others = ["alerts", "alerts/silences", "alerts/rules", "alerts/probes", "reports", "reports/kept", "recurring"];
        foreach (var path in paths.Concat(others))
        {
            Assert.Equal(HttpStatusCode.OK, (await _operator.GetAsync($"/dashboard/{path}")).Status);
        }
    }

    [Fact]
    public async Task Only_an_operators_key_acts_for_another_tenant()
    {
        var other = await Tenants.EnsureAsync(_host.Database.DataSource, "other");
        var key = await ApiKeyIssuer.IssueAsync(_host.Database.DataSource, other, "operator", isOperator: true);
        var job = await _ingest.SubmitAsync();

        Assert.Equal(HttpStatusCode.NotFound, await PauseAsync(key, null));
        Assert.Equal(HttpStatusCode.OK, await PauseAsync(key, _ingest.Tenant.ToString()));
        Assert.Equal(HttpStatusCode.Forbidden, await PauseAsync(_ingest.Key, other.ToString()));
        Assert.Equal(HttpStatusCode.Forbidden, await PauseAsync(key, Guid.NewGuid().ToString()));

        async Task<HttpStatusCode> PauseAsync(string bearer, string? tenant)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(_ingest.Address, $"/v1/jobs/{job}/pause"));
            request.Headers.Authorization = new("Bearer", bearer);
            if (tenant is not null)
            {
                request.Headers.Add(ApiKeyAuthentication.TenantHeader, tenant);
            }

            using var http = new HttpClient();
            using var response = await http.SendAsync(request);
            return response.StatusCode;
        }
    }

    private Task<string?> ClassAsync(JobId job) => _host.Database.ScalarAsync<string>("SELECT class FROM jobs WHERE id = $1", job.Value);

    private Task<string?> StateAsync(JobId job) => _host.Database.ScalarAsync<string>("SELECT state FROM jobs WHERE id = $1", job.Value);

    private static bool Has(DashboardAnswer page, JobId job) => page.Body.Contains($"/dashboard/jobs/{job}\"", StringComparison.Ordinal);
}
