using System.Text;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;

namespace Pipeline.Tests.Integration.Migrations;

/// <summary>A worker whose books are kept here.</summary>
internal sealed class BookedWorker(WorkerId id, long price)
{
    public WorkerId Id => id;
    public long Price => price;

    /// <summary>Up to where its ledger reaches.</summary>
    public long AccountedNs { get; set; }
}

/// <summary>A job whose tasks are ended here, in chunks of <see cref="ChunkTasks"/>.</summary>
internal sealed record BookedJob(JobId Id, string Model, int Tasks)
{
    public const int ChunkTasks = 8;
}

/// <summary>
/// Work as workers write it: results, batches and ledger in one transaction, with padding, idle time, warm-up and waste; from a seed, and
/// at any time of the past.
/// </summary>
internal sealed class BookedWork(TestDatabase db, int seed)
{
    private static readonly DateTimeOffset Start = new(2026, 1, 30, 22, 0, 0, TimeSpan.Zero);

    private readonly Random _random = new(seed);

    public async Task<BookedWorker> AddWorkerAsync(string pool, long price)
    {
        var id = WorkerId.New(DateTimeOffset.UtcNow);
        await db.ExecuteAsync(
            """
            INSERT INTO workers (id, name, pool, provider, device, price_per_hour_pico, state, started_at, last_seen)
            VALUES ($1, 'w', $2, 'cpu', 'test', $3, 'alive', now(), now())
            """,
            id.Value,
            pool,
            price
        );
        return new BookedWorker(id, price);
    }

    public async Task<BookedJob> AddJobAsync(string tenant, LatencyClass latencyClass, string model, int tasks)
    {
        var job = new BookedJob(JobId.New(DateTimeOffset.UtcNow), model, tasks);
        var chunks = (tasks + BookedJob.ChunkTasks - 1) / BookedJob.ChunkTasks;
        await db.ExecuteAsync(
            """
            INSERT INTO jobs (id, tenant, model, model_version, class, state, tasks, units, chunks, open_chunks, deadline, created_at, queued_at)
            VALUES ($1, $2, $3, $4, $5, 'queued', $6, $6, $7, $7, now() + interval '1 day', now(), now())
            """,
            job.Id.Value,
            (await Tenants.EnsureAsync(db.DataSource, tenant)).Value,
            model.Split('@')[0],
            model.Split('@')[1],
            latencyClass.Name(),
            tasks,
            chunks
        );
        for (var no = 0; no < chunks; no++)
        {
            var first = no * BookedJob.ChunkTasks;
            var writer = new ChunkPayloadWriter();
            for (var seq = first; seq < Math.Min(tasks, first + BookedJob.ChunkTasks); seq++)
            {
                writer.Add(Encoding.UTF8.GetBytes($"t-{seq}"), "some text"u8, 9);
            }

            await db.ExecuteAsync(
                "INSERT INTO chunks (job, no, first_seq, tasks, units, units_max, remaining, payload) VALUES ($1, $2, $3, $4, $4, 1, $4, $5)",
                job.Id.Value,
                no,
                first,
                Math.Min(BookedJob.ChunkTasks, tasks - first),
                writer.Finish()
            );
        }

        return job;
    }

    public async Task EndAsync(
        BookedWorker worker,
        BookedJob job,
        int[] seqs,
        DateTimeOffset at,
        TaskOutcome outcome = TaskOutcome.Succeeded
    )
    {
        await using var connection = await db.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await EndAsync(connection, transaction, worker, job, seqs, at, outcome);
        await transaction.CommitAsync();
    }

    /// <summary>Runs tasks as one batch, in the caller's transaction; those that had ended before are waste.</summary>
    public async Task EndAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        BookedWorker worker,
        BookedJob job,
        int[] seqs,
        DateTimeOffset at,
        TaskOutcome outcome = TaskOutcome.Succeeded
    )
    {
        var (idleNs, ns) = (_random.NextInt64(1, 50_000_000), _random.NextInt64(1_000_000, 2_000_000_000));
        // Some that succeed are copies of the first: they come with it, and were not on the device.
        var reused = Array.ConvertAll(
            seqs,
            seq =>
                seq != seqs[0] && outcome == TaskOutcome.Succeeded && _random.Next(4) == 0
                    ? (ReuseSource?)(ReuseSource)_random.Next(2)
                    : null
        );
        var units = Array.ConvertAll(reused, r => r is null ? _random.Next(1, 500) : 0L);
        var padded = units.Sum() + _random.Next(0, 300);
        var batch = BatchId.New(at);
        var fromNs = worker.AccountedNs + idleNs;
        var cost = Cost.Interval(fromNs, fromNs + ns, worker.Price);
        var (taskNs, paddingNs) = Part(ns, units.Sum(), padded);
        var (taskPico, paddingPico) = Part(cost, units.Sum(), padded);
        var (picos, nss) = (new long[seqs.Length], new long[seqs.Length]);
        Cost.Split(taskPico, units, picos);
        Cost.Split(taskNs, units, nss);

        var rows = new TaskEndRows();
        for (var i = 0; i < seqs.Length; i++)
        {
            Add(rows, job, seqs[i], outcome, picos[i], batch, (int)units[i], reused[i]);
        }

        var ended = await TaskEnds.WriteAsync(connection, transaction, rows, at);
        var (wasteNs, wastePico) = (0L, 0L);
        for (var i = 0; i < seqs.Length; i++)
        {
            if (!ended.WasInserted(i))
            {
                (wasteNs, wastePico) = (wasteNs + nss[i], wastePico + picos[i]);
            }
        }

        await ExecuteAsync(
            connection,
            transaction,
            """
            INSERT INTO batches (id, worker, dispatch, lane, model, provider, rows, units, padded_units, device_ns, cost_pico, started_at, finished_at)
            VALUES ($1, $2, $1, 'bulk', $3, 'cpu', $4, $5, $6, $7, $8, $9, $9)
            """,
            batch.Value,
            worker.Id.Value,
            job.Model,
            reused.Count(r => r is null),
            units.Sum(),
            padded,
            ns,
            cost,
            at
        );
        await BookAsync(
            connection,
            transaction,
            worker,
            at,
            new(LedgerAccount.Idle, idleNs, Cost.Interval(worker.AccountedNs, fromNs, worker.Price)),
            new(LedgerAccount.Padding, paddingNs, paddingPico),
            new(LedgerAccount.Waste, wasteNs, wastePico, "duplicate"),
            new(LedgerAccount.Task, taskNs - wasteNs, taskPico - wastePico)
        );
    }

    /// <summary>Extends a worker's chain over time that no task was run in.</summary>
    public async Task BookAsync(BookedWorker worker, DateTimeOffset at, LedgerAccount account, long ns, string? detail = null)
    {
        await using var connection = await db.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        var pico = Cost.Interval(worker.AccountedNs, worker.AccountedNs + ns, worker.Price);
        await BookAsync(connection, transaction, worker, at, new LedgerEntry(account, ns, pico, detail));
        await transaction.CommitAsync();
    }

    /// <summary>Random work of several pools, prices, tenants, classes, models and days; some of it commits late.</summary>
    public async Task AddManyAsync(int transactions)
    {
        BookedWorker[] workers =
        [
            await AddWorkerAsync("gpu-a", Cost.PicoPerUsd),
            await AddWorkerAsync("gpu-a", 3 * Cost.PicoPerUsd / 7),
            await AddWorkerAsync("gpu-b", 2 * Cost.PicoPerUsd + 1),
            await AddWorkerAsync("free", 0),
        ];
        var late = await AddWorkerAsync("gpu-b", 2 * Cost.PicoPerUsd + 1);
        foreach (var worker in workers)
        {
            await BookAsync(worker, Start, LedgerAccount.WarmUp, _random.NextInt64(1, 5_000_000_000));
        }

        var jobs = new List<BookedJob>();
        for (var i = 0; i < transactions; i++)
        {
            var at = Start.AddMinutes(i * 7).AddSeconds(-_random.Next(0, 100_000));
            if (jobs.Count == 0 || _random.Next(4) == 0)
            {
                jobs.Add(await AddAnyJobAsync());
            }

            var (worker, job) = (workers[_random.Next(workers.Length)], jobs[_random.Next(jobs.Count)]);
            switch (_random.Next(8))
            {
                case 0:
                    await BookAsync(worker, at, LedgerAccount.Waste, _random.NextInt64(1, 1_000_000_000), "bisected");
                    break;
                case 1:
                    await ExpireAsync(job, at);
                    break;
                case 2:
                    await LateAsync(late, worker, job, at);
                    break;
                default:
                    await EndAsync(worker, job, Any(job), at, _random.Next(6) == 0 ? TaskOutcome.Failed : TaskOutcome.Succeeded);
                    break;
            }
        }
    }

    /// <summary>A transaction that begins first and commits after another.</summary>
    private async Task LateAsync(BookedWorker late, BookedWorker worker, BookedJob job, DateTimeOffset at)
    {
        var own = await AddAnyJobAsync();
        await using var connection = await db.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await EndAsync(connection, transaction, late, own, Any(own), at);
        await EndAsync(worker, job, Any(job), at);
        await transaction.CommitAsync();
    }

    private Task<BookedJob> AddAnyJobAsync() =>
        AddJobAsync(
            $"tenant \"{_random.Next(3)}\", é",
            (LatencyClass)_random.Next(3),
            _random.Next(2) == 0 ? "language-id@1.0.0" : "org/encoder@2.1",
            _random.Next(1, 40)
        );

    /// <summary>Some tasks, among them such as have ended.</summary>
    private int[] Any(BookedJob job) => [.. Enumerable.Range(0, job.Tasks).Where(_ => _random.Next(3) > 0).DefaultIfEmpty(0)];

    private async Task ExpireAsync(BookedJob job, DateTimeOffset at)
    {
        await using var connection = await db.DataSource.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        ChunkKey[] chunk = [new(job.Id, 0)];
        await TaskEnds.EndRemainingAsync(
            connection,
            transaction,
            chunk,
            _random.Next(2) == 0 ? TaskOutcome.Expired : TaskOutcome.Cancelled,
            FailureKind.ModelFailed,
            "Too late.",
            at
        );
        await transaction.CommitAsync();
    }

    private static void Add(
        TaskEndRows rows,
        BookedJob job,
        int seq,
        TaskOutcome outcome,
        long cost,
        BatchId batch,
        int units,
        ReuseSource? reused
    )
    {
        var succeeded = outcome == TaskOutcome.Succeeded;
        rows.Add(
            job.Id,
            seq / BookedJob.ChunkTasks,
            seq,
            outcome,
            $"t-{seq}",
            succeeded ? "{}"u8.ToArray() : null,
            succeeded ? "application/json" : null,
            succeeded ? null : "model_failed",
            succeeded ? null : "It failed.",
            job.Model,
            turns: (short)(reused is null ? 1 : 0),
            cost,
            reused is null ? batch : null,
            queuedUs: 12_000 + (seq % 5 * 210_000),
            stagedUs: 800,
            deviceUs: reused is null ? 400 : 0,
            totalUs: 15_000 + (seq % 5 * 211_000),
            reused is null ? units : 77,
            reused,
            savedPico: reused is null ? 0 : 1_000 + seq
        );
    }

    private static async Task BookAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        BookedWorker worker,
        DateTimeOffset at,
        params LedgerEntry[] entries
    )
    {
        var toNs = worker.AccountedNs + entries.Sum(e => e.Ns);
        if (!await Ledger.ExtendAsync(connection, transaction, worker.Id, worker.AccountedNs, toNs, entries))
        {
            throw new InvalidOperationException("The worker's chain was not extended.");
        }

        worker.AccountedNs = toNs;

        // As if it had been booked then.
        await ExecuteAsync(connection, transaction, "UPDATE ledger SET at = $1 WHERE xid = pg_current_xact_id()", at);
    }

    private static (long Real, long Padding) Part(long amount, long units, long padded)
    {
        var parts = new long[2];
        Cost.Split(amount, [units, padded - units], parts);
        return (parts[0], parts[1]);
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, string sql, params object[] values)
    {
        await using var command = new NpgsqlCommand(sql, connection, transaction);
        foreach (var value in values)
        {
            command.Parameters.Add(new() { Value = value });
        }

        await command.ExecuteNonQueryAsync();
    }
}
