using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// The device's one thread: takes the next batch (express first, so at every boundary), marks its dispatch begun, runs and times it.
/// A batch that fails is halved, and the halves take their turn in its place, until the task that is to blame has failed alone.
/// </summary>
internal sealed partial class Run(DeviceQueue queue, DeviceMeter meter, KnownEpoch epoch, TimeProvider time, ILogger log)
{
    /// <summary>What the device's thread asks of the rest of the worker; it waits for the answers.</summary>
    internal interface IOutput
    {
        /// <summary>Writes into the worker's row that the dispatch begins. False when this life has been closed.</summary>
        bool MarkBegun(DispatchRun run, CancellationToken abort);

        void Ran(RanWork work, CancellationToken abort);
    }

    /// <summary>Runs batches until it is time to stop; the batch on the device is finished.</summary>
    /// <param name="stop">No further batch.</param>
    /// <param name="abort">Leave even the batch on the device.</param>
    public void Loop(IOutput output, CancellationToken stop, CancellationToken abort)
    {
        while (!stop.IsCancellationRequested)
        {
            PackedWork work;
            try
            {
                work = queue.Take(stop);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            Turn(work, output, abort);
        }
    }

    /// <summary>One batch.</summary>
    internal void Turn(PackedWork work, IOutput output, CancellationToken abort)
    {
        if (!Begin(work.Run, output, abort))
        {
            work.Discard();
            return;
        }

        var startedAt = time.GetUtcNow();
        var (batchId, provider) = (BatchId.New(startedAt), work.Model.Provider);
        var (units, paddedUnits) = (work.Batch.Units, work.Batch.PaddedUnits);
        IRanBatch ran;
        using var infers = BatchTrace.Start(work);
        meter.RunBegins();
        try
        {
            ran = work.Model.Run(work.Batch, abort);
        }
        catch (Exception e)
        {
            meter.RunEnds(Bisected);
            infers?.SetStatus(ActivityStatusCode.Error, e.Message);
            if (abort.IsCancellationRequested)
            {
                work.Run.LetGo();
                throw new OperationCanceledException(abort);
            }

            Halve(work, e, startedAt, output, abort);
            return;
        }

        var device = new RanDevice(meter.RunEnds(), batchId, provider, units, paddedUnits, time.GetUtcNow());
        output.Ran(new RanWork(work.Run, work.Tasks, ran, device, null, startedAt, work.Gate), abort);
    }

    private const string Bisected = "bisected";

    /// <summary>Exactly here, not when it was staged: who is marked begun is suspected when the process dies.</summary>
    private bool Begin(DispatchRun run, IOutput output, CancellationToken abort)
    {
        if (run.Begun)
        {
            return true;
        }

        if (run.Dispatch.Epoch < epoch.Value)
        {
            run.Drop();
        }

        return run.TryBegin() && output.MarkBegun(run, abort);
    }

    private void Halve(PackedWork work, Exception reason, DateTimeOffset startedAt, IOutput output, CancellationToken abort)
    {
        if (work.Tasks.Length == 1)
        {
            LogCulprit(log, work.Run.Dispatch.Model, work.Run.Dispatch.Id, reason.Message);
            var failure = new TaskFailure(FailureKind.ModelFailed, reason.Message);
            output.Ran(new RanWork(work.Run, work.Tasks, null, null, failure, startedAt, work.Gate), abort);
            return;
        }

        LogHalved(log, work.Tasks.Length, work.Run.Dispatch.Model, work.Run.Dispatch.Id, reason.Message);
        // The second half is put in front first, so that the first half comes before it.
        var middle = work.Tasks.Length / 2;
        PackAgain(work, work.Tasks[middle..], output, startedAt, abort);
        PackAgain(work, work.Tasks[..middle], output, startedAt, abort);
        work.Run.LetGo();
    }

    private void PackAgain(PackedWork work, int[] tasks, IOutput output, DateTimeOffset startedAt, CancellationToken abort)
    {
        work.Run.Use();
        try
        {
            var batch = work.Model.Pack(Pack.Prepared(work.Run, tasks));
            queue.AddAgain(work with { Tasks = tasks, Batch = batch });
        }
        catch (Exception e)
        {
            // It was packed once, as part of a larger batch: this is no task's fault, so none is looked for.
            var failure = new TaskFailure(FailureKind.ModelFailed, e.Message);
            output.Ran(new RanWork(work.Run, tasks, null, null, failure, startedAt, work.Gate), abort);
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "A batch of {Rows} tasks of {Model} failed (dispatch {Dispatch}); running its halves: {Reason}")]
    private static partial void LogHalved(ILogger log, int rows, ModelRef model, DispatchId dispatch, string reason);

    [LoggerMessage(2, LogLevel.Warning, "{Model} failed on one task of dispatch {Dispatch}: {Reason}")]
    private static partial void LogCulprit(ILogger log, ModelRef model, DispatchId dispatch, string reason);
}
