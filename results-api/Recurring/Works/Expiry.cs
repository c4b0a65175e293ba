using Npgsql;
using NpgsqlTypes;
using Pipeline.Migrations;
using Pipeline.OpenAi.Files;

namespace Pipeline.ResultsApi.Recurring.Works;

/// <summary>Forgets <c>Idempotency-Key</c>s whose time has passed. Ingest takes them for new ones already.</summary>
internal sealed class IdempotencyKeyExpiry(NpgsqlDataSource database, RecurringOptions options, TimeProvider time) : IRecurringWork
{
    public string Name => "idempotency-keys";
    public string Purpose => "Removes idempotency keys past their time, with the answers they remember.";
    public Schedule Schedule { get; } = Schedule.Every(TimeSpan.FromMinutes(5));

    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop)
    {
        var removed = 0L;
        while (true)
        {
            // It is done when less than a step is found, not when less is removed: what another process removed meanwhile is found too.
            await using var command = database.CreateCommand(
                """
                WITH old AS MATERIALIZED (
                  SELECT tenant, key FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2
                ), gone AS (
                  DELETE FROM idempotency_keys WHERE (tenant, key) IN (SELECT tenant, key FROM old) RETURNING 1
                )
                SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM gone)
                """
            );
            var oldest = (time.GetUtcNow() - options.IdempotencyKeyLife).UtcDateTime;
            command.Parameters.Add(new() { Value = oldest, NpgsqlDbType = NpgsqlDbType.TimestampTz });
            command.Parameters.Add(new() { Value = options.StepRowsMax });
            await using var reader = await command.ExecuteReaderAsync(stop);
            await reader.ReadAsync(stop);
            removed += reader.GetInt64(1);
            if (reader.GetInt64(0) < options.StepRowsMax)
            {
                return new Dictionary<string, long> { ["keys_removed"] = removed };
            }
        }
    }
}

/// <summary>Removes files past their time, and uploads that broke off. A file past its time is not shown in any case.</summary>
internal sealed class FileExpiry(FileStore files, RecurringOptions options) : IRecurringWork
{
    public string Name => "files";
    public string Purpose => "Removes files past their time, and what broken uploads left.";
    public Schedule Schedule { get; } = Schedule.Every(TimeSpan.FromMinutes(5));

    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop)
    {
        var removed = 0L;
        while (await files.SweepOnceAsync(options.FileUploadMax, stop) is > 0 and var count)
        {
            removed += count;
        }

        return new Dictionary<string, long> { ["files_removed"] = removed };
    }
}

/// <summary>Makes room in tenants' caches: what is past its time goes, and of a cache nine tenths full the oldest.</summary>
internal sealed class CacheEviction(NpgsqlDataSource database, RecurringOptions options) : IRecurringWork
{
    public string Name => "cache-eviction";
    public string Purpose => "Removes cached results past their time, and the oldest of caches that are nearly full.";
    public Schedule Schedule { get; } = Schedule.Every(TimeSpan.FromMinutes(1));

    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop)
    {
        var removed = 0L;
        while (await ResultCache.SweepAsync(database, options.StepRowsMax, stop) is > 0 and var rows)
        {
            removed += rows;
        }

        return new Dictionary<string, long> { ["results_removed"] = removed };
    }
}
