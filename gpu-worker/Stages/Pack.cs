using System.Text;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Unpacks a dispatch's chunks, prepares every task that lacks a result, cuts them into batches by length, and stacks each batch
/// for the device. An input that does not suit the model fails alone. Suspects keep their order and go in small steps; where a job has a
/// budget the steps are whole batches.
/// </summary>
internal sealed class Pack(IModelSource models, StoppedJobs stoppedJobs, DeviceMeter meter)
{
    /// <summary>Where packed batches go, and what failed before it could be packed.</summary>
    internal interface IOutput
    {
        ValueTask PackedAsync(PackedWork work, CancellationToken stop);

        ValueTask FailedAsync(RanWork work, CancellationToken stop);
    }

    /// <exception cref="ModelNotLoadedException">The model could not be had: nothing of the dispatch has run.</exception>
    /// <exception cref="Exception">A chunk's payload is damaged: nothing of the dispatch has run.</exception>
    public async Task PackAsync(DispatchRun run, IOutput output, CancellationToken stop)
    {
        var model = await AcquireAsync(run, stop);
        try
        {
            await FailUnsuitableAsync(run, PrepareTasks(run, model), output, stop);
            var batches = run.Dispatch.CommitRowsMax is { } rowsMax ? InOrder(run, model, rowsMax) : ByLength(run, model);
            if (run.Dispatch.CommitRowsMax is not null || run.Slices.Any(s => s.HasBudget))
            {
                foreach (var batch in batches)
                {
                    var tasks = await WithoutStoppedAsync(run, batch, output, stop);
                    if (tasks.Length > 0)
                    {
                        var gate = new CommitGate(tasks.Length);
                        await PackBatchAsync(run, model, tasks, gate, output, stop);
                        await Task.WhenAny(gate.Opened, run.Finished).WaitAsync(stop);
                    }
                }
            }
            else
            {
                foreach (var batch in batches)
                {
                    await PackBatchAsync(run, model, batch, null, output, stop);
                }
            }
        }
        finally
        {
            run.LetGo();
        }
    }

    /// <summary>Borrows the model and unpacks the chunks. Loading counts as warm-up where the device stands idle for it.</summary>
    private async Task<IModel> AcquireAsync(DispatchRun run, CancellationToken stop)
    {
        IModelLease lease;
        meter.LoadBegins();
        try
        {
            lease = await models.AcquireAsync(run.Dispatch.Model, stop);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            throw new ModelNotLoadedException(e.Message, e);
        }
        finally
        {
            meter.LoadEnds();
        }

        var payloads = new List<ChunkPayload>(run.Slices.Length);
        try
        {
            foreach (var slice in run.Slices)
            {
                if (slice.Payload is { } packed)
                {
                    var payload = ChunkPayload.Read(packed);
                    payloads.Add(payload);
                    slice.Payload = null;
                    slice.Unpacked = payload;
                    var tasks = slice.Places?.Length ?? payload.Count;
                    if (slice.Slice.First < 0 || slice.Slice.First + slice.Slice.Count > tasks)
                    {
                        throw new InvalidDataException(
                            $"Chunk {slice.Slice.Chunk} holds {tasks} tasks, given {slice.Slice.Count} from {slice.Slice.First} on."
                        );
                    }
                }
            }
        }
        catch
        {
            payloads.ForEach(p => p.Dispose());
            lease.Dispose();
            throw;
        }

        run.Keep(lease, [.. payloads]);
        return lease.Model;
    }

    /// <returns>The tasks whose input does not suit the model, and why.</returns>
    private static List<(int Task, TaskFailure Failure)> PrepareTasks(DispatchRun run, IModel model)
    {
        var tasks = new List<TaskRef>(run.Open);
        var unsuitable = new List<(int, TaskFailure)>();
        for (var s = 0; s < run.Slices.Length; s++)
        {
            if (run.Slices[s] is not { Unpacked: { } payload } slice)
            {
                continue;
            }

            for (var i = slice.Slice.First; i < slice.Slice.First + slice.Slice.Count; i++)
            {
                if (!slice.Lacks(i))
                {
                    continue;
                }

                var place = slice.PlaceOf(i);
                PreparedTask? prepared = null;
                try
                {
                    prepared = model.Prepare(payload.Input(place));
                }
                catch (TaskInputException e)
                {
                    unsuitable.Add((tasks.Count, new TaskFailure(FailureKind.InvalidInput, e.Message)));
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    unsuitable.Add((tasks.Count, new TaskFailure(FailureKind.ModelFailed, e.Message)));
                }

                tasks.Add(new TaskRef(s, slice.FirstSeq + place, Encoding.UTF8.GetString(payload.CustomId(place).Span), prepared));
            }
        }

        run.Tasks = [.. tasks];
        return unsuitable;
    }

    private static async Task FailUnsuitableAsync(
        DispatchRun run,
        List<(int Task, TaskFailure Failure)> unsuitable,
        IOutput output,
        CancellationToken stop
    )
    {
        foreach (var (task, failure) in unsuitable)
        {
            await FailAsync(run, [task], failure, null, output, stop);
        }
    }

    /// <summary>Leaves out, and ends, the tasks of jobs that were stopped since the dispatch came.</summary>
    private async Task<int[]> WithoutStoppedAsync(DispatchRun run, int[] tasks, IOutput output, CancellationToken stop)
    {
        if (!Array.Exists(tasks, t => run.Slices[run.Tasks[t].Slice].HasBudget))
        {
            return tasks;
        }

        var stopped = await stoppedJobs.AskAsync(run, stop);
        foreach (var ended in tasks.Where(t => stopped.ContainsKey(Job(t))).GroupBy(Job))
        {
            await FailAsync(run, [.. ended], stopped[ended.Key], null, output, stop);
        }

        return stopped.Count == 0 ? tasks : Array.FindAll(tasks, t => !stopped.ContainsKey(Job(t)));

        JobId Job(int task) => run.Slices[run.Tasks[task].Slice].Slice.Job;
    }

    private static List<int[]> ByLength(DispatchRun run, IModel model)
    {
        var suitable = Enumerable.Range(0, run.Tasks.Length).Where(t => run.Tasks[t].Prepared is not null).ToArray();
        var limits = model.Manifest.Limits;
        var cut = BatchCutter.Cut(
            Prepared(run, suitable),
            new BatchLimits(limits.BatchRowsMax, Math.Min(run.Dispatch.PaddedUnitsMax, limits.PaddedUnitsMax), model.FixedRows)
            {
                BatchCostUnits = run.Dispatch.BatchCostUnits ?? BatchLimits.BatchCostUnitsDefault,
            }
        );
        return [.. cut.Select(batch => Array.ConvertAll(batch.Tasks.ToArray(), t => suitable[t]))];
    }

    /// <summary>Suspects: a batch is what stands together in the job, as many rows as one commit may hold.</summary>
    private static List<int[]> InOrder(DispatchRun run, IModel model, int rowsMax)
    {
        var suitable = Enumerable
            .Range(0, run.Tasks.Length)
            .Where(t => run.Tasks[t].Prepared is not null)
            .OrderBy(t => run.Tasks[t].Slice)
            .ThenBy(t => run.Tasks[t].Seq);
        var batches = new List<int[]>();
        var batch = new List<int>();
        var (key, unitsMax) = (0L, 0L);
        var rowLimit = Math.Max(1, Math.Min(rowsMax, model.Manifest.Limits.BatchRowsMax));
        var paddedMax = Math.Min(run.Dispatch.PaddedUnitsMax, model.Manifest.Limits.PaddedUnitsMax);
        foreach (var task in suitable)
        {
            var prepared = run.Tasks[task].Prepared!;
            var longest = Math.Max(unitsMax, prepared.Units);
            if (batch.Count > 0 && (batch.Count == rowLimit || prepared.ShapeKey != key || longest * (batch.Count + 1) > paddedMax))
            {
                batches.Add([.. batch]);
                batch.Clear();
                longest = prepared.Units;
            }

            batch.Add(task);
            (key, unitsMax) = (prepared.ShapeKey, longest);
        }

        if (batch.Count > 0)
        {
            batches.Add([.. batch]);
        }

        return batches;
    }

    /// <summary>Stacks a batch; one that cannot be stacked is halved until the task that is to blame stands alone.</summary>
    private static async Task PackBatchAsync(
        DispatchRun run,
        IModel model,
        int[] tasks,
        CommitGate? gate,
        IOutput output,
        CancellationToken stop
    )
    {
        if (run.Dropped)
        {
            return;
        }

        IPackedBatch batch;
        try
        {
            batch = model.Pack(Prepared(run, tasks));
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            if (tasks.Length == 1)
            {
                await FailAsync(run, tasks, new TaskFailure(FailureKind.ModelFailed, e.Message), gate, output, stop);
                return;
            }

            await PackBatchAsync(run, model, tasks[..(tasks.Length / 2)], gate, output, stop);
            await PackBatchAsync(run, model, tasks[(tasks.Length / 2)..], gate, output, stop);
            return;
        }

        var work = new PackedWork(run, model, tasks, batch, gate);
        run.Use();
        try
        {
            await output.PackedAsync(work, stop);
        }
        catch
        {
            work.Discard();
            throw;
        }
    }

    /// <summary>The prepared tasks of a batch.</summary>
    internal static PreparedTask[] Prepared(DispatchRun run, int[] tasks) => Array.ConvertAll(tasks, t => run.Tasks[t].Prepared!);

    private static async Task FailAsync(
        DispatchRun run,
        int[] tasks,
        TaskFailure failure,
        CommitGate? gate,
        IOutput output,
        CancellationToken stop
    )
    {
        run.Use();
        try
        {
            await output.FailedAsync(new RanWork(run, tasks, null, null, failure, run.ReceivedAt, gate), stop);
        }
        catch
        {
            run.LetGo();
            throw;
        }
    }
}
