using Npgsql;
using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Usage;

/// <summary>Keeps the usage rollups up to date. Instances share the work by a lock; see <see cref="Rollups"/>.</summary>
internal sealed partial class UsageRollup(
    NpgsqlDataSource database,
    ResultsApiOptions options,
    LoopBook loops,
    TimeProvider time,
    ILogger<UsageRollup> log
) : BackgroundService
{
    private readonly Loop _loop = loops.Add(
        "usage-rollups",
        "Sums up what has ended: usage, costs, groups, and what SLA reports are made of.",
        options.UsageEvery
    );

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.UsageEvery, time);
        try
        {
            do
            {
                if (!_loop.TryBegin())
                {
                    continue;
                }

                while (await TurnAsync(stoppingToken) == RollupTurn.MoreWaits)
                {
                    // What has piled up is taken without a pause.
                }

                _loop.End();
            } while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    /// <summary>One turn; what fails is undone as a whole and tried again.</summary>
    internal async Task<RollupTurn> TurnAsync(CancellationToken stop)
    {
        try
        {
            return await Rollups.TurnAsync(database, options.UsageTurnRowsMax, stop);
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException)
        {
            _loop.Fail(e.Message);
            LogAway(log, e.Message);
        }
        catch (Exception e) when (e is PostgresException or InvalidOperationException)
        {
            _loop.Fail(e.Message);
            LogFailed(log, e);
        }

        return RollupTurn.Nothing;
    }

    [LoggerMessage(60, LogLevel.Warning, "Could not roll usage up, and will again: {Reason}")]
    private static partial void LogAway(ILogger log, string reason);

    [LoggerMessage(61, LogLevel.Error, "Usage could not be rolled up, and will be tried again; reports stand still until then")]
    private static partial void LogFailed(ILogger log, Exception error);
}
