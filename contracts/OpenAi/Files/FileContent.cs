using Npgsql;

namespace Pipeline.OpenAi.Files;

/// <summary>A stored file's bytes, read part by part; seeking costs nothing.</summary>
internal sealed class FileContent(NpgsqlDataSource database, StoredFile file) : Stream
{
    private byte[] _part = [];
    private int _no = -1;

    public override bool CanRead => true;

    public override bool CanSeek => true;

    public override bool CanWrite => false;

    public override long Length => file.Bytes;

    public override long Position { get; set; }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (Position >= Length || buffer.Length == 0)
        {
            return 0;
        }

        var no = (int)(Position / file.PartBytes);
        if (no != _no)
        {
            _part = await ReadPartAsync(no, cancellationToken);
            _no = no;
        }

        var at = (int)(Position % file.PartBytes);
        var count = Math.Min(buffer.Length, _part.Length - at);
        _part.AsMemory(at, count).CopyTo(buffer);
        Position += count;
        return count;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override long Seek(long offset, SeekOrigin origin) =>
        Position = origin switch
        {
            SeekOrigin.Begin => offset,
            SeekOrigin.Current => Position + offset,
            _ => Length + offset,
        };

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("Read it asynchronously.");

    public override void Flush() { }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    private async Task<byte[]> ReadPartAsync(int no, CancellationToken stop)
    {
        await using var command = database.CreateCommand("SELECT data FROM file_parts WHERE file = $1 AND no = $2");
        command.Parameters.Add(new() { Value = file.Id.Value });
        command.Parameters.Add(new() { Value = no });
        return await command.ExecuteScalarAsync(stop) as byte[]
            ?? throw new IOException($"Part {no} of {file.Id} is gone: the file was removed while it was read.");
    }
}
