using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Ingest.Storage;
using Pipeline.Ingest.Tasks;

namespace Pipeline.Ingest;

/// <summary>
/// <c>Idempotency-Key</c> (draft-ietf-httpapi-idempotency-key): a request that is sent again with its key gets the answer of the first,
/// and accepts nothing twice. The key with another request is refused (422), and so is one whose first request has not ended (409).
/// A request that was refused keeps no answer: correct it, and send it again with the same key.
/// </summary>
internal sealed class Idempotency(NpgsqlDataSource database, UploadLeases leases, IngestOptions options, TimeProvider time)
{
    public const string Header = "Idempotency-Key";
    public const string ReplayedHeader = "Idempotency-Replayed";
    private const int KeyMax = 255;

    /// <summary>The answer to a request whose key came with one that has not ended.</summary>
    public static ProblemResult InProgress() =>
        Problems.Result(FailureKind.IdempotencyInProgress, "The first request with this key has not ended yet.", Header);

    /// <summary>The request's key, or null; a quoted string as the draft writes it, or the bare text.</summary>
    public static string? KeyOf(HttpRequest request, Mistakes mistakes)
    {
        if (!request.Headers.TryGetValue(Header, out var values))
        {
            return null;
        }

        var key = values.ToString();
        key = key.Length >= 2 && key[0] == '"' && key[^1] == '"' ? key[1..^1] : key;
        if (key.Length is 0 or > KeyMax || key.Any(c => c is < ' ' or > '~'))
        {
            mistakes.Add(Header, $"1 to {KeyMax} printable ASCII characters", $"{key.Length} characters");
        }

        return key;
    }

    /// <summary>Claims the key for this request, or tells what stands in the way.</summary>
    public async Task<KeyClaim> ClaimAsync(TenantId tenant, string key, CancellationToken stop)
    {
        // The lease shows that the request which owns the key lives; without it the row below belongs to a process that died.
        var lease = await leases.TakeAsync(LeaseKey(tenant, key), stop);
        if (lease is null)
        {
            return new KeyClaim(this, tenant, key, null, null);
        }

        try
        {
            var answer = await InsertOrReadAsync(tenant, key, stop);
            if (answer is null)
            {
                return new KeyClaim(this, tenant, key, lease, null);
            }

            await lease.DisposeAsync();
            return new KeyClaim(this, tenant, key, null, answer);
        }
        catch
        {
            await lease.DisposeAsync();
            throw;
        }
    }

    internal async Task ForgetAsync(TenantId tenant, string key)
    {
        await using var command = database.CreateCommand(
            "DELETE FROM idempotency_keys WHERE tenant = $1 AND key = $2 AND finished_at IS NULL"
        );
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = key });
        await command.ExecuteNonQueryAsync(CancellationToken.None);
    }

    /// <summary>The stored answer; null when the key was free, too old, or left behind unfinished, and is this request's now.</summary>
    private async Task<KeptAnswer?> InsertOrReadAsync(TenantId tenant, string key, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            """
            INSERT INTO idempotency_keys AS k (tenant, key, fingerprint, created_at) VALUES ($1, $2, '', $3)
            ON CONFLICT (tenant, key) DO UPDATE SET
              created_at = CASE WHEN k.finished_at IS NULL OR k.created_at < $4 THEN excluded.created_at ELSE k.created_at END,
              job = CASE WHEN k.created_at < $4 THEN NULL ELSE k.job END,
              status = CASE WHEN k.created_at < $4 THEN NULL ELSE k.status END,
              response = CASE WHEN k.created_at < $4 THEN NULL ELSE k.response END,
              finished_at = CASE WHEN k.created_at < $4 THEN NULL ELSE k.finished_at END
            RETURNING fingerprint, status, response
            """
        );
        command.Parameters.Add(new() { Value = tenant.Value });
        command.Parameters.Add(new() { Value = key });
        command.Parameters.Add(new() { Value = time.GetUtcNow().UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(OldestAlive());
        await using var reader = await command.ExecuteReaderAsync(stop);
        await reader.ReadAsync(stop);
        return await reader.IsDBNullAsync(1, stop)
            ? null
            : new KeptAnswer(key, reader.GetFieldValue<byte[]>(0), reader.GetInt32(1), reader.GetFieldValue<byte[]>(2));
    }

    private NpgsqlParameter OldestAlive() =>
        new() { Value = (time.GetUtcNow() - options.IdempotencyKeyLife).UtcDateTime, NpgsqlDbType = NpgsqlDbType.TimestampTz };

    private static long LeaseKey(TenantId tenant, string key) =>
        BinaryPrimitives.ReadInt64BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes($"{tenant}\n{key}")));
}

/// <summary>A request's hold on its key. Disposing of it without an answer stored sets the key free.</summary>
internal sealed class KeyClaim(Idempotency keys, TenantId tenant, string key, UploadLease? lease, KeptAnswer? answer) : IAsyncDisposable
{
    public string Key => key;

    /// <summary>The answer the first request got; this one gets the same, if it is the same.</summary>
    public KeptAnswer? Answer => answer;

    /// <summary>True when the first request has not ended yet.</summary>
    public bool IsInProgress => lease is null && answer is null;

    public async ValueTask DisposeAsync()
    {
        if (lease is null)
        {
            return;
        }

        try
        {
            await keys.ForgetAsync(tenant, key);
        }
        catch (NpgsqlException)
        {
            // The server is away. The row stays unfinished and without a lease: the next request with the key takes it over.
        }
        finally
        {
            await lease.DisposeAsync();
        }
    }
}
