using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>A row of <see cref="SlaTables"/>.</summary>
public sealed record SlaStored(DateTimeOffset At, SlaKey Key, SlaSums Sums);

/// <summary>Reads and writes the tables of sums.</summary>
public static class SlaStore
{
    private static readonly string Columns = string.Join(", ", SlaTables.Columns);

    /// <summary>
    /// What a window came to, by tenant, class and model: from days, hours and minutes, whichever are fewest. Minutes that are not rolled up
    /// yet are not in it; see <see cref="RolledUpAsync"/>.
    /// </summary>
    /// <param name="from">Its beginning, and <paramref name="to"/> its end: whole minutes.</param>
    /// <param name="tenant">Only of this one; null for all.</param>
    public static async Task<Dictionary<SlaKey, SlaSums>> SumAsync(
        NpgsqlConnection connection,
        DateTimeOffset from,
        DateTimeOffset to,
        TenantId? tenant = null,
        CancellationToken stop = default
    )
    {
        var sums = new Dictionary<SlaKey, SlaSums>();
        foreach (var span in SlaSpan.Of(from, to))
        {
            await ReadAsync(connection, span, tenant, SlaSums.Times, (_, key, reader) => reader.AddTo(Of(sums, key)), stop);
        }

        return sums;
    }

    /// <summary>Gives every row of a span to <paramref name="take"/>, in order of time, tenant, class and model.</summary>
    /// <param name="times">The histograms to read; the others are left out, which spares most of the bytes.</param>
    public static async Task ReadAsync(
        NpgsqlConnection connection,
        SlaSpan span,
        TenantId? tenant,
        IReadOnlyList<SlaTime> times,
        Action<DateTimeOffset, SlaKey, SlaRowReader> take,
        CancellationToken stop = default
    )
    {
        var columns = SlaSums.Counts.Select(c => c.ToString()).Concat(times.Select(t => t.ToString())).Select(SlaTables.Column);
        await using var command = new NpgsqlCommand(
            $"""
            SELECT at, tenant, class, model, {string.Join(", ", columns)} FROM {SlaTables.Name(span.Grain)}
            WHERE at >= $1 AND at < $2{(tenant is null ? "" : " AND tenant = $3")}
            ORDER BY at, tenant, class COLLATE "C", model
            """,
            connection
        );
        command.Parameters.Add(Moment(span.From));
        command.Parameters.Add(Moment(span.To));
        if (tenant is { } one)
        {
            command.Parameters.Add(new() { Value = one.Value });
        }

        await using var reader = await command.ExecuteReaderAsync(stop);
        var row = new SlaRowReader(reader, times);
        while (await reader.ReadAsync(stop))
        {
            take(reader.GetFieldValue<DateTimeOffset>(0), KeyOf(reader, 1), row);
        }
    }

    /// <summary>Up to when everything is rolled up: the end of the oldest task that is not, or now.</summary>
    public static async Task<DateTimeOffset> RolledUpAsync(NpgsqlConnection connection, CancellationToken stop = default)
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT coalesce((
              SELECT r.finished_at
              FROM (
                SELECT e.* FROM rollups m CROSS JOIN LATERAL (SELECT * FROM endings WHERE xid > m.xid ORDER BY xid LIMIT 1) e
              ) e
              JOIN chunks c ON c.job = e.job AND c.no = e.chunk
              CROSS JOIN LATERAL (
                SELECT seq, finished_at FROM results
                WHERE job = e.job AND seq >= c.first_seq AND seq < c.first_seq + octet_length(e.tasks) * 8 OFFSET 0
              ) r
              WHERE get_bit(e.tasks, r.seq - c.first_seq) = 1 LIMIT 1
            ), now())
            """,
            connection
        );
        return (DateTime)(await command.ExecuteScalarAsync(stop))!;
    }

    /// <summary>Adds sums to rows, in the caller's transaction, which is the only one that writes them (<see cref="Rollups"/> holds a lock).</summary>
    internal static async Task MergeAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        IReadOnlyDictionary<(DateTimeOffset Minute, SlaKey Key), SlaSums> added,
        CancellationToken stop
    )
    {
        foreach (var grain in Enum.GetValues<SlaGrain>())
        {
            var rows = new Dictionary<(DateTimeOffset At, SlaKey Key), SlaSums>();
            foreach (var ((minute, key), sums) in added)
            {
                Of(rows, (SlaTables.Floor(grain, minute), key)).Add(sums);
            }

            if (rows.Count > 0)
            {
                await AddStoredAsync(connection, transaction, grain, rows, stop);
                await WriteAsync(connection, transaction, grain, rows, stop);
            }
        }
    }

    private static async Task AddStoredAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        SlaGrain grain,
        Dictionary<(DateTimeOffset At, SlaKey Key), SlaSums> rows,
        CancellationToken stop
    )
    {
        await using var command = new NpgsqlCommand(
            $"""
            SELECT at, tenant, class, model, {Columns}
            FROM unnest($1, $2, $3, $4) AS k (k_at, k_tenant, k_class, k_model)
            JOIN {SlaTables.Name(grain)} ON at = k_at AND tenant = k_tenant AND class = k_class AND model = k_model
            """,
            connection,
            transaction
        );
        AddKeys(command.Parameters, rows.Keys);
        await using var reader = await command.ExecuteReaderAsync(stop);
        var row = new SlaRowReader(reader, SlaSums.Times);
        while (await reader.ReadAsync(stop))
        {
            row.AddTo(rows[(reader.GetFieldValue<DateTimeOffset>(0), KeyOf(reader, 1))]);
        }
    }

    private static async Task WriteAsync(
        NpgsqlConnection connection,
        NpgsqlTransaction transaction,
        SlaGrain grain,
        Dictionary<(DateTimeOffset At, SlaKey Key), SlaSums> rows,
        CancellationToken stop
    )
    {
        var columns = Enumerable.Range(1, SlaTables.Columns.Count + 4).Select(i => $"${i}");
        await using var command = new NpgsqlCommand(
            $"""
            INSERT INTO {SlaTables.Name(grain)} (at, tenant, class, model, {Columns})
            SELECT * FROM unnest({string.Join(", ", columns)})
            ON CONFLICT (at, tenant, class, model) DO UPDATE SET {string.Join(", ", SlaTables.Columns.Select(c => $"{c} = excluded.{c}"))}
            """,
            connection,
            transaction
        );
        AddKeys(command.Parameters, rows.Keys);
        foreach (var count in SlaSums.Counts)
        {
            command.Parameters.Add(Array(NpgsqlDbType.Bigint, rows.Values.Select(sums => sums[count]).ToArray()));
        }

        foreach (var time in SlaSums.Times)
        {
            command.Parameters.Add(Array(NpgsqlDbType.Bytea, rows.Values.Select(sums => sums[time].ToBytes()).ToArray()));
        }

        await command.ExecuteNonQueryAsync(stop);
    }

    private static void AddKeys(NpgsqlParameterCollection parameters, IReadOnlyCollection<(DateTimeOffset At, SlaKey Key)> keys)
    {
        parameters.Add(Array(NpgsqlDbType.TimestampTz, keys.Select(k => k.At).ToArray()));
        parameters.Add(Array(NpgsqlDbType.Uuid, keys.Select(k => k.Key.Tenant.Value).ToArray()));
        parameters.Add(Array(NpgsqlDbType.Text, keys.Select(k => k.Key.Class.Name()).ToArray()));
        parameters.Add(Array(NpgsqlDbType.Text, keys.Select(k => k.Key.Model).ToArray()));
    }

    internal static SlaKey KeyOf(NpgsqlDataReader reader, int first) =>
        new(
            new TenantId(reader.GetGuid(first)),
            Words.Parse<LatencyClass>(reader.GetString(first + 1), LatencyClasses.Name),
            reader.GetString(first + 2)
        );

    internal static SlaSums Of<TKey>(Dictionary<TKey, SlaSums> sums, TKey key)
        where TKey : notnull => sums.TryGetValue(key, out var found) ? found : sums[key] = new SlaSums();

    internal static NpgsqlParameter Moment(DateTimeOffset at) =>
        new() { Value = at.ToUniversalTime(), NpgsqlDbType = NpgsqlDbType.TimestampTz };

    internal static NpgsqlParameter Array(NpgsqlDbType element, object values) =>
        new() { Value = values, NpgsqlDbType = NpgsqlDbType.Array | element };
}

/// <summary>The row a reader stands on: <c>at, tenant, class, model</c>, the counts, then the times that were asked for.</summary>
public sealed class SlaRowReader(NpgsqlDataReader reader, IReadOnlyList<SlaTime> times)
{
    private const int Keys = 4;

    public long this[SlaCount count] => reader.GetInt64(Keys + (int)count);

    /// <summary>A histogram as it is stored; <paramref name="place"/> counts the times that were asked for.</summary>
    public byte[] Bytes(int place) => reader.GetFieldValue<byte[]>(Keys + SlaSums.Counts.Count + place);

    public void AddTo(SlaSums sums)
    {
        foreach (var count in SlaSums.Counts)
        {
            sums[count] += this[count];
        }

        for (var i = 0; i < times.Count; i++)
        {
            sums[times[i]].AddBytes(Bytes(i));
        }
    }
}
