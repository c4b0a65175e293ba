using System.Collections.Concurrent;
using MassTransit;
using Npgsql;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Migrations;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// Carries decisions out, with no opinions: publishes, writes, and tells the loop how it went. Nothing here holds the loop up; while
/// PostgreSQL is away it tries again, for as long as the term lasts.
/// </summary>
internal sealed partial class DecisionExecutor(
    IBus bus,
    NpgsqlDataSource database,
    WorkerBooks books,
    TaskFailures failures,
    Inbox inbox,
    SliceNotes notes,
    SchedulerOptions options,
    TimeProvider time,
    ILogger<DecisionExecutor> log
)
{
    private readonly ConcurrentDictionary<long, Task> _running = [];
    private long _started;

    /// <summary>Starts on a decision; the fact that answers it comes by the inbox, marked with the epoch.</summary>
    /// <param name="clock">A worker's last clock, for the decision to close it.</param>
    /// <param name="term">Cancelled when the term of this epoch ends.</param>
    public void CarryOut(Decision decision, long epoch, Func<WorkerId, WorkerClock?> clock, CancellationToken term)
    {
        LogDecision(log, decision.GetType().Name, decision.Why);
        switch (decision)
        {
            case SendDispatch send:
                var dispatch = notes.AddTo(send.Dispatch);
                Run(() => SendAsync(dispatch, epoch, term));
                break;
            case EndChunks end:
                Run(() => EndAsync(end, epoch, term));
                break;
            case FailTasks fail:
                Run(() => FailAsync(fail, epoch, term));
                break;
            case DeclareLost lost:
                var last = clock(lost.Worker);
                Run(() => CloseAsync(lost, last, epoch, term));
                break;
            case WantWorkers want:
                LogWanted(log, want.Workers, want.Pool, want.Why);
                break;
        }
    }

    /// <summary>Runs something beside the loop; <see cref="DrainAsync"/> waits for it.</summary>
    public void Run(Func<Task> work)
    {
        var id = Interlocked.Increment(ref _started);
        _running[id] = Task.Run(async () =>
        {
            try
            {
                await work();
            }
            catch (OperationCanceledException)
            {
                // The term is over: whoever takes over decides anew.
            }
            catch (Exception e)
            {
                LogFailed(log, e);
            }
            finally
            {
                _running.TryRemove(id, out _);
            }
        });
        if (_running.TryGetValue(id, out var task) && task.IsCompleted)
        {
            _running.TryRemove(id, out _);
        }
    }

    /// <summary>Waits for what was started.</summary>
    public Task DrainAsync() => Task.WhenAll(_running.Values);

    private async Task SendAsync(Dispatch dispatch, long epoch, CancellationToken term)
    {
        using var sends = DispatchTrace.Start(dispatch, time.GetUtcNow());
        try
        {
            await bus.PublishAsync(dispatch, options.SendTimeMax, term);
        }
        catch (MessageReturnedException)
        {
            LogReturned(log, dispatch.Id, dispatch.Worker);
            await TellAsync(new DispatchReturned(dispatch.Id, WorkerUnreachable: true), epoch, term);
        }
        catch (Exception e) when (!term.IsCancellationRequested)
        {
            // It may have arrived all the same; then the worker's heartbeat lists it, and it is taken up again.
            LogUnsent(log, dispatch.Id, dispatch.Worker, e.Message);
            await TellAsync(new DispatchReturned(dispatch.Id, WorkerUnreachable: false), epoch, term);
        }
    }

    private async Task EndAsync(EndChunks end, long epoch, CancellationToken term)
    {
        await TellHowItWentAsync(
            end,
            async () =>
            {
                await using var connection = await database.OpenConnectionAsync(term);
                await using var transaction = await connection.BeginTransactionAsync(term);
                await TaskEnds.EndRemainingAsync(
                    connection,
                    transaction,
                    end.Chunks,
                    end.Outcome,
                    end.Kind,
                    end.Message,
                    time.GetUtcNow(),
                    term
                );
                await transaction.CommitAsync(term);
                return new ChunksEnded(end.Chunks);
            },
            epoch,
            term
        );
    }

    private Task FailAsync(FailTasks fail, long epoch, CancellationToken term) =>
        TellHowItWentAsync(
            fail,
            async () =>
            {
                await failures.WriteAsync(fail, term);
                return new TasksFailed(fail);
            },
            epoch,
            term
        );

    private async Task CloseAsync(DeclareLost lost, WorkerClock? clock, long epoch, CancellationToken term)
    {
        var suspects = await UntilDoneAsync(() => books.CloseAsync(lost.Worker, clock, term), term);
        if (suspects is null)
        {
            LogStopped(log, lost.Worker);
        }
        else
        {
            LogLost(log, lost.Worker, suspects.Count);
        }

        await TellAsync(new WorkerGone(lost.Worker, suspects ?? []), epoch, term);
    }

    private async Task TellHowItWentAsync(Decision decision, Func<Task<Fact>> work, long epoch, CancellationToken term)
    {
        Fact told;
        try
        {
            told = await work();
        }
        catch (Exception e) when (!term.IsCancellationRequested)
        {
            LogEndingFailed(log, decision.Why, e.Message);
            told = new EndingFailed(decision);
        }

        await TellAsync(told, epoch, term);
    }

    /// <summary>Tries until it succeeds or the term ends, ever more slowly.</summary>
    private async Task<T> UntilDoneAsync<T>(Func<Task<T>> work, CancellationToken term)
    {
        for (var pause = options.RetryPauseMin; ; pause = Min(pause * 2, options.RetryPauseMax))
        {
            try
            {
                return await work();
            }
            catch (Exception e) when (!term.IsCancellationRequested)
            {
                LogTryingAgain(log, pause.TotalSeconds, e.Message);
                await Task.Delay(pause, time, term);
            }
        }
    }

    private Task TellAsync(Fact fact, long epoch, CancellationToken term) => inbox.PutAsync(new Happened(fact, epoch), term).AsTask();

    private static TimeSpan Min(TimeSpan a, TimeSpan b) => a < b ? a : b;

    [LoggerMessage(1, LogLevel.Debug, "{Decision}: {Why}")]
    private static partial void LogDecision(ILogger log, string decision, Why why);

    [LoggerMessage(2, LogLevel.Warning, "Dispatch {Dispatch} came back: worker {Worker} has no queue")]
    private static partial void LogReturned(ILogger log, DispatchId dispatch, WorkerId worker);

    [LoggerMessage(3, LogLevel.Warning, "Dispatch {Dispatch} to worker {Worker} was not confirmed: {Reason}")]
    private static partial void LogUnsent(ILogger log, DispatchId dispatch, WorkerId worker, string reason);

    [LoggerMessage(4, LogLevel.Warning, "Worker {Worker} is lost; {Suspects} chunks it had begun are suspected")]
    private static partial void LogLost(ILogger log, WorkerId worker, int suspects);

    [LoggerMessage(5, LogLevel.Warning, "Could not end tasks ({Why}), will try again: {Reason}")]
    private static partial void LogEndingFailed(ILogger log, Why why, string reason);

    [LoggerMessage(6, LogLevel.Warning, "Trying again in {Seconds} s: {Reason}")]
    private static partial void LogTryingAgain(ILogger log, double seconds, string reason);

    [LoggerMessage(8, LogLevel.Information, "Worker {Worker} has stopped")]
    private static partial void LogStopped(ILogger log, WorkerId worker);

    [LoggerMessage(7, LogLevel.Error, "Background work of the scheduler failed")]
    private static partial void LogFailed(ILogger log, Exception exception);

    [LoggerMessage(9, LogLevel.Information, "{Workers} workers are wanted in pool {Pool}: {Why}")]
    private static partial void LogWanted(ILogger log, int workers, string pool, Why why);
}
