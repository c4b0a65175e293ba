using System.Buffers;
using System.Globalization;
using System.IO.Compression;
using System.IO.Pipelines;
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using CsvHelper;

namespace Pipeline.Standalone.Client;

/// <summary>How the lines of a file become tasks.</summary>
internal enum TaskFormat
{
    /// <summary>One task object a line, sent as it stands.</summary>
    Ndjson,

    /// <summary>One task a record; a column holds the input, another perhaps the id.</summary>
    Csv,

    /// <summary>One input a line; the id is the line's number.</summary>
    Text,
}

/// <summary>
/// Turns a file into an NDJSON body while it is being sent, so that its size does not matter. A task stands in the line of the body that it has in
/// the file, so that what the service says of a line holds for the file.
/// </summary>
internal sealed class TaskSource(string path, TaskFormat format, string? inputColumn, string? idColumn)
{
    private const int FlushBytes = 64 * 1024;

    /// <summary>How the name of a file ends that is gzip of what the rest of its name says.</summary>
    private const string Packed = ".gz";

    /// <summary>As many as tell what a file holds.</summary>
    private const int BeginningBytes = 5;

    /// <summary>How gzip begins (RFC 1952), and no text in UTF-8.</summary>
    private static ReadOnlySpan<byte> Gzip => [0x1F, 0x8B];

    private static ReadOnlySpan<byte> ByteOrderMark => [0xEF, 0xBB, 0xBF];

    /// <summary>A record that does not fit its header ends the upload: guessing would pair inputs with the wrong ids.</summary>
    private static readonly CsvReaderOptions Csv = new()
    {
        HasHeader = true,
        TrackLineNumbers = true,
        SkipEmptyLines = true,
        MalformedData = CsvMalformedDataHandling.Throw,
        FieldCountMismatch = CsvFieldCountHandling.Throw,
        MissingField = CsvMissingFieldHandling.Throw,
    };

    /// <summary>
    /// Guesses from the file's name, without <c>.gz</c>: <c>.csv</c>, <c>.ndjson</c>/<c>.jsonl</c>/<c>.json</c>, else plain text. "-" is NDJSON.
    /// </summary>
    public static TaskFormat Guess(string path) =>
        Path.GetExtension(IsPacked(path) ? path[..^Packed.Length] : path).ToLowerInvariant() switch
        {
            ".csv" => TaskFormat.Csv,
            ".ndjson" or ".jsonl" or ".json" => TaskFormat.Ndjson,
            _ => path == "-" ? TaskFormat.Ndjson : TaskFormat.Text,
        };

    /// <summary>The body; <paramref name="sent"/> hears of every byte read from the file.</summary>
    public HttpContent Body(Action<long>? sent, CancellationToken stop) => new SourceContent(this, sent, stop);

    private async Task WriteAsync(Stream to, Action<long>? sent, CancellationToken stop)
    {
        await using var file = path == "-" ? Console.OpenStandardInput() : File.OpenRead(path);
        await using var counted = new WatchedStream(file, bytes => sent?.Invoke(bytes.Length));
        var reader = PipeReader.Create(counted, new StreamPipeReaderOptions(bufferSize: FlushBytes, leaveOpen: true));
        var begins = (await reader.ReadAtLeastAsync(BeginningBytes, stop)).Buffer;
        var beginning = begins.Slice(0, Math.Min(begins.Length, BeginningBytes)).ToArray();
        reader.AdvanceTo(begins.Start);
        await using var bytes = reader.AsStream();
        if (!beginning.AsSpan().StartsWith(Gzip))
        {
            ThrowIfNoLines(beginning);
            await WriteLinesAsync(bytes, to, stop);
            return;
        }

        await using var unpacked = new GZipStream(bytes, CompressionMode.Decompress);
        try
        {
            await WriteLinesAsync(unpacked, to, stop);
        }
        catch (InvalidDataException e)
        {
            throw new TaskSourceException($"{Name(path)}: expected gzip, as it begins, given: {e.Message}");
        }
    }

    /// <summary>What begins so is no UTF-8, or has bytes that no text has.</summary>
    private void ThrowIfNoLines(ReadOnlySpan<byte> beginning)
    {
        var given =
            beginning.StartsWith((ReadOnlySpan<byte>)[0x28, 0xB5, 0x2F, 0xFD]) ? "zstd; \"zstd -d\" unpacks it, and gzip is unpacked here"
            : beginning.StartsWith((ReadOnlySpan<byte>)[0xFD, 0x37, 0x7A, 0x58, 0x5A])
                ? "xz; \"xz -d\" unpacks it, and gzip is unpacked here"
            : beginning.StartsWith("PK\u0003\u0004"u8) ? "a zip archive, as a spreadsheet's .xlsx is; save that as CSV, or unpack it"
            : IsPacked(path) ? "other bytes than its name says, which is gzip"
            : null;
        if (given is not null)
        {
            throw new TaskSourceException($"{Name(path)}: expected lines of text, perhaps packed by gzip, given {given}");
        }
    }

    /// <summary>What messages call it.</summary>
    public static string Name(string path) => path == "-" ? "standard input" : path;

    private static bool IsPacked(string path) => path.EndsWith(Packed, StringComparison.OrdinalIgnoreCase);

    private Task WriteLinesAsync(Stream file, Stream to, CancellationToken stop) =>
        format switch
        {
            TaskFormat.Ndjson => file.CopyToAsync(to, FlushBytes, stop),
            TaskFormat.Csv => WriteCsvAsync(file, to, stop),
            _ => WriteTextAsync(file, to, stop),
        };

    private async Task WriteTextAsync(Stream file, Stream to, CancellationToken stop)
    {
        var reader = PipeReader.Create(file);
        var lines = new TaskLines(to);
        for (long number = 1; ; )
        {
            var read = await reader.ReadAsync(stop);
            var rest = read.Buffer;
            while (TryReadLine(ref rest, read.IsCompleted, out var line))
            {
                AddLine(lines, number++, line);
                await lines.FlushIfFullAsync(stop);
            }

            reader.AdvanceTo(rest.Start, rest.End);
            if (read.IsCompleted)
            {
                await lines.FlushAsync(stop);
                return;
            }
        }
    }

    /// <summary>Cuts off the next line; the last one may do without its end.</summary>
    private static bool TryReadLine(ref ReadOnlySequence<byte> rest, bool isAll, out ReadOnlySequence<byte> line)
    {
        if (rest.PositionOf((byte)'\n') is { } end)
        {
            line = rest.Slice(0, end);
            rest = rest.Slice(rest.GetPosition(1, end));
            return true;
        }

        line = rest;
        rest = isAll ? rest.Slice(rest.End) : rest;
        return isAll && !line.IsEmpty;
    }

    /// <summary>Lines stay bytes, so that a wrong one is known by its number.</summary>
    private void AddLine(TaskLines lines, long number, ReadOnlySequence<byte> line)
    {
        var text = line.IsSingleSegment ? line.FirstSpan : line.ToArray();
        text = number == 1 && text.StartsWith(ByteOrderMark) ? text[ByteOrderMark.Length..] : text;
        text = text.EndsWith("\r"u8) ? text[..^1] : text;
        if (!Utf8.IsValid(text))
        {
            throw NotUtf8(number);
        }

        if (text.Length > 0)
        {
            Span<byte> id = stackalloc byte[20];
            number.TryFormat(id, out var digits, default, CultureInfo.InvariantCulture);
            lines.Add(number, id[..digits], text);
        }
    }

    private TaskSourceException NotUtf8(long line) =>
        new(
            $"{Name(path)}: line {line}: expected UTF-8 text, given other bytes; a spreadsheet's: iconv -f WINDOWS-1252 (or UTF-16) -t UTF-8 makes it that"
        );

    private async Task WriteCsvAsync(Stream file, Stream to, CancellationToken stop)
    {
        await using var utf8 = new WatchedStream(file, new Utf8Check(NotUtf8).See);
        await using var csv = CsvReader.Create(utf8, Csv, leaveOpen: true);
        var lines = new TaskLines(to);
        try
        {
            await csv.ReadHeaderAsync(stop);
            var header = csv.Headers.ToArray();
            if (header.Length == 0)
            {
                throw new TaskSourceException($"{Name(path)}: line 1: expected a header line with column names, given an empty file");
            }

            var input = Column(header, inputColumn ?? (header.Length == 1 ? header[0] : Named(header, "input")), "--column", "the input");
            var id = (idColumn ?? Named(header, "custom_id")) is { } name ? Column(header, name, "--id-column", "the id") : -1;
            while (await csv.ReadAsync(stop))
            {
                var customId = id < 0 ? csv.LineNumber.ToString(CultureInfo.InvariantCulture) : csv.GetString(id);
                lines.Add(csv.LineNumber, Encoding.UTF8.GetBytes(customId), Encoding.UTF8.GetBytes(csv.GetString(input)));
                await lines.FlushIfFullAsync(stop);
            }
        }
        catch (CsvFormatException e)
        {
            throw new TaskSourceException($"{Name(path)}: line {e.LineNumber}: expected a CSV record (RFC 4180), given: {e.Message}");
        }

        await lines.FlushAsync(stop);
    }

    /// <summary>A column that is called as NDJSON calls what it holds.</summary>
    private static string? Named(string[] header, string field) => header.Contains(field) ? field : null;

    private int Column(string[] header, string? name, string option, string what)
    {
        if (name is null)
        {
            throw new TaskSourceException($"{Name(path)}: which column holds {what}? Give {option} one of: {string.Join(", ", header)}");
        }

        var at = Array.IndexOf(header, name);
        return at >= 0
            ? at
            : throw new TaskSourceException(
                $"{Name(path)}: line 1: expected a column \"{name}\" ({option}), given {string.Join(", ", header)}"
            );
    }

    /// <summary>Writes task lines in pieces.</summary>
    private sealed class TaskLines(Stream to)
    {
        private readonly ArrayBufferWriter<byte> _buffer = new(FlushBytes * 2);
        private long _lines;

        /// <param name="number">The task's line in the file, from 1; empty ones go before it where there are none to send.</param>
        public void Add(long number, ReadOnlySpan<byte> customId, ReadOnlySpan<byte> input)
        {
            for (; _lines < number - 1; _lines++)
            {
                _buffer.Write("\n"u8);
            }

            using (var json = new Utf8JsonWriter(_buffer))
            {
                json.WriteStartObject();
                json.WriteString("custom_id"u8, customId);
                json.WriteString("input"u8, input);
                json.WriteEndObject();
            }

            _buffer.Write("\n"u8);
            _lines++;
        }

        public ValueTask FlushIfFullAsync(CancellationToken stop) =>
            _buffer.WrittenCount < FlushBytes ? ValueTask.CompletedTask : FlushAsync(stop);

        public async ValueTask FlushAsync(CancellationToken stop)
        {
            await to.WriteAsync(_buffer.WrittenMemory, stop);
            _buffer.ResetWrittenCount();
        }
    }

    private sealed class SourceContent : HttpContent
    {
        private readonly TaskSource _source;
        private readonly Action<long>? _sent;
        private readonly CancellationToken _stop;

        public SourceContent(TaskSource source, Action<long>? sent, CancellationToken stop)
        {
            (_source, _sent, _stop) = (source, sent, stop);
            Headers.ContentType = new("application/x-ndjson");
        }

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            _source.WriteAsync(stream, _sent, _stop);

        protected override bool TryComputeLength(out long length)
        {
            length = -1;
            return false;
        }
    }

    /// <summary>Refuses what is not UTF-8 by its line; a reader of text would put U+FFFD in its place.</summary>
    private sealed class Utf8Check(Func<long, TaskSourceException> refusal)
    {
        private readonly Decoder _decoder = new UTF8Encoding(false, throwOnInvalidBytes: true).GetDecoder();
        private long _line = 1;

        /// <param name="bytes">The next of the file; none at its end.</param>
        public void See(ReadOnlySpan<byte> bytes)
        {
            var text = ArrayPool<char>.Shared.Rent(bytes.Length + 1);
            try
            {
                _decoder.GetChars(bytes, text, flush: bytes.IsEmpty);
            }
            catch (DecoderFallbackException e)
            {
                throw refusal(_line + bytes[..Math.Max(0, e.Index)].Count((byte)'\n'));
            }
            finally
            {
                ArrayPool<char>.Shared.Return(text);
            }

            _line += bytes.Count((byte)'\n');
        }
    }

    /// <summary>Shows bytes as they are read, and none at the end.</summary>
    private sealed class WatchedStream(Stream inner, Action<ReadOnlySpan<byte>> seen) : Stream
    {
        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => inner.Length;
        public override long Position
        {
            get => inner.Position;
            set => throw new NotSupportedException();
        }

        public override int Read(byte[] buffer, int offset, int count)
        {
            var read = inner.Read(buffer, offset, count);
            seen(buffer.AsSpan(offset, read));
            return read;
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var read = await inner.ReadAsync(buffer, cancellationToken);
            seen(buffer.Span[..read]);
            return read;
        }

        public override void Flush() { }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}

/// <summary>A file that cannot be turned into tasks: where, what was expected, what was given.</summary>
internal sealed class TaskSourceException(string message) : Exception(message);
