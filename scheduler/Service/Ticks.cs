using MassTransit;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.Scheduler.Service;

/// <summary>Names this instance among schedulers.</summary>
internal sealed record SchedulerInstance(Guid Id);

/// <summary>
/// Sends a tick to the shared queue every second, from every instance. RabbitMQ does not tell a consumer that it became the active one;
/// who receives fresh ticks is.
/// </summary>
internal sealed partial class Ticks(IBus bus, SchedulerInstance instance, SchedulerOptions options, TimeProvider time, ILogger<Ticks> log)
    : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.TickEvery, time);
        var failing = false;
        do
        {
            try
            {
                var tick = new SchedulerTick { Instance = instance.Id, SentAt = time.GetUtcNow() };
                await bus.PublishAsync(tick, options.SendTimeMax, stoppingToken);
                failing = false;
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                if (!failing)
                {
                    LogFailing(log, e.Message);
                }

                failing = true;
            }
        } while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    [LoggerMessage(1, LogLevel.Warning, "The broker takes no ticks, so this scheduler cannot be active: {Reason}")]
    private static partial void LogFailing(ILogger log, string reason);
}
