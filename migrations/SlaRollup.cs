using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>
/// The part of <see cref="Rollups"/> that keeps <see cref="SlaTables"/>: what ended in a turn's transactions, by the minute it ended in,
/// and the breaches among it.
/// </summary>
internal sealed class SlaRollup
{
    private readonly Dictionary<(DateTimeOffset Minute, SlaKey Key), SlaSums> _added = [];

    public IReadOnlyDictionary<(DateTimeOffset Minute, SlaKey Key), SlaSums> Added => _added;

    /// <summary>True when some of the jobs read took longer than their class's target, or expired: <see cref="BreachesSql"/> has something to note.</summary>
    public bool HasBreaches { get; private set; }

    /// <summary>Reads tasks: a row for each chunk's tasks of a batch, with the times of those that succeeded as arrays beside how many have them.</summary>
    public async Task ReadTasksAsync(NpgsqlDataReader reader, CancellationToken stop)
    {
        while (await reader.ReadAsync(stop))
        {
            var (key, sums) = SumsOf(reader);
            for (var i = 0; i < TaskCounts.Length; i++)
            {
                sums[TaskCounts[i]] += reader.GetInt64(FirstCount + i);
            }

            var times = Enumerable.Range(FirstCount + TaskCounts.Length, 5).Select(reader.GetFieldValue<long[]>).ToArray();
            for (var i = 0; i < times[0].Length; i++)
            {
                if (times[0][i] > 0)
                {
                    sums.AddSucceeded(key.Class, times[0][i], times[1][i], times[2][i], times[3][i], times[4][i]);
                }
            }
        }
    }

    /// <summary>Reads jobs: <see cref="JobsSql"/>.</summary>
    public async Task ReadJobsAsync(NpgsqlDataReader reader, CancellationToken stop)
    {
        while (await reader.ReadAsync(stop))
        {
            var (key, sums) = SumsOf(reader);
            long? firstUs = reader.IsDBNull(FirstCount + 1) ? null : reader.GetInt64(FirstCount + 1);
            var (completed, totalUs) = (reader.GetBoolean(FirstCount), reader.GetInt64(FirstCount + 2));
            sums.AddJob(key.Class, completed, firstUs, totalUs);
            HasBreaches |= !completed || totalUs > SlaSums.TargetUs(key.Class);
        }
    }

    private (SlaKey Key, SlaSums Sums) SumsOf(NpgsqlDataReader reader)
    {
        var key = SlaStore.KeyOf(reader, 1);
        var minute = SlaTables.Floor(SlaGrain.Minute, reader.GetFieldValue<DateTimeOffset>(0));
        return (key, SlaStore.Of(_added, (minute, key)));
    }

    private const int FirstCount = 4;

    /// <summary>The counts of tasks, in the order of the statement's columns.</summary>
    private static readonly SlaCount[] TaskCounts =
    [
        SlaCount.Succeeded,
        SlaCount.Failed,
        SlaCount.ClientFaults,
        SlaCount.Expired,
        SlaCount.Cancelled,
        SlaCount.ReusedJob,
        SlaCount.ReusedCache,
        SlaCount.Ran,
        SlaCount.Units,
        SlaCount.PaddedUnits,
        SlaCount.BatchRows,
        SlaCount.CostPico,
        SlaCount.PricePico,
        SlaCount.SavedPico,
    ];

    /// <summary>The codes of failures that are a client's fault.</summary>
    public static readonly string[] ClientFaults =
    [
        .. FailureKinds.All.Select(kind => kind.Info()).Where(info => info.Fault == Fault.Client).Select(info => info.Code),
    ];

    /// <summary>The classes and their targets, as arrays for <c>unnest</c>.</summary>
    public static readonly string[] Classes = [.. LatencyClasses.Defaults.Keys.Select(c => c.Name())];
    public static readonly long[] TargetsUs = [.. LatencyClasses.Defaults.Keys.Select(SlaSums.TargetUs)];

    /// <summary>A job starts when its first task ends: the moment of its first result. What was moved to its class later has taken its time from then on.</summary>
    public const string JobsSql = """
        SELECT j.finished_at, j.tenant, j.class, j.model || '@' || j.model_version, j.state = 'completed',
               (extract(epoch FROM j.started_at - j.queued_at) * 1000000)::bigint,
               (extract(epoch FROM j.finished_at - coalesce(j.class_since, j.queued_at)) * 1000000)::bigint
        FROM events e JOIN jobs j ON j.id = e.job
        WHERE e.type IN ('job.completed', 'job.expired') AND e.xid > $1 AND e.xid <= $2 AND j.queued_at IS NOT NULL
        """;

    /// <summary>
    /// Notes jobs that ended beyond their class's target ($3, $4) or expired. Where the time went is that of the task that ended last: one of
    /// those of the job's last transaction. Only breaching jobs are looked at so. How fast the device was is told by batches of 32 rows and more
    /// among the job's last 16 chunks: what a small batch costs beside its units would look like a slow device.
    /// </summary>
    public const string BreachesSql = """
        WITH late AS MATERIALIZED (
          SELECT j.*, t.target_us, l.late_us
          FROM events e
          JOIN jobs j ON j.id = e.job
          JOIN unnest($3, $4) AS t (class, target_us) ON t.class = j.class
          CROSS JOIN LATERAL (SELECT (extract(epoch FROM j.finished_at - coalesce(j.class_since, j.queued_at)) * 1000000)::bigint AS late_us) l
          WHERE e.type IN ('job.completed', 'job.expired') AND e.xid > $1 AND e.xid <= $2 AND j.queued_at IS NOT NULL
            AND (j.state = 'expired' OR l.late_us > t.target_us)
        )
        INSERT INTO sla_breaches (job, kind, at, tenant, class, model, state, queued_at, deadline, predicted_at, target_us, total_us, tasks,
                                  failed, expired, queued_us, staged_us, device_us, worker_losses, paused_us, announced_us, lost_us, unit_ps,
                                  usual_unit_ps)
        SELECT j.id, 'job', j.finished_at, j.tenant, j.class, j.model || '@' || j.model_version, j.state, j.queued_at, j.deadline,
               j.predicted_at, j.target_us, j.late_us, j.tasks, coalesce(j.failed, 0), coalesce(j.expired, 0), coalesce(r.queued_us, 0),
               coalesce(r.staged_us, 0), coalesce(r.device_us, 0), (SELECT coalesce(max(attempts), 0) FROM chunks WHERE job = j.id),
               p.paused_us, least(coalesce(r.announced_us, 0), coalesce(r.queued_us, 0)), w.lost_us, d.unit_ps, u.unit_ps
        FROM late j
        LEFT JOIN LATERAL (
          SELECT chunk, tasks FROM endings WHERE job = j.id ORDER BY xid DESC, chunk DESC LIMIT 1
        ) n ON true
        LEFT JOIN LATERAL (
          SELECT r.queued_us, r.staged_us, r.device_us,
                 (SELECT w.pool FROM batches b JOIN workers w ON w.id = b.worker WHERE b.id = r.batch) AS pool,
                 CASE WHEN c.turn = 1 THEN (extract(epoch FROM c.announced_at - j.queued_at) * 1000000)::bigint END AS announced_us
          FROM (SELECT first_seq, turn, announced_at FROM chunks WHERE job = j.id AND no = n.chunk OFFSET 0) c
          CROSS JOIN LATERAL (
            SELECT seq, queued_us, staged_us, device_us, total_us, batch FROM results
            WHERE job = j.id AND seq >= c.first_seq AND seq < c.first_seq + octet_length(n.tasks) * 8 OFFSET 0
          ) r
          WHERE get_bit(n.tasks, r.seq - c.first_seq) = 1 ORDER BY r.total_us DESC, r.seq LIMIT 1
        ) r ON true
        CROSS JOIN LATERAL (
          SELECT coalesce((extract(epoch FROM sum(until - created_at)) * 1000000)::bigint, 0) AS paused_us
          FROM (
            SELECT type, created_at, lead(created_at, 1, j.finished_at) OVER (ORDER BY id) AS until
            FROM events WHERE job = j.id AND type IN ('job.paused', 'job.resumed')
          ) p
          WHERE type = 'job.paused'
        ) p
        CROSS JOIN LATERAL (SELECT j.queued_at + coalesce(r.queued_us, j.late_us) * interval '1 microsecond' AS at) s
        CROSS JOIN LATERAL (
          SELECT coalesce(max((extract(epoch FROM least(g.until, s.at) - greatest(w.last_seen, j.queued_at)) * 1000000)::bigint), 0) AS lost_us
          FROM workers w
          CROSS JOIN LATERAL (
            SELECT CASE
              WHEN w.begun @> jsonb_build_array(jsonb_build_object('job', j.id, 'no', n.chunk)) THEN s.at
              WHEN w.pool = r.pool AND EXISTS (
                SELECT FROM workers o WHERE o.pool = w.pool AND o.started_at <= w.last_seen AND coalesce(o.ended_at, s.at) > w.ended_at
              ) THEN w.ended_at
              WHEN w.pool = r.pool THEN coalesce((SELECT min(o.started_at) FROM workers o WHERE o.pool = w.pool AND o.started_at > w.last_seen), s.at)
            END AS until
          ) g
          WHERE w.state = 'lost' AND w.ended_at > j.queued_at AND w.ended_at <= s.at
        ) w
        CROSS JOIN LATERAL (
          SELECT (sum(b.device_ns) * 1000 / nullif(sum(b.padded_units), 0))::bigint AS unit_ps
          FROM (
            SELECT DISTINCT r.batch
            FROM (SELECT chunk, tasks FROM endings WHERE job = j.id ORDER BY xid DESC, chunk DESC LIMIT 16) k
            CROSS JOIN LATERAL (SELECT first_seq FROM chunks WHERE job = j.id AND no = k.chunk OFFSET 0) c
            CROSS JOIN LATERAL (
              SELECT seq, batch FROM results
              WHERE job = j.id AND seq >= c.first_seq AND seq < c.first_seq + octet_length(k.tasks) * 8 OFFSET 0
            ) r
            WHERE get_bit(k.tasks, r.seq - c.first_seq) = 1 AND r.batch IS NOT NULL
          ) o
          CROSS JOIN LATERAL (SELECT device_ns, padded_units, rows FROM batches WHERE id = o.batch OFFSET 0) b
          WHERE b.rows >= 32
        ) d
        CROSS JOIN LATERAL (
          SELECT (sum(u.device_ns) * 1000 / nullif(sum(u.units), 0))::bigint AS unit_ps
          FROM usage_days u
          CROSS JOIN LATERAL (SELECT (j.queued_at AT TIME ZONE 'UTC')::date AS day) q
          WHERE u.tenant = j.tenant AND u.class = j.class AND u.model = j.model || '@' || j.model_version AND u.day >= q.day - 7 AND u.day < q.day
        ) u
        ON CONFLICT DO NOTHING
        """;
}
