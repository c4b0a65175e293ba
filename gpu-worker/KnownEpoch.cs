using MassTransit;
using Pipeline.Contracts;
using Pipeline.Hosting;

namespace Pipeline.GpuWorker;

/// <summary>The newest scheduler epoch this process has heard of: what is older and not begun is handed back.</summary>
internal sealed class KnownEpoch
{
    private long _value;

    /// <summary>Raised when a newer epoch was heard of.</summary>
    public event Action<long>? Raised;

    public long Value => Interlocked.Read(ref _value);

    public void Learn(long epoch)
    {
        long known;
        do
        {
            known = Value;
            if (epoch <= known)
            {
                return;
            }
        } while (Interlocked.CompareExchange(ref _value, epoch, known) != known);

        Raised?.Invoke(epoch);
    }
}

/// <summary>The process's own temporary queue, on which it hears of a new scheduler.</summary>
internal sealed class WorkerBusPart(KnownEpoch epoch) : IBusPart
{
    private readonly string _queue = $"pipeline.worker.{Guid.NewGuid():N}";

    public void Configure(IBusRegistrationContext context, IReceiveConfigurator bus) =>
        bus.ReceiveEndpoint(
            _queue,
            e =>
            {
                e.AsTemporary(prefetch: 4);
                e.Hear<SchedulerChanged>();
                e.Handler<SchedulerChanged>(message =>
                {
                    epoch.Learn(message.Message.Epoch);
                    return Task.CompletedTask;
                });
            }
        );
}
