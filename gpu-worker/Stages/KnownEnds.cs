using Microsoft.Extensions.Logging;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;
using Pipeline.Migrations;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Looks for ends that are there already: of a copy's original, or in the tenant's cache. One query a dispatch each, and none where nothing
/// can be found; what is found is handed on as it is read, in groups, so that memory stays bounded however much it is.
/// </summary>
internal sealed class KnownEnds(WorkerParts parts, ILogger log)
{
    private const int GroupRowsMax = 512;
    private const int GroupBytesMax = 8 * 1024 * 1024;

    /// <summary>Takes a group of tasks and how they end.</summary>
    internal delegate Task Take(int[] tasks, TaskEnd[] ends);

    /// <summary>Asks the job's own results. A result that succeeded or failed is taken over; one that expired or was cancelled never ran.</summary>
    /// <param name="copies">Tasks, each with the job's number of its original.</param>
    /// <returns>Tasks whose original has no such result: they run.</returns>
    public Task<int[]> OfOriginalsAsync(DispatchRun run, IReadOnlyList<(int Task, int Original)> copies, Take take, CancellationToken stop)
    {
        var originals = copies.ToDictionary(c => c.Task, c => c.Original);
        return FindAsync([.. originals.Keys], left => AskResults(run, left, originals), ReuseSource.Job, take, stop);
    }

    /// <summary>Asks the tenants' caches about tasks that have a <see cref="TaskRef.CacheKey"/>.</summary>
    /// <returns>Those that are not there, and those that have no key: they run.</returns>
    public async Task<int[]> OfCacheAsync(DispatchRun run, int[] tasks, Take take, CancellationToken stop)
    {
        int[] asked = [.. tasks.Where(t => run.Tasks[t].CacheKey is not null)];
        if (asked.Length == 0)
        {
            return tasks;
        }

        var missed = await FindAsync(asked, left => AskCache(run, left), ReuseSource.Cache, take, stop);
        return [.. tasks.Where(t => run.Tasks[t].CacheKey is null), .. missed];
    }

    /// <summary>What was handed on before the server went away is not asked for again.</summary>
    private async Task<int[]> FindAsync(int[] tasks, Func<int[], NpgsqlBatch> ask, ReuseSource source, Take take, CancellationToken stop)
    {
        var left = tasks;
        var found = new HashSet<int>();
        await Patience.UntilAsync(
            async token =>
            {
                left = [.. left.Where(t => !found.Contains(t))];
                await using var batch = ask(left);
                await using var reader = await batch.ExecuteReaderAsync(token);
                await HandOnAsync(reader, left, source, found, take, token);
            },
            parts,
            log,
            stop
        );
        return [.. left.Where(t => !found.Contains(t))];
    }

    private static async Task HandOnAsync(
        NpgsqlDataReader reader,
        int[] left,
        ReuseSource source,
        HashSet<int> found,
        Take take,
        CancellationToken stop
    )
    {
        var (tasks, ends, bytes) = (new List<int>(), new List<TaskEnd>(), 0L);
        do
        {
            while (await reader.ReadAsync(stop))
            {
                tasks.Add(left[(int)reader.GetInt64(0) - 1]);
                ends.Add(ReadEnd(reader, source));
                bytes += ends[^1].Output.Bytes?.Length ?? 0;
                if (tasks.Count == GroupRowsMax || bytes >= GroupBytesMax)
                {
                    await TakeAsync();
                }
            }
        } while (await reader.NextResultAsync(stop));

        if (tasks.Count > 0)
        {
            await TakeAsync();
        }

        async Task TakeAsync()
        {
            found.UnionWith(tasks);
            await take([.. tasks], [.. ends]);
            tasks.Clear();
            ends.Clear();
            bytes = 0;
        }
    }

    /// <summary>Columns: place in what was asked, output, content type, units, pico-USD, error code, error message.</summary>
    private static TaskEnd ReadEnd(NpgsqlDataReader row, ReuseSource source) =>
        row.IsDBNull(1)
            ? new TaskEnd(default, new TaskFailure(FailureKinds.OfCode(row.GetString(5)), row.GetString(6)), new ReusedEnd(source, 0, 0))
            : new TaskEnd(
                new TaskOutput(row.GetFieldValue<byte[]>(1), row.GetString(2)),
                null,
                new ReusedEnd(source, row.GetInt32(3), row.GetInt64(4))
            );

    /// <summary>A statement a job, so that each reads one partition; each original by the primary key, whatever the statistics say.</summary>
    private NpgsqlBatch AskResults(DispatchRun run, int[] left, Dictionary<int, int> originals)
    {
        var batch = parts.Database.CreateBatch();
        foreach (var job in Enumerable.Range(0, left.Length).GroupBy(i => run.Slices[run.Tasks[left[i]].Slice].Slice.Job))
        {
            batch.BatchCommands.Add(
                new(
                    """
                    SELECT k.at, r.output, r.content_type, r.units, coalesce(r.saved_pico, r.cost_pico), r.error_code, r.error_message
                    FROM unnest($2, $3) AS k (seq, at)
                    CROSS JOIN LATERAL (
                      SELECT output, content_type, units, saved_pico, cost_pico, error_code, error_message FROM results
                      WHERE job = $1 AND seq = k.seq AND status IN ('succeeded', 'failed') OFFSET 0
                    ) r
                    """
                )
                {
                    Parameters =
                    {
                        new() { Value = job.Key.Value },
                        new()
                        {
                            Value = job.Select(i => originals[left[i]]).ToArray(),
                            NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Integer,
                        },
                        new() { Value = job.Select(i => i + 1L).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Bigint },
                    },
                }
            );
        }

        return batch;
    }

    private NpgsqlBatch AskCache(DispatchRun run, int[] left)
    {
        var batch = parts.Database.CreateBatch();
        batch.BatchCommands.Add(
            ResultCache.Find(
                [.. left.Select(t => run.Slices[run.Tasks[t].Slice].Cache!.Value)],
                [.. left.Select(t => run.Tasks[t].CacheKey!)]
            )
        );
        return batch;
    }
}
