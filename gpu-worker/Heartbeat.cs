using MassTransit;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.GpuWorker;

/// <summary>Tells the schedulers every second who this worker is, what it holds, and how far its clock is.</summary>
internal sealed partial class Heartbeat(
    WorkerId worker,
    WorkerOptions options,
    IModelSource models,
    DeviceMeter meter,
    KnownPrices prices,
    KnownEpoch epoch,
    HeldDispatches held,
    IPublishEndpoint bus,
    TimeProvider time,
    ILogger log
)
{
    /// <summary>True when it is stopping; the schedulers then send it nothing more.</summary>
    public bool Draining { get; set; }

    /// <summary>Beats until it is told to stop. A broker that is away is no reason to.</summary>
    public async Task LoopAsync(CancellationToken stop)
    {
        using var timer = new PeriodicTimer(options.HeartbeatEvery, time);
        try
        {
            do
            {
                await BeatAsync(stop);
            } while (await timer.WaitForNextTickAsync(stop));
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested) { }
    }

    /// <summary>Sends one heartbeat; given up when the broker has not taken it by the time of the next few.</summary>
    public async Task BeatAsync(CancellationToken stop)
    {
        try
        {
            await bus.PublishAsync(Message(), options.HeartbeatEvery * 2, stop);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            LogMissed(log, e.Message);
        }
    }

    internal WorkerHeartbeat Message() =>
        new()
        {
            Worker = worker,
            Name = options.Name,
            Pool = options.Pool,
            Provider = models.Provider,
            Device = models.Device,
            PricePerHourPico = prices.Value.At(meter.NowNs),
            UptimeNs = meter.NowNs,
            Models = models.Loaded,
            MemoryBudgetBytes = models.MemoryBudgetBytes,
            Epoch = epoch.Value,
            Held = held.List,
            Draining = Draining,
        };

    [LoggerMessage(1, LogLevel.Warning, "The broker did not take a heartbeat: {Reason}")]
    private static partial void LogMissed(ILogger log, string reason);
}
