using System.Globalization;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Events;

/// <summary>
/// A place among a job's events: transaction, then number. Numbers alone would not do, since they are given before the transaction
/// commits; a transaction below every open one has nothing more to show. Written <c>812-40</c>; to clients it is opaque.
/// </summary>
internal readonly record struct EventCursor(ulong Xid, long Id) : IComparable<EventCursor>
{
    public static EventCursor? TryParse(string text)
    {
        var dash = text.IndexOf('-', StringComparison.Ordinal);
        return
            dash > 0
            && ulong.TryParse(text.AsSpan(0, dash), NumberStyles.None, CultureInfo.InvariantCulture, out var xid)
            && long.TryParse(text.AsSpan(dash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var id)
            ? new EventCursor(xid, id)
            : null;
    }

    public int CompareTo(EventCursor other) => Xid != other.Xid ? Xid.CompareTo(other.Xid) : Id.CompareTo(other.Id);

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Xid}-{Id}");

    public static bool operator <(EventCursor left, EventCursor right) => left.CompareTo(right) < 0;

    public static bool operator >(EventCursor left, EventCursor right) => left.CompareTo(right) > 0;

    public static bool operator <=(EventCursor left, EventCursor right) => left.CompareTo(right) <= 0;

    public static bool operator >=(EventCursor left, EventCursor right) => left.CompareTo(right) >= 0;
}

/// <summary>One row of the outbox.</summary>
/// <param name="Data">A JSON object on one line.</param>
internal sealed record JobEvent(EventCursor Cursor, string Type, string Data);

/// <summary>Reads a job's events from the outbox, never past a transaction that is still open.</summary>
internal static class JobEvents
{
    /// <summary>Events read at once.</summary>
    public const int PageMax = 100;

    /// <summary>What only webhooks tell is left out: a batch's end, which may come after its job's, and <c>job.progress</c>.</summary>
    private const string OfStream = "e.type LIKE 'job.%' AND e.type <> 'job.progress'";

    /// <summary>A job's own events are written under the lock of its row; once it has ended, none of them is still to come.</summary>
    private const string Settled = "(e.xid < pg_snapshot_xmin(pg_current_snapshot()) OR j.finished_at IS NOT NULL)";

    /// <summary>The place of the latest event of each of these jobs.</summary>
    public const string LatestSql = $"""
        SELECT DISTINCT ON (e.job) e.job, e.xid, e.id
        FROM events e JOIN jobs j ON j.id = e.job
        WHERE e.job = ANY ($1) AND {OfStream} AND {Settled}
        ORDER BY e.job, e.xid DESC, e.id DESC
        """;

    private const string AfterSql = $"""
        SELECT e.xid, e.id, e.type, e.data::text
        FROM events e JOIN jobs j ON j.id = e.job
        WHERE e.job = $1 AND (e.xid, e.id) > ($2, $3) AND {OfStream} AND {Settled}
        ORDER BY e.xid, e.id LIMIT $4
        """;

    public static async Task<List<JobEvent>> ReadAfterAsync(
        NpgsqlDataSource database,
        JobId job,
        EventCursor cursor,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(AfterSql);
        command.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = job.Value });
        command.Parameters.Add(new NpgsqlParameter { Value = cursor.Xid, NpgsqlDbType = NpgsqlDbType.Xid8 });
        command.Parameters.Add(new NpgsqlParameter<long> { TypedValue = cursor.Id });
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = PageMax });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var events = new List<JobEvent>();
        while (await reader.ReadAsync(stop))
        {
            var place = new EventCursor(reader.GetFieldValue<ulong>(0), reader.GetInt64(1));
            events.Add(new JobEvent(place, reader.GetString(2), reader.GetString(3)));
        }

        return events;
    }
}
