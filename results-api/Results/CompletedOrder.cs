using System.Numerics;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Results;

/// <summary>
/// Results in the order in which they were committed, or nearly: by transaction number. A transaction with a lower number may commit
/// later, so nothing is read from the oldest open transaction on; a cursor therefore never passes one. Once all tasks of the job have
/// ended there is no such transaction left for it, and the rest is read at once.
/// </summary>
internal sealed class CompletedOrder(NpgsqlDataSource database, JobId job, CompletedCursor cursor, string[]? status, int rowsMax)
    : IResultSource
{
    /// <summary>Endings read at a time; each is a chunk's worth of tasks at most.</summary>
    private const int EndingsMax = 64;

    /// <summary>The second statement's snapshot is the newer one: if the first saw the job's end, the second sees all its endings.</summary>
    private const string EndedSql = "SELECT finished_at IS NOT NULL FROM jobs WHERE id = $1";

    private const string EndingsSql = """
        SELECT e.xid, e.chunk, e.tasks, c.first_seq
        FROM endings e JOIN chunks c ON c.job = e.job AND c.no = e.chunk
        WHERE e.job = $1 AND (e.xid, e.chunk) >= ($2, $3)
          AND (e.xid < pg_snapshot_xmin(pg_current_snapshot())
               OR EXISTS (SELECT FROM jobs WHERE id = $1 AND queued_at IS NOT NULL AND open_chunks = 0))
        ORDER BY e.xid, e.chunk LIMIT $4
        """;

    private CompletedCursor _cursor = cursor;

    public async Task<Page> ReadAsync(ResultSink to, int lines, CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        var (endings, more, ended) = await ReadEndingsAsync(connection, Math.Min(lines, to.RowsAPage(rowsMax)), stop);
        if (endings.Count == 0)
        {
            return new Page(0, ended ? Then.End : Then.Wait);
        }

        var read = await ReadRowsAsync(connection, endings, to, lines, stop);
        return new Page(
            read,
            more || read == lines ? Then.More
                : ended ? Then.End
                : Then.Wait
        );
    }

    /// <summary>The endings after the cursor, as many as <paramref name="rows"/> rows need.</summary>
    private async Task<(List<Ending> Endings, bool More, bool Ended)> ReadEndingsAsync(
        NpgsqlConnection connection,
        int rows,
        CancellationToken stop
    )
    {
        await using var batch = new NpgsqlBatch(connection)
        {
            BatchCommands =
            {
                new NpgsqlBatchCommand(EndedSql) { Parameters = { new NpgsqlParameter<Guid> { TypedValue = job.Value } } },
                new NpgsqlBatchCommand(EndingsSql)
                {
                    Parameters =
                    {
                        new NpgsqlParameter<Guid> { TypedValue = job.Value },
                        new NpgsqlParameter { Value = _cursor.Xid, NpgsqlDbType = NpgsqlDbType.Xid8 },
                        new NpgsqlParameter<int> { TypedValue = _cursor.Chunk },
                        new NpgsqlParameter<int> { TypedValue = EndingsMax },
                    },
                },
            },
        };
        await using var reader = await batch.ExecuteReaderAsync(stop);
        var ended = !await reader.ReadAsync(stop) || reader.GetBoolean(0);
        await reader.NextResultAsync(stop);
        var endings = new List<Ending>();
        var (seen, tasks, more) = (0, 0, false);
        while (await reader.ReadAsync(stop))
        {
            seen++;
            if (tasks >= rows)
            {
                more = true;
                continue;
            }

            if (Ending.After(_cursor, reader) is { } ending)
            {
                endings.Add(ending);
                tasks += ending.Count;
            }
        }

        return (endings, more || seen == EndingsMax, ended);
    }

    /// <summary>One statement an ending, all in one round trip: results lie by job and seq, so each is a short run of the table.</summary>
    private async Task<int> ReadRowsAsync(
        NpgsqlConnection connection,
        List<Ending> endings,
        ResultSink to,
        int lines,
        CancellationToken stop
    )
    {
        await using var batch = new NpgsqlBatch(connection);
        endings.ForEach(ending => batch.BatchCommands.Add(SelectRows(ending)));
        await using var reader = await batch.ExecuteReaderAsync(stop);
        var read = 0;
        foreach (var ending in endings)
        {
            while (await reader.ReadAsync(stop))
            {
                if (read == lines)
                {
                    return read;
                }

                _cursor = new CompletedCursor(ending.Xid, ending.Chunk, reader.GetInt32(0) - ending.FirstSeq);
                await to.AddAsync(reader, _cursor.ToString(), stop);
                read++;
            }

            _cursor = new CompletedCursor(ending.Xid, ending.Chunk, ending.Last);
            await reader.NextResultAsync(stop);
        }

        return read;
    }

    private NpgsqlBatchCommand SelectRows(Ending ending)
    {
        var command = new NpgsqlBatchCommand(
            $"""
            SELECT {ResultLine.Columns} FROM results
            WHERE job = $1 AND seq BETWEEN $2 AND $3 AND get_bit($4, seq - $5) = 1 {(status is null ? "" : "AND status = ANY ($6)")}
            ORDER BY seq
            """
        )
        {
            Parameters =
            {
                new NpgsqlParameter<Guid> { TypedValue = job.Value },
                new NpgsqlParameter<int> { TypedValue = ending.FirstSeq + ending.First },
                new NpgsqlParameter<int> { TypedValue = ending.FirstSeq + ending.Last },
                new NpgsqlParameter<byte[]> { TypedValue = ending.Tasks },
                new NpgsqlParameter<int> { TypedValue = ending.FirstSeq },
            },
        };
        if (status is not null)
        {
            command.Parameters.Add(new NpgsqlParameter { Value = status, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text });
        }

        return command;
    }

    /// <summary>What is still to be read of one row of <c>endings</c>.</summary>
    /// <param name="First">The first task that ended, counted inside the chunk, as <paramref name="Last"/>.</param>
    /// <param name="Count">How many ended.</param>
    private sealed record Ending(ulong Xid, int Chunk, byte[] Tasks, int FirstSeq, int First, int Last, int Count)
    {
        /// <returns>Null when the cursor has passed it.</returns>
        public static Ending? After(CompletedCursor cursor, NpgsqlDataReader reader)
        {
            var (xid, chunk, tasks) = (reader.GetFieldValue<ulong>(0), reader.GetInt32(1), reader.GetFieldValue<byte[]>(2));
            var from = xid == cursor.Xid && chunk == cursor.Chunk ? cursor.Task + 1 : 0;
            var (first, last, count) = (-1, -1, 0);
            for (var i = 0; i < tasks.Length; i++)
            {
                for (uint bits = tasks[i]; bits != 0; bits &= bits - 1)
                {
                    var task = (i * 8) + BitOperations.TrailingZeroCount(bits);
                    if (task >= from)
                    {
                        first = first < 0 ? task : first;
                        last = task;
                        count++;
                    }
                }
            }

            return count == 0 ? null : new Ending(xid, chunk, tasks, reader.GetInt32(3), first, last, count);
        }
    }
}
