using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Pipeline.Hosting;
using Pipeline.Ingest.Storage;
using Pipeline.Migrations;

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
    LoopBook loops,
    TimeProvider time,
    ILogger<IngestSweeper> log
) : BackgroundService
{
    private readonly Loop _chunks = loops.Add(
        "chunk-announcements",
        "Announces chunks to the scheduler again whose announcement was not confirmed.",
        options.SweepEvery
    );
    private readonly Loop _cancelled = loops.Add(
        "cancelled-jobs",
        "Tells the scheduler again of jobs that are to be cancelled.",
        options.SweepEvery
    );
    private readonly Loop _uploads = loops.Add("broken-uploads", "Removes jobs whose upload has died.", options.SweepEvery);

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
        await SweepAsync("unannounced chunks", _chunks, publisher.SweepOnceAsync, stop);
        await SweepAsync("cancelled jobs", _cancelled, commands.SweepOnceAsync, stop);
        await SweepAsync("broken uploads", _uploads, uploads.SweepOnceAsync, stop);
        // Never paused: without them others would take this instance's uploads for dead.
        await SweepAsync("leases", null, KeepLeasesAsync, stop);
    }

    private async Task<int> KeepLeasesAsync(CancellationToken stop)
    {
        await leases.KeepAsync(stop);
        return 0;
    }

    private async Task SweepAsync(string what, Loop? loop, Func<CancellationToken, Task<int>> sweep, CancellationToken stop)
    {
        if (loop?.TryBegin() == false)
        {
            return;
        }

        try
        {
            if (await sweep(stop) is var count and > 0)
            {
                LogSwept(log, what, count);
            }
        }
        catch (Exception e) when (Problems.IsLostServer(e) || e is TimeoutException)
        {
            loop?.Fail(e.Message);
            LogNotSwept(log, what, e.Message);
        }
        catch (PostgresException e)
        {
            loop?.Fail(e.Message);
            LogFailed(log, e, what);
        }

        loop?.End();
    }

    [LoggerMessage(40, LogLevel.Information, "Swept {What}: {Count}")]
    private static partial void LogSwept(ILogger log, string what, int count);

    [LoggerMessage(41, LogLevel.Warning, "Could not sweep {What}, and will again: {Reason}")]
    private static partial void LogNotSwept(ILogger log, string what, string reason);

    [LoggerMessage(42, LogLevel.Error, "The sweep of {What} failed")]
    private static partial void LogFailed(ILogger log, Exception error, string what);
}
