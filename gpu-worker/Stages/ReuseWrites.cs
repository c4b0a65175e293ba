using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// After a commit: counts what was reused, and puts new results into the caches of the tenants that have one. Results do not depend on it:
/// what cannot be cached now is not cached.
/// </summary>
internal sealed partial class ReuseWrites(WorkerParts parts, ILogger log)
{
    /// <param name="group">What was committed, in the order of its <paramref name="rows"/>.</param>
    public async Task AfterCommitAsync(IReadOnlyList<FinishedBatch> group, TaskEndRows rows, EndedTasks ended, CancellationToken abort)
    {
        parts.Metrics.Reused(rows, ended);
        var entries = Entries(group);
        if (entries.Count > 0)
        {
            await KeepAsync(entries, abort);
        }
    }

    /// <summary>What ran here and succeeded, of jobs that use a cache. That it is really in the results, and small enough, the statement sees.</summary>
    private static List<CacheEntry> Entries(IReadOnlyList<FinishedBatch> group)
    {
        var entries = new List<CacheEntry>();
        foreach (var batch in group)
        {
            for (var row = 0; row < batch.Ends.Length; row++)
            {
                var task = batch.Run.Tasks[batch.Tasks[row]];
                var slice = batch.Run.Slices[task.Slice];
                if (task.CacheKey is { } key && slice.Cache is { } tenant && batch.Ends[row] is { Failure: null, Reused: null })
                {
                    entries.Add(new CacheEntry(tenant, key, batch.Run.Dispatch.Model.ToString(), slice.Slice.Job, task.Seq));
                }
            }
        }

        return entries;
    }

    [SuppressMessage("Design", "CA1031", Justification = "The results are committed; whatever the cache has against them, they stand.")]
    private async Task KeepAsync(List<CacheEntry> entries, CancellationToken abort)
    {
        try
        {
            await ResultCache.KeepAsync(parts.Database, entries, parts.Options.CachedOutputBytesMax, abort);
        }
        catch (Exception e) when (!abort.IsCancellationRequested)
        {
            LogNotCached(log, entries.Count, e.Message);
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "{Results} results were not cached: {Reason}")]
    private static partial void LogNotCached(ILogger log, int results, string reason);
}
