using System.Buffers;
using System.Globalization;
using System.IO.Compression;
using System.Text.Json;
using System.Threading.Channels;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// One term's journal. The loop adds lines without ever waiting; a task of its own writes them, in order, and ends the file with a line
/// that says why nothing follows.
/// </summary>
internal sealed class JournalFile(JournalHead head, JournalOptions options)
{
    public const string Pattern = "journal-*.ndjson*";

    /// <summary>Bytes gathered before they are written.</summary>
    private const int BufferBytes = 64 * 1024;
    private static readonly TimeSpan FlushEvery = TimeSpan.FromSeconds(1);

    private readonly Channel<JournalLine> _lines = Channel.CreateBounded<JournalLine>(
        new BoundedChannelOptions(options.LinesWaitingMax) { SingleReader = true, SingleWriter = true }
    );
    private readonly TraceHash _hash = new();
    private long _hashToldAt = head.Started;
    private volatile JournalEnd? _end;
    private volatile bool _cut;

    public string Name { get; } =
        string.Create(
            CultureInfo.InvariantCulture,
            $"journal-{new DateTime(head.Started, DateTimeKind.Utc):yyyyMMdd'T'HHmmss'.'fff'Z'}-epoch-{head.Epoch}.ndjson{(options.Gzip ? ".gz" : "")}"
        );

    // The loop's side

    public void Add(JournalLine line)
    {
        if (!_lines.Writer.TryWrite(line) && _end is null)
        {
            Cut(line.Ticks, $"writing fell behind by {options.LinesWaitingMax} lines");
        }
    }

    /// <summary>Tells the plan, and the hash of all plans so far when it decided something, or a second after it was last told.</summary>
    public void AddPlan(IReadOnlyList<Decision> decisions, long ticks)
    {
        _hash.Add(decisions);
        var tell = decisions.Count > 0 || ticks - _hashToldAt >= TimeSpan.TicksPerSecond;
        _hashToldAt = tell ? ticks : _hashToldAt;
        Add(new JournalPlan(ticks, decisions.Count, tell ? _hash.Value : null));
    }

    public void End(long ticks, string reason)
    {
        _end ??= new JournalEnd(ticks, reason);
        _lines.Writer.TryComplete();
    }

    /// <summary>Nobody reads the lines any more.</summary>
    public void Abandon()
    {
        _lines.Writer.TryComplete();
        while (_lines.Reader.TryRead(out _)) { }
    }

    /// <summary>The file ends here, also when its term has ended while lines were still to be written.</summary>
    private void Cut(long ticks, string reason)
    {
        _cut = true;
        _end = new JournalEnd(ticks, reason);
        _lines.Writer.TryComplete();
    }

    // The writer's side

    /// <summary>Writes the file until it ends.</summary>
    /// <returns>Why it ended before its term; null when it did not.</returns>
    public async Task<string?> WriteAsync(string path, TimeProvider time)
    {
        await using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read);
        await using Stream? packed = options.Gzip ? new GZipStream(file, CompressionLevel.Fastest, leaveOpen: true) : null;
        var target = packed ?? file;
        var buffer = new ArrayBufferWriter<byte>(2 * BufferBytes);
        await using var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { SkipValidation = true });
        var flushedAt = time.GetTimestamp();
        JournalForm.Write(json, head);
        EndLine(json, buffer);
        while (await _lines.Reader.WaitToReadAsync())
        {
            while (_lines.Reader.TryRead(out var line))
            {
                JournalForm.Write(json, line);
                EndLine(json, buffer);
                if (buffer.WrittenCount >= BufferBytes)
                {
                    await PassOnAsync(buffer, target);
                    if (file.Position > options.BytesMax)
                    {
                        Cut(line.Ticks, $"the file has reached {options.BytesMax} bytes");
                        Abandon();
                    }
                }
            }

            // Heartbeats and turns come every second, so what is written is on its way to the disk a second later.
            if (time.GetElapsedTime(flushedAt) >= FlushEvery)
            {
                flushedAt = time.GetTimestamp();
                await PassOnAsync(buffer, target);
                await target.FlushAsync();
                await file.FlushAsync();
            }
        }

        JournalForm.Write(json, _end ?? new JournalEnd(head.Started, "it was abandoned"));
        EndLine(json, buffer);
        await PassOnAsync(buffer, target);
        return _cut ? _end!.Reason : null;
    }

    private static void EndLine(Utf8JsonWriter json, ArrayBufferWriter<byte> buffer)
    {
        json.Flush();
        json.Reset();
        buffer.GetSpan(1)[0] = (byte)'\n';
        buffer.Advance(1);
    }

    private static async Task PassOnAsync(ArrayBufferWriter<byte> buffer, Stream target)
    {
        await target.WriteAsync(buffer.WrittenMemory);
        buffer.ResetWrittenCount();
    }
}
