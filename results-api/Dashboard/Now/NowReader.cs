using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.ResultsApi.Alerts;
using Pipeline.ResultsApi.Jobs;
using Pipeline.ResultsApi.Sla;
using Pipeline.ResultsApi.Sla.Objectives;

namespace Pipeline.ResultsApi.Dashboard.Now;

/// <summary>
/// Reads a <see cref="Snapshot"/>. Open jobs and chunks have indexes of their own, and what is recent is a range of time-ordered ids or
/// of <c>finished_at</c>: what a look costs follows from what happens, not from what is stored.
/// </summary>
internal sealed class NowReader(
    NpgsqlDataSource database,
    Forecasts forecasts,
    ObjectiveSet objectives,
    DashboardOptions options,
    TimeProvider time
)
{
    /// <summary>Open jobs whose end is predicted, those with the soonest deadlines, and of them how many are shown.</summary>
    private const int JudgedMax = 200;
    private const int DueMax = 12;

    /// <summary>Jobs looked at for the 95th percentile; in five minutes of full load there are more, and as many say the same.</summary>
    private const int EndedMax = 20_000;

    /// <param name="minutes">The minutes as they are known; only the last two are read anew.</param>
    public async Task<Snapshot> ReadAsync(IReadOnlyList<MinuteNow> minutes, CancellationToken stop)
    {
        var now = time.GetUtcNow();
        return new Snapshot
        {
            At = now,
            Firing = await FiringAsync(stop),
            Classes = await ClassesAsync(now, stop),
            Pools = await PoolsAsync(now, stop),
            Due = await DueAsync(now, stop),
            Minutes = await MinutesAsync(minutes, now, stop),
        };
    }

    /// <summary>From the rollups that SLA reports and usage are made of, so what it costs does not follow from how many tasks ended.</summary>
    public async Task<History> HistoryAsync(HistoryRange range, CancellationToken stop)
    {
        var from = time.GetUtcNow() - range.Length;
        await using var steps = database.CreateCommand(
            options,
            $"""
            SELECT at, class, sum(succeeded + failed + expired + cancelled)::bigint,
                   sum(jobs_within)::float8 / nullif(sum(jobs_completed + jobs_expired), 0), sum(cost_pico)
            FROM {SlaTables.Name(range.Step)} WHERE at >= $1 GROUP BY at, class ORDER BY at, class
            """
        );
        steps.Parameters.Add(new() { Value = SlaTables.Floor(range.Step, from) });
        return new History(
            range,
            await Rows.ReadAsync(
                steps,
                row => new HistoryStep(
                    row.GetFieldValue<DateTimeOffset>(0),
                    row.GetString(1),
                    row.GetInt64(2),
                    row.IsDBNull(3) ? null : row.GetDouble(3),
                    row.GetDecimal(4)
                ),
                stop
            ),
            range.HasDays ? await DeviceDaysAsync(DateOnly.FromDateTime(from.UtcDateTime), stop) : []
        );
    }

    private async Task<List<DeviceDay>> DeviceDaysAsync(DateOnly from, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            options,
            """
            SELECT day, pool, account, (sum(ns) / nullif(sum(sum(ns)) OVER (PARTITION BY day, pool), 0))::float8 FROM device_days
            WHERE day >= $1 GROUP BY day, pool, account ORDER BY pool, account, day
            """
        );
        command.Parameters.Add(new() { Value = from });
        return await Rows.ReadAsync(
            command,
            row => new DeviceDay(
                row.GetFieldValue<DateOnly>(0),
                row.GetString(1),
                row.GetString(2),
                row.IsDBNull(3) ? 0 : row.GetDouble(3)
            ),
            stop
        );
    }

    /// <summary>The share of a class's jobs that has to be done within its target; the strictest, where several are set.</summary>
    private double? JobsTarget(LatencyClass latencyClass) =>
        objectives
            .All.Where(o => o is { Indicator: Indicator.Jobs, Tenant: null, Model: null } && (o.Class is null || o.Class == latencyClass))
            .Max(o => (double?)o.Target);

    private async Task<List<ClassNow>> ClassesAsync(DateTimeOffset now, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            options,
            $"""
            WITH open AS (
              SELECT class, count(*) AS jobs, count(*) FILTER (WHERE paused) AS paused, min(queued_at) FILTER (WHERE NOT paused) AS oldest
              FROM jobs WHERE finished_at IS NULL GROUP BY class
            ), waiting AS (
              SELECT j.class, sum(c.remaining) AS tasks FROM chunks c JOIN jobs j ON j.id = c.job
              WHERE c.remaining > 0 AND j.finished_at IS NULL GROUP BY j.class
            ), arrived AS (
              SELECT class, sum(tasks) AS tasks FROM jobs WHERE id >= $1 GROUP BY class
            ), ended AS (
              SELECT class, sum(tasks) AS tasks, count(*) AS jobs FROM jobs WHERE finished_at > $2 GROUP BY class
            ), late AS (
              SELECT j.class, percentile_disc(0.95) WITHIN GROUP (ORDER BY j.took) AS p95,
                     avg((j.took <= t.target)::int)::float8 AS in_target
              FROM (SELECT class, finished_at - coalesce(class_since, queued_at) AS took FROM jobs WHERE finished_at > $2 AND queued_at IS NOT NULL
                      AND state = 'completed' ORDER BY finished_at DESC LIMIT {EndedMax}) j
              JOIN unnest($3, $4) AS t (class, target) ON t.class = j.class GROUP BY j.class
            )
            SELECT t.class, coalesce(open.jobs, 0), coalesce(open.paused, 0), coalesce(waiting.tasks, 0)::bigint, open.oldest,
                   coalesce(arrived.tasks, 0)::bigint, coalesce(ended.tasks, 0)::bigint, coalesce(ended.jobs, 0), late.p95, late.in_target
            FROM unnest($3) AS t (class)
            LEFT JOIN open USING (class) LEFT JOIN waiting USING (class) LEFT JOIN arrived USING (class) LEFT JOIN ended USING (class)
            LEFT JOIN late USING (class)
            """
        );
        var classes = LatencyClasses.Defaults.OrderBy(c => c.Key).ToArray();
        command.Parameters.Add(new() { Value = Partitions.LowerBound(now - Snapshot.Window) });
        command.Parameters.Add(new() { Value = now - Snapshot.Window });
        command.Parameters.Add(new() { Value = classes.Select(c => c.Key.Name()).ToArray() });
        command.Parameters.Add(
            new() { Value = classes.Select(c => c.Value.Target).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Interval }
        );
        var found = await Rows.ReadAsync(
            command,
            row => new ClassNow(
                row.GetString(0),
                classes.First(c => c.Key.Name() == row.GetString(0)).Value.Target,
                row.GetInt64(1),
                row.GetInt64(2),
                row.GetInt64(3),
                row.IsDBNull(4) ? null : row.GetFieldValue<DateTimeOffset>(4),
                row.GetInt64(5) / Snapshot.Window.TotalSeconds,
                row.GetInt64(6) / Snapshot.Window.TotalSeconds,
                row.GetInt64(7),
                row.IsDBNull(8) ? null : row.GetFieldValue<TimeSpan>(8),
                row.IsDBNull(9) ? null : row.GetDouble(9),
                JobsTarget(classes.First(c => c.Key.Name() == row.GetString(0)).Key)
            ),
            stop
        );
        return [.. classes.Select(c => found.Single(row => row.Name == c.Key.Name()))];
    }

    private async Task<List<(Severity Severity, long Alerts)>> FiringAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            options,
            "SELECT severity, count(*) FROM alerts WHERE state = 'firing' GROUP BY severity"
        );
        var found = await Rows.ReadAsync(
            command,
            row => (Severity: Enum.Parse<Severity>(row.GetString(0), ignoreCase: true), row.GetInt64(1)),
            stop
        );
        return [.. found.OrderByDescending(f => f.Severity)];
    }

    private async Task<List<PoolNow>> PoolsAsync(DateTimeOffset now, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            options,
            """
            WITH alive AS (
              SELECT id, name, pool, provider, device, accounted_ns FROM workers WHERE ended_at IS NULL
            ), booked AS (
              SELECT a.pool, l.account, sum(l.ns)::float8 AS ns, sum(l.pico) AS pico
              FROM alive a JOIN ledger l ON l.worker = a.id AND l.from_ns >= a.accounted_ns - $1 GROUP BY a.pool, l.account
            ), ran AS (
              SELECT a.pool, count(*) AS batches, sum(b.rows) AS rows, sum(b.units)::float8 AS units, sum(b.padded_units)::float8 AS padded
              FROM batches b JOIN alive a ON a.id = b.worker WHERE b.id >= $2 GROUP BY a.pool
            )
            SELECT p.pool, p.workers, p.providers, p.devices, coalesce(r.batches, 0), coalesce(r.rows, 0)::bigint, coalesce(r.units, 0),
                   coalesce(r.padded, 0), coalesce(b.accounts, '{}'), coalesce(b.ns, '{}'), coalesce(b.pico, 0)
            FROM (SELECT pool, count(*)::int AS workers, string_agg(DISTINCT provider, ', ') AS providers,
                         string_agg(DISTINCT device, ', ') AS devices FROM alive GROUP BY pool) p
            LEFT JOIN ran r ON r.pool = p.pool
            LEFT JOIN (SELECT pool, array_agg(account) AS accounts, array_agg(ns) AS ns, sum(pico) AS pico FROM booked GROUP BY pool) b
              ON b.pool = p.pool
            ORDER BY p.pool
            """
        );
        command.Parameters.Add(new() { Value = (long)Snapshot.Window.TotalNanoseconds });
        command.Parameters.Add(new() { Value = Partitions.LowerBound(now - Snapshot.Window) });
        return await Rows.ReadAsync(
            command,
            row =>
            {
                var (batches, rows, padded) = (row.GetInt64(4), row.GetInt64(5), row.GetDouble(7));
                var (accounts, ns) = (row.GetFieldValue<string[]>(8), row.GetFieldValue<double[]>(9));
                var (all, pico) = (Math.Max(1, ns.Sum()), row.GetDecimal(10));
                return new PoolNow(
                    row.GetString(0),
                    row.GetInt32(1),
                    row.GetString(2),
                    row.GetString(3),
                    accounts.Zip(ns).ToDictionary(a => a.First, a => a.Second / all),
                    rows / Snapshot.Window.TotalSeconds,
                    batches == 0 ? 0 : (double)rows / batches,
                    padded == 0 ? 0 : 1 - (row.GetDouble(6) / padded),
                    // What was booked is what an hour of the pool costs, whatever it did.
                    pico / (decimal)all * 3_600_000_000_000m * row.GetInt32(1),
                    rows == 0 ? null : pico * 1000 / rows
                );
            },
            stop
        );
    }

    /// <summary>Those at risk before the others, each by deadline.</summary>
    private async Task<DueNow> DueAsync(DateTimeOffset now, CancellationToken stop)
    {
        var soonest =
            $"(SELECT * FROM jobs WHERE finished_at IS NULL AND state IN ('queued', 'running') AND NOT paused ORDER BY deadline, id LIMIT {JudgedMax})";
        await using var command = database.CreateCommand(options, $"{JobViews.SelectFrom(soonest)} ORDER BY j.deadline, j.id");
        var jobs = await Rows.ReadAsync(command, JobViews.Read, stop);
        var judged = jobs.Select(job => job with { PredictedAt = PredictedEnd.Of(job, forecasts.Fresh, now) })
            .ToLookup(job => DueNow.IsAtRisk(job, now));
        return new DueNow(
            judged[true].CountBy(job => job.Class).ToDictionary(c => c.Key.Name(), c => c.Value),
            [.. judged[true].Concat(judged[false]).Take(DueMax)],
            jobs.Count == JudgedMax
        );
    }

    private async Task<List<MinuteNow>> MinutesAsync(IReadOnlyList<MinuteNow> known, DateTimeOffset now, CancellationToken stop)
    {
        var minute = new DateTimeOffset(now.UtcTicks - (now.UtcTicks % TimeSpan.TicksPerMinute), TimeSpan.Zero);
        var first = minute.AddHours(-1);
        // A batch is written when it has ended, seconds after its id was made: the minute before is looked at once more.
        var settled = known.Where(m => m.At >= first && m.At < minute.AddMinutes(-1)).ToList();
        var from = settled.Count > 0 ? settled[^1].At.AddMinutes(1) : first;
        await using var command = database.CreateCommand(
            options,
            """
            SELECT m.at, coalesce(a.tasks, 0)::bigint, coalesce(b.rows, 0)::bigint, coalesce(b.batches, 0)
            FROM generate_series($1::timestamptz, $2::timestamptz, interval '1 minute') AS m (at)
            LEFT JOIN (SELECT date_trunc('minute', created_at) AS at, sum(tasks) AS tasks FROM jobs WHERE id >= $3 GROUP BY 1) a USING (at)
            LEFT JOIN (SELECT date_trunc('minute', started_at) AS at, sum(rows) AS rows, count(*) AS batches FROM batches WHERE id >= $3 GROUP BY 1) b
              USING (at)
            ORDER BY m.at
            """
        );
        command.Parameters.Add(new() { Value = from });
        command.Parameters.Add(new() { Value = minute });
        command.Parameters.Add(new() { Value = Partitions.LowerBound(from) });
        return
        [
            .. settled,
            .. await Rows.ReadAsync(
                command,
                row => new MinuteNow(row.GetFieldValue<DateTimeOffset>(0), row.GetInt64(1), row.GetInt64(2), row.GetInt64(3)),
                stop
            ),
        ];
    }
}
