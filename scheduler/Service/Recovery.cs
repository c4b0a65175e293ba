using System.Runtime.CompilerServices;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Migrations;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>A chunk with tasks that have not ended, and how its job stands.</summary>
internal readonly record struct OpenChunk(ChunkHeader Header, bool Paused, bool Cancelling);

/// <summary>Takes over, and reads back from PostgreSQL what the policy has to know: models, living workers, open chunks.</summary>
internal sealed class Recovery(NpgsqlDataSource database, SchedulerOptions options)
{
    /// <summary>Raises the epoch; who held the last one is fenced off from now on.</summary>
    public async Task<long> TakeOverAsync(Guid instance, DateTimeOffset now, CancellationToken stop)
    {
        await using var command = database.CreateCommand(
            "UPDATE scheduler_epoch SET epoch = epoch + 1, instance = $1, taken_at = $2 RETURNING epoch"
        );
        command.Parameters.Add(new() { Value = instance });
        command.Parameters.Add(new() { Value = now.ToUniversalTime() });
        return (long)(await command.ExecuteScalarAsync(stop))!;
    }

    /// <summary>Everything the policy starts from, streamed: a backlog of any size takes no second copy in memory.</summary>
    public async IAsyncEnumerable<Fact> ReadAsync([EnumeratorCancellation] CancellationToken stop)
    {
        foreach (var model in await ReadModelsAsync(stop))
        {
            yield return model;
        }

        yield return await ReadHoldsAsync(stop);
        foreach (var worker in await ReadWorkersAsync(stop))
        {
            yield return worker;
        }

        JobId? last = null;
        await foreach (var chunk in ReadChunksAsync(new ChunkKey(default, -1), int.MaxValue, stop))
        {
            yield return new ChunkArrived(chunk.Header);
            if (last != chunk.Header.Job)
            {
                last = chunk.Header.Job;
                foreach (var flag in FlagsOf(chunk))
                {
                    yield return flag;
                }
            }
        }
    }

    public async Task<IReadOnlyList<Fact>> ReadModelsAsync(CancellationToken stop) =>
        [
            .. (await ModelRegistry.ReadAllAsync(database, stop)).Select(m => new ModelProfileKnown(
                m.Manifest.Ref,
                m.Profile,
                m.Manifest.Limits
            )),
        ];

    /// <summary>What operators hold now.</summary>
    public async Task<Fact> ReadHoldsAsync(CancellationToken stop)
    {
        var held = await HoldStore.ReadAsync(database, stop);
        return new HoldsKnown(
            new Holds(
                [.. held.Select(h => h.Tenant).OfType<Guid>().Select(id => new TenantId(id))],
                [.. Names(HoldKind.Model)],
                [.. Names(HoldKind.Pool)],
                [.. Names(HoldKind.Worker).Select(id => new WorkerId(Guid.Parse(id)))]
            )
        );

        IEnumerable<string> Names(HoldKind kind) => held.Where(h => h.Hold.Kind == kind).Select(h => h.Hold.Name);
    }

    /// <summary>A page of open chunks after a key, for the sweep.</summary>
    public async Task<List<OpenChunk>> ReadPageAsync(ChunkKey after, CancellationToken stop)
    {
        var page = new List<OpenChunk>();
        await foreach (var chunk in ReadChunksAsync(after, options.SweepPageRows, stop))
        {
            page.Add(chunk);
        }

        return page;
    }

    public static IEnumerable<Fact> FlagsOf(OpenChunk chunk)
    {
        if (chunk.Cancelling)
        {
            yield return new JobCancelled(chunk.Header.Job);
        }

        if (chunk.Paused)
        {
            yield return new JobPaused(chunk.Header.Job);
        }
    }

    private async Task<List<Fact>> ReadWorkersAsync(CancellationToken stop)
    {
        await using var command = database.CreateCommand("SELECT id FROM workers WHERE ended_at IS NULL ORDER BY id");
        await using var reader = await command.ExecuteReaderAsync(stop);
        var workers = new List<Fact>();
        while (await reader.ReadAsync(stop))
        {
            workers.Add(new WorkerExpected(new WorkerId(reader.GetGuid(0))));
        }

        return workers;
    }

    /// <summary>Headers only: payloads are read by workers. The partial index on open chunks keeps this cheap however much is done.</summary>
    private async IAsyncEnumerable<OpenChunk> ReadChunksAsync(ChunkKey after, int rows, [EnumeratorCancellation] CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var command = new NpgsqlCommand(
            $"""
            SELECT c.job, c.no, j.tenant, {ChunkSql.Model}, j.class, j.deadline, coalesce(j.class_since, j.queued_at, j.created_at),
                   c.tasks, c.units, c.units_max, c.remaining, c.attempts, j.paused, j.state = 'cancelling'
            FROM chunks c JOIN jobs j ON j.id = c.job
            WHERE c.remaining > 0 AND (c.job, c.no) > ($1, $2) AND j.state IN ('queued', 'running', 'cancelling')
            ORDER BY c.job, c.no LIMIT $3
            """,
            connection
        );
        command.Parameters.Add(new() { Value = after.Job.Value });
        command.Parameters.Add(new() { Value = after.No });
        command.Parameters.Add(new() { Value = (long)rows, NpgsqlDbType = NpgsqlDbType.Bigint });
        await using var reader = await command.ExecuteReaderAsync(stop);
        while (await reader.ReadAsync(stop))
        {
            var header = new ChunkHeader(
                new JobId(reader.GetGuid(0)),
                reader.GetInt32(1),
                new TenantId(reader.GetGuid(2)),
                ModelRef.Parse(reader.GetString(3)),
                LatencyClasses.TryParse(reader.GetString(4), out var latencyClass) ? latencyClass : LatencyClass.Bulk,
                reader.GetFieldValue<DateTimeOffset>(5),
                reader.GetFieldValue<DateTimeOffset>(6),
                reader.GetInt32(7),
                reader.GetInt64(8),
                reader.GetInt32(9),
                reader.GetInt32(10),
                reader.GetInt32(11)
            );
            yield return new OpenChunk(header, reader.GetBoolean(12), reader.GetBoolean(13));
        }
    }
}
