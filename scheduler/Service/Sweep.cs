using Npgsql;
using Pipeline.Contracts;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// Reads the open chunks of PostgreSQL again every minute, page by page, for the loop to compare with its index: a message that was
/// lost, or a flag that was missed, costs a minute and not a job.
/// </summary>
internal sealed partial class Sweep(
    Recovery recovery,
    Inbox inbox,
    SchedulerLoop loop,
    SchedulerOptions options,
    TimeProvider time,
    ILogger<Sweep> log
) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.SweepEvery, time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            if (!loop.IsActive)
            {
                continue;
            }

            try
            {
                await TurnAsync(stoppingToken);
            }
            catch (Exception e) when (e is NpgsqlException or TimeoutException)
            {
                LogFailed(log, e.Message);
            }
        }
    }

    /// <summary>One sweep through all open chunks, with the models and what is held beside.</summary>
    public async Task TurnAsync(CancellationToken stop)
    {
        foreach (var model in await recovery.ReadModelsAsync(stop))
        {
            await inbox.PutAsync(new Happened(model), stop);
        }

        await inbox.PutAsync(new Happened(await recovery.ReadHoldsAsync(stop)), stop);
        var after = new ChunkKey(default, -1);
        for (var last = false; !last; )
        {
            var page = await recovery.ReadPageAsync(after, stop);
            last = page.Count < options.SweepPageRows;
            await inbox.PutAsync(new Swept(page, last), stop);
            after = last ? after : page[^1].Header.Key;
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "The sweep could not read PostgreSQL: {Reason}")]
    private static partial void LogFailed(ILogger log, string reason);
}
