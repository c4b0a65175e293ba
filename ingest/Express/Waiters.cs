using System.Collections.Concurrent;
using MassTransit;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Ingest.Express;

/// <summary>
/// The jobs whose results somebody waits for here, and the queue on which workers send them. The table is bounded; what is in it is lost with
/// the process, and only the connections with it: every job can be fetched by its id.
/// </summary>
internal sealed class Waiters(IngestOptions options, TimeProvider time) : IBusPart
{
    /// <summary>Answers the broker hands over ahead.</summary>
    private const int Prefetch = 256;

    private readonly ConcurrentDictionary<JobId, JobWaiter> _waiters = new();
    private int _count;
    private long _results;

    /// <summary>Names this process to workers; another life has another name.</summary>
    public Guid Instance { get; } = Guid.NewGuid();

    /// <summary>Jobs that are waited for.</summary>
    public int Count => _waiters.Count;

    public void Configure(IBusRegistrationContext context, IReceiveConfigurator bus) =>
        bus.ReceiveEndpoint(
            $"pipeline.ingest.{Instance:N}.answers",
            endpoint =>
            {
                endpoint.AsAnswerQueue(Instance, Prefetch);
                endpoint.Handler<TaskAnswered>(heard =>
                {
                    Take(heard.Message.Answers);
                    return Task.CompletedTask;
                });
            }
        );

    /// <summary>Begins to wait for a job. Null where as many wait as may, or for as many results.</summary>
    /// <param name="tasks">How many results end the wait.</param>
    /// <param name="lookAfter">When to look at the rows for the first time.</param>
    /// <param name="isStored">False for a job that is not committed yet: nobody looks before <see cref="JobWaiter.Stored"/>.</param>
    public JobWaiter? TryAdd(JobId job, int tasks, TimeSpan lookAfter, bool isStored = true)
    {
        var count = Interlocked.Increment(ref _count);
        if (Interlocked.Add(ref _results, tasks) > options.ExpressResultsMax || count > options.ExpressWaitersMax)
        {
            Release(tasks);
            return null;
        }

        while (true)
        {
            var waiter = _waiters.GetOrAdd(job, _ => new JobWaiter(job, tasks, time.GetTimestamp(), lookAfter, isStored));
            if (waiter.TryJoin())
            {
                return waiter;
            }

            // The last who waited for it has just left.
            _waiters.TryRemove(KeyValuePair.Create(job, waiter));
        }
    }

    /// <summary>Ends one wait.</summary>
    public void Leave(JobWaiter waiter)
    {
        Release(waiter.Tasks);
        if (waiter.Leave())
        {
            _waiters.TryRemove(KeyValuePair.Create(waiter.Job, waiter));
        }
    }

    /// <summary>Hands results to those who wait for them; the rest is nobody's here.</summary>
    public void Take(IEnumerable<TaskAnswer> answers)
    {
        foreach (var answer in answers)
        {
            if (_waiters.TryGetValue(answer.Job, out var waiter))
            {
                waiter.Take(answer);
            }
        }
    }

    /// <summary>Waiting jobs whose rows should be looked at now; each is asked for again after a longer pause.</summary>
    public List<JobWaiter> Due()
    {
        var due = new List<JobWaiter>();
        foreach (var (_, waiter) in _waiters)
        {
            if (due.Count == options.AnswerLookMax)
            {
                break;
            }

            if (waiter.IsDue(time, options.AnswerLookPauseMax))
            {
                due.Add(waiter);
            }
        }

        return due;
    }

    private void Release(int tasks)
    {
        Interlocked.Decrement(ref _count);
        Interlocked.Add(ref _results, -tasks);
    }
}

/// <summary>
/// One job that is waited for: its results as they land, in that order, each task once. It holds no more than the job has tasks, so a reader
/// may be as slow as it likes.
/// </summary>
internal sealed class JobWaiter(JobId job, int tasks, long since, TimeSpan lookAfter, bool isStored)
{
    /// <summary>The pause after a look that was asked for at once.</summary>
    private static readonly TimeSpan PauseMin = TimeSpan.FromMilliseconds(50);

    private readonly Lock _lock = new();
    private readonly List<TaskAnswer> _landed = new(tasks);
    private readonly HashSet<int> _seqs = [];
    private TaskCompletionSource _more = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TimeSpan _pause = lookAfter;
    private long _lookedAt = since;
    private int _joined;
    private bool _isStored = isStored;

    public JobId Job => job;

    /// <summary>Results that end the wait.</summary>
    public int Tasks => tasks;

    /// <summary>True when every task has its result.</summary>
    public bool IsComplete { get; private set; }

    /// <summary>The job does not exist any more; there is nothing to wait for.</summary>
    public bool IsGone { get; private set; }

    /// <summary>Results from <paramref name="from"/> on, in the order in which they landed.</summary>
    public IReadOnlyList<TaskAnswer> Landed(int from = 0)
    {
        lock (_lock)
        {
            return _landed.GetRange(from, _landed.Count - from);
        }
    }

    /// <summary>Waits until there are more results than <paramref name="seen"/>, or nothing more will come.</summary>
    /// <returns>False when that took longer than <paramref name="waitMax"/>.</returns>
    public Task<bool> MoreAsync(int seen, TimeSpan waitMax, TimeProvider time, CancellationToken stop) =>
        UntilAsync(() => _landed.Count > seen || IsComplete || IsGone, waitMax, time, stop);

    /// <summary>Waits until every task has its result.</summary>
    /// <returns>False when that took longer than <paramref name="waitMax"/>.</returns>
    public Task<bool> CompleteAsync(TimeSpan waitMax, TimeProvider time, CancellationToken stop) =>
        UntilAsync(() => IsComplete || IsGone, waitMax, time, stop);

    private async Task<bool> UntilAsync(Func<bool> isSo, TimeSpan waitMax, TimeProvider time, CancellationToken stop)
    {
        CancellationTokenSource? patience = null;
        CancellationTokenSource? either = null;
        try
        {
            while (true)
            {
                Task more;
                lock (_lock)
                {
                    if (isSo())
                    {
                        return true;
                    }

                    more = _more.Task;
                }

                if (waitMax <= TimeSpan.Zero)
                {
                    return false;
                }

                patience ??= new CancellationTokenSource(waitMax, time);
                either ??= CancellationTokenSource.CreateLinkedTokenSource(patience.Token, stop);
                await more.WaitAsync(either.Token);
            }
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            return false;
        }
        finally
        {
            either?.Dispose();
            patience?.Dispose();
        }
    }

    /// <summary>Takes a result; one that came before, or whose output did not travel, is left.</summary>
    public void Take(TaskAnswer answer)
    {
        lock (_lock)
        {
            if (answer is { Output: null, ErrorCode: null })
            {
                // Too long for a message: the next look reads the row.
                _pause = TimeSpan.Zero;
                return;
            }

            if (_seqs.Add(answer.Seq))
            {
                _landed.Add(answer);
                IsComplete = _landed.Count >= tasks;
                Signal();
            }
        }
    }

    /// <summary>The job is committed. Before, a look at the rows would take it for one that was removed.</summary>
    public void Stored()
    {
        lock (_lock)
        {
            _isStored = true;
        }
    }

    /// <summary>Nobody has a row of the job.</summary>
    public void Gone()
    {
        lock (_lock)
        {
            IsGone = true;
            Signal();
        }
    }

    internal bool IsDue(TimeProvider time, TimeSpan pauseMax)
    {
        lock (_lock)
        {
            if (!_isStored || IsComplete || IsGone || time.GetElapsedTime(_lookedAt) < _pause)
            {
                return false;
            }

            _lookedAt = time.GetTimestamp();
            _pause = _pause <= TimeSpan.Zero ? PauseMin : _pause * 2;
            _pause = _pause < pauseMax ? _pause : pauseMax;
            return true;
        }
    }

    internal bool TryJoin()
    {
        lock (_lock)
        {
            if (_joined < 0)
            {
                return false;
            }

            _joined++;
            return true;
        }
    }

    /// <summary>True for the last who leaves; nobody can join after that.</summary>
    internal bool Leave()
    {
        lock (_lock)
        {
            if (--_joined > 0)
            {
                return false;
            }

            _joined = -1;
            return true;
        }
    }

    private void Signal()
    {
        var more = _more;
        _more = new(TaskCreationOptions.RunContinuationsAsynchronously);
        more.SetResult();
    }
}
