using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Tests.Support.Servers;
using Xunit;

namespace Pipeline.Tests.Integration.Migrations;

/// <summary>Sums up anew from results, batches and jobs what the tables of sums say, row by row, down to the bytes of the histograms.</summary>
internal static class SlaRecount
{
    public static async Task AssertEqualAsync(TestDatabase db)
    {
        foreach (var grain in Enum.GetValues<SlaGrain>())
        {
            var (expected, rolled) = (await RecountAsync(db, grain), await ReadAsync(db, grain));
            Assert.Equal(expected.Keys.OrderBy(k => k.ToString()), rolled.Keys.OrderBy(k => k.ToString()));
            foreach (var (at, sums) in expected)
            {
                AssertEqual(at.ToString(), sums, rolled[at]);
            }
        }
    }

    public static void AssertEqual(string where, SlaSums expected, SlaSums actual)
    {
        foreach (var count in SlaSums.Counts)
        {
            Assert.True(expected[count] == actual[count], $"{where}: {count} is {actual[count]}, expected {expected[count]}.");
        }

        foreach (var time in SlaSums.Times)
        {
            Assert.True(expected[time].ToBytes().SequenceEqual(actual[time].ToBytes()), $"{where}: the histogram {time} is another.");
        }
    }

    private static async Task<Dictionary<(DateTimeOffset, SlaKey), SlaSums>> ReadAsync(TestDatabase db, SlaGrain grain)
    {
        var all = new SlaSpan(grain, DateTimeOffset.UnixEpoch, DateTimeOffset.UtcNow.AddYears(1));
        var rows = new Dictionary<(DateTimeOffset, SlaKey), SlaSums>();
        await using var connection = await db.DataSource.OpenConnectionAsync();
        await SlaStore.ReadAsync(
            connection,
            all,
            null,
            SlaSums.Times,
            (at, key, row) =>
            {
                var sums = new SlaSums();
                row.AddTo(sums);
                rows.Add((at, key), sums);
            }
        );
        return rows;
    }

    private static async Task<Dictionary<(DateTimeOffset, SlaKey), SlaSums>> RecountAsync(TestDatabase db, SlaGrain grain)
    {
        var sums = new Dictionary<(DateTimeOffset, SlaKey), SlaSums>();
        SlaSums Of((DateTimeOffset At, SlaKey Key) row) =>
            sums.TryGetValue((SlaTables.Floor(grain, row.At), row.Key), out var found)
                ? found
                : sums[(SlaTables.Floor(grain, row.At), row.Key)] = new SlaSums();

        await using var connection = await db.DataSource.OpenConnectionAsync();
        await using (var command = new Npgsql.NpgsqlCommand(TasksSql, connection))
        await using (var reader = await command.ExecuteReaderAsync())
        {
            while (await reader.ReadAsync())
            {
                var row = Of(Key(reader));
                var (status, code) = (reader.GetString(4), reader.IsDBNull(5) ? null : reader.GetString(5));
                var (queued, staged, device, total) = (reader.GetInt64(6), reader.GetInt32(7), reader.GetInt32(8), reader.GetInt64(9));
                row[Enum.Parse<SlaCount>(status, ignoreCase: true)]++;
                row[SlaCount.ClientFaults] += code is not null && FailureKinds.OfCode(code).Info().Fault == Fault.Client ? 1 : 0;
                row[SlaCount.ReusedJob] += reader.GetString(10) == "job" ? 1 : 0;
                row[SlaCount.ReusedCache] += reader.GetString(10) == "cache" ? 1 : 0;
                row[SlaCount.CostPico] += reader.GetInt64(11);
                row[SlaCount.SavedPico] += reader.GetInt64(12);
                row[SlaCount.Ran] += reader.GetInt16(13);
                row[SlaCount.BatchRows] += reader.GetInt16(13) * reader.GetInt32(14);
                if (status == "succeeded")
                {
                    row[SlaTime.Queued].Add(queued);
                    row[SlaTime.Staged].Add(staged);
                    row[SlaTime.Device].Add(device);
                    row[SlaTime.Writing].Add(Math.Max(0, total - queued - staged - device));
                    row[SlaTime.Total].Add(total);
                    row[SlaCount.Within] += total <= SlaSums.TargetUs(Key(reader).Key.Class) ? 1 : 0;
                    var band =
                        total <= 100_000 ? SlaCount.Band100
                        : total <= 500_000 ? SlaCount.Band500
                        : total <= 800_000 ? SlaCount.Band800
                        : total <= 1_000_000 ? SlaCount.Band1000
                        : SlaCount.BandMore;
                    row[band]++;
                }
            }
        }

        await using (var command = new Npgsql.NpgsqlCommand(ChunksSql, connection))
        await using (var reader = await command.ExecuteReaderAsync())
        {
            while (await reader.ReadAsync())
            {
                var row = Of(Key(reader));
                row[SlaCount.Units] += reader.GetInt64(4);
                row[SlaCount.PaddedUnits] += reader.GetInt64(5);
                row[SlaCount.PricePico] += reader.GetInt64(6);
            }
        }

        await using (var command = new Npgsql.NpgsqlCommand(JobsSql, connection))
        await using (var reader = await command.ExecuteReaderAsync())
        {
            while (await reader.ReadAsync())
            {
                var (at, key) = Key(reader);
                Of((at, key)).AddJob(key.Class, reader.GetBoolean(4), reader.GetInt64(5), reader.GetInt64(6));
            }
        }

        return sums;
    }

    private static (DateTimeOffset At, SlaKey Key) Key(Npgsql.NpgsqlDataReader reader)
    {
        Assert.True(LatencyClasses.TryParse(reader.GetString(2), out var latencyClass));
        return (reader.GetFieldValue<DateTimeOffset>(0), new SlaKey(new TenantId(reader.GetGuid(1)), latencyClass, reader.GetString(3)));
    }

    private const string TasksSql = """
        SELECT r.finished_at, j.tenant, j.class, r.model, r.status, r.error_code, r.queued_us, r.staged_us, r.device_us, r.total_us,
               coalesce(r.reused, ''), r.cost_pico, coalesce(r.saved_pico, 0), r.turns, coalesce(b.rows, 0)
        FROM results r JOIN jobs j ON j.id = r.job LEFT JOIN batches b ON b.id = r.batch
        """;

    private const string ChunksSql = """
        SELECT r.finished_at, j.tenant, j.class, r.model, sum(r.units)::bigint,
               coalesce(max(b.padded_units)::numeric * sum(r.units) / nullif(max(b.units), 0), 0)::bigint,
               div(coalesce(sum(r.units) FILTER (WHERE r.status = 'succeeded'), 0)::numeric * coalesce(max(j.per_million_units_pico), 0), 1000000)::bigint
        FROM results r JOIN jobs j ON j.id = r.job LEFT JOIN batches b ON b.id = r.batch
        GROUP BY r.finished_at, j.tenant, j.class, r.model, r.job, r.chunk, r.batch
        """;

    private const string JobsSql = """
        SELECT finished_at, tenant, class, model || '@' || model_version, state = 'completed',
               (extract(epoch FROM started_at - queued_at) * 1000000)::bigint, (extract(epoch FROM finished_at - queued_at) * 1000000)::bigint
        FROM jobs WHERE state IN ('completed', 'expired')
        """;
}
