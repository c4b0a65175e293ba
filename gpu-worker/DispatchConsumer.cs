using MassTransit;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Stages;
using Pipeline.Hosting;
using Pipeline.Hosting.Telemetry;

namespace Pipeline.GpuWorker;

/// <summary>
/// Takes dispatches from a lane: refuses what is out of date, hands the rest to the stages, and waits. Then, in this order: the
/// commit (before <see cref="DispatchRun.Finished"/>), <see cref="DispatchFinished"/>, and by returning, the acknowledgement.
/// </summary>
internal sealed class DispatchConsumer(
    WorkerId worker,
    KnownEpoch epoch,
    HeldDispatches held,
    WorkerOptions options,
    IPublishEndpoint bus,
    TimeProvider time
)
{
    /// <summary>Takes what it is given; false when this life takes nothing more.</summary>
    internal delegate bool Start(DispatchRun run);

    public async Task ConsumeAsync(Dispatch dispatch, Start start, CancellationToken stop)
    {
        epoch.Learn(dispatch.Epoch);
        var run = new DispatchRun(dispatch, time.GetUtcNow()) { Trace = Traces.Current };
        held.Add(run);
        try
        {
            if (dispatch.Worker != worker || dispatch.Epoch < epoch.Value || !start(run))
            {
                run.Drop();
            }

            if (await run.Finished is { } finished)
            {
                await bus.PublishAsync(finished, options.AnswerTimeMax, stop);
            }
        }
        finally
        {
            held.Remove(run);
        }
    }
}
