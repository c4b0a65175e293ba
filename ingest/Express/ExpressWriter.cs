using System.Threading.Channels;
using Microsoft.Extensions.Hosting;
using Npgsql;
using Pipeline.Ingest.Storage;

namespace Pipeline.Ingest.Express;

/// <summary>
/// Group commit: stores jobs that come at the same time in one transaction, so that a hundred of them wait for the disk once. A job that
/// comes alone is stored at once; what comes meanwhile shares the next commit. A job that PostgreSQL refuses fails alone.
/// </summary>
internal sealed class ExpressWriter(JobStore store, IngestMetrics metrics, IngestOptions options) : BackgroundService
{
    private readonly Channel<Waiting> _waiting = Channel.CreateBounded<Waiting>(options.ExpressWritesWaitingMax);

    /// <summary>Stores a job; returns when it is committed. It is stored even if the caller leaves meanwhile.</summary>
    /// <param name="onDisk">False where nobody is told before the results are committed: see <see cref="JobStore.InsertQueuedAsync"/>.</param>
    /// <exception cref="NpgsqlException">It was not stored, or nobody knows whether it was.</exception>
    public async Task StoreAsync(QueuedJob job, bool onDisk, CancellationToken stop)
    {
        var waiting = new Waiting(job, onDisk);
        await _waiting.Writer.WriteAsync(waiting, stop);
        await waiting.Stored.Task;
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken)
    {
        stoppingToken.Register(() => _waiting.Writer.TryComplete());
        return Task.WhenAll(Enumerable.Range(0, options.ExpressWriters).Select(_ => Task.Run(LoopAsync, CancellationToken.None)));
    }

    private async Task LoopAsync()
    {
        var group = new List<Waiting>();
        while (await _waiting.Reader.WaitToReadAsync())
        {
            group.Clear();
            while (group.Count < options.ExpressGroupMax && _waiting.Reader.TryRead(out var next))
            {
                group.Add(next);
            }

            if (group.Count > 0)
            {
                await StoreAsync(group);
            }
        }
    }

    private async Task StoreAsync(List<Waiting> group)
    {
        try
        {
            await store.InsertQueuedAsync(group.ConvertAll(w => w.Job), group.Exists(w => w.OnDisk), CancellationToken.None);
            metrics.Stored(group.Count);
            group.ForEach(w => w.Stored.SetResult());
        }
        catch (PostgresException) when (group.Count > 1)
        {
            // Whose fault it is shows when each goes alone.
            foreach (var one in group)
            {
                await StoreAsync([one]);
            }
        }
        catch (Exception e)
        {
            group.ForEach(w => w.Stored.SetException(e));
        }
    }

    private sealed record Waiting(QueuedJob Job, bool OnDisk)
    {
        public TaskCompletionSource Stored { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
