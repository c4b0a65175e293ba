using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

/// <summary>Counts everything anew from the rows themselves and holds the rollups against it; knows nothing of transactions or marks.</summary>
internal static class Recount
{
    public static async Task AssertEqualAsync(TestDatabase db)
    {
        Assert.Equal(0, await db.ScalarAsync<long>(Differences("usage_days", UsageSql)));
        Assert.Equal(0, await db.ScalarAsync<long>(Differences("device_days", DevicesSql)));
        Assert.Equal(0, await db.ScalarAsync<long>(OpenSql));
    }

    private static string Differences(string table, string recount) =>
        $"""
            WITH counted AS ({recount}), rolled AS (SELECT * FROM {table})
            SELECT (SELECT count(*) FROM counted c FULL JOIN rolled r ON to_jsonb(r) = to_jsonb(c) WHERE r.day IS NULL OR c.day IS NULL)
            """;

    private const string UsageSql = """
        SELECT day, tenant, class, model, sum(succeeded)::bigint AS succeeded, sum(failed)::bigint AS failed, sum(expired)::bigint AS expired,
               sum(cancelled)::bigint AS cancelled, sum(units)::bigint AS units, sum(turns)::bigint AS turns,
               sum(device_ns)::bigint AS device_ns, sum(cost_pico)::bigint AS cost_pico, sum(reused_job)::bigint AS reused_job,
               sum(reused_cache)::bigint AS reused_cache, sum(saved_pico)::bigint AS saved_pico
        FROM (
          SELECT (r.finished_at AT TIME ZONE 'UTC')::date AS day, j.tenant, j.class, r.model,
                 count(*) FILTER (WHERE r.status = 'succeeded') AS succeeded, count(*) FILTER (WHERE r.status = 'failed') AS failed,
                 count(*) FILTER (WHERE r.status = 'expired') AS expired, count(*) FILTER (WHERE r.status = 'cancelled') AS cancelled,
                 sum(r.units) AS units, sum(r.turns - coalesce(t.turns, 0)) AS turns, sum(r.cost_pico - coalesce(t.cost_pico, 0)) AS cost_pico,
                 count(*) FILTER (WHERE r.reused = 'job') AS reused_job, count(*) FILTER (WHERE r.reused = 'cache') AS reused_cache,
                 coalesce(sum(r.saved_pico), 0) AS saved_pico,
                 coalesce(div(max(b.device_ns)::numeric * sum(r.units), max(b.padded_units)), 0) AS device_ns
          FROM results r JOIN jobs j ON j.id = r.job LEFT JOIN batches b ON b.id = r.batch
          LEFT JOIN (SELECT job, seq, count(*) AS turns, sum(cost_pico) AS cost_pico FROM turns GROUP BY 1, 2) t USING (job, seq)
          GROUP BY 1, j.tenant, j.class, r.model, r.job, r.chunk, r.batch
          UNION ALL
          SELECT (t.finished_at AT TIME ZONE 'UTC')::date, j.tenant, j.class, t.model, 0, 0, 0, 0, sum(t.units), count(*), sum(t.cost_pico), 0, 0, 0,
                 div(max(b.device_ns)::numeric * sum(t.units), max(b.padded_units))
          FROM turns t JOIN jobs j ON j.id = t.job JOIN batches b ON b.id = t.batch
          GROUP BY 1, j.tenant, j.class, t.model, t.job, t.chunk, t.batch
        ) AS chunks GROUP BY day, tenant, class, model
        """;

    private const string DevicesSql = """
        SELECT (l.at AT TIME ZONE 'UTC')::date AS day, w.pool, w.price_per_hour_pico, l.account, coalesce(l.detail, '') AS detail,
               sum(l.ns)::bigint AS ns, sum(l.pico)::bigint AS pico
        FROM ledger l JOIN workers w ON w.id = l.worker GROUP BY 1, 2, 3, 4, 5
        """;

    /// <summary>Pools whose tasks do not sum to their account.</summary>
    private const string OpenSql = """
        SELECT count(*) FROM (
          SELECT day, pool, price_per_hour_pico, sum(pico) AS pico FROM device_days WHERE account = 'task' GROUP BY 1, 2, 3
        ) AS d FULL JOIN (
          SELECT day, pool, price_per_hour_pico, sum(cost_pico) AS pico FROM allocated_days GROUP BY 1, 2, 3
        ) AS a USING (day, pool, price_per_hour_pico)
        WHERE coalesce(d.pico, 0) <> coalesce(a.pico, 0)
        """;
}
