using System.Threading.Channels;
using Microsoft.Extensions.Hosting;
using Npgsql;

namespace Pipeline.Ingest.Storage;

/// <summary>
/// Group commit: stores jobs that come at the same time in one transaction, so that a hundred of them wait for the disk once. A job that
/// comes alone is stored at once; what comes meanwhile shares the next commit. A job that PostgreSQL refuses fails alone. Those that need
/// not wait for the disk share no commit with those that do.
/// </summary>
internal sealed class GroupCommit(JobStore store, IngestMetrics metrics, IngestOptions options) : BackgroundService
{
    private readonly Channel<Waiting> _onDisk = Channel.CreateBounded<Waiting>(options.CommitsWaitingMax);
    private readonly Channel<Waiting> _soon = Channel.CreateBounded<Waiting>(options.CommitsWaitingMax);

    /// <summary>Stores a job; returns when it is committed. It is stored even if the caller leaves meanwhile.</summary>
    /// <param name="onDisk">False where nobody is told before the results are committed: see <see cref="JobStore.InsertQueuedAsync"/>.</param>
    /// <exception cref="NpgsqlException">It was not stored, or nobody knows whether it was.</exception>
    public async Task StoreAsync(QueuedJob job, bool onDisk, CancellationToken stop)
    {
        var waiting = new Waiting(job);
        await (onDisk ? _onDisk : _soon).Writer.WriteAsync(waiting, stop);
        await waiting.Stored.Task;
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken)
    {
        stoppingToken.Register(() =>
        {
            _onDisk.Writer.TryComplete();
            _soon.Writer.TryComplete();
        });
        return Task.WhenAll(
            Enumerable
                .Range(0, options.CommitWriters)
                .SelectMany(_ =>
                    (Task[])
                        [
                            Task.Run(() => LoopAsync(_onDisk.Reader, onDisk: true), CancellationToken.None),
                            Task.Run(() => LoopAsync(_soon.Reader, onDisk: false), CancellationToken.None),
                        ]
                )
        );
    }

    private async Task LoopAsync(ChannelReader<Waiting> jobs, bool onDisk)
    {
        var group = new List<Waiting>();
        while (await jobs.WaitToReadAsync())
        {
            group.Clear();
            var bytes = 0L;
            while (group.Count < options.CommitJobsMax && bytes < options.StoreBytesMax && jobs.TryRead(out var next))
            {
                group.Add(next);
                bytes += next.Job.Chunks.Sum(chunk => (long)chunk.Payload.Length);
            }

            if (group.Count > 0)
            {
                // What a tenant is refused for, its other jobs are, too.
                await StoreAsync([.. group.OrderBy(w => w.Job.Order.Tenant.Value)], onDisk);
            }
        }
    }

    private async Task StoreAsync(List<Waiting> group, bool onDisk)
    {
        try
        {
            await store.InsertQueuedAsync(group.ConvertAll(w => w.Job), onDisk, CancellationToken.None);
            metrics.Committed(group.Count);
            group.ForEach(w => w.Stored.SetResult());
        }
        catch (PostgresException) when (group.Count > 1)
        {
            // Whose fault it is shows when it goes alone; by halves, so that the others still share most of their commits.
            var half = group.Count / 2;
            await StoreAsync(group.GetRange(0, half), onDisk);
            await StoreAsync(group.GetRange(half, group.Count - half), onDisk);
        }
        catch (Exception e)
        {
            group.ForEach(w => w.Stored.SetException(e));
        }
    }

    private sealed record Waiting(QueuedJob Job)
    {
        public TaskCompletionSource Stored { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
