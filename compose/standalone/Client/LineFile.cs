using System.Buffers;
using System.IO.Compression;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Text;

namespace Pipeline.Standalone.Client;

/// <summary>A file whose lines are tasks, or standard input: unpacked where it is gzip, and refused by name and line where it holds no UTF-8.</summary>
internal static class LineFile
{
    private const int BufferBytes = 64 * 1024;

    /// <summary>How the name of a file ends that is gzip of what the rest of its name says.</summary>
    private const string Packed = ".gz";

    /// <summary>As many as tell what a file holds.</summary>
    private const int BeginningBytes = 5;

    /// <summary>How gzip begins (RFC 1952), and no text in UTF-8.</summary>
    private static ReadOnlySpan<byte> Gzip => [0x1F, 0x8B];

    /// <summary>What messages call it.</summary>
    public static string Name(string path) => path == "-" ? "standard input" : path;

    /// <summary>Its name as it was before it was packed.</summary>
    public static string Plain(string path) => IsPacked(path) ? path[..^Packed.Length] : path;

    /// <param name="path">The file; "-" is standard input.</param>
    /// <param name="read">Hears of every byte as it lies in the file.</param>
    /// <returns>Its lines as bytes; reading throws <see cref="TaskSourceException"/> where gzip is cut off or broken.</returns>
    /// <exception cref="TaskSourceException">It is another kind of file; the message says what to do with it.</exception>
    public static async Task<Stream> OpenAsync(string path, Action<long>? read, CancellationToken stop)
    {
        var file = path == "-" ? Console.OpenStandardInput() : File.OpenRead(path);
        try
        {
            var counted = new WatchedStream(file, path, bytes => read?.Invoke(bytes.Length));
            var reader = PipeReader.Create(counted, new StreamPipeReaderOptions(bufferSize: BufferBytes));
            var begins = (await reader.ReadAtLeastAsync(BeginningBytes, stop)).Buffer;
            var beginning = begins.Slice(0, Math.Min(begins.Length, BeginningBytes)).ToArray();
            reader.AdvanceTo(begins.Start);
            var bytes = reader.AsStream();
            if (beginning.AsSpan().StartsWith(Gzip))
            {
                return new WatchedStream(new GZipStream(bytes, CompressionMode.Decompress), path, _ => { });
            }

            ThrowIfNoLines(path, beginning);
            return bytes;
        }
        catch
        {
            await file.DisposeAsync();
            throw;
        }
    }

    /// <summary>Its lines as text.</summary>
    public static async IAsyncEnumerable<string> ReadLinesAsync(string path, [EnumeratorCancellation] CancellationToken stop)
    {
        await using var utf8 = Utf8(await OpenAsync(path, null, stop), path);
        using var reader = new StreamReader(utf8, new UTF8Encoding(false));
        while (await reader.ReadLineAsync(stop) is { } line)
        {
            yield return line;
        }
    }

    /// <summary>Refuses what is not UTF-8 by its line; a reader of text would put U+FFFD in its place.</summary>
    public static Stream Utf8(Stream file, string path) => new WatchedStream(file, path, new Utf8Check(path).See);

    public static TaskSourceException NotUtf8(string path, long line) =>
        new(
            $"{Name(path)}: line {line}: expected UTF-8 text, given other bytes; a spreadsheet's: iconv -f WINDOWS-1252 (or UTF-16) -t UTF-8 makes it that"
        );

    /// <summary>What begins so is no UTF-8, or has bytes that no text has.</summary>
    private static void ThrowIfNoLines(string path, ReadOnlySpan<byte> beginning)
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

    private static bool IsPacked(string path) => path.EndsWith(Packed, StringComparison.OrdinalIgnoreCase);

    /// <summary>Decodes what it sees, and throws at the first line that is no UTF-8.</summary>
    private sealed class Utf8Check(string path)
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
                throw NotUtf8(path, _line + bytes[..Math.Max(0, e.Index)].Count((byte)'\n'));
            }
            finally
            {
                ArrayPool<char>.Shared.Return(text);
            }

            _line += bytes.Count((byte)'\n');
        }
    }

    /// <summary>Shows bytes as they are read, and none at the end; gzip that is cut off or broken is told by the file's name.</summary>
    private sealed class WatchedStream(Stream inner, string path, Action<ReadOnlySpan<byte>> seen) : Stream
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
            try
            {
                var read = inner.Read(buffer, offset, count);
                seen(buffer.AsSpan(offset, read));
                return read;
            }
            catch (InvalidDataException e)
            {
                throw Broken(e);
            }
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            try
            {
                var read = await inner.ReadAsync(buffer, cancellationToken);
                seen(buffer.Span[..read]);
                return read;
            }
            catch (InvalidDataException e)
            {
                throw Broken(e);
            }
        }

        public override void Flush() { }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                inner.Dispose();
            }

            base.Dispose(disposing);
        }

        private TaskSourceException Broken(InvalidDataException e) => new($"{Name(path)}: expected gzip, as it begins, given: {e.Message}");
    }
}
