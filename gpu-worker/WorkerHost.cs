using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Pipeline.GpuWorker;

/// <summary>Runs the worker, life after life, until the process stops.</summary>
internal sealed partial class WorkerHost(WorkerParts parts, ILogger<WorkerHost> log) : BackgroundService, IHealthCheck
{
    private readonly CancellationTokenSource _abort = new();
    private volatile WorkerLife? _life;

    /// <summary>Drains; when <paramref name="cancellationToken"/> says that there is no more time, leaves at once.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await using var late = cancellationToken.Register(_abort.Cancel);
        await base.StopAsync(cancellationToken);
    }

    /// <summary>Ready while it takes work from its lanes.</summary>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(
            _life is { Accepting: true } ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy("The worker takes no work now.")
        );

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
                await Patience.UntilAsync(async stop => _life = await WorkerLife.BeginAsync(parts, stop), parts, log, stoppingToken);
                using (_life)
                {
                    await _life!.RunAsync(stoppingToken, _abort.Token);
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
