using Npgsql;
using Pipeline.Hosting;
using Quartz;

namespace Pipeline.ResultsApi.Recurring;

/// <summary>One run of one work, as Quartz starts it: begin, run, end, each of them in the history.</summary>
internal sealed partial class RecurringJob(IEnumerable<IRecurringWork> works, RunHistory history, ILogger<RecurringJob> log) : IJob
{
    public async ValueTask Execute(IJobExecutionContext context, CancellationToken cancellationToken)
    {
        var name = context.JobDetail.Key.Name;
        if (works.FirstOrDefault(w => w.Name == name) is not { } work)
        {
            // An instance of another version has it.
            LogUnknown(log, name);
            return;
        }

        try
        {
            var run = await history.BeginAsync(name, context.Scheduler.SchedulerInstanceId, cancellationToken);
            await RunAsync(work, run, cancellationToken);
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException or PostgresException)
        {
            // Neither its begin nor its end could be written. What has no end is shown as interrupted by the next run.
            LogNotWritten(log, name, e.Message);
        }
    }

    /// <summary>A stop is thrown on: Quartz then has the run repeated. Whatever else goes wrong is the work's own failure, until its next time.</summary>
    private async Task RunAsync(IRecurringWork work, long run, CancellationToken stop)
    {
        try
        {
            var counts = await work.RunAsync(stop);
            await history.EndAsync(run, counts, null);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            await history.EndAsync(run, null, null);
            throw;
        }
        catch (Exception e)
        {
            LogFailed(log, e, work.Name);
            await history.EndAsync(run, null, $"{e.GetType().Name}: {e.Message}");
        }
    }

    [LoggerMessage(90, LogLevel.Error, "The recurring work {Work} failed, and is tried again when it is next due")]
    private static partial void LogFailed(ILogger log, Exception error, string work);

    [LoggerMessage(91, LogLevel.Warning, "The history of the recurring work {Work} could not be written: {Reason}")]
    private static partial void LogNotWritten(ILogger log, string work, string reason);

    [LoggerMessage(92, LogLevel.Warning, "The recurring work {Work} is due and not known here")]
    private static partial void LogUnknown(ILogger log, string work);
}
