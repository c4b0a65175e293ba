using System.Diagnostics.CodeAnalysis;
using Npgsql;
using NpgsqlTypes;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Events;

/// <summary>
/// Looks at every job that somebody follows, all in one query, however many follow. Each watcher finds the latest look; the ones
/// it was too slow for are never kept, so a slow reader costs no memory.
/// </summary>
internal sealed partial class JobWatch(NpgsqlDataSource database, ResultsApiOptions options, TimeProvider time, ILogger<JobWatch> log)
    : BackgroundService
{
    /// <summary>A look may take this part of the time, and the pause grows with it: sums over a very large job are not free.</summary>
    private const int PauseFactor = 10;
    private static readonly TimeSpan PauseAfterFailure = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly Dictionary<JobId, WatchedJob> _jobs = [];
    private readonly SemaphoreSlim _work = new(0, 1);
    private int _watchers;

    /// <summary>Starts to follow a job.</summary>
    /// <returns>Null when the most allowed do so already.</returns>
    [SuppressMessage("Reliability", "CA2000", Justification = "The caller disposes the subscription.")]
    public JobSubscription? TrySubscribe(JobId id)
    {
        lock (_lock)
        {
            if (_watchers >= options.WatchersMax)
            {
                return null;
            }

            _watchers++;
            if (!_jobs.TryGetValue(id, out var job))
            {
                _jobs[id] = job = new WatchedJob(id);
            }

            job.Watchers++;
            if (_watchers == 1 && _work.CurrentCount == 0)
            {
                _work.Release();
            }

            return new JobSubscription(this, job, time);
        }
    }

    /// <summary>The answer when <see cref="TrySubscribe"/> returned null.</summary>
    public static ProblemResult Full() =>
        Problems.Result(FailureKind.RateLimited, "Too many connections follow jobs here. Ask for the job now and then instead.");

    internal void Unsubscribe(WatchedJob job)
    {
        lock (_lock)
        {
            _watchers--;
            if (--job.Watchers == 0)
            {
                _jobs.Remove(job.Id);
            }
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            var pause = options.WatchInterval;
            try
            {
                var started = time.GetTimestamp();
                if (await TurnAsync(stoppingToken) == 0)
                {
                    await _work.WaitAsync(stoppingToken);
                    continue;
                }

                var took = time.GetElapsedTime(started);
                pause = took * PauseFactor > pause ? took * PauseFactor : pause;
            }
            catch (Exception e) when (Problems.IsLostServer(e))
            {
                LogLost(log, e.Message);
                pause = PauseAfterFailure;
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }

            await Task.Delay(pause, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>One look at all watched jobs that have not ended.</summary>
    /// <returns>How many jobs are watched.</returns>
    internal async Task<int> TurnAsync(CancellationToken stop)
    {
        Dictionary<JobId, WatchedJob> open;
        int watched;
        lock (_lock)
        {
            watched = _jobs.Count;
            open = _jobs.Where(pair => pair.Value.Latest is not { Job.State: var state } || !state.IsEnd()).ToDictionary();
        }

        if (open.Count > 0)
        {
            foreach (var look in await LookAsync([.. open.Keys.Select(id => id.Value)], stop))
            {
                open[look.Job.Id].Observe(look, time.GetTimestamp(), time);
            }
        }

        return watched;
    }

    /// <summary>
    /// The jobs are read first: when they show the end of one, the second statement's newer snapshot has the event of that end.
    /// Events of a job that runs are read up to the oldest open transaction, those of one that ended as they are.
    /// </summary>
    private async Task<List<JobLook>> LookAsync(Guid[] ids, CancellationToken stop)
    {
        await using var connection = await database.OpenConnectionAsync(stop);
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(new NpgsqlBatchCommand($"{JobViews.SelectFrom()} WHERE j.id = ANY ($1)"));
        batch.BatchCommands.Add(new NpgsqlBatchCommand(JobEvents.LatestSql));
        foreach (var command in batch.BatchCommands)
        {
            command.Parameters.Add(new NpgsqlParameter { Value = ids, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Uuid });
        }

        await using var reader = await batch.ExecuteReaderAsync(stop);
        var jobs = new List<JobView>();
        while (await reader.ReadAsync(stop))
        {
            jobs.Add(JobViews.Read(reader));
        }

        await reader.NextResultAsync(stop);
        var latest = new Dictionary<JobId, EventCursor>();
        while (await reader.ReadAsync(stop))
        {
            latest[new JobId(reader.GetGuid(0))] = new EventCursor(reader.GetFieldValue<ulong>(1), reader.GetInt64(2));
        }

        return jobs.ConvertAll(job => new JobLook(job, latest.GetValueOrDefault(job.Id), TasksPerSecond: null));
    }

    public override void Dispose()
    {
        _work.Dispose();
        base.Dispose();
    }

    [LoggerMessage(30, LogLevel.Warning, "Cannot look at the watched jobs: {Reason}")]
    private static partial void LogLost(ILogger log, string reason);
}

/// <summary>A job as it was seen at one moment.</summary>
/// <param name="LatestEvent">Its latest event that can be read without passing an open transaction.</param>
/// <param name="TasksPerSecond">Pace over the last looks; null before there are two.</param>
internal sealed record JobLook(JobView Job, EventCursor LatestEvent, double? TasksPerSecond);

/// <summary>A job that somebody follows, with the latest look at it.</summary>
internal sealed class WatchedJob(JobId id)
{
    /// <summary>Looks a pace is taken over: five seconds of them at the default interval.</summary>
    private const int PaceLooks = 20;
    private readonly Queue<(long At, int Ended)> _seen = new();
    private volatile State _state = new(0, null);

    public JobId Id => id;

    /// <summary>Guarded by the watch.</summary>
    public int Watchers { get; set; }

    public JobLook? Latest => _state.Look;

    /// <summary>Takes a look and wakes the watchers if it shows something new.</summary>
    public void Observe(JobLook look, long at, TimeProvider time)
    {
        _seen.Enqueue((at, look.Job.Counts.Ended));
        if (_seen.Count > PaceLooks)
        {
            _seen.Dequeue();
        }

        var before = _state;
        if (before.Look is not null && !Differs(before.Look, look))
        {
            return;
        }

        var (since, ended) = _seen.Peek();
        var seconds = time.GetElapsedTime(since, at).TotalSeconds;
        double? pace = seconds > 0 ? (look.Job.Counts.Ended - ended) / seconds : null;
        _state = new State(before.Version + 1, look with { TasksPerSecond = pace });
        before.Replaced.SetResult();
    }

    /// <summary>Waits for a look newer than <paramref name="version"/>.</summary>
    public async ValueTask<(long Version, JobLook Look)> AfterAsync(long version, CancellationToken stop)
    {
        while (true)
        {
            var state = _state;
            if (state.Version > version && state.Look is { } look)
            {
                return (state.Version, look);
            }

            await state.Replaced.Task.WaitAsync(stop);
        }
    }

    private static bool Differs(JobLook one, JobLook other) =>
        one.LatestEvent != other.LatestEvent
        || one.Job.State != other.Job.State
        || one.Job.Paused != other.Job.Paused
        || one.Job.Tasks != other.Job.Tasks
        || one.Job.Counts != other.Job.Counts;

    private sealed record State(long Version, JobLook? Look)
    {
        public TaskCompletionSource Replaced { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}

/// <summary>One watcher of a job.</summary>
internal sealed class JobSubscription(JobWatch watch, WatchedJob job, TimeProvider time) : IDisposable
{
    private long _version;

    /// <summary>Waits for the next look that shows something new.</summary>
    /// <returns>Null when there was none for <paramref name="waitMax"/>.</returns>
    public async ValueTask<JobLook?> NextAsync(TimeSpan waitMax, CancellationToken stop)
    {
        using var timeout = new CancellationTokenSource(waitMax, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, stop);
        try
        {
            (_version, var look) = await job.AfterAsync(_version, either.Token);
            return look;
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            return null;
        }
    }

    public void Dispose() => watch.Unsubscribe(job);
}
