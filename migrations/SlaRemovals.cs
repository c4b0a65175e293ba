using Npgsql;

namespace Pipeline.Migrations;

/// <summary>Removes what reports are made of once it is old, and reports that were kept long enough.</summary>
public static class SlaRemovals
{
    /// <summary>What has an age of its own, and the column that tells its time.</summary>
    private static readonly Dictionary<SlaKept, (string Column, string[] Tables)> Kinds = new()
    {
        [SlaKept.Minutes] = ("at", ["sla_minutes"]),
        [SlaKept.Hours] = ("at", ["sla_hours"]),
        [SlaKept.Days] = ("at", ["sla_days"]),
        [SlaKept.Details] = ("at", ["sla_doors", "sla_callbacks", "sla_breaches"]),
        [SlaKept.Reports] = ("created_at", ["reports"]),
    };

    /// <summary>Removes the next rows of before a moment.</summary>
    /// <returns>Rows removed, at most <paramref name="rowsMax"/> of each table; as long as it is not 0, more may wait.</returns>
    public static async Task<long> StepAsync(
        NpgsqlDataSource database,
        SlaKept kind,
        DateTimeOffset before,
        int rowsMax,
        CancellationToken stop = default
    )
    {
        var (column, tables) = Kinds[kind];
        // All minutes of an hour go together, and all hours of a day: what is left of one would look like all of it.
        before = kind switch
        {
            SlaKept.Minutes => SlaTables.Floor(SlaGrain.Hour, before),
            SlaKept.Hours => SlaTables.Floor(SlaGrain.Day, before),
            _ => before,
        };
        // A report of all but an excluded time needs the minutes at its ends, as long as it can be made at all.
        var keep = kind == SlaKept.Minutes ? $"AND NOT EXISTS ({ExclusionEdgeSql})" : "";
        var removed = 0L;
        foreach (var table in tables)
        {
            await using var command = database.CreateCommand(
                $"""
                DELETE FROM {table} WHERE ctid = ANY (ARRAY(
                  SELECT s.ctid FROM {table} s WHERE s.{column} < $1 {keep} ORDER BY s.{column} LIMIT $2
                ))
                """
            );
            command.Parameters.Add(SlaStore.Moment(before));
            command.Parameters.Add(new() { Value = rowsMax });
            removed += await command.ExecuteNonQueryAsync(stop);
        }

        return removed;
    }

    /// <summary>The first of these spans whose rows are gone while the longer ones they were summed up to are still there; null where all are.</summary>
    public static async Task<SlaSpan?> FirstRemovedAsync(
        NpgsqlConnection connection,
        IEnumerable<SlaSpan> spans,
        CancellationToken stop = default
    )
    {
        foreach (var grain in (SlaGrain[])[SlaGrain.Minute, SlaGrain.Hour])
        {
            var wanted = spans.Where(s => s.Grain == grain).ToList();
            var sum = grain + 1;
            await using var command = new NpgsqlCommand(
                $"""
                SELECT w.no FROM unnest($1, $2) WITH ORDINALITY AS w (sum_at, sum_to, no)
                WHERE EXISTS (SELECT FROM {SlaTables.Name(sum)} s WHERE s.at = w.sum_at)
                  AND NOT EXISTS (SELECT FROM {SlaTables.Name(grain)} s WHERE s.at >= w.sum_at AND s.at < w.sum_to)
                ORDER BY w.no LIMIT 1
                """,
                connection
            );
            // A span at an edge lies in one longer one.
            var sums = wanted.Select(s => SlaTables.Floor(sum, s.From)).ToList();
            command.Parameters.Add(SlaStore.Array(NpgsqlTypes.NpgsqlDbType.TimestampTz, sums.ToArray()));
            command.Parameters.Add(
                SlaStore.Array(NpgsqlTypes.NpgsqlDbType.TimestampTz, sums.Select(at => at + SlaTables.Length(sum)).ToArray())
            );
            if (await command.ExecuteScalarAsync(stop) is long no)
            {
                return wanted[(int)no - 1];
            }
        }

        return null;
    }

    private const string ExclusionEdgeSql = """
        SELECT FROM sla_exclusions e, unnest(ARRAY[e.from_at, e.to_at]) AS edge (at)
        WHERE s.at >= date_trunc('hour', edge.at, 'UTC') AND s.at < date_trunc('hour', edge.at, 'UTC') + interval '1 hour'
        """;
}

/// <summary>What <see cref="SlaRemovals"/> removes, each by its own age.</summary>
public enum SlaKept
{
    /// <summary>Sums and histograms by the minute, the hour and the day.</summary>
    Minutes,
    Hours,
    Days,

    /// <summary>Answers at the door, callbacks, and breaches.</summary>
    Details,

    /// <summary>Reports that were kept.</summary>
    Reports,
}
