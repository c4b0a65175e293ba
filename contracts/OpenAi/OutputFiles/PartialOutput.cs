using System.Buffers;
using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.OpenAi.Batches;
using Pipeline.OpenAi.Files;

namespace Pipeline.OpenAi.OutputFiles;

/// <summary>
/// What a batch's output file will begin with, while the batch runs: the lines that completed, in the order of the input, before the first that has not
/// ended. It has the id of the batch's job, and grows; each byte of it stays where it is, and is the same in the file that is made at the end, which
/// answers under this id from then on. Nothing is stored: every request renders the lines anew, from the first on.
/// </summary>
internal sealed class PartialOutput(NpgsqlDataSource database, FileStore files)
{
    /// <summary>Bytes of the answer to a range at most; the next range goes on after them.</summary>
    private const int RangeBytesMax = 8 * 1024 * 1024;
    private const string ContentType = "application/octet-stream";

    /// <summary>The id under which it is read.</summary>
    public static FileId IdOf(JobId job) => new(job.Value);

    /// <returns>Null when the tenant has no batch with that output, or one that ended without any.</returns>
    public async Task<IResult?> AnswerAsync(HttpContext http, FileId id)
    {
        var stop = http.RequestAborted;
        if (await FindAsync(http.Tenant(), new JobId(id.Value), stop) is not { } batch)
        {
            return null;
        }

        if (batch.IsFinished)
        {
            return batch.Output is { } made && await files.FindAsync(http.Tenant(), made, stop) is { } file
                ? ReadFiles.Content(files, file)
                : null;
        }

        http.Response.Headers.AcceptRanges = "bytes";
        return RangeOf(http.Request) is var (from, to)
            ? await RangeAsync(http, batch, from, to, stop)
            : TypedResults.Stream(body => WriteAsync(batch, body, stop), ContentType);
    }

    private async Task WriteAsync(RunningBatch batch, Stream body, CancellationToken stop)
    {
        await foreach (var line in LinesAsync(batch, stop))
        {
            await body.WriteAsync(line, stop);
        }
    }

    private async Task<IResult> RangeAsync(HttpContext http, RunningBatch batch, long from, long to, CancellationToken stop)
    {
        var (wanted, at) = (new ArrayBufferWriter<byte>(), 0L);
        await foreach (var line in LinesAsync(batch, stop))
        {
            var left = Math.Min(to - from + 1, RangeBytesMax) - wanted.WrittenCount;
            var skipped = (int)Math.Clamp(from - at, 0, line.Length);
            wanted.Write(line.Span.Slice(skipped, (int)Math.Min(left, line.Length - skipped)));
            at += line.Length;
            if (wanted.WrittenCount == Math.Min(to - from + 1, RangeBytesMax))
            {
                break;
            }
        }

        if (wanted.WrittenCount == 0)
        {
            http.Response.Headers.ContentRange = $"bytes */{at}";
            return TypedResults.StatusCode(StatusCodes.Status416RangeNotSatisfiable);
        }

        // It grows: how long it will be nobody knows.
        http.Response.Headers.ContentRange = $"bytes {from}-{from + wanted.WrittenCount - 1}/*";
        http.Response.StatusCode = StatusCodes.Status206PartialContent;
        return TypedResults.Bytes(wanted.WrittenMemory, ContentType);
    }

    private async IAsyncEnumerable<ReadOnlyMemory<byte>> LinesAsync(RunningBatch batch, [EnumeratorCancellation] CancellationToken stop)
    {
        var models = await ModelRegistry.ReadAllAsync(database, stop);
        if (
            models.FirstOrDefault(m => m.Manifest.Ref == batch.Model)?.Manifest is not { } model
            || await files.FindForBatchAsync(batch.InputFile, stop) is not { } input
        )
        {
            yield break;
        }

        var lines = new OutputLines(batch.Job, batch.Endpoint, model, batch.Class);
        await using var content = files.Open(input);
        await using var tasks = BatchTasks.ReadAsync(database, batch.Job, isFinished: false, stop).GetAsyncEnumerator(stop);
        await foreach (var given in FileLines.ReadAsync(content, (int)Math.Min(input.Bytes, int.MaxValue), stop))
        {
            using var line = BatchLine.Read(given.Bytes.Span, batch.Endpoint, (_, _, message) => throw new InvalidDataException(message));
            if (await BatchTasks.TakeAsync(tasks, line!, given.Number) is not { } ends)
            {
                yield break;
            }

            var bytes = lines.Write(line!, given.Number, ends, out var isCompleted);
            if (isCompleted)
            {
                yield return bytes;
            }
        }
    }

    /// <summary>The one range from a byte on; null where the request has none, or one of another form, which may be ignored (RFC 9110, 14.2).</summary>
    private static (long From, long To)? RangeOf(HttpRequest request) =>
        RangeHeaderValue.TryParse(request.Headers.Range.ToString(), out var ranges)
        && ranges is { Unit.Value: "bytes", Ranges: { Count: 1 } all }
        && all.First() is { From: { } from } one
            ? (from, one.To ?? long.MaxValue - 1)
            : null;

    private async Task<RunningBatch?> FindAsync(TenantId tenant, JobId job, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            SELECT b.endpoint, b.input_file, b.output_file, b.finished_at IS NOT NULL, j.model, j.model_version, j.class
            FROM openai_batches b JOIN jobs j ON j.id = b.job
            WHERE b.tenant = $1 AND b.job = $2 AND j.state <> 'receiving'
            """
        );
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = job.Value });
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop)
            ? new RunningBatch(
                job,
                reader.GetString(0),
                new FileId(reader.GetGuid(1)),
                await reader.IsDBNullAsync(2, stop) ? null : new FileId(reader.GetGuid(2)),
                reader.GetBoolean(3),
                new ModelRef(reader.GetString(4), reader.GetString(5)),
                LatencyClasses.TryParse(reader.GetString(6), out var latency) ? latency : LatencyClass.Bulk
            )
            : null;
    }

    /// <param name="Output">The file that was made, once it is finished; null where no line completed.</param>
    private sealed record RunningBatch(
        JobId Job,
        string Endpoint,
        FileId InputFile,
        FileId? Output,
        bool IsFinished,
        ModelRef Model,
        LatencyClass Class
    );
}
