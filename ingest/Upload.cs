using System.Security.Cryptography;
using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Body;
using Pipeline.Ingest.Storage;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest;

/// <summary>
/// One submission while its body comes in: takes the job's parameters, admits it, and reads task after task into the writer. From the
/// first mistake on nothing more is stored, and what was is taken back; the rest is read to tell the other mistakes.
/// </summary>
internal sealed class Upload(
    TenantId tenant,
    JobParameters parameters,
    Mistakes mistakes,
    Admission admission,
    Func<JobOrder, IUploadSink> sinkFor,
    IngestOptions options,
    IncrementalHash? hash
) : IAsyncDisposable
{
    private TaskReader? _tasks;

    /// <summary>Takes the tasks, once the job is admitted.</summary>
    private IUploadSink? _sink;
    private bool _begun;
    private long _tooLong;

    /// <summary>The job as admitted; there when reading gave no problem.</summary>
    public JobOrder? Order { get; private set; }

    /// <summary>The line that is being read, from 1.</summary>
    public long Line { get; private set; } = 1;

    /// <summary>Reads a body of lines to its end. Gives the problem to answer with, or null when all is well.</summary>
    public async Task<ProblemResult?> ReadLinesAsync(Stream body, int bufferBytes, CancellationToken stop)
    {
        var lines = new LineReader(body, options.LineBytesMax, bufferBytes);
        while (true)
        {
            switch (ReadWhatIsThere(lines))
            {
                case Next.Admit when await AdmitAsync(stop) is { } refused:
                    return refused;
                case Next.Store:
                    await _sink!.StoreAsync(stop);
                    break;
                case Next.Read when lines.Ended:
                    return await FinishAsync(stop);
                case Next.Read:
                    await DropWriterAfterMistakesAsync();
                    await lines.ReadAsync(stop);
                    hash?.AppendData(lines.Fresh);
                    break;
                case Next.Stop:
                    return Refuse();
            }
        }
    }

    /// <summary>Reads a small JSON body with its tasks inside.</summary>
    public async Task<ProblemResult?> ReadInlineAsync(Stream body, CancellationToken stop)
    {
        if (await ReadWholeAsync(body, stop) is not { } bytes)
        {
            return Refuse();
        }

        hash?.AppendData(bytes.Span);
        var places = InlineBody.Find(bytes.Span, parameters, mistakes);
        if (await AdmitAsync(stop) is { } refused)
        {
            return refused;
        }

        for (var i = 0; i < places.Count; i++)
        {
            var (start, length) = places[i];
            _tasks!.Read(bytes.Span.Slice(start, length), new TaskPlace(null, i), _sink!);
            if (_sink!.IsDue && !mistakes.Any)
            {
                await _sink.StoreAsync(stop);
            }
        }

        return await FinishAsync(stop);
    }

    public ValueTask DisposeAsync() => _sink?.DisposeAsync() ?? ValueTask.CompletedTask;

    /// <summary>What has to happen before the next line.</summary>
    private enum Next
    {
        Read,
        Admit,
        Store,
        Stop,
    }

    private Next ReadWhatIsThere(LineReader lines)
    {
        while (lines.TryNext(out var line) is var kind and not LineKind.None)
        {
            Line = lines.Line;
            if (kind == LineKind.TooLong)
            {
                AddTooLong(lines, line);
                continue;
            }

            line = lines.Line == 1 && line.StartsWith(ByteOrderMark) ? line[3..] : line;
            if (line.IndexOfAnyExcept(" \t\r"u8) < 0)
            {
                continue;
            }

            if (_tasks is null)
            {
                if (_begun || !TryReadJobPart(line))
                {
                    lines.Unread();
                }

                return Next.Admit;
            }

            _tasks.Read(line, new TaskPlace(lines.Line), _sink!, lines.Unterminated);
            if (_tasks.Tasks > options.TasksMax)
            {
                mistakes.Add(null, $"at most {options.TasksMax} tasks", "more", new TaskPlace(lines.Line));
                return Next.Stop;
            }

            if (_sink!.IsDue && !mistakes.Any)
            {
                return Next.Store;
            }
        }

        Line = lines.Line + 1;
        if (lines.BodyBytes > options.BodyBytesMax)
        {
            mistakes.Add(null, $"a body of at most {options.BodyBytesMax} bytes", "more", new TaskPlace(Line));
            return Next.Stop;
        }

        return Next.Read;
    }

    private static ReadOnlySpan<byte> ByteOrderMark => [0xEF, 0xBB, 0xBF];

    /// <summary>The body's first line may be the job's parameters: <c>{"job": {"model": "…"}}</c>.</summary>
    private bool TryReadJobPart(ReadOnlySpan<byte> line)
    {
        _begun = true;
        try
        {
            var json = new Utf8JsonReader(line);
            if (
                !(json.Read() && json.TokenType == JsonTokenType.StartObject)
                || !(json.Read() && json.TokenType == JsonTokenType.PropertyName && json.ValueTextEquals("job"u8))
            )
            {
                return false;
            }

            using var part = JsonDocument.Parse(line.ToArray());
            if (SurrogatePairs.HasHalfPair(line))
            {
                mistakes.Add("job", SurrogatePairs.Paired, SurrogatePairs.HalfPair, new TaskPlace(Line));
                return true;
            }

            foreach (var member in part.RootElement.EnumerateObject())
            {
                if (member.Name == "job")
                {
                    parameters.Take(member.Value, new TaskPlace(Line), mistakes);
                }
                else
                {
                    mistakes.Add(Excerpt.Of(member.Name), "only job in a line of that kind", "another field", new TaskPlace(Line));
                }
            }

            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // Told as any other bad line, once the job is admitted.
            return false;
        }
    }

    private async ValueTask<ProblemResult?> AdmitAsync(CancellationToken stop)
    {
        _begun = true;
        (Order, var refused) = await admission.AdmitAsync(tenant, parameters, mistakes, _tooLong, stop);
        if (Order is not null)
        {
            _tasks = new TaskReader(TaskInput.For(Order.Model, options.TaskBytesMax), mistakes);
            _sink = sinkFor(Order);
        }

        return refused;
    }

    private async ValueTask<ProblemResult?> FinishAsync(CancellationToken stop)
    {
        if (Order is null && await AdmitAsync(stop) is { } refused)
        {
            return refused;
        }

        if (!mistakes.Any && _tasks!.Tasks == 0)
        {
            mistakes.Add(null, "at least one task, {\"custom_id\": \"…\", \"input\": …}", "an empty body", new TaskPlace(1));
        }

        return mistakes.Any ? Refuse() : null;
    }

    private void AddTooLong(LineReader lines, ReadOnlySpan<byte> beginning)
    {
        _tooLong++;
        mistakes.Add(
            null,
            $"a line of at most {options.LineBytesMax} bytes",
            $"{lines.SkippedBytes} bytes, beginning {Excerpt.Of(beginning)}",
            new TaskPlace(lines.Line)
        );
    }

    private async ValueTask DropWriterAfterMistakesAsync()
    {
        if (mistakes.Any && _sink is not null)
        {
            await _sink.DisposeAsync();
        }
    }

    private async Task<ReadOnlyMemory<byte>?> ReadWholeAsync(Stream body, CancellationToken stop)
    {
        var bytes = await WholeBody.ReadAsync(body, options.InlineBodyBytesMax, stop);
        if (bytes is null)
        {
            mistakes.Add(null, $"a JSON body of at most {options.InlineBodyBytesMax} bytes; send more as application/x-ndjson", "more");
        }

        return bytes;
    }

    private ProblemResult Refuse()
    {
        var first = mistakes.Kept[0];
        var where = first.Line is { } line ? $"Line {line}" : "The body";
        var field = first.Field is null ? "" : $", \"{first.Field}\"";
        var more = mistakes.Total > 1 ? $" {mistakes.Total} mistakes in all." : "";
        return Problems.Result(
            FailureKind.InvalidInput,
            $"{where}{field}: expected {first.Expected}, given {first.Given}.{more} Nothing was stored.",
            first.Field,
            mistakes.Kept,
            mistakes.Total
        );
    }
}
