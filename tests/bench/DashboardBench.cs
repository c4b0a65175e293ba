using System.CommandLine;
using System.Diagnostics;
using System.Net;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Dashboard;
using Pipeline.Standalone;
using Pipeline.Standalone.Host;
using Pipeline.Tests.Support.Servers;
using Pipeline.Tests.Support.Worker;

namespace Pipeline.Bench;

internal sealed record DashboardSettings
{
    /// <summary>Stored jobs, of 100 tasks each, and webhook deliveries.</summary>
    public int Jobs { get; init; } = 100_000;
    public int Deliveries { get; init; } = 1_000_000;

    /// <summary>Requests of each page.</summary>
    public int Requests { get; init; } = 40;

    /// <summary>Browsers that follow the page Now, and for how long.</summary>
    public int Viewers { get; init; } = 50;
    public int Seconds { get; init; } = 30;
}

/// <summary>
/// <c>dashboard</c>: a results-api of its own process over a PostgreSQL that holds a fleet's worth of rows, written by SQL. Every page is
/// asked for again and again, searches among them; then many follow the live page, and what that costs is read off the process.
/// </summary>
internal static partial class DashboardBench
{
    private const string Password = "correct horse battery staple";
    private const int TasksEach = 100;

    /// <summary>Jobs that have not ended, and the chunks that each of them waits with.</summary>
    private const int OpenJobs = 200;
    private const int OpenChunks = 500;

    /// <summary>Both pools, with the models that batches were of.</summary>
    private static readonly PoolForecast[] Pools =
    [
        .. Enumerable
            .Range(0, 10)
            .Select(i => new PoolForecast($"pool-{i % 2}", new ModelRef($"m-{i / 2}", "1"), 4, [0, 0, 1_000_000], 1e6, 750, 65_536)
            {
                RowsPerBatch = 4096,
                PricePerHourPico = 1_000_000_000_000,
                BulkBatchTimeMax = TimeSpan.FromMilliseconds(50),
                ExpressBatchTimeMax = TimeSpan.FromMilliseconds(100),
            }),
    ];

    private static readonly string[] Searches =
    [
        "jobs?state=failed",
        "jobs?class=standard&model=m-3",
        "jobs?tenant=tenant-7",
        "jobs?failures=true&not_retried=true",
        "jobs?error=model_failed",
        "jobs?group=none",
        "jobs?cost_min=1",
        "tasks?custom_id=nobodys",
        "tasks?custom_id=t-50&tenant=tenant-7",
        "bulk/preview?action=retry-failed&error=model_failed&not_retried=true",
        "audit?action=job.cancel",
    ];

    public static Command Create()
    {
        var jobs = new Option<int>("--jobs")
        {
            Description = "Stored jobs, of 100 tasks each",
            DefaultValueFactory = _ => new DashboardSettings().Jobs,
        };
        var deliveries = new Option<int>("--deliveries")
        {
            Description = "Stored webhook deliveries",
            DefaultValueFactory = _ => new DashboardSettings().Deliveries,
        };
        var seconds = new Option<int>("--seconds")
        {
            Description = "Seconds with live viewers",
            DefaultValueFactory = _ => new DashboardSettings().Seconds,
        };
        var command = new Command(
            "dashboard",
            "The operators' dashboard over millions of rows: time of every page, and the cost of live viewers."
        )
        {
            jobs,
            deliveries,
            seconds,
        };
        command.SetAction(
            (parsed, stop) =>
                RunAsync(
                    new DashboardSettings
                    {
                        Jobs = parsed.GetValue(jobs),
                        Deliveries = parsed.GetValue(deliveries),
                        Seconds = parsed.GetValue(seconds),
                    },
                    stop
                )
        );
        return command;
    }

    public static async Task<int> RunAsync(DashboardSettings settings, CancellationToken stop)
    {
        var folder = TemporaryFolder.Create("pipeline-bench-dashboard-");
        try
        {
            await using var postgres = await PrivatePostgres.StartAsync(
                new PrivatePostgresOptions { Folder = Path.Combine(folder, "postgres") },
                NullLogger.Instance,
                stop
            );
            await Migrator.MigrateAsync(postgres.ConnectionString, NullLogger.Instance, TimeSpan.FromSeconds(60), stop);
            await using var storage = NpgsqlDataSource.Create(postgres.ConnectionString);
            var clock = Stopwatch.StartNew();
            await SeedAsync(storage, settings, stop);
            await RegisterAsync(storage, stop);
            Figures.Say(
                $"{(long)settings.Jobs * TasksEach:N0} results of {settings.Jobs:N0} jobs written in {clock.Elapsed.TotalSeconds:F0} s"
            );
            await using var broker = await TestRabbitMq.CreateVhostAsync();
            var options = new PipelineOptions { Database = postgres.ConnectionString, Broker = broker.Uri };
            await using var services = new ServiceProcesses(options, Path.Combine(folder, "logs"));
            var service = services.Start("results-api", "Pipeline.ResultsApi.dll", 0);
            await service.UntilReadyAsync(TimeSpan.FromSeconds(60), stop);
            await using var teller = await ForecastTeller.StartAsync(broker.Uri, Pools, stop);
            return await MeasureAsync(storage, service, postgres.ProcessId, settings, stop);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<int> MeasureAsync(
        NpgsqlDataSource storage,
        ServiceProcess service,
        int postgresProcessId,
        DashboardSettings settings,
        CancellationToken stop
    )
    {
        using var browser = await SignInAsync(storage, service, stop);
        var job = await OneAsync(storage, "SELECT id FROM jobs ORDER BY id DESC LIMIT 1", stop);
        var ended = await OneAsync(storage, "SELECT id FROM jobs WHERE state = 'completed' ORDER BY id DESC LIMIT 1", stop);
        var alert = await OneAsync(storage, "SELECT id FROM alerts LIMIT 1", stop);
        var bulk = await OneAsync(storage, "SELECT id FROM bulk_actions LIMIT 1", stop);
        var endpoint = await OneAsync(storage, "SELECT id FROM webhook_endpoints LIMIT 1", stop);
        var tenant = await OneAsync(storage, "SELECT id FROM tenants WHERE name = 'tenant-7'", stop);
        var report = await KeepReportAsync(browser, storage, stop);
        string[] pages =
        [
            "now",
            "now?range=24h",
            "now?range=7d",
            "now?range=30d",
            "trade-off",
            "trade-off?pool=pool-1&model=m-3%401&batch_ms=50&workers=8&arrivals=10000",
            "jobs",
            $"jobs/{job}",
            "failures?range=24h",
            "failures?range=30d",
            "failures?range=24h&by=worker",
            "failures?range=30d&show=dismissed",
            "bulk",
            $"bulk/{bulk}",
            "bulk/preview?action=cancel&state=queued,running,completed",
            "bulk/preview?action=retry-failed&failures=true",
            "workers",
            "models",
            "models/m-0",
            "routes",
            "routes/short-first",
            "webhooks",
            $"webhooks/{endpoint}",
            "tenants",
            $"tenants/{tenant}",
            "tenants/new",
            "prices",
            "alerts",
            $"alerts/{alert}",
            "alerts/rules",
            "alerts/rules/error_rate",
            "alerts/silences",
            "alerts/probes",
            "alerts/probes/hello",
            "reports",
            "reports/kept",
            $"reports/kept/{report}",
            "reports/windows",
            "recurring",
            "recurring/retention",
            "audit",
            "operators",
        ];
        var pageMs = await WorstAsync(browser, pages, settings, stop);
        var searchMs = await WorstAsync(browser, Searches, settings, stop);
        string[] exports =
        [
            "jobs/export?class=standard",
            $"jobs/{ended}/export",
            "failures/export?range=30d",
            $"bulk/{bulk}/export",
            $"webhooks/{endpoint}/export",
            "tenants/export",
            "audit/export",
            "alerts/export",
            "workers/export",
            "recurring/retention/export",
            "reports/export?window=month&format=csv&section=rows",
            $"reports/kept/{report}/export?format=json",
        ];
        var exportMs = await WorstAsync(browser, exports, settings with { Requests = Math.Min(settings.Requests, 10) }, stop);
        var core = await ViewersAsync(browser, service, postgresProcessId, settings, stop);
        Figures.Report(
            new
            {
                benchmark = "dashboard",
                jobs = settings.Jobs,
                results = (long)settings.Jobs * TasksEach,
                deliveries = settings.Deliveries,
                page_p95_ms = Math.Round(pageMs, 1),
                search_p95_ms = Math.Round(searchMs, 1),
                export_p95_ms = Math.Round(exportMs, 1),
                viewers = settings.Viewers,
                viewers_cpu_pct = Math.Round(100 * core, 1),
            }
        );
        return pageMs <= 300 && searchMs <= 500 && core <= 0.1 ? 0 : 1;
    }

    /// <summary>Asks for each page again and again; gives the worst 95th percentile, in milliseconds.</summary>
    private static async Task<double> WorstAsync(HttpClient browser, string[] pages, DashboardSettings settings, CancellationToken stop)
    {
        var worst = 0.0;
        foreach (var page in pages)
        {
            var times = new double[settings.Requests];
            for (var i = 0; i < times.Length; i++)
            {
                var clock = Stopwatch.StartNew();
                await AskAsync(browser, page, stop);
                times[i] = clock.Elapsed.TotalMilliseconds;
            }

            Array.Sort(times);
            var p95 = Figures.Percentile(times, 95);
            Figures.Say($"{page}: p50 {Figures.Percentile(times, 50):F1} ms, p95 {p95:F1} ms");
            worst = Math.Max(worst, p95);
        }

        return worst;
    }

    private static async Task<string> AskAsync(HttpClient browser, string page, CancellationToken stop)
    {
        using var response = await browser.GetAsync($"dashboard/{page}", stop);
        var content = await response.Content.ReadAsStringAsync(stop);
        return response.IsSuccessStatusCode
            ? content
            : throw new InvalidOperationException($"{page} was answered with {response.StatusCode}: {content}");
    }

    /// <summary>Follows the live page from many connections; gives the cores that the process and PostgreSQL took for it.</summary>
    private static async Task<double> ViewersAsync(
        HttpClient browser,
        ServiceProcess service,
        int postgresProcessId,
        DashboardSettings settings,
        CancellationToken stop
    )
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var viewers = Enumerable.Range(0, settings.Viewers).Select(_ => FollowAsync(browser, end.Token)).ToArray();
        await Task.Delay(TimeSpan.FromSeconds(3), stop);
        var (before, clock) = (CpuSeconds(), Stopwatch.StartNew());
        await Task.Delay(TimeSpan.FromSeconds(settings.Seconds), stop);
        var after = CpuSeconds();
        var seconds = clock.Elapsed.TotalSeconds;
        var core = (after.Page + after.Database - before.Page - before.Database) / seconds;
        await end.CancelAsync();
        var bytes = (await Task.WhenAll(viewers)).Min();
        Figures.Say(
            $"{settings.Viewers} viewers: {core:P1} of a core ({(after.Page - before.Page) / seconds:P1} without PostgreSQL), each was sent {bytes / 1e3:F0} kB or more"
        );
        return bytes > 0 ? core : throw new InvalidOperationException("A viewer was sent nothing.");

        (double Page, double Database) CpuSeconds()
        {
            using var process = Process.GetProcessById(service.ProcessId);
            return (process.TotalProcessorTime.TotalSeconds, Figures.ServerCpu(postgresProcessId)["postgres"]);
        }
    }

    private static async Task<long> FollowAsync(HttpClient browser, CancellationToken stop)
    {
        var (buffer, total) = (new byte[64 * 1024], 0L);
        try
        {
            await using var stream = await browser.GetStreamAsync("dashboard/now/live", stop);
            while (await stream.ReadAsync(buffer, stop) is > 0 and var read)
            {
                total += read;
            }
        }
        catch (OperationCanceledException)
        {
            // The measurement is over.
        }

        return total;
    }

    private static async Task<HttpClient> SignInAsync(NpgsqlDataSource storage, ServiceProcess service, CancellationToken stop)
    {
        var link = await DashboardServices.FirstAdminLinkAsync(storage, new(), service.Address, stop);
        var browser = new HttpClient(new HttpClientHandler { CookieContainer = new CookieContainer(), MaxConnectionsPerServer = 1000 })
        {
            BaseAddress = service.Address,
        };
        var page = await browser.GetStringAsync(link, stop);
        using var form = new FormUrlEncodedContent(
            new Dictionary<string, string>
            {
                ["form_token"] = FormToken().Match(page).Groups[1].Value,
                ["token"] = link!.Query["?token=".Length..],
                ["name"] = "bench",
                ["password"] = Password,
                ["again"] = Password,
            }
        );
        using var answer = await browser.PostAsync("dashboard/welcome", form, stop);
        answer.EnsureSuccessStatusCode();
        return browser;
    }

    /// <summary>The report of the last month, kept as an operator keeps it.</summary>
    private static async Task<Guid> KeepReportAsync(HttpClient browser, NpgsqlDataSource storage, CancellationToken stop)
    {
        var page = await AskAsync(browser, "reports", stop);
        using var form = new FormUrlEncodedContent(
            new Dictionary<string, string>
            {
                ["form_token"] = FormToken().Match(page).Groups[1].Value,
                ["query"] = "window=month&by=class&by=model&by=tenant",
                ["reason"] = "to be looked at",
            }
        );
        using var answer = await browser.PostAsync("dashboard/reports", form, stop);
        var said = await answer.Content.ReadAsStringAsync(stop);
        if (!said.Contains("The report is kept.", StringComparison.Ordinal))
        {
            throw new InvalidOperationException($"The report is not kept: {said}");
        }

        return await OneAsync(storage, "SELECT id FROM reports WHERE occasion = 'request'", stop);
    }

    private static async Task<Guid> OneAsync(NpgsqlDataSource storage, string sql, CancellationToken stop)
    {
        await using var command = storage.CreateCommand(sql);
        return (Guid)(await command.ExecuteScalarAsync(stop))!;
    }

    /// <summary>
    /// Jobs of the last 36 hours, each of one chunk and one batch: of 1,000 jobs 10 have failed tasks, and the newest ones are open, with many
    /// chunks each. Ids are made as UUIDv7 are, from the time.
    /// </summary>
    private static async Task SeedAsync(NpgsqlDataSource storage, DashboardSettings settings, CancellationToken stop)
    {
        var payload = new ChunkPayloadWriter();
        for (var i = 0; i < TasksEach; i++)
        {
            payload.Add(System.Text.Encoding.UTF8.GetBytes($"t-{i}"), "a short text to be told a language of"u8, 37);
        }

        await using var connection = await storage.OpenConnectionAsync(stop);
        foreach (var sql in SeedSql)
        {
            await using var command = new NpgsqlCommand(
                sql.Replace("@jobs", $"{settings.Jobs}", StringComparison.Ordinal)
                    .Replace("@deliveries", $"{settings.Deliveries}", StringComparison.Ordinal)
                    .Replace("@tasks", $"{TasksEach}", StringComparison.Ordinal)
                    .Replace("@openjobs", $"{OpenJobs}", StringComparison.Ordinal)
                    .Replace("@openchunks", $"{OpenChunks}", StringComparison.Ordinal),
                connection
            )
            {
                CommandTimeout = 0,
            };
            if (sql.Contains("$1", StringComparison.Ordinal))
            {
                command.Parameters.Add(new() { Value = payload.Finish() });
            }

            await command.ExecuteNonQueryAsync(stop);
        }
    }

    /// <summary>The models that the rows are of, and a route of two of them.</summary>
    private static async Task RegisterAsync(NpgsqlDataSource storage, CancellationToken stop)
    {
        for (var i = 0; i < 5; i++)
        {
            var manifest = new FakeModel(new ModelRef($"m-{i}", "1"), 16).Manifest;
            await ModelRegistry.PutAsync(storage, manifest, null, 1, makeCurrent: true, stop);
        }

        await ModelRoutes.PutAsync(storage, "short-first", [new("m-0@1", new Acceptance { ProbabilityMin = 0.9 }), new("m-1@1")], stop);
    }

    private static readonly string[] SeedSql =
    [
        """
            CREATE FUNCTION pg_temp.id_at(at timestamptz, n bigint) RETURNS uuid LANGUAGE sql AS $$
              SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8'
                      || substr(md5(n::text), 4, 15))::uuid
            $$
            """,
        """
            INSERT INTO tenants (id, name, created_at)
            SELECT pg_temp.id_at(now() - interval '40 h', n), 'tenant-' || n, now() - interval '40 h' FROM generate_series(1, 20) AS n
            """,
        """
            INSERT INTO workers (id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen, uptime_ns, accounted_ns)
            SELECT pg_temp.id_at(now() - interval '39 h', n), 'worker-' || n, 'pool-' || n % 2, 'cpu', 'bench', 1000000000000, 'alive',
                   now() - interval '39 h', now(), 39 * 3600 * 1000000000::bigint, 39 * 3600 * 1000000000::bigint
            FROM generate_series(1, 8) AS n
            """,
        """
            CREATE TEMP TABLE seeds AS
            SELECT n, CASE WHEN n > @jobs - @openjobs THEN @openchunks ELSE 1 END AS chunks, pg_temp.id_at(at, n) AS id, at, n > @jobs - @openjobs AS open, n % 100 = 0 AS bad,
                   (SELECT id FROM tenants WHERE name = 'tenant-' || (1 + n % 20)) AS tenant,
                   (ARRAY['bulk', 'standard', 'express'])[1 + n % 3] AS class
            FROM (SELECT n, now() - interval '36 h' * (1 - n::float8 / @jobs) AS at FROM generate_series(1, @jobs) AS n) s
            """,
        """
            INSERT INTO jobs (id, tenant, model, model_version, class, state, tasks, units, chunks, open_chunks, succeeded, failed, expired, cancelled,
                              cost_pico, deadline, created_at, queued_at, started_at, finished_at)
            SELECT id, tenant, 'm-' || n % 5, '1', class, CASE WHEN open THEN 'running' ELSE 'completed' END, @tasks * chunks, @tasks * chunks * 37,
                   chunks, CASE WHEN open THEN chunks ELSE 0 END,
                   CASE WHEN NOT open THEN @tasks - bad::int * 10 END, CASE WHEN NOT open THEN bad::int * 10 END, CASE WHEN NOT open THEN 0 END,
                   CASE WHEN NOT open THEN 0 END, CASE WHEN NOT open THEN 55600 END, at + interval '48 h', at, at, at,
                   CASE WHEN NOT open THEN at + interval '1 s' END
            FROM seeds
            """,
        """
            INSERT INTO chunks (job, no, first_seq, tasks, units, units_max, remaining, succeeded, failed, announced_at, payload)
            SELECT id, no, no * @tasks, @tasks, @tasks * 37, 37, CASE WHEN open THEN @tasks ELSE 0 END,
                   CASE WHEN open THEN 0 ELSE @tasks - bad::int * 10 END, CASE WHEN open THEN 0 ELSE bad::int * 10 END, at,
                   CASE WHEN no = 0 THEN $1 ELSE ''::bytea END
            FROM seeds CROSS JOIN LATERAL generate_series(0, chunks - 1) AS no
            """,
        """
            INSERT INTO batches (id, worker, dispatch, lane, model, provider, rows, units, padded_units, device_ns, cost_pico, started_at, finished_at)
            SELECT id, (SELECT id FROM workers WHERE name = 'worker-' || (1 + n % 8)), id, 'bulk', 'm-' || n % 5 || '@1', 'cpu', @tasks, @tasks * 37,
                   @tasks * 40, 4000000, 55600, at, at
            FROM seeds
            """,
        """
            INSERT INTO results (job, seq, chunk, custom_id, status, output, content_type, error_code, error_message, model, turns, cost_pico, batch, units,
                                 queued_us, staged_us, device_us, total_us, finished_at)
            SELECT s.id, seq, 0, 't-' || seq, CASE WHEN f THEN 'failed' ELSE 'succeeded' END, CASE WHEN NOT f THEN '{"label":"en"}'::bytea END,
                   CASE WHEN NOT f THEN 'application/json' END, CASE WHEN f THEN 'model_failed' END, CASE WHEN f THEN 'It failed.' END,
                   'm-' || n % 5 || '@1', 1, 556, s.id, 37, 1000, 100, 400, 2000, s.at + interval '1 s'
            FROM seeds s CROSS JOIN generate_series(0, @tasks - 1) AS seq CROSS JOIN LATERAL (SELECT bad AND seq < 10 AS f) b
            WHERE NOT open
            """,
        """
            INSERT INTO endings (job, chunk, tasks, worker)
            SELECT id, 0, decode(repeat('ff', (@tasks + 7) / 8), 'hex'), (SELECT id FROM workers WHERE name = 'worker-' || (1 + n % 8))
            FROM seeds WHERE bad AND NOT open
            """,
        """
            INSERT INTO ledger (worker, account, from_ns, to_ns, ns, pico, at)
            SELECT w.id, a.account, t * 10000000000::bigint, (t + 1) * 10000000000::bigint, 5000000000, 1388888, w.started_at + interval '10 s' * t
            FROM workers w CROSS JOIN generate_series(0, 14039) AS t CROSS JOIN (VALUES ('task'), ('idle')) AS a (account)
            """,
        """
            INSERT INTO usage_days (day, tenant, class, model, succeeded, failed, expired, cancelled, units, turns, device_ns, cost_pico)
            SELECT current_date - d, t.id, c, 'm-' || m || '@1', 10000, 10, 0, 0, 370000, 10010, 1, 5560000
            FROM tenants t, generate_series(0, 29) AS d, unnest(ARRAY['bulk', 'standard', 'express']) AS c, generate_series(0, 4) AS m
            """,
        """
            INSERT INTO webhook_endpoints (id, tenant, url, description, event_types, state, created_at)
            SELECT pg_temp.id_at(now() - interval '38 h', n), (SELECT id FROM tenants WHERE name = 'tenant-' || (1 + n % 20)),
                   'https://receiver-' || n || '.example/', '', ARRAY['job.completed'], 'enabled', now() - interval '38 h'
            FROM generate_series(1, 100) AS n
            """,
        """
            INSERT INTO webhook_deliveries (id, tenant, endpoint, event, type, state, reason, attempts, created_at, finished_at)
            SELECT pg_temp.id_at(now() - interval '36 h' * (1 - n::float8 / @deliveries), n), e.tenant, e.id, n, 'job.completed',
                   CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'delivered' END, CASE WHEN n % 50 = 0 THEN 'gone' END, 1,
                   now() - interval '36 h' * (1 - n::float8 / @deliveries), now()
            FROM generate_series(1, @deliveries) AS n
            JOIN (SELECT id, tenant, row_number() OVER () AS i FROM webhook_endpoints) e ON e.i = 1 + n % 100
            """,
        """
            INSERT INTO audit (id, at, operator_name, action, subject_kind, subject, done)
            SELECT pg_temp.id_at(now() - interval '36 h', n), now() - interval '36 h', 'ada', CASE WHEN n % 100 = 0 THEN 'job.cancel' ELSE 'job.pause' END,
                   'job', gen_random_uuid()::text, true
            FROM generate_series(1, 100000) AS n
            """,
        SlaSql(SlaGrain.Minute, "generate_series(1, 36 * 60) AS n", "1 minute"),
        SlaSql(SlaGrain.Hour, "generate_series(1, 30 * 24) AS n", "1 hour"),
        SlaSql(SlaGrain.Day, "generate_series(1, 30) AS n", "1 day"),
        """
            INSERT INTO device_days (day, pool, price_per_hour_pico, account, detail, ns, pico)
            SELECT current_date - d, 'pool-' || p, 1000000000000, a, '', 1000000000000, 1
            FROM generate_series(0, 30) AS d, generate_series(0, 1) AS p, unnest(ARRAY['task', 'padding', 'idle', 'warm_up', 'waste']) AS a
            """,
        """
            INSERT INTO alerts (id, rule, fingerprint, labels, state, severity, summary, evidence, since, seen_at, raised_at, resolved_at)
            SELECT pg_temp.id_at(now() - interval '1 min' * n, n), 'error_rate', 'f' || n, '{}', CASE WHEN n <= 20 THEN 'firing' ELSE 'resolved' END,
                   'critical', 'Many fail.', '{}', now() - interval '1 min' * n, now(), now() - interval '1 min' * n, CASE WHEN n > 20 THEN now() END
            FROM generate_series(1, 10000) AS n
            """,
        """
            INSERT INTO probes (name, model, class, input, expect, tolerance, every_seconds, slow_ms, enabled, due_at)
            VALUES ('hello', 'm-0', 'express', '"hello"', '{}', 0, 60, 500, false, now())
            """,
        """
            INSERT INTO probe_runs (probe, at, outcome, took_ms, model)
            SELECT 'hello', now() - interval '1 min' * n, 'right', 20, 'm-0@1' FROM generate_series(1, 40000) AS n
            """,
        """
            INSERT INTO bulk_actions (id, action, query, reason, operator, operator_name, created_at, items, done, finished_at)
            VALUES (pg_temp.id_at(now(), 0), 'pause', '', 'maintenance', pg_temp.id_at(now(), 0), 'ada', now(), 10000, 10000, now())
            """,
        """
            INSERT INTO bulk_action_items (bulk_action, job, tenant, outcome)
            SELECT b.id, s.id, s.tenant, 'done' FROM bulk_actions b, (SELECT * FROM seeds ORDER BY n LIMIT 10000) s
            """,
        "VACUUM ANALYZE",
    ];

    /// <summary>Sums of every step, tenant, class and model; the histograms are empty.</summary>
    private static string SlaSql(SlaGrain grain, string steps, string step)
    {
        var empty = Convert.ToHexStringLower(new LatencyHistogram().ToBytes());
        var counts = SlaSums.Counts.Select(c =>
            c is SlaCount.Succeeded ? 1000
            : c is SlaCount.JobsCompleted ? 10
            : c is SlaCount.JobsWithin ? 9
            : 0
        );
        return $"""
            INSERT INTO {SlaTables.Name(grain)} (at, tenant, class, model, {string.Join(", ", SlaTables.Columns)})
            SELECT date_trunc('{step.Split(' ')[1]}', now(), 'UTC') - interval '{step}' * n, t.id, c, 'm-' || m || '@1',
                   {string.Join(", ", counts)}, {string.Join(", ", SlaSums.Times.Select(_ => $"'\\x{empty}'"))}
            FROM tenants t, {steps}, unnest(ARRAY['bulk', 'standard', 'express']) AS c, generate_series(0, 4) AS m
            """;
    }

    [GeneratedRegex("name=\"form_token\" value=\"([^\"]+)\"")]
    private static partial Regex FormToken();
}
