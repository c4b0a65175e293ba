using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Recurring;
using Pipeline.ResultsApi.Recurring.Works;
using Pipeline.Tests.Integration.Migrations;
using Pipeline.Tests.Integration.ResultsApi;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Recurring;

/// <summary>Erasing what a job or a tenant has left, by the API.</summary>
public sealed class ErasureTests(RecurringFixture fixture) : IClassFixture<RecurringFixture>
{
    private static readonly CancellationToken Stop = TestContext.Current.CancellationToken;

    private readonly RecurringHosts _hosts = fixture.Hosts;
    private TestDatabase Db => _hosts.Database;

    [Fact]
    public async Task A_job_is_erased_to_the_last_word_and_its_counts_and_costs_stay()
    {
        var (tenant, name) = await AddTenantAsync();
        var job = await AddFullJobAsync(tenant);
        var other = await AddFullJobAsync(tenant);
        var usage = await UsageAsync(tenant);

        var asked = await _hosts.SendAsync(HttpMethod.Post, "/v1/erasures", 202, Body(new { job = job.Id, reason = "asked for" }));
        var erasure = await UntilFinishedAsync(asked);

        Assert.Equal((1, name), (erasure.GetProperty("jobs").GetInt32(), erasure.GetProperty("tenant").GetString()));
        Assert.Equal(
            $"api.erase_data /v1/erasures t {name}",
            await Db.ScalarAsync<string>(
                "SELECT concat_ws(' ', action, subject, done, after ->> 'tenant') FROM audit WHERE after ->> 'id' = $1",
                erasure.GetProperty("id").GetString()!
            )
        );
        Assert.Equal(0, erasure.GetProperty("parts_left").GetInt64());
        Assert.True(erasure.GetProperty("rows_removed").GetInt64() > 8, erasure.ToString());
        Assert.Equal(usage, await UsageAsync(tenant));
        Assert.DoesNotContain("secret", await EverythingAsync(tenant, job.Id), StringComparison.Ordinal);
        Assert.Contains("secret", await EverythingAsync(tenant, other.Id), StringComparison.Ordinal);

        using var client = await ClientAsync(tenant);
        var view = JsonElement.Parse(await client.GetStringAsync($"/v1/jobs/{job.Id}", Stop));
        Assert.Equal(
            (8, "completed"),
            (view.GetProperty("counts").GetProperty("succeeded").GetInt32(), view.GetProperty("state").GetString())
        );
        Assert.True(view.GetProperty("cost_pico_usd").GetDecimal() > 0);
        Assert.NotEqual(default, view.GetProperty("outputs_removed_at").GetDateTimeOffset());
        foreach (var path in (string[])["/results", "/results?order=completed", "?costs=true"])
        {
            using var gone = await client.GetAsync($"/v1/jobs/{job.Id}{path}", Stop);
            Assert.Equal(HttpStatusCode.Gone, gone.StatusCode);
            Assert.Contains("data_removed", await gone.Content.ReadAsStringAsync(Stop), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_tenant_is_erased_up_to_the_moment_of_asking_and_others_are_not_touched()
    {
        var (tenant, name) = await AddTenantAsync();
        var (neighbour, _) = await AddTenantAsync();
        var jobs = new[] { await AddFullJobAsync(tenant), await AddFullJobAsync(tenant) };
        var theirs = await AddFullJobAsync(neighbour);
        await AddBesideAsync(tenant);
        await AddBesideAsync(neighbour);
        var usage = await UsageAsync(tenant);
        await Db.ExecuteAsync(
            """
            INSERT INTO reports (id, tenant, all_tenants, occasion, from_at, to_at, time_zone, created_at, body)
            SELECT gen_random_uuid(), $1, true, 'request', now() - interval '1 day', now(), 'UTC', now(),
                   convert_to('{"rows":[{"tenant":' || to_jsonb($2)::text || ',"succeeded":16},{"tenant":"b"}]}', 'UTF8')
            """,
            neighbour.Value,
            name
        );

        var asked = await _hosts.SendAsync(HttpMethod.Post, "/v1/erasures", 202, Body(new { tenant = name, reason = "has left" }));
        var later = await SeededJob.CreateAsync(Db, tenant, new SeededJob { Metadata = """{"later": "secret"}""" });
        var erasure = await UntilFinishedAsync(asked);

        Assert.Equal(2, erasure.GetProperty("jobs").GetInt32());
        Assert.Equal(usage, await UsageAsync(tenant));
        foreach (var job in jobs)
        {
            Assert.DoesNotContain("secret", await EverythingAsync(tenant, job.Id), StringComparison.Ordinal);
        }

        Assert.Equal("0 0 0 0 0 0 0 0", await BesideAsync(tenant));
        Assert.Equal("1 1 1 1 1 1 1 1", await BesideAsync(neighbour));
        Assert.Equal(
            """{"rows":[{"tenant":"erased","succeeded":16},{"tenant":"b"}]}""",
            await Db.ScalarAsync<string>(
                "SELECT convert_from(body, 'UTF8') FROM reports WHERE all_tenants AND tenant = $1",
                neighbour.Value
            )
        );
        Assert.Equal(
            "0 0",
            await Db.ScalarAsync<string>("SELECT entries || ' ' || bytes FROM tenant_caches WHERE tenant = $1", tenant.Value)
        );
        Assert.Contains("secret", await EverythingAsync(neighbour, theirs.Id), StringComparison.Ordinal);
        Assert.Contains("secret", await EverythingAsync(tenant, later.Id), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_has_not_ended_is_refused_and_nothing_of_it_is_touched()
    {
        var (tenant, name) = await AddTenantAsync();
        var ended = await AddFullJobAsync(tenant);
        var running = await SeededJob.CreateAsync(Db, tenant, new SeededJob { Tasks = 8 });
        await running.EndAsync(Db, 0, 1);
        foreach (var body in (object[])[new { job = running.Id, reason = "r" }, new { tenant = name, reason = "r" }])
        {
            var refused = await _hosts.SendAsync(HttpMethod.Post, "/v1/erasures", 409, Body(body));
            Assert.Equal("invalid_state", refused.GetProperty("code").GetString());
            Assert.Contains($"{running.Id}", refused.GetProperty("detail").GetString(), StringComparison.Ordinal);
            Assert.Contains("/cancel", refused.GetProperty("detail").GetString(), StringComparison.Ordinal);
        }

        Assert.Contains("secret", await EverythingAsync(tenant, ended.Id), StringComparison.Ordinal);
        Assert.Equal(2, await Db.ScalarAsync<long>("SELECT count(*) FROM results WHERE job = $1", running.Id.Value));
    }

    [Fact]
    public async Task An_erasure_that_was_cut_in_the_middle_goes_on_and_asked_for_again_it_is_the_same()
    {
        await using var db = await TestPostgres.CreateDatabaseAsync();
        var tenant = await Tenants.EnsureAsync(db.DataSource, "test");
        for (var i = 0; i < 5; i++)
        {
            var job = await SeededJob.CreateAsync(db, tenant, new SeededJob { Tasks = 8 });
            await job.EndAllAsync(db);
        }

        await RolledUp.Async(db);
        var now = DateTimeOffset.UtcNow;
        var id = await Erasures.AskAsync(db.DataSource, tenant, null, "r", tenant, now, Stop);
        Assert.Equal(id, await Erasures.AskAsync(db.DataSource, tenant, null, "again", tenant, now.AddSeconds(1), Stop));

        // Two jobs are taken on, one step is done; then nobody goes on.
        var erasure = (await Erasures.FindAsync(db.DataSource, id, Stop))!;
        Assert.Equal((2, true), await Erasures.TakeAsync(db.DataSource, erasure, 2, now, Stop));
        await JobRemovals.StepAsync(db.DataSource, RemovalKind.Outputs, id, 8, Stop);
        Assert.False(await Erasures.FinishAsync(db.DataSource, id, now, Stop));

        // What it has taken on is nobody else's, and the next run goes on.
        Assert.Null(await JobRemovals.StepAsync(db.DataSource, RemovalKind.Outputs, null, 8, Stop));
        var work = new ErasureWork(db.DataSource, new RecurringOptions { StepRowsMax = 8, StepJobsMax = 2 }, TimeProvider.System);
        var counts = await work.RunAsync(Stop);
        Assert.Equal((3, 1), (counts["jobs"], counts["finished"]));
        Assert.Equal(0, await db.ScalarAsync<long>("SELECT (SELECT count(*) FROM results) + (SELECT count(payload) FROM chunks)"));
        Assert.Equal(5, (await Erasures.FindAsync(db.DataSource, id, Stop))!.Jobs);
        Assert.Equal(40, await db.ScalarAsync<long>("SELECT sum(succeeded) FROM usage_days"));
    }

    [Fact]
    public async Task A_file_that_a_later_batch_still_reads_goes_once_that_has_ended()
    {
        await using var db = await TestPostgres.CreateDatabaseAsync();
        var tenant = await Tenants.EnsureAsync(db.DataSource, "test");
        var file = Guid.CreateVersion7();
        await db.ExecuteAsync(
            """
            INSERT INTO files (id, tenant, purpose, filename, bytes, part_bytes, sha256, created_at)
            VALUES ($1, $2, 'batch', 'f', 1, 1, sha256('f'), now() - interval '1 minute')
            """,
            file,
            tenant.Value
        );
        var id = await Erasures.AskAsync(db.DataSource, tenant, null, "r", tenant, DateTimeOffset.UtcNow, Stop);
        await db.ExecuteAsync(
            """
            INSERT INTO openai_batches (job, tenant, endpoint, input_file, completion_window, expires_at, class, output_seconds, created_at)
            VALUES ($1, $2, '/v1/embeddings', $3, '24h', now() + interval '1 day', 'bulk', 3600, now() + interval '1 minute')
            """,
            Guid.CreateVersion7(),
            tenant.Value,
            file
        );
        var work = new ErasureWork(db.DataSource, new RecurringOptions(), TimeProvider.System);
        Assert.Equal(0, (await work.RunAsync(Stop))["finished"]);
        Assert.Equal(1, await db.ScalarAsync<long>("SELECT count(*) FROM files"));

        await db.ExecuteAsync("UPDATE openai_batches SET finished_at = now()");
        Assert.Equal(1, (await work.RunAsync(Stop))["finished"]);
        Assert.Equal(0, await db.ScalarAsync<long>("SELECT count(*) FROM files"));
        Assert.NotNull((await Erasures.FindAsync(db.DataSource, id, Stop))!.FinishedAt);
    }

    [Fact]
    public async Task A_tenant_may_erase_its_own_jobs_and_nothing_else()
    {
        var (tenant, name) = await AddTenantAsync();
        var (stranger, _) = await AddTenantAsync();
        var job = await AddFullJobAsync(tenant);
        using var own = await ClientAsync(tenant);
        using var foreign = await ClientAsync(stranger);
        Assert.Equal(HttpStatusCode.NotFound, (await PostAsync(foreign, new { job = job.Id, reason = "r" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await PostAsync(own, new { tenant = name, reason = "r" })).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await PostAsync(own, new { job = job.Id })).Status);
        Assert.Equal(
            HttpStatusCode.BadRequest,
            (
                await PostAsync(
                    own,
                    new
                    {
                        job = job.Id,
                        tenant = name,
                        reason = "r",
                    }
                )
            ).Status
        );
        var (status, asked) = await PostAsync(own, new { job = job.Id, reason = "r" });
        Assert.Equal(HttpStatusCode.Accepted, status);
        using var seen = await foreign.GetAsync($"/v1/erasures/{asked.GetProperty("id").GetString()}", Stop);
        Assert.Equal(HttpStatusCode.NotFound, seen.StatusCode);
        await UntilFinishedAsync(asked);
    }

    [Fact]
    public async Task Retention_is_set_by_class_shown_as_it_follows_and_taken_back()
    {
        var (tenant, name) = await AddTenantAsync();
        var path = $"/v1/retention/{Uri.EscapeDataString(name)}";
        await _hosts.SendAsync(HttpMethod.Put, path, 200, """{"outputs": "20d"}""");
        var set = await _hosts.SendAsync(HttpMethod.Put, path, 200, """{"class": "express", "inputs": "12h"}""");
        Assert.Equal(1_728_000, Kept(set, "bulk", "outputs_seconds"));
        Assert.Equal(2_592_000, Kept(set, "bulk", "inputs_seconds"));
        Assert.Equal((43_200, 1_728_000), (Kept(set, "express", "inputs_seconds"), Kept(set, "express", "outputs_seconds")));
        var refused = await _hosts.SendAsync(HttpMethod.Put, path, 400, """{"class": "slow", "outputs": "1m", "else": 1}""");
        Assert.Equal(3, refused.GetProperty("errors").GetArrayLength());
        await _hosts.SendAsync(HttpMethod.Put, path, 400, "{}");
        await _hosts.SendAsync(HttpMethod.Put, "/v1/retention/nobody", 404, """{"outputs": "20d"}""");

        using var own = await ClientAsync(tenant);
        Assert.Equal(43_200, Kept(JsonElement.Parse(await own.GetStringAsync(path, Stop)), "express", "inputs_seconds"));
        using var forbidden = await own.DeleteAsync(path, Stop);
        Assert.Equal(HttpStatusCode.Forbidden, forbidden.StatusCode);

        var removed = await _hosts.SendAsync(HttpMethod.Delete, $"{path}?class=express");
        Assert.Equal(2_592_000, Kept(removed, "express", "inputs_seconds"));
        Assert.Empty((await _hosts.SendAsync(HttpMethod.Delete, path)).GetProperty("set").EnumerateObject());
        Assert.Equal(
            ["", "all", "all express", "all"],
            (
                await Db.ScalarAsync<string[]>(
                    """
                    SELECT array_agg((SELECT coalesce(string_agg(k, ' ' ORDER BY k), '') FROM jsonb_object_keys(before -> 'set') k) ORDER BY id)
                    FROM audit WHERE done AND subject = $1
                    """,
                    path
                )
            )!
        );

        static double Kept(JsonElement view, string of, string kind) =>
            view.GetProperty("kept").GetProperty(of).GetProperty(kind).GetDouble();
    }

    private async Task<(TenantId Tenant, string Name)> AddTenantAsync()
    {
        var name = $"tenant {Guid.NewGuid()}";
        return (await Tenants.EnsureAsync(Db.DataSource, name), name);
    }

    /// <summary>A job that has ended and left something everywhere; what its client wrote has the word "secret" in it.</summary>
    private async Task<SeededJob> AddFullJobAsync(TenantId tenant)
    {
        var job = await SeededJob.CreateAsync(Db, tenant, new SeededJob { Tasks = 8, Metadata = """{"of": "secret"}""" });
        await job.EndAsync(Db, [.. Enumerable.Range(0, 8)], TaskOutcome.Succeeded, """{"secret": 1}"""u8.ToArray());
        foreach (
            var sql in (string[])
                [
                    "UPDATE jobs SET webhook = 'https://secret.example', group_name = 'secret' WHERE id = $1",
                    "INSERT INTO task_groups (job, chunk, name, tenant, tasks) SELECT id, 0, 'secret-2', tenant, '{0}' FROM jobs WHERE id = $1",
                    """
                        INSERT INTO idempotency_keys (tenant, key, fingerprint, job, status, response, created_at, finished_at)
                        SELECT tenant, 'secret ' || id, '', id, 200, 'secret', now(), now() FROM jobs WHERE id = $1
                        """,
                    "UPDATE events SET data = data || '{\"secret\": 1}' WHERE job = $1",
                ]
        )
        {
            await Db.ExecuteAsync(sql, job.Id.Value);
        }

        return job;
    }

    /// <summary>What belongs to a tenant and to no job.</summary>
    private async Task AddBesideAsync(TenantId tenant)
    {
        foreach (
            var sql in (string[])
                [
                    "INSERT INTO tenant_caches (tenant, ttl, bytes_max, entries_max, bytes, entries) VALUES ($1, '1 day', 10000000, 100, 401, 1)",
                    """
                        INSERT INTO cached_results (tenant, key, model, output, content_type, units, cost_pico, bytes, made_at, expires_at)
                        VALUES ($1, sha256('k'), 'm@1', 's', 'text/plain', 1, 1, 401, now(), now() + interval '1 day')
                        """,
                    """
                        INSERT INTO files (id, tenant, purpose, filename, bytes, part_bytes, sha256, created_at)
                        VALUES (gen_random_uuid(), $1, 'batch', 'secret.jsonl', 1, 1, sha256('f'), now())
                        """,
                    """
                        INSERT INTO idempotency_keys (tenant, key, fingerprint, status, response, created_at, finished_at)
                        VALUES ($1, 'free', '', 200, '', now(), now())
                        """,
                    """
                        INSERT INTO groups (tenant, name, first_at, last_at, requests) VALUES ($1, 'beside', now(), now(), 1)
                        """,
                    "INSERT INTO events (tenant, type, data, created_at, fanned_out) VALUES ($1, 'budget.warning', '{}', now(), true)",
                    """
                        INSERT INTO reports (id, tenant, all_tenants, occasion, from_at, to_at, time_zone, created_at, body)
                        VALUES (gen_random_uuid(), $1, false, 'request', now() - interval '1 day', now(), 'UTC', now(), '{}')
                        """,
                    """
                        INSERT INTO alerts (id, rule, fingerprint, labels, state, severity, summary, evidence, since, seen_at, raised_at, resolved_at)
                        SELECT gen_random_uuid(), 'deadline_at_risk', 'deadline_at_risk{}', '{}', 'resolved', 'warning', 'Late.',
                               jsonb_build_object('first', jsonb_build_array(jsonb_build_object('job', min(id::text)))), now(), now(), now(), now()
                        FROM jobs WHERE tenant = $1
                        """,
                    """
                        INSERT INTO webhook_endpoints (id, tenant, url, description, event_types, state, created_at)
                        VALUES (gen_random_uuid(), $1, 'https://example.org', '', '{budget.threshold}', 'enabled', now())
                        """,
                    """
                        INSERT INTO webhook_deliveries (id, tenant, endpoint, event, type, state, created_at, finished_at)
                        SELECT gen_random_uuid(), $1, e.id, v.id, 'budget.threshold', 'delivered', now(), now()
                        FROM webhook_endpoints e, events v
                        WHERE e.tenant = $1 AND NOT e.callback AND v.tenant = $1 AND v.type = 'budget.warning'
                        """,
                ]
        )
        {
            await Db.ExecuteAsync(sql, tenant.Value);
        }
    }

    private async Task<string> BesideAsync(TenantId tenant) =>
        (
            await Db.ScalarAsync<string>(
                """
                SELECT concat_ws(' ', (SELECT count(*) FROM cached_results WHERE tenant = $1), (SELECT count(*) FROM files WHERE tenant = $1),
                  (SELECT count(*) FROM idempotency_keys WHERE tenant = $1 AND key = 'free'), (SELECT count(*) FROM groups WHERE tenant = $1 AND name = 'beside'),
                  (SELECT count(*) FROM events WHERE tenant = $1 AND job IS NULL),
                  (SELECT count(*) FROM webhook_deliveries WHERE tenant = $1 AND job IS NULL),
                  (SELECT count(*) FROM reports WHERE tenant = $1 AND NOT all_tenants),
                  (SELECT count(*) FROM alerts a JOIN jobs j ON a.evidence -> 'first' @> jsonb_build_array(jsonb_build_object('job', j.id))
                   WHERE j.tenant = $1))
                """,
                tenant.Value
            )
        )!;

    /// <summary>All that there is of a job, as text.</summary>
    private async Task<string> EverythingAsync(TenantId tenant, JobId job) =>
        (
            await Db.ScalarAsync<string>(
                """
                SELECT concat_ws(' ', (SELECT to_jsonb(j)::text FROM jobs j WHERE id = $2),
                  (SELECT string_agg(to_jsonb(r)::text || convert_from(r.output, 'UTF8'), ' ') FROM results r WHERE job = $2),
                  (SELECT string_agg(to_jsonb(g)::text, ' ') FROM task_groups g WHERE job = $2),
                  (SELECT string_agg(to_jsonb(k)::text, ' ') FROM idempotency_keys k WHERE tenant = $1 AND job = $2),
                  (SELECT string_agg(to_jsonb(e)::text, ' ') FROM events e WHERE job = $2),
                  (SELECT string_agg(to_jsonb(d)::text, ' ') FROM webhook_deliveries d WHERE job = $2),
                  (SELECT string_agg('secret', ' ') FROM chunks c WHERE job = $2 AND payload IS NOT NULL))
                """,
                tenant.Value,
                job.Value
            )
        )!;

    private async Task<string?> UsageAsync(TenantId tenant)
    {
        await RolledUp.Async(Db);
        return await Db.ScalarAsync<string>(
            "SELECT jsonb_agg(to_jsonb(u) ORDER BY u)::text FROM usage_days u WHERE tenant = $1",
            tenant.Value
        );
    }

    private async Task<JsonElement> UntilFinishedAsync(JsonElement asked)
    {
        for (var end = DateTime.UtcNow.AddSeconds(60); ; await Task.Delay(20, Stop))
        {
            var erasure = await _hosts.SendAsync(HttpMethod.Get, $"/v1/erasures/{asked.GetProperty("id").GetString()}");
            if (erasure.GetProperty("state").GetString() == "finished")
            {
                return erasure;
            }

            Assert.True(DateTime.UtcNow < end, erasure.ToString());
        }
    }

    private async Task<HttpClient> ClientAsync(TenantId tenant) =>
        new()
        {
            BaseAddress = _hosts.Address,
            DefaultRequestHeaders =
            {
                Authorization = new AuthenticationHeaderValue("Bearer", await ApiKeyIssuer.IssueAsync(Db.DataSource, tenant, "test")),
            },
        };

    private static async Task<(HttpStatusCode Status, JsonElement Body)> PostAsync(HttpClient client, object body)
    {
        using var content = new StringContent(Body(body), System.Text.Encoding.UTF8, "application/json");
        using var response = await client.PostAsync("/v1/erasures", content, Stop);
        return (response.StatusCode, JsonElement.Parse(await response.Content.ReadAsStringAsync(Stop)));
    }

    private static string Body(object body) => JsonSerializer.Serialize(body);
}

/// <summary>One instance that runs the real works, for the tests of a class.</summary>
public sealed class RecurringFixture : IAsyncLifetime
{
    internal RecurringHosts Hosts { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Hosts = await RecurringHosts.CreateAsync();
        await Hosts.StartAsync([], ("Recurring:Schedules:erasures", "00:00:01"));
    }

    public async ValueTask DisposeAsync() => await Hosts.DisposeAsync();
}
