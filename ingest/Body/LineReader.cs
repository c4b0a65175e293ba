namespace Pipeline.Ingest.Body;

/// <summary>What <see cref="LineReader.TryNext"/> found.</summary>
internal enum LineKind
{
    /// <summary>Nothing whole: read more.</summary>
    None,

    /// <summary>A line.</summary>
    Line,

    /// <summary>A line that was too long and has been skipped; the span shows its beginning.</summary>
    TooLong,
}

/// <summary>
/// Cuts a body into lines in one contiguous buffer, which grows to the longest line and no further than the limit: what is longer is
/// skipped to its end, not kept.
/// </summary>
internal sealed class LineReader(Stream body, int lineBytesMax, int bufferBytes)
{
    private const int ShownBytes = 64;
    private byte[] _buffer = GC.AllocateUninitializedArray<byte>(bufferBytes);
    private int _start;
    private int _searched;
    private int _end;
    private bool _skipping;

    /// <summary>Number of the line that <see cref="TryNext"/> gave last, from 1.</summary>
    public long Line { get; private set; }

    /// <summary>Bytes of the line that was too long.</summary>
    public long SkippedBytes { get; private set; }

    /// <summary>Bytes of body read so far.</summary>
    public long BodyBytes { get; private set; }

    /// <summary>True when the body has ended.</summary>
    public bool Ended { get; private set; }

    /// <summary>True for the last line of a body that has no line end: it may have been cut off.</summary>
    public bool Unterminated { get; private set; }

    /// <summary>What <see cref="ReadAsync"/> read last.</summary>
    public ReadOnlySpan<byte> Fresh => _buffer.AsSpan(_end - _fresh, _fresh);

    private int _fresh;

    /// <summary>The next whole line without its line end; valid until the next read.</summary>
    public LineKind TryNext(out ReadOnlySpan<byte> line)
    {
        var at = _buffer.AsSpan(_searched, _end - _searched).IndexOf((byte)'\n');
        if (at < 0 && !(Ended && (_skipping || _end > _start)))
        {
            _searched = _end;
            line = default;
            return LineKind.None;
        }

        Line++;
        _lineStart = _start;
        Unterminated = at < 0;
        var lineEnd = at < 0 ? _end : _searched + at;
        line = _buffer.AsSpan(_start, lineEnd - _start);
        _start = _searched = Math.Min(lineEnd + 1, _end);
        if (!_skipping)
        {
            return LineKind.Line;
        }

        _skipping = false;
        SkippedBytes += line.Length;
        line = _shown;
        return LineKind.TooLong;
    }

    private byte[] _shown = [];
    private int _lineStart;

    /// <summary>Gives the last line again at the next call; only right after it was given.</summary>
    public void Unread()
    {
        Line--;
        _start = _searched = _lineStart;
    }

    /// <summary>Reads more of the body; at its end <see cref="Ended"/> becomes true.</summary>
    public async ValueTask ReadAsync(CancellationToken stop)
    {
        MakeRoom();
        _fresh = await body.ReadAsync(_buffer.AsMemory(_end), stop);
        _end += _fresh;
        BodyBytes += _fresh;
        Ended = _fresh == 0;
    }

    private void MakeRoom()
    {
        if (_skipping)
        {
            SkippedBytes += _end - _start;
            _start = _searched = _end = 0;
        }
        else if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            (_searched, _end, _start) = (_searched - _start, _end - _start, 0);
        }

        if (_end < _buffer.Length)
        {
            return;
        }

        if (_end < lineBytesMax)
        {
            Array.Resize(ref _buffer, (int)Math.Min(_buffer.Length * 2L, lineBytesMax));
        }
        else
        {
            _skipping = true;
            _shown = _buffer.AsSpan(0, Math.Min(_end, ShownBytes)).ToArray();
            SkippedBytes = _end;
            _buffer = GC.AllocateUninitializedArray<byte>(Math.Min(bufferBytes, lineBytesMax));
            _start = _searched = _end = 0;
        }
    }
}
