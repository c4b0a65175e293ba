using System.Text;
using Pipeline.Ingest.Body;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public sealed class LineReaderTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(1000)]
    public async Task Lines_come_whole_and_in_order_however_the_bytes_arrive(int bytesAtOnce)
    {
        var lines = await ReadAsync("one\ntwo\r\n\nthree is longer than the buffer\nlast", bytesAtOnce, lineBytesMax: 64);
        Assert.Equal(
            ["1 Line one", "2 Line two\r", "3 Line ", "4 Line three is longer than the buffer", "5 Line last (unterminated)"],
            lines
        );
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(1000)]
    public async Task A_line_that_is_too_long_is_skipped_to_its_end(int bytesAtOnce)
    {
        var body = $"ok\n{new string('x', 500)}\nalso ok\n{new string('y', 100)}";
        Assert.Equal(
            ["1 Line ok", "2 TooLong 500", "3 Line also ok", "4 TooLong 100 (unterminated)"],
            await ReadAsync(body, bytesAtOnce, lineBytesMax: 16)
        );
    }

    [Fact]
    public async Task An_empty_body_has_no_line() => Assert.Empty(await ReadAsync("", 10, lineBytesMax: 16));

    [Fact]
    public async Task A_line_is_given_again_when_it_is_put_back()
    {
        var reader = new LineReader(new MemoryStream("a\nb\n"u8.ToArray()), 16, 8);
        await reader.ReadAsync(CancellationToken.None);
        reader.TryNext(out _);
        reader.Unread();
        Assert.Equal(LineKind.Line, reader.TryNext(out var line));
        Assert.Equal("a", Encoding.ASCII.GetString(line));
        Assert.Equal(1, reader.Line);
    }

    private static async Task<List<string>> ReadAsync(string body, int bytesAtOnce, int lineBytesMax)
    {
        var reader = new LineReader(new Trickle(Encoding.ASCII.GetBytes(body), bytesAtOnce), lineBytesMax, 8);
        var lines = new List<string>();
        while (true)
        {
            while (reader.TryNext(out var line) is var kind and not LineKind.None)
            {
                var what = kind == LineKind.Line ? Encoding.ASCII.GetString(line) : $"{reader.SkippedBytes}";
                lines.Add($"{reader.Line} {kind} {what}{(reader.Unterminated ? " (unterminated)" : "")}");
            }

            if (reader.Ended)
            {
                return lines;
            }

            await reader.ReadAsync(CancellationToken.None);
        }
    }

    /// <summary>A stream that gives few bytes at a time.</summary>
    private sealed class Trickle(byte[] bytes, int atOnce) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(atOnce, buffer.Length)], cancellationToken);
    }
}
