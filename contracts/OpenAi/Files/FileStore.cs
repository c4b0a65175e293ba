using System.Security.Cryptography;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;

namespace Pipeline.OpenAi.Files;

/// <summary>
/// Files in PostgreSQL: a row, and parts of <see cref="PartBytes"/>. A file is seen by nobody until its last part is stored; another
/// tenant's file is as unknown as one that does not exist.
/// </summary>
internal sealed class FileStore(NpgsqlDataSource database, TimeProvider time)
{
    /// <summary>Bytes of a part: what a reader or writer of a file holds in memory.</summary>
    public const int PartBytes = 256 * 1024;

    private const string Columns = "id, purpose, filename, bytes, part_bytes, sha256, created_at, expires_at";

    /// <summary>Begins a file. Dispose of the writer without completing it, and nothing is left of it.</summary>
    public async Task<FileWriter> CreateAsync(TenantId tenant, string purpose, string filename, CancellationToken stop)
    {
        var now = time.GetUtcNow();
        var id = FileId.New(now);
        await using var command = database.CreateCommand(
            "INSERT INTO files (id, tenant, purpose, filename, part_bytes, created_at) VALUES ($1, $2, $3, $4, $5, $6)"
        );
        var p = command.Parameters;
        p.Add(new() { Value = id.Value });
        p.Add(new() { Value = tenant.Value });
        p.Add(new() { Value = purpose });
        p.Add(new() { Value = filename });
        p.Add(new() { Value = PartBytes });
        p.Add(Moment(now));
        await command.ExecuteNonQueryAsync(stop);
        return new FileWriter(this, database, id, now);
    }

    /// <returns>The file, or null when this tenant has none of that id, or its time is over.</returns>
    public async Task<StoredFile?> FindAsync(TenantId tenant, FileId id, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            $"SELECT {Columns} FROM files WHERE id = $1 AND tenant = $2 AND bytes IS NOT NULL AND (expires_at > $3) IS NOT FALSE"
        );
        command.Parameters.Add(new() { Value = id.Value });
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(Moment(time.GetUtcNow()));
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? Read(reader) : null;
    }

    /// <summary>The input of a batch that was accepted: it is kept until the batch has its files, whatever its time.</summary>
    public async Task<StoredFile?> FindForBatchAsync(FileId id, CancellationToken stop)
    {
        await using var command = database.CreateCommand($"SELECT {Columns} FROM files WHERE id = $1 AND bytes IS NOT NULL");
        command.Parameters.Add(new() { Value = id.Value });
        await using var reader = await command.ExecuteReaderAsync(stop);
        return await reader.ReadAsync(stop) ? Read(reader) : null;
    }

    /// <summary>A tenant's files in order of their making.</summary>
    /// <param name="after">Only those that follow this one.</param>
    public async Task<List<StoredFile>> ListAsync(
        TenantId tenant,
        string? purpose,
        FileId? after,
        bool newestFirst,
        int rows,
        CancellationToken stop
    )
    {
        await using var command = database.CreateCommand(
            $"""
            SELECT {Columns} FROM files
            WHERE tenant = $1 AND bytes IS NOT NULL AND (expires_at > $2) IS NOT FALSE AND ($3::text IS NULL OR purpose = $3)
              AND ($4::uuid IS NULL OR id {(newestFirst ? "<" : ">")} $4)
            ORDER BY id {(newestFirst ? "DESC" : "ASC")} LIMIT $5
            """
        );
        var p = command.Parameters;
        p.Add(new() { Value = tenant.Value });
        p.Add(Moment(time.GetUtcNow()));
        p.Add(new() { Value = (object?)purpose ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        p.Add(new() { Value = (object?)after?.Value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        p.Add(new() { Value = rows });
        await using var reader = await command.ExecuteReaderAsync(stop);
        var files = new List<StoredFile>();
        while (await reader.ReadAsync(stop))
        {
            files.Add(Read(reader));
        }

        return files;
    }

    /// <summary>Removes a file. False when an unfinished batch still reads from it.</summary>
    public async Task<bool> DeleteAsync(TenantId tenant, FileId id, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            DELETE FROM files f WHERE id = $1 AND tenant = $2
              AND NOT EXISTS (SELECT FROM openai_batches b WHERE b.input_file = f.id AND b.finished_at IS NULL)
            """
        );
        command.Parameters.Add(new() { Value = id.Value });
        command.Parameters.Add(new() { Value = tenant.Value });
        return await command.ExecuteNonQueryAsync(stop) > 0;
    }

    /// <summary>Removes files past their time, and those whose upload broke off longer than <paramref name="uploadMax"/> ago. Gives how many.</summary>
    public async Task<int> SweepOnceAsync(TimeSpan uploadMax, CancellationToken stop)
    {
        var now = time.GetUtcNow();
        await using var command = database.CreateCommand(
            """
            DELETE FROM files f WHERE id IN (
              SELECT id FROM files WHERE expires_at <= $1
              UNION ALL SELECT id FROM files WHERE bytes IS NULL AND created_at <= $2 LIMIT 1000
            ) AND NOT EXISTS (SELECT FROM openai_batches b WHERE b.input_file = f.id AND b.finished_at IS NULL)
            """
        );
        command.Parameters.Add(Moment(now));
        command.Parameters.Add(Moment(now - uploadMax));
        return await command.ExecuteNonQueryAsync(stop);
    }

    /// <summary>A file's bytes as a stream that can be sought in. Holds one part, and a connection only while it reads one.</summary>
    public Stream Open(StoredFile file) => new FileContent(database, file);

    internal async Task DeletePartialAsync(FileId id)
    {
        await using var command = database.CreateCommand("DELETE FROM files WHERE id = $1 AND bytes IS NULL");
        command.Parameters.Add(new() { Value = id.Value });
        await command.ExecuteNonQueryAsync(CancellationToken.None);
    }

    internal static NpgsqlParameter Moment(DateTimeOffset? moment) =>
        new() { Value = (object?)moment?.ToUniversalTime() ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.TimestampTz };

    private static StoredFile Read(NpgsqlDataReader reader) =>
        new(
            new FileId(reader.GetGuid(0)),
            reader.GetString(1),
            reader.GetString(2),
            reader.GetInt64(3),
            reader.GetInt32(4),
            reader.GetFieldValue<byte[]>(5),
            reader.GetFieldValue<DateTimeOffset>(6),
            reader.IsDBNull(7) ? null : reader.GetFieldValue<DateTimeOffset>(7)
        );
}

/// <summary>Writes a new file, part by part.</summary>
internal sealed class FileWriter(FileStore store, NpgsqlDataSource database, FileId id, DateTimeOffset createdAt) : IAsyncDisposable
{
    private readonly byte[] _part = GC.AllocateUninitializedArray<byte>(FileStore.PartBytes);
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private int _filled;
    private int _parts;
    private bool _completed;

    public FileId Id => id;

    public DateTimeOffset CreatedAt => createdAt;

    public long Bytes { get; private set; }

    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken stop)
    {
        _hash.AppendData(bytes.Span);
        Bytes += bytes.Length;
        while (bytes.Length > 0)
        {
            var taken = Math.Min(bytes.Length, _part.Length - _filled);
            bytes[..taken].CopyTo(_part.AsMemory(_filled));
            _filled += taken;
            bytes = bytes[taken..];
            if (_filled == _part.Length)
            {
                await FlushAsync(stop);
            }
        }
    }

    /// <summary>Stores what is left, and gives the statement that makes the file whole: the caller's transaction decides when.</summary>
    /// <param name="purpose">Its purpose and name as they are known by now.</param>
    public async ValueTask<(NpgsqlBatchCommand Complete, StoredFile File)> FinishAsync(
        string purpose,
        string filename,
        DateTimeOffset? expiresAt,
        CancellationToken stop
    )
    {
        await FlushAsync(stop);
        var sha = _hash.GetHashAndReset();
        var complete = new NpgsqlBatchCommand(
            "UPDATE files SET bytes = $2, sha256 = $3, purpose = $4, filename = $5, expires_at = $6 WHERE id = $1"
        );
        var p = complete.Parameters;
        p.Add(new() { Value = id.Value });
        p.Add(new() { Value = Bytes });
        p.Add(new() { Value = sha });
        p.Add(new() { Value = purpose });
        p.Add(new() { Value = filename });
        p.Add(FileStore.Moment(expiresAt));
        return (complete, new StoredFile(id, purpose, filename, Bytes, FileStore.PartBytes, sha, createdAt, expiresAt));
    }

    /// <summary>Makes the file whole at once.</summary>
    public async Task<StoredFile> CompleteAsync(string purpose, string filename, DateTimeOffset? expiresAt, CancellationToken stop)
    {
        var (complete, file) = await FinishAsync(purpose, filename, expiresAt, stop);
        await using var batch = database.CreateBatch();
        batch.BatchCommands.Add(complete);
        await batch.ExecuteNonQueryAsync(stop);
        Completed();
        return file;
    }

    /// <summary>The caller's transaction has made the file whole.</summary>
    public void Completed() => _completed = true;

    public async ValueTask DisposeAsync()
    {
        _hash.Dispose();
        if (_completed)
        {
            return;
        }

        try
        {
            await store.DeletePartialAsync(id);
        }
        catch (NpgsqlException)
        {
            // The server is away; the sweep removes what was begun.
        }
    }

    private async ValueTask FlushAsync(CancellationToken stop)
    {
        if (_filled == 0)
        {
            return;
        }

        await using var command = database.CreateCommand("INSERT INTO file_parts (file, no, data) VALUES ($1, $2, $3)");
        command.Parameters.Add(new() { Value = id.Value });
        command.Parameters.Add(new() { Value = _parts++ });
        command.Parameters.Add(new NpgsqlParameter { Value = _part.AsMemory(0, _filled), NpgsqlDbType = NpgsqlDbType.Bytea });
        await command.ExecuteNonQueryAsync(stop);
        _filled = 0;
    }
}
