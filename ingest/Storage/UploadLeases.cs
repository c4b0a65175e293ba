using System.Buffers.Binary;
using System.Data;
using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.Ingest.Storage;

/// <summary>
/// Says which unfinished uploads still have a living owner: each holds an advisory lock on one connection that this process keeps. A
/// process that dies loses the connection and with it every lock, at once, and the sweep may take its uploads back; an upload that is
/// only slow keeps its lock for as long as it takes.
/// </summary>
internal sealed class UploadLeases(NpgsqlDataSource database) : IAsyncDisposable
{
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly HashSet<long> _held = [];
    private NpgsqlConnection? _keeper;

    /// <summary>The lock's name of a job's upload: the random half of its id.</summary>
    public static long KeyOf(JobId job) => BinaryPrimitives.ReadInt64BigEndian(job.Value.ToByteArray(bigEndian: true).AsSpan(8));

    /// <summary>Takes a lease; null when somebody alive has it.</summary>
    public async Task<UploadLease?> TakeAsync(long key, CancellationToken stop)
    {
        await _gate.WaitAsync(stop);
        try
        {
            // The server would give a session the lock it has already: our own holders are told apart here.
            if (_held.Contains(key) || !await TryLockAsync(key, stop))
            {
                return null;
            }

            _held.Add(key);
            return new UploadLease(this, key);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>A connection that broke took its locks with it: opens it again and takes them back. Call it now and then.</summary>
    public async Task KeepAsync(CancellationToken stop)
    {
        await _gate.WaitAsync(stop);
        try
        {
            if (_held.Count > 0)
            {
                await ExecuteAsync("SELECT true", null, stop);
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_keeper is not null)
        {
            await _keeper.DisposeAsync();
        }

        _gate.Dispose();
    }

    internal async Task ReturnAsync(long key)
    {
        await _gate.WaitAsync();
        try
        {
            _held.Remove(key);
            await ExecuteAsync("SELECT pg_advisory_unlock($1)", key, CancellationToken.None);
        }
        catch (NpgsqlException)
        {
            // The lock went with the connection.
        }
        finally
        {
            _gate.Release();
        }
    }

    private Task<bool> TryLockAsync(long key, CancellationToken stop) => ExecuteAsync("SELECT pg_try_advisory_lock($1)", key, stop);

    private async Task<bool> ExecuteAsync(string sql, long? key, CancellationToken stop)
    {
        try
        {
            return await ExecuteAsync(await KeeperAsync(stop), sql, key, stop);
        }
        catch (NpgsqlException) when (_keeper is { State: not ConnectionState.Open })
        {
            return await ExecuteAsync(await KeeperAsync(stop), sql, key, stop);
        }
    }

    private static async Task<bool> ExecuteAsync(NpgsqlConnection keeper, string sql, long? key, CancellationToken stop)
    {
        await using var command = new NpgsqlCommand(sql, keeper);
        if (key is { } value)
        {
            command.Parameters.Add(new() { Value = value });
        }

        return await command.ExecuteScalarAsync(stop) is true;
    }

    /// <summary>The connection; a new one takes back what is held here, unless the sweep was quicker.</summary>
    private async Task<NpgsqlConnection> KeeperAsync(CancellationToken stop)
    {
        if (_keeper is { State: ConnectionState.Open })
        {
            return _keeper;
        }

        if (_keeper is not null)
        {
            await _keeper.DisposeAsync();
            _keeper = null;
        }

        var keeper = await database.OpenConnectionAsync(stop);
        foreach (var held in _held)
        {
            await ExecuteAsync(keeper, "SELECT pg_try_advisory_lock($1)", held, stop);
        }

        return _keeper = keeper;
    }
}

/// <summary>A lease that is held until it is disposed of.</summary>
internal sealed class UploadLease(UploadLeases leases, long key) : IAsyncDisposable
{
    public ValueTask DisposeAsync() => new(leases.ReturnAsync(key));
}
