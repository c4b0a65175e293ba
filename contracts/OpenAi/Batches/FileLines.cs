using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;

namespace Pipeline.OpenAi.Batches;

/// <summary>A line of a file, without its end.</summary>
/// <param name="Number">From 1; empty lines count and are left out.</param>
/// <param name="Bytes">Valid until the next line is asked for; the beginning of one that is too long.</param>
/// <param name="TooLong">True when the line has more bytes than allowed.</param>
internal readonly record struct FileLine(long Number, ReadOnlyMemory<byte> Bytes, bool TooLong);

/// <summary>
/// Cuts a file into lines ended by LF or CRLF, the same way whoever reads it. Holds one line, and no more of it than allowed.
/// </summary>
internal static class FileLines
{
    private const int ShownBytes = 64;

    private static ReadOnlySpan<byte> ByteOrderMark => [0xEF, 0xBB, 0xBF];

    public static async IAsyncEnumerable<FileLine> ReadAsync(Stream file, int lineBytesMax, [EnumeratorCancellation] CancellationToken stop)
    {
        var pipe = PipeReader.Create(file, new StreamPipeReaderOptions(bufferSize: 64 * 1024));
        var number = 0L;
        var skipping = false;
        while (true)
        {
            var read = await pipe.ReadAsync(stop);
            var buffer = read.Buffer;
            while (buffer.PositionOf((byte)'\n') is { } end || (read.IsCompleted && buffer.Length > 0))
            {
                var isLast = buffer.PositionOf((byte)'\n') is null;
                var cut = isLast ? buffer.End : buffer.PositionOf((byte)'\n')!.Value;
                var line = buffer.Slice(0, cut);
                buffer = buffer.Slice(isLast ? cut : buffer.GetPosition(1, cut));
                if (skipping)
                {
                    skipping = false;
                    continue;
                }

                number++;
                if (Trim(line, number) is { Length: > 0 } bytes)
                {
                    yield return new FileLine(number, bytes, bytes.Length > lineBytesMax);
                }
            }

            if (!skipping && buffer.Length > lineBytesMax)
            {
                number++;
                skipping = true;
                yield return new FileLine(number, buffer.Slice(0, ShownBytes).ToArray(), TooLong: true);
            }

            buffer = skipping ? buffer.Slice(buffer.End) : buffer;
            pipe.AdvanceTo(buffer.Start, buffer.End);
            if (read.IsCompleted)
            {
                break;
            }
        }

        await pipe.CompleteAsync();
    }

    private static ReadOnlyMemory<byte> Trim(ReadOnlySequence<byte> line, long number)
    {
        var bytes = line.IsSingleSegment ? line.First : line.ToArray();
        if (number == 1 && bytes.Span.StartsWith(ByteOrderMark))
        {
            bytes = bytes[3..];
        }

        return bytes.Trim(" \t\r"u8);
    }
}
