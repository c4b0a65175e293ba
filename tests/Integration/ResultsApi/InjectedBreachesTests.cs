using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Sla;
using Pipeline.ResultsApi.Webhooks;
using Pipeline.Tests.Integration.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.ResultsApi;

/// <summary>Jobs that are late for a known reason, written as the services write them, and the reason that the report states.</summary>
public sealed class InjectedBreachesTests : IAsyncLifetime
{
    private const int Breaches = 50;
    private const int TasksOfJob = 8;
    private const int UnitsOfTask = 30;
    private static readonly DateTimeOffset Start = new(DateTimeOffset.UtcNow.UtcDateTime.Date.AddDays(-5), TimeSpan.Zero);

    private TestDatabase _db = null!;
    private TenantId _tenant;

    public async ValueTask InitializeAsync()
    {
        _db = await TestPostgres.CreateDatabaseAsync();
        _tenant = await Tenants.EnsureAsync(_db.DataSource, "test");
    }

    public ValueTask DisposeAsync() => _db?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Fact]
    public async Task The_stated_cause_is_the_injected_one_for_nine_of_ten_breaches()
    {
        await AddUsualDaysAsync();
        var lives = Lives().ToList();
        var injected = new Dictionary<JobId, InjectedLife>();
        for (var i = 0; i < lives.Count; i++)
        {
            injected[await LiveAsync(lives[i], Start.AddMinutes(30 * i), $"pool-{i}")] = lives[i];
        }

        await RolledUp.Async(_db);
        var window = new ReportWindow(Start, Start.AddDays(5), TimeZoneInfo.Utc, default, ByClass: true, ByTenant: false, ByModel: false);
        var report = await new ReportReader(_db.DataSource, new SlaOptions()).ReadAsync(window, _tenant, [], CancellationToken.None);

        var stated = report.Breaches.Data.Where(b => injected[b.Job].Trouble != Trouble.None).ToList();
        var wrong = stated.Where(b => b.Cause != Word(injected[b.Job].Trouble)).ToList();
        TestContext.Current.TestOutputHelper?.WriteLine($"{Breaches - wrong.Count} of {Breaches} are right.");
        Assert.Equal(Breaches, stated.Count);
        Assert.True(
            wrong.Count <= Breaches / 10,
            $"{wrong.Count} of {Breaches} are wrong:\n{string.Join('\n', wrong.Select(b => $"{injected[b.Job].Trouble} {b}"))}"
        );
    }

    /// <summary>As many of each trouble, over all classes, among jobs that all is well with.</summary>
    private static IEnumerable<InjectedLife> Lives()
    {
        var troubles = Enum.GetValues<Trouble>().Where(t => t != Trouble.None).ToList();
        for (var i = 0; i < Breaches; i++)
        {
            var trouble = troubles[i % troubles.Count];
            // Nobody loads a model for an hour.
            var classes = trouble == Trouble.Staged ? 2 : 3;
            yield return new InjectedLife((LatencyClass)(i / troubles.Count % classes), trouble, seed: i);
            yield return new InjectedLife((LatencyClass)(i % 3), Trouble.None, seed: Breaches + i);
        }
    }

    private static string Word(Trouble trouble) => System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(trouble.ToString());

    /// <summary>What the tenant's tasks cost the devices in the week before.</summary>
    private async Task AddUsualDaysAsync()
    {
        await _db.ExecuteAsync(
            """
            INSERT INTO usage_days (day, tenant, class, model, succeeded, failed, expired, cancelled, units, turns, device_ns, cost_pico)
            SELECT ($1::timestamptz AT TIME ZONE 'UTC')::date - n, $2, c, 'm@1', 1000, 0, 0, 0, 1000000, 1000, 1000000 * $3 * (1 + 0.02 * (n % 3)), 0
            FROM generate_series(1, 7) n, unnest(ARRAY['express', 'standard', 'bulk']) c
            """,
            Start.UtcDateTime,
            _tenant.Value,
            InjectedLife.UnitSeconds * 1e9
        );
    }

    /// <summary>Writes a job's life: accepted at this time, run by workers of this pool.</summary>
    private async Task<JobId> LiveAsync(InjectedLife life, DateTimeOffset queuedAt, string pool)
    {
        var job = await SeededJob.CreateAsync(
            _db,
            _tenant,
            new SeededJob
            {
                Model = "m",
                Class = life.Class,
                Tasks = TasksOfJob,
                ChunkTasks = TasksOfJob,
            }
        );
        DateTimeOffset At(double seconds) => queuedAt.AddSeconds(seconds);
        await _db.ExecuteAsync(
            """
            WITH announced AS (UPDATE chunks SET announced_at = $5 WHERE job = $1)
            UPDATE jobs SET model_version = '1', created_at = $2, queued_at = $2, deadline = $3, predicted_at = $4 WHERE id = $1
            """,
            job.Id.Value,
            At(0).UtcDateTime,
            At(life.Deadline).UtcDateTime,
            life.Predicted is { } predicted ? At(predicted).UtcDateTime : (object)DBNull.Value,
            At(life.Announced).UtcDateTime
        );
        await PauseAsync(life, job.Id, At);
        var worker = await AddWorkersAsync(life, job.Id, pool, At);
        if (life.Deadline < life.Total)
        {
            await ExpireAsync(job.Id, At(life.Deadline));
        }
        else
        {
            await EndAsync(life, job.Id, worker, At);
        }

        if (life.CallbackLate > 0)
        {
            await CallAsync(life, job.Id, At(life.Total));
        }

        return job.Id;
    }

    private async Task PauseAsync(InjectedLife life, JobId job, Func<double, DateTimeOffset> at)
    {
        if (life.Paused == 0)
        {
            return;
        }

        foreach (var (type, seconds) in new[] { ("job.paused", life.Announced), ("job.resumed", life.Announced + life.Paused) })
        {
            await _db.ExecuteAsync(
                "INSERT INTO events (tenant, job, type, data, created_at) VALUES ($1, $2, $3, '{}', $4)",
                _tenant.Value,
                job.Value,
                type,
                at(seconds).UtcDateTime
            );
        }
    }

    /// <summary>The one that ended the job, and the one that was lost before, as the scheduler closes it after three seconds of silence.</summary>
    private async Task<Guid> AddWorkersAsync(InjectedLife life, JobId job, string pool, Func<double, DateTimeOffset> at)
    {
        var died = life.Dispatched - life.Lost;
        var worker = WorkerId.New(DateTimeOffset.UtcNow).Value;
        await AddAsync(worker, life.LostWasLast ? life.Dispatched - 0.001 : -86_400, null, "[]");
        if (life.Lost > 0)
        {
            var begun = life.LostHadBegun
                ? $$"""[{"dispatch": "{{Guid.Empty}}", "job": "{{job}}", "no": 0, "first": 0, "count": 8}]"""
                : "[]";
            await AddAsync(WorkerId.New(DateTimeOffset.UtcNow).Value, -86_400, died, begun);
            await _db.ExecuteAsync("UPDATE chunks SET attempts = $2 WHERE job = $1", job.Value, life.LostHadBegun ? 1 : 0);
        }

        return worker;

        Task AddAsync(Guid id, double from, double? died, string begun) =>
            _db.ExecuteAsync(
                """
                INSERT INTO workers (id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen, ended_at, begun)
                VALUES ($1, 'w', $2, 'cpu', 'test', 0, $3, $4, $5, $6, $7::jsonb)
                """,
                id,
                pool,
                died is null ? "alive" : "lost",
                at(from).UtcDateTime,
                at(died ?? life.Total).UtcDateTime,
                died is { } silent ? at(Math.Min(silent + 3.1, life.Dispatched - 0.002)).UtcDateTime : (object)DBNull.Value,
                begun
            );
    }

    private async Task EndAsync(InjectedLife life, JobId job, Guid worker, Func<double, DateTimeOffset> at)
    {
        var batch = BatchId.New(DateTimeOffset.UtcNow);
        var units = life.Rows * UnitsOfTask;
        await _db.ExecuteAsync(
            """
            INSERT INTO batches (id, worker, dispatch, lane, model, provider, rows, units, padded_units, device_ns, cost_pico, started_at, finished_at)
            VALUES ($1, $2, $1, $3, 'm@1', 'cpu', $4, $5, $5, $6, 0, $7, $7)
            """,
            batch.Value,
            worker,
            life.Class == LatencyClass.Express ? "express" : "bulk",
            life.Rows,
            (long)units,
            (long)(units * life.Unit * 1e9),
            at(life.Total).UtcDateTime
        );
        var rows = new TaskEndRows();
        for (var seq = 0; seq < TasksOfJob; seq++)
        {
            rows.Add(
                job,
                chunk: 0,
                seq,
                TaskOutcome.Succeeded,
                $"t-{seq}",
                "{}"u8.ToArray(),
                "application/json",
                null,
                null,
                "m@1",
                turns: 1,
                costPico: 0,
                batch,
                queuedUs: Us(life.Dispatched),
                stagedUs: (int)Us(life.Staged),
                deviceUs: (int)Us(life.Ran),
                totalUs: Us(life.Total),
                UnitsOfTask
            );
        }

        await using var connection = await _db.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await TaskEnds.WriteAsync(connection, transaction, rows, at(life.Total));
        await transaction.CommitAsync();

        static long Us(double seconds) => (long)(seconds * 1_000_000);
    }

    private async Task ExpireAsync(JobId job, DateTimeOffset at)
    {
        await using var connection = await _db.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await TaskEnds.EndRemainingAsync(
            connection,
            transaction,
            [new ChunkKey(job, 0)],
            TaskOutcome.Expired,
            FailureKind.DeadlinePassed,
            "Too late.",
            at
        );
        await transaction.CommitAsync();
    }

    /// <summary>The call that the job's owner wanted, sent by the sender's own bookkeeping.</summary>
    private async Task CallAsync(InjectedLife life, JobId job, DateTimeOffset ended)
    {
        var options = new WebhookOptions();
        var store = new EndpointStore(_db.DataSource, options, TimeProvider.System);
        var endpoint = await store.AddAsync(
            _tenant,
            $"https://example.org/{job}",
            "",
            ["job.completed"],
            WebhookKey.New(WebhookKey.Hmac),
            CancellationToken.None
        );
        await _db.ExecuteAsync(
            """
            INSERT INTO webhook_deliveries (id, tenant, endpoint, event, type, job, url, state, due_at, created_at)
            SELECT $1, tenant, $2, id, type, job, 'https://example.org/', 'pending', $4, $4 FROM events WHERE job = $3 AND type = 'job.completed'
            """,
            WebhookDeliveryId.New(ended).Value,
            endpoint!.Value.Value,
            job.Value,
            ended.UtcDateTime
        );
        var queue = new DeliveryQueue(_db.DataSource, options, TimeProvider.System);
        var claimed = await queue.ClaimAsync([], 10, 10, 10, CancellationToken.None);
        var took = options.PunctualWithin + TimeSpan.FromSeconds(life.CallbackLate);
        var answer = new AttemptResult(200, null, "", TimeSpan.FromSeconds(1));
        await queue.RecordAsync([.. claimed.Select(c => Verdict.Of(c, answer, ended + took, options, 0.5))], CancellationToken.None);
    }
}
