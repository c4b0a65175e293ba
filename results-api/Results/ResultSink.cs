using Npgsql;

namespace Pipeline.ResultsApi.Results;

/// <summary>
/// Takes rows, gives lines to the body of the reply: gathered up to a page's bytes, so that neither many short rows nor a few long
/// ones take more memory than that and one row.
/// </summary>
internal sealed class ResultSink(ResultBody body, int pageBytes) : IDisposable
{
    private readonly LineBuffer _buffer = new();
    private ResultLine? _line;
    private long _lines;
    private long _bytes;

    /// <summary>Rows that fill a page, by the lines seen so far.</summary>
    public int RowsAPage(int max) => _lines == 0 ? Math.Min(256, max) : (int)Math.Clamp(pageBytes / (_bytes / _lines), 1, max);

    public ValueTask AddAsync(NpgsqlDataReader row, string? cursor, CancellationToken stop)
    {
        var before = _buffer.Length;
        (_line ??= new ResultLine(_buffer)).Write(row, cursor);
        _bytes += _buffer.Length - before;
        _lines++;
        return _buffer.Length < pageBytes ? ValueTask.CompletedTask : SendAsync(stop);
    }

    /// <summary>Sends what was gathered; waits while the reader is slower.</summary>
    public async ValueTask SendAsync(CancellationToken stop)
    {
        if (_buffer.Length > 0)
        {
            await body.WriteAsync(_buffer.Written, stop);
            _buffer.Clear();
        }
    }

    public void Dispose()
    {
        _line?.Dispose();
        _buffer.Dispose();
    }
}
