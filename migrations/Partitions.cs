using System.Globalization;
using Npgsql;

namespace Pipeline.Migrations;

/// <summary>
/// The day partitions of <c>results</c>. A UUIDv7 begins with its time in milliseconds, so a UTC day is a range of job ids and the key
/// <c>(job, seq)</c> stays unique over all partitions.
/// </summary>
public static class Partitions
{
    /// <summary>How many days beyond today are made ahead. A missed day loses nothing: its rows go to the default partition, and move when the day's partition is made.</summary>
    public const int DaysAhead = 14;

    // Attaching takes a lock that readers of the default partition hold, and writers queue behind who waits for it; so waits are short.
    private static readonly TimeSpan LockWaitMax = TimeSpan.FromSeconds(2);
    private const int TriesMax = 10;

    // Dropping may wait until the next time.
    private static readonly TimeSpan DropWaitMax = TimeSpan.FromMilliseconds(200);

    /// <summary>Name of the day's partition: <c>results_20260131</c>.</summary>
    public static string NameOf(DateOnly day) => $"results_{day.ToString("yyyyMMdd", CultureInfo.InvariantCulture)}";

    /// <summary>The smallest id a UUIDv7 of that day can have; the first of the next day bounds it from above.</summary>
    public static Guid LowerBound(DateOnly day) => LowerBound(new DateTimeOffset(day.ToDateTime(TimeOnly.MinValue), TimeSpan.Zero));

    /// <summary>The smallest id a UUIDv7 of that millisecond can have.</summary>
    public static Guid LowerBound(DateTimeOffset moment)
    {
        var milliseconds = moment.ToUnixTimeMilliseconds();
        return new Guid((int)(milliseconds >> 16), (short)(milliseconds & 0xFFFF), 0, 0, 0, 0, 0, 0, 0, 0, 0);
    }

    /// <summary>
    /// Makes the partitions of <paramref name="days"/> days from <paramref name="from"/> that do not exist yet; returns the names it
    /// made. Safe to call from several processes at once, and while others read and write.
    /// </summary>
    public static async Task<IReadOnlyList<string>> EnsureAheadAsync(
        NpgsqlDataSource dataSource,
        DateOnly from,
        int days,
        CancellationToken cancellationToken = default
    )
    {
        await using var connection = await dataSource.OpenConnectionAsync(cancellationToken);
        var made = new List<string>();
        for (var day = from; day < from.AddDays(days); day = day.AddDays(1))
        {
            if (!await ExistsAsync(connection, NameOf(day), cancellationToken) && await TryMakeAsync(connection, day, cancellationToken))
            {
                made.Add(NameOf(day));
            }
        }

        return made;
    }

    /// <summary>
    /// Drops the partitions of days before <paramref name="before"/> whose jobs have all had their outputs removed: at once, where row by row
    /// would take as long as writing them did. A day with a job that runs, or whose results are kept, stays. Detaching waits for readers, and
    /// everybody for it, so it gives up soon and is tried again another time. (With a default partition there is no <c>CONCURRENTLY</c>.)
    /// </summary>
    /// <returns>The names of those it dropped.</returns>
    public static async Task<IReadOnlyList<string>> DropRemovedAsync(
        NpgsqlDataSource dataSource,
        DateOnly before,
        CancellationToken cancellationToken = default
    )
    {
        await using var connection = await dataSource.OpenConnectionAsync(cancellationToken);
        var dropped = new List<string>();
        foreach (var day in await ReadDaysAsync(connection, cancellationToken))
        {
            if (day < before && await TryDropAsync(connection, day, cancellationToken))
            {
                dropped.Add(NameOf(day));
            }
        }

        return dropped;
    }

    private static async Task<bool> TryDropAsync(NpgsqlConnection connection, DateOnly day, CancellationToken cancellationToken)
    {
        await using var needed = new NpgsqlCommand(
            "SELECT EXISTS (SELECT FROM jobs WHERE id >= $1 AND id < $2 AND outputs_removed_at IS NULL)",
            connection
        );
        needed.Parameters.Add(new() { Value = LowerBound(day) });
        needed.Parameters.Add(new() { Value = LowerBound(day.AddDays(1)) });
        if (await needed.ExecuteScalarAsync(cancellationToken) is true)
        {
            return false;
        }

        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        try
        {
            await ExecuteAsync(
                connection,
                $"""
                SET LOCAL lock_timeout = '{DropWaitMax.TotalMilliseconds:F0}ms';
                ALTER TABLE results DETACH PARTITION {NameOf(day)};
                DROP TABLE {NameOf(day)};
                """,
                cancellationToken
            );
            await transaction.CommitAsync(cancellationToken);
            return true;
        }
        catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.LockNotAvailable or PostgresErrorCodes.DeadlockDetected)
        {
            return false;
        }
    }

    private static async Task<List<DateOnly>> ReadDaysAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(
            """
            SELECT right(c.relname, 8) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'results'::regclass AND c.relname ~ '^results_[0-9]{8}$' ORDER BY 1
            """,
            connection
        );
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        var days = new List<DateOnly>();
        while (await reader.ReadAsync(cancellationToken))
        {
            days.Add(DateOnly.ParseExact(reader.GetString(0), "yyyyMMdd", CultureInfo.InvariantCulture));
        }

        return days;
    }

    private static async Task<bool> TryMakeAsync(NpgsqlConnection connection, DateOnly day, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
            try
            {
                // One maker at a time; who waited finds the partition there.
                await ExecuteAsync(
                    connection,
                    "SELECT pg_advisory_xact_lock(hashtextextended('results partitions', 0))",
                    cancellationToken
                );
                if (await ExistsAsync(connection, NameOf(day), cancellationToken))
                {
                    return false;
                }

                await ExecuteAsync(connection, MakeSql(day), cancellationToken);
                await transaction.CommitAsync(cancellationToken);
                return true;
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.LockNotAvailable && attempt < TriesMax)
            {
                await transaction.RollbackAsync(cancellationToken);
            }
        }
    }

    /// <summary>
    /// Made apart and attached: <c>CREATE TABLE … PARTITION OF</c> would lock all of <c>results</c> against readers. The CHECK says
    /// what the bounds will say, so that attaching need not scan. Rows of that day that went to the default partition move over, behind
    /// a lock that keeps new ones out; it is empty as a rule, and then both steps cost nothing.
    /// </summary>
    private static string MakeSql(DateOnly day)
    {
        var (name, lower, upper) = (NameOf(day), LowerBound(day), LowerBound(day.AddDays(1)));
        return $"""
            SET LOCAL lock_timeout = '{LockWaitMax.TotalMilliseconds:F0}ms';
            CREATE TABLE {name} (LIKE results INCLUDING ALL);
            ALTER TABLE {name} ADD CONSTRAINT ck_{name}_day CHECK (job >= '{lower}' AND job < '{upper}');
            LOCK TABLE results_default IN SHARE ROW EXCLUSIVE MODE;
            WITH moved AS (DELETE FROM results_default WHERE job >= '{lower}' AND job < '{upper}' RETURNING *)
            INSERT INTO {name} SELECT * FROM moved;
            ALTER TABLE results ATTACH PARTITION {name} FOR VALUES FROM ('{lower}') TO ('{upper}');
            ALTER TABLE {name} DROP CONSTRAINT ck_{name}_day;
            """;
    }

    private static async Task<bool> ExistsAsync(NpgsqlConnection connection, string name, CancellationToken cancellationToken)
    {
        // Read from the catalog itself: to_regclass may answer from the session's cache, which a wait for the lock does not refresh.
        await using var command = new NpgsqlCommand(
            """
            SELECT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                           WHERE i.inhparent = 'results'::regclass AND c.relname = $1)
            """,
            connection
        );
        command.Parameters.Add(new() { Value = name });
        return (bool)(await command.ExecuteScalarAsync(cancellationToken))!;
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }
}
