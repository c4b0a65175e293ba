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
            sums.AddJob(key.Class, reader.GetBoolean(FirstCount), firstUs, reader.GetInt64(FirstCount + 2));
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
    /// those of the job's last transaction. Only breaching jobs are looked at so.
    /// </summary>
    public const string BreachesSql = """
        INSERT INTO sla_breaches (job, kind, at, tenant, class, model, state, queued_at, deadline, predicted_at, target_us, total_us, tasks,
                                  failed, expired, queued_us, staged_us, device_us, worker_losses, paused)
        SELECT j.id, 'job', j.finished_at, j.tenant, j.class, j.model || '@' || j.model_version, j.state, j.queued_at, j.deadline,
               j.predicted_at, t.target_us, l.late_us, j.tasks, coalesce(j.failed, 0), coalesce(j.expired, 0), coalesce(r.queued_us, 0),
               coalesce(r.staged_us, 0), coalesce(r.device_us, 0), (SELECT coalesce(max(attempts), 0) FROM chunks WHERE job = j.id),
               EXISTS (SELECT FROM events p WHERE p.job = j.id AND p.type = 'job.paused')
        FROM events e
        JOIN jobs j ON j.id = e.job
        JOIN unnest($3, $4) AS t (class, target_us) ON t.class = j.class
        CROSS JOIN LATERAL (SELECT (extract(epoch FROM j.finished_at - coalesce(j.class_since, j.queued_at)) * 1000000)::bigint AS late_us) l
        LEFT JOIN LATERAL (
          SELECT chunk, tasks FROM endings WHERE job = j.id ORDER BY xid DESC, chunk DESC LIMIT 1
        ) n ON true
        LEFT JOIN LATERAL (
          SELECT r.queued_us, r.staged_us, r.device_us
          FROM (SELECT first_seq FROM chunks WHERE job = j.id AND no = n.chunk OFFSET 0) c
          CROSS JOIN LATERAL (
            SELECT seq, queued_us, staged_us, device_us, total_us FROM results
            WHERE job = j.id AND seq >= c.first_seq AND seq < c.first_seq + octet_length(n.tasks) * 8 OFFSET 0
          ) r
          WHERE get_bit(n.tasks, r.seq - c.first_seq) = 1 ORDER BY r.total_us DESC, r.seq LIMIT 1
        ) r ON true
        WHERE e.type IN ('job.completed', 'job.expired') AND e.xid > $1 AND e.xid <= $2 AND j.queued_at IS NOT NULL
          AND (j.state = 'expired' OR l.late_us > t.target_us)
        ON CONFLICT DO NOTHING
        """;
}
