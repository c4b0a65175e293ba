using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Ingest.Storage;

namespace Pipeline.Ingest;

/// <summary>
/// Turns the sweeps that somebody waits for every few seconds, each by itself: one that fails does not hold up the others, and all are tried
/// again. What nobody waits for is recurring work of results-api.
/// </summary>
internal sealed partial class IngestSweeper(
    ChunkPublisher publisher,
    JobCommands commands,
    UploadSweep uploads,
    UploadLeases leases,
    IngestOptions options,
    TimeProvider time,
    ILogger<IngestSweeper> log
) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.SweepEvery, time);
        try
        {
            do
            {
                await TurnAsync(stoppingToken);
            } while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    /// <summary>One turn of all sweeps.</summary>
    public async Task TurnAsync(CancellationToken stop)
    {
        await SweepAsync("unannounced chunks", publisher.SweepOnceAsync, stop);
        await SweepAsync("cancelled jobs", commands.SweepOnceAsync, stop);
        await SweepAsync("broken uploads", uploads.SweepOnceAsync, stop);
        await SweepAsync("leases", KeepLeasesAsync, stop);
    }

    private async Task<int> KeepLeasesAsync(CancellationToken stop)
    {
        await leases.KeepAsync(stop);
        return 0;
    }

    private async Task SweepAsync(string what, Func<CancellationToken, Task<int>> sweep, CancellationToken stop)
    {
        try
        {
            if (await sweep(stop) is var count and > 0)
            {
                LogSwept(log, what, count);
            }
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException)
        {
            LogNotSwept(log, what, e.Message);
        }
        catch (PostgresException e)
        {
            LogFailed(log, e, what);
        }
    }

    [LoggerMessage(40, LogLevel.Information, "Swept {What}: {Count}")]
    private static partial void LogSwept(ILogger log, string what, int count);

    [LoggerMessage(41, LogLevel.Warning, "Could not sweep {What}, and will again: {Reason}")]
    private static partial void LogNotSwept(ILogger log, string what, string reason);

    [LoggerMessage(42, LogLevel.Error, "The sweep of {What} failed")]
    private static partial void LogFailed(ILogger log, Exception error, string what);
}
