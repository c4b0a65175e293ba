using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Results;

/// <summary>
/// Results by their number in the job. Of a job that runs still, only the run of tasks before the first one that has not ended: so a
/// cursor, which is the <c>seq</c> of the last line, never skips a task that ends later.
/// </summary>
internal sealed class TaskOrder(NpgsqlDataSource database, JobId job, int cursor, string[]? status, int rowsMax) : IResultSource
{
    /// <summary>
    /// Where the run ends, and whether the job has. Chunks are in order of seq, so only the first open one is looked into; and the first
    /// open one of those that tasks escalated to, which stand behind them.
    /// </summary>
    private const string BoundSql = """
        SELECT coalesce(
                 (SELECT min(s.seq)
                  FROM ((SELECT first_seq, tasks AS span FROM chunks WHERE job = j.id AND remaining > 0 AND root IS NULL ORDER BY no LIMIT 1)
                        UNION ALL
                        (SELECT first_seq, octet_length(own) * 8 FROM chunks
                         WHERE job = j.id AND remaining > 0 AND root IS NOT NULL ORDER BY first_seq LIMIT 1)) c,
                       generate_series(c.first_seq, c.first_seq + c.span - 1) AS s (seq)
                  WHERE s.seq < j.tasks AND NOT EXISTS (SELECT FROM results r WHERE r.job = j.id AND r.seq = s.seq)),
                 j.tasks),
               j.finished_at IS NOT NULL
        FROM jobs j WHERE j.id = $1
        """;

    private int _cursor = cursor;

    /// <summary>Every task below it has ended.</summary>
    private int _bound;
    private bool _ended;

    public async Task<Page> ReadAsync(ResultSink to, int lines, CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        if (_cursor + 1 >= _bound)
        {
            await ReadBoundAsync(connection, stop);
            if (_cursor + 1 >= _bound)
            {
                return new Page(0, _ended ? Then.End : Then.Wait);
            }
        }

        var rows = Math.Min(lines, to.RowsAPage(rowsMax));
        var read = 0;
        await using (var command = SelectPage(connection, rows))
        await using (var reader = await command.ExecuteReaderAsync(stop))
        {
            for (; await reader.ReadAsync(stop); read++)
            {
                _cursor = reader.GetInt32(0);
                await to.AddAsync(reader, null, stop);
            }
        }

        // Fewer than asked for: none of the others below the bound has a status that was asked for.
        _cursor = read < rows ? _bound - 1 : _cursor;
        return new Page(read, Then.More);
    }

    private async Task ReadBoundAsync(NpgsqlConnection connection, CancellationToken stop)
    {
        await using var command = new NpgsqlCommand(BoundSql, connection);
        command.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = job.Value });
        await using var reader = await command.ExecuteReaderAsync(stop);
        (_bound, _ended) = await reader.ReadAsync(stop) ? (reader.GetInt32(0), reader.GetBoolean(1)) : (0, true);
    }

    private NpgsqlCommand SelectPage(NpgsqlConnection connection, int rows)
    {
        var command = new NpgsqlCommand(
            $"""
            SELECT {ResultLine.Columns} FROM results
            WHERE job = $1 AND seq > $2 AND seq < $3 {(status is null ? "" : "AND status = ANY ($5)")}
            ORDER BY seq LIMIT $4
            """,
            connection
        );
        command.Parameters.Add(new NpgsqlParameter<Guid> { TypedValue = job.Value });
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = _cursor });
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = _bound });
        command.Parameters.Add(new NpgsqlParameter<int> { TypedValue = rows });
        if (status is not null)
        {
            command.Parameters.Add(new NpgsqlParameter { Value = status, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text });
        }

        return command;
    }
}
