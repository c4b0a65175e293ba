using System.IO.Compression;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// Reads a journal, packed or not, line by line. What cannot be read fails with file and line number; a file that was cut off (its
/// writer was killed) is read up to there, and <see cref="CutOff"/> says so.
/// </summary>
internal sealed class JournalReader : IDisposable
{
    /// <summary>A heartbeat that lists four dispatches of 4,096 slices takes a megabyte and a half.</summary>
    private const int LineBytesMax = 64 * 1024 * 1024;

    private readonly string _path;
    private readonly Stream _stream;
    private byte[] _buffer = new byte[256 * 1024];
    private int _start;
    private int _end;
    private bool _ended;

    private JournalReader(string path, Stream stream) => (_path, _stream) = (path, stream);

    /// <summary>The number of the line read last, counted from 1.</summary>
    public int Line { get; private set; }

    /// <summary>Where the file breaks off; null while it does not.</summary>
    public string? CutOff { get; private set; }

    public JournalHead Head { get; private set; } = null!;

    /// <exception cref="JournalException">The file is no journal, or one of another version.</exception>
    public static JournalReader Open(string path)
    {
        Stream file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var reader = new JournalReader(
            path,
            path.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(file, CompressionMode.Decompress) : file
        );
        try
        {
            reader.Head =
                reader.Read(JournalForm.ReadHead)
                ?? throw new JournalException($"{path}: expected the first line of a journal, given {reader.CutOff ?? "an empty file"}");
            return reader;
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    /// <summary>The lines after the head, up to the end of the file or where it was cut off.</summary>
    /// <exception cref="JournalException">A line cannot be read.</exception>
    public IEnumerable<JournalLine> Lines()
    {
        while (Read(JournalForm.Read) is { } line)
        {
            yield return line;
        }
    }

    public void Dispose() => _stream.Dispose();

    private T? Read<T>(Func<ReadOnlyMemory<byte>, T> form)
        where T : class
    {
        if (NextLine() is not { } line)
        {
            return null;
        }

        Line++;
        try
        {
            return form(line.Text);
        }
        catch (JournalException) when (!line.Whole)
        {
            CutOff = CutOff is null ? $"it breaks off in line {Line}" : $"it breaks off in line {Line}: {CutOff}";
            return null;
        }
        catch (JournalException e)
        {
            throw new JournalException($"{_path}, line {Line}: {e.Message}", e);
        }
    }

    /// <summary>The next line without its break; not whole when the file ends before the break.</summary>
    private (ReadOnlyMemory<byte> Text, bool Whole)? NextLine()
    {
        var searched = _start;
        while (true)
        {
            var at = _buffer.AsSpan(searched, _end - searched).IndexOf((byte)'\n');
            if (at >= 0)
            {
                var text = _buffer.AsMemory(_start, searched + at - _start);
                _start = searched + at + 1;
                return (text, true);
            }

            if (_ended)
            {
                var rest = _buffer.AsMemory(_start, _end - _start);
                _start = _end;
                return rest.Length > 0 ? (rest, false) : null;
            }

            searched = MakeRoom();
            Fill();
        }
    }

    /// <summary>Moves what is left to the front, into a larger buffer when it fills this one.</summary>
    /// <returns>Where the search goes on.</returns>
    private int MakeRoom()
    {
        var left = _end - _start;
        var target = _buffer;
        if (left == _buffer.Length)
        {
            target =
                left < LineBytesMax
                    ? new byte[2 * left]
                    : throw new JournalException($"{_path}, line {Line + 1}: expected a line of at most {LineBytesMax} bytes, given more");
        }

        Buffer.BlockCopy(_buffer, _start, target, 0, left);
        (_buffer, _start, _end) = (target, 0, left);
        return left;
    }

    private void Fill()
    {
        try
        {
            var count = _stream.Read(_buffer, _end, _buffer.Length - _end);
            _end += count;
            _ended = count == 0;
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
        {
            // A packed file whose writer was killed has no end; what was flushed before is whole.
            _ended = true;
            CutOff = $"its packed bytes have no end ({e.Message.TrimEnd('.')})";
        }
    }
}
