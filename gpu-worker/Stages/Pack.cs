using System.Text;
using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Unpacks a dispatch's chunks, finds out which tasks need not run (<see cref="ReusePlan"/>), prepares the others, cuts them into batches by
/// length, and stacks each batch for the device. An input that does not suit the model fails alone. Suspects keep their order and go in
/// small steps; where a job has a budget the steps are whole batches.
/// </summary>
internal sealed class Pack(IModelSource models, StoppedJobs stoppedJobs, KnownEnds known, DeviceMeter meter)
{
    /// <summary>Where packed batches go, and what ended without the device: it failed before, or its end was known.</summary>
    internal interface IOutput
    {
        ValueTask PackedAsync(PackedWork work, CancellationToken stop);

        ValueTask EndedAsync(RanWork work, CancellationToken stop);
    }

    /// <exception cref="ModelNotLoadedException">The model could not be had: nothing of the dispatch has run.</exception>
    /// <exception cref="Exception">A chunk's payload is damaged: nothing of the dispatch has run.</exception>
    public async Task PackAsync(DispatchRun run, IOutput output, CancellationToken stop)
    {
        var model = await AcquireAsync(run, stop);
        try
        {
            run.Tasks = ListTasks(run);
            var plan = ReusePlan.Of(run);
            run.Followers = plan.Followers;
            SetCacheKeys(run, model, plan.ToRun);
            var toRun = await known.OfCacheAsync(run, plan.ToRun, EndKnownAsync, stop);
            if (run.Dispatch.CommitRowsMax is not null)
            {
                // All in one order: the first task without a result must be one that ran.
                await RunAsync(
                    run,
                    model,
                    [.. toRun, .. await known.OfOriginalsAsync(run, plan.Elsewhere, EndKnownAsync, stop)],
                    output,
                    stop
                );
                return;
            }

            await RunAsync(run, model, toRun, output, stop);
            if (plan.Elsewhere.Count > 0)
            {
                // As late as can be, when most of the dispatch has been on the device: what ran before it is committed then.
                await Task.WhenAny(run.Before, run.Finished).WaitAsync(stop);
                await RunAsync(run, model, await known.OfOriginalsAsync(run, plan.Elsewhere, EndKnownAsync, stop), output, stop);
            }
        }
        finally
        {
            run.LetGo();
        }

        Task EndKnownAsync(int[] tasks, TaskEnd[] ends) => this.EndKnownAsync(run, tasks, ends, output, stop);
    }

    private async Task RunAsync(DispatchRun run, IModel model, int[] tasks, IOutput output, CancellationToken stop)
    {
        await FailUnsuitableAsync(run, PrepareTasks(run, model, tasks), output, stop);
        tasks = Array.FindAll(tasks, t => run.Tasks[t].Prepared is not null);
        var batches = run.Dispatch.CommitRowsMax is { } rowsMax ? InOrder(run, model, tasks, rowsMax) : ByLength(run, model, tasks);
        foreach (var batch in batches)
        {
            if (!GoesInSteps(run))
            {
                await PackBatchAsync(run, model, batch, null, output, stop);
            }
            else if (await WithoutStoppedAsync(run, batch, output, stop) is { Length: > 0 } left)
            {
                var gate = new CommitGate(left.Length);
                await PackBatchAsync(run, model, left, gate, output, stop);
                await Task.WhenAny(gate.Opened, run.Finished).WaitAsync(stop);
            }
        }
    }

    /// <summary>Ends tasks as others ended. Where the dispatch goes in steps, this is one.</summary>
    private async Task EndKnownAsync(DispatchRun run, int[] tasks, TaskEnd[] ends, IOutput output, CancellationToken stop)
    {
        if (GoesInSteps(run))
        {
            var all = tasks;
            tasks = await WithoutStoppedAsync(run, all, output, stop);
            ends = [.. tasks.Select(t => ends[Array.IndexOf(all, t)])];
        }

        if (tasks.Length == 0 || run.Dropped)
        {
            return;
        }

        var gate = GoesInSteps(run) ? new CommitGate(tasks.Length) : null;
        await EndAsync(new RanWork(run, tasks, null, null, null, run.ReceivedAt, gate, ends), output, stop);
        if (gate is not null)
        {
            await Task.WhenAny(gate.Opened, run.Finished).WaitAsync(stop);
        }
    }

    /// <summary>True where each batch is committed before the next is packed.</summary>
    private static bool GoesInSteps(DispatchRun run) => run.Dispatch.CommitRowsMax is not null || run.Slices.Any(s => s.HasBudget);

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

    /// <summary>The tasks that lack a result, in the order of the slices.</summary>
    private static TaskRef[] ListTasks(DispatchRun run)
    {
        var tasks = new List<TaskRef>(run.Open);
        for (var s = 0; s < run.Slices.Length; s++)
        {
            if (run.Slices[s] is not { Unpacked: { } payload } slice)
            {
                continue;
            }

            for (var i = slice.Slice.First; i < slice.Slice.First + slice.Slice.Count; i++)
            {
                if (slice.Lacks(i))
                {
                    var place = slice.PlaceOf(i);
                    tasks.Add(new TaskRef(s, slice.FirstSeq + place, Encoding.UTF8.GetString(payload.CustomId(place).Span), null));
                }
            }
        }

        return [.. tasks];
    }

    /// <summary>Names what the tasks' results are cached under, where their tenant has a cache.</summary>
    private static void SetCacheKeys(DispatchRun run, IModel model, int[] tasks)
    {
        if (!Array.Exists(run.Slices, s => s.Cache is not null))
        {
            return;
        }

        var modelKey = CacheKey.OfModel(model.Manifest);
        foreach (var task in tasks.Where(t => run.Slices[run.Tasks[t].Slice].Cache is not null))
        {
            run.Tasks[task] = run.Tasks[task] with { CacheKey = CacheKey.Of(modelKey, Input(run, task).Span) };
        }
    }

    /// <returns>The tasks whose input does not suit the model, and why.</returns>
    private static List<(int Task, TaskFailure Failure)> PrepareTasks(DispatchRun run, IModel model, int[] tasks)
    {
        var unsuitable = new List<(int, TaskFailure)>();
        foreach (var task in tasks)
        {
            try
            {
                run.Tasks[task] = run.Tasks[task] with { Prepared = model.Prepare(Input(run, task)) };
            }
            catch (TaskInputException e)
            {
                unsuitable.Add((task, new TaskFailure(FailureKind.InvalidInput, e.Message)));
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                unsuitable.Add((task, new TaskFailure(FailureKind.ModelFailed, e.Message)));
            }
        }

        return unsuitable;
    }

    private static ReadOnlyMemory<byte> Input(DispatchRun run, int task)
    {
        var slice = run.Slices[run.Tasks[task].Slice];
        return slice.Unpacked!.Input(run.Tasks[task].Seq - slice.FirstSeq);
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

    private static List<int[]> ByLength(DispatchRun run, IModel model, int[] tasks)
    {
        var limits = model.Manifest.Limits;
        var cut = BatchCutter.Cut(
            Prepared(run, tasks),
            new BatchLimits(limits.BatchRowsMax, Math.Min(run.Dispatch.PaddedUnitsMax, limits.PaddedUnitsMax), model.FixedRows)
            {
                BatchCostUnits = run.Dispatch.BatchCostUnits ?? BatchLimits.BatchCostUnitsDefault,
            }
        );
        return [.. cut.Select(batch => Array.ConvertAll(batch.Tasks.ToArray(), t => tasks[t]))];
    }

    /// <summary>Suspects: a batch is what stands together in the job, as many rows as one commit may hold.</summary>
    private static List<int[]> InOrder(DispatchRun run, IModel model, int[] tasks, int rowsMax)
    {
        var batches = new List<int[]>();
        var batch = new List<int>();
        var (key, unitsMax) = (0L, 0L);
        var rowLimit = Math.Max(1, Math.Min(rowsMax, model.Manifest.Limits.BatchRowsMax));
        var paddedMax = Math.Min(run.Dispatch.PaddedUnitsMax, model.Manifest.Limits.PaddedUnitsMax);
        foreach (var task in tasks.OrderBy(t => run.Tasks[t].Slice).ThenBy(t => run.Tasks[t].Seq))
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

    private static Task FailAsync(
        DispatchRun run,
        int[] tasks,
        TaskFailure failure,
        CommitGate? gate,
        IOutput output,
        CancellationToken stop
    ) => EndAsync(new RanWork(run, tasks, null, null, failure, run.ReceivedAt, gate), output, stop);

    private static async Task EndAsync(RanWork work, IOutput output, CancellationToken stop)
    {
        work.Run.Use();
        try
        {
            await output.EndedAsync(work, stop);
        }
        catch
        {
            work.Run.LetGo();
            throw;
        }
    }
}
