using System.Buffers;
using System.Globalization;
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
        Path.GetExtension(LineFile.Plain(path)).ToLowerInvariant() switch
        {
            ".csv" => TaskFormat.Csv,
            ".ndjson" or ".jsonl" or ".json" => TaskFormat.Ndjson,
            _ => path == "-" ? TaskFormat.Ndjson : TaskFormat.Text,
        };

    /// <summary>The body; <paramref name="sent"/> hears of every byte read from the file.</summary>
    public HttpContent Body(Action<long>? sent, CancellationToken stop) => new SourceContent(this, sent, stop);

    private async Task WriteAsync(Stream to, Action<long>? sent, CancellationToken stop)
    {
        await using var file = await LineFile.OpenAsync(path, sent, stop);
        var written = format switch
        {
            TaskFormat.Ndjson => file.CopyToAsync(to, FlushBytes, stop),
            TaskFormat.Csv => WriteCsvAsync(file, to, stop),
            _ => WriteTextAsync(file, to, stop),
        };
        await written;
    }

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
            throw LineFile.NotUtf8(path, number);
        }

        if (text.Length > 0)
        {
            Span<byte> id = stackalloc byte[20];
            number.TryFormat(id, out var digits, default, CultureInfo.InvariantCulture);
            lines.Add(number, id[..digits], text);
        }
    }

    private async Task WriteCsvAsync(Stream file, Stream to, CancellationToken stop)
    {
        await using var utf8 = LineFile.Utf8(file, path);
        await using var csv = CsvReader.Create(utf8, Csv, leaveOpen: true);
        var lines = new TaskLines(to);
        try
        {
            await csv.ReadHeaderAsync(stop);
            var header = csv.Headers.ToArray();
            if (header.Length == 0)
            {
                throw new TaskSourceException(
                    $"{LineFile.Name(path)}: line 1: expected a header line with column names, given an empty file"
                );
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
            throw new TaskSourceException(
                $"{LineFile.Name(path)}: line {e.LineNumber}: expected a CSV record (RFC 4180), given: {e.Message}"
            );
        }

        await lines.FlushAsync(stop);
    }

    /// <summary>A column that is called as NDJSON calls what it holds.</summary>
    private static string? Named(string[] header, string field) => header.Contains(field) ? field : null;

    private int Column(string[] header, string? name, string option, string what)
    {
        if (name is null)
        {
            throw new TaskSourceException(
                $"{LineFile.Name(path)}: which column holds {what}? Give {option} one of: {string.Join(", ", header)}"
            );
        }

        var at = Array.IndexOf(header, name);
        return at >= 0
            ? at
            : throw new TaskSourceException(
                $"{LineFile.Name(path)}: line 1: expected a column \"{name}\" ({option}), given {string.Join(", ", header)}"
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
}

/// <summary>A file that cannot be turned into tasks: where, what was expected, what was given.</summary>
internal sealed class TaskSourceException(string message) : Exception(message);
