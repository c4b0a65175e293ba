using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Pipeline.GpuWorker;

/// <summary>Runs the worker, life after life, until the process stops.</summary>
internal sealed partial class WorkerHost(WorkerParts parts, ILogger<WorkerHost> log) : BackgroundService
{
    private readonly CancellationTokenSource _abort = new();

    /// <summary>Drains; when <paramref name="cancellationToken"/> says that there is no more time, leaves at once.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await using var late = cancellationToken.Register(_abort.Cancel);
        await base.StopAsync(cancellationToken);
    }

    public override void Dispose()
    {
        _abort.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (!stoppingToken.IsCancellationRequested)
            {
                WorkerLife? life = null;
                await Patience.UntilAsync(async stop => life = await WorkerLife.BeginAsync(parts, stop), parts, log, stoppingToken);
                using (life)
                {
                    await life!.RunAsync(stoppingToken, _abort.Token);
                }
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            LogLeft(log);
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "The worker left before its work was written; the scheduler will plan it again")]
    private static partial void LogLeft(ILogger log);
}
