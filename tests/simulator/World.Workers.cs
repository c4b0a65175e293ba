using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Fleet;

namespace Pipeline.Simulator;

/// <summary>The workers' half of the world: dispatches are staged, cut and run, workers beat, die and come back.</summary>
internal sealed partial class World
{
    private readonly SimWorker[] _workers;
    private readonly Cutting _cutting;
    private readonly Chance _jitter;
    private readonly Chance _faults;
    private readonly Store<SimDispatch> _dispatches = new();
    private readonly Dictionary<DispatchId, SimDispatch> _known = [];

    /// <summary>What the dead had begun, until their books are closed.</summary>
    private readonly Dictionary<WorkerId, List<ChunkKey>> _suspects = [];
    private bool _someDied;

    private static IEnumerable<SimWorker> Fleet(WorldOptions options)
    {
        var slot = 0;
        for (var pool = 0; pool < options.Pools.Count; pool++)
        {
            for (var i = 0; i < options.Pools[pool].Workers; i++)
            {
                yield return new SimWorker(slot++, pool, options.Pools[pool]);
            }
        }
    }

    // Dispatches

    private void Send(Dispatch message)
    {
        _promises.Require(message.Slices.Count > 0, "A dispatch holds something.");
        var slots = new int[message.Slices.Count];
        for (var i = 0; i < slots.Length; i++)
        {
            slots[i] = TakeIntoFlight(message.Slices[i]);
        }

        var dispatch = new SimDispatch(message, slots, ModelOf(message, slots[0]));
        dispatch.Number = _dispatches.Add(dispatch);
        _known.Add(message.Id, dispatch);
        var (life, worker) = Numbers.Of(message.Worker);
        _trace.Fold(_now, (uint)worker, (int)life, slots.Length, Numbers.Of(message.Slices[0].Job).Number);
        if (_options.SchedulerToWorker.IsZero)
        {
            Stage(dispatch.Number);
        }
        else
        {
            _events.Add(_now + _options.SchedulerToWorker.Draw(_delays), EventKind.DispatchReaches, dispatch.Number);
        }
    }

    /// <summary>
    /// The slot of the slice's chunk, or -1 when all of the chunk has ended: a worker that died can have ended more than anybody was told.
    /// </summary>
    private int TakeIntoFlight(Slice slice)
    {
        var slot = Find(slice.Chunk);
        _promises.Require(slot >= 0 || _someDied, "A dispatch holds only what waits.");
        if (slot >= 0)
        {
            var added = _chunks[slot].Live.Set(slice.First, slice.Count);
            _promises.Require(added == slice.Count, "A slice is in one live dispatch at a time.");
        }

        return slot;
    }

    private int ModelOf(Dispatch message, int slot) =>
        slot >= 0 ? _chunks[slot].Model : _options.Models.TakeWhile(m => m.Ref != message.Model).Count();

    private void Stage(int number)
    {
        var dispatch = _dispatches[number];
        var message = dispatch.Message;
        var (life, slot) = Numbers.Of(message.Worker);
        var worker = _workers[slot];
        if (!worker.Alive || worker.Life != life)
        {
            Forget(dispatch);
            TellAfter(new DispatchReturned(message.Id, WorkerUnreachable: true), _options.ReturnAfter.Ticks);
            return;
        }

        var lane = worker.Lane(message.Lane);
        lane.Add(dispatch);
        dispatch.HasReached = true;
        if (dispatch.IsStopped)
        {
            Stop(message.Id);
            return;
        }

        _promises.Require(lane.Count <= _options.Policy.DispatchesPerLaneMax, "A lane holds what one runs and what is staged, no more.");
        _cutting.Cut(dispatch);
        if (worker.Running is null)
        {
            BeginBatch(worker);
        }
    }

    private void BeginBatch(SimWorker worker)
    {
        while (worker.Next is { } dispatch)
        {
            if (dispatch.HasRun)
            {
                // Every task of it had a result already.
                Finish(worker, dispatch);
                continue;
            }

            var batch = dispatch.Batches[dispatch.Ran.Count];
            _promises.Require(worker.Running is null, "A device runs one batch at a time.");
            var ns = BatchNs(worker, dispatch.Model, batch.PaddedUnits);
            var begin = dispatch.Begun || worker.Spec.BeginTime.IsZero ? 0 : worker.Spec.BeginTime.Draw(_jitter);
            var ticks = begin + Math.Max(1, (long)Math.Round((ns + LoadNs(worker, dispatch.Model)) / TimeSpan.NanosecondsPerTick));
            (worker.Running, worker.BatchStart, worker.BatchEnd, worker.BatchNs) = (dispatch, _now, _now + ticks, (long)ns);
            dispatch.Begun = true;
            _events.Add(worker.BatchEnd, EventKind.BatchEnds, worker.Slot, ++worker.Turn);
            return;
        }
    }

    private double BatchNs(SimWorker worker, int model, long paddedUnits)
    {
        var spec = worker.Spec;
        var ns = spec.Devices[model].Ns(paddedUnits);
        if (spec.JitterSigma > 0)
        {
            ns *= _jitter.LogNormal(spec.JitterSigma);
        }

        if (spec.Scatter is { Length: > 0 } scatter)
        {
            ns *= scatter[(int)(_jitter.Uniform() * scatter.Length)];
        }

        return spec.StragglerShare > 0 && _jitter.Uniform() < spec.StragglerShare ? ns * spec.StragglerFactor : ns;
    }

    /// <summary>Loading takes the device too, but is no part of what the batch is said to have taken.</summary>
    private static double LoadNs(SimWorker worker, int model)
    {
        if (worker.Loaded[model])
        {
            return 0;
        }

        worker.Loaded[model] = true;
        return worker.Spec.LoadTime.TotalNanoseconds;
    }

    private void EndBatch(SimWorker worker, int turn)
    {
        if (worker.Turn != turn || worker.Running is not { } dispatch)
        {
            return; // It was stopped before.
        }

        var batch = dispatch.Batches[dispatch.Ran.Count];
        dispatch.Ran.Add(new BatchFact(batch.Count, batch.Units, batch.PaddedUnits, Math.Max(1, worker.BatchNs)));
        worker.Running = null;
        _measures.Busy(worker.Pool, worker.BatchStart, _now, batch.Count, wasted: false);
        EndTasks(dispatch, batch);
        if (dispatch.HasRun)
        {
            Finish(worker, dispatch);
        }

        BeginBatch(worker);
    }

    private void EndTasks(SimDispatch dispatch, SimBatch batch)
    {
        if (dispatch.Order is { } order)
        {
            for (var i = batch.First; i < batch.First + batch.Count; i++)
            {
                EndTasks(order[i].Slot, order[i].Task, 1);
            }

            return;
        }

        for (var left = batch.Count; left > 0; )
        {
            var slice = dispatch.Message.Slices[dispatch.SliceAt];
            var count = Math.Min(left, slice.Count - dispatch.TaskAt);
            EndTasks(dispatch.Slots[dispatch.SliceAt], slice.First + dispatch.TaskAt, count);
            left -= count;
            dispatch.TaskAt += count;
            if (dispatch.TaskAt == slice.Count)
            {
                (dispatch.SliceAt, dispatch.TaskAt) = (dispatch.SliceAt + 1, 0);
            }
        }
    }

    private void EndTasks(int slot, int first, int count)
    {
        ref var chunk = ref _chunks[slot];
        var ended = chunk.Ended.Set(first, count);
        _promises.Require(ended == count, "A task ends once.");
        chunk.EndedTasks += count;
        var units = (long)count * chunk.UnitsEach;
        if (chunk.Lengths is { } lengths)
        {
            units = 0;
            foreach (var length in lengths.AsSpan(first, count))
            {
                units += length;
            }
        }

        var at = _now + (_options.DeviceToResult.IsZero ? 0 : _options.DeviceToResult.Draw(_delays));
        _measures.Succeed(chunk, at, count, units);
        _trace.Fold(_now, chunk.Job, chunk.No, first, count);
    }

    private void Finish(SimWorker worker, SimDispatch dispatch)
    {
        worker.Lane(dispatch.Message.Lane).Remove(dispatch);
        var report = Report(worker, dispatch, SliceOutcome.Done);
        Forget(dispatch);
        Tell(new DispatchEnded(report), _options.WorkerToScheduler);
    }

    /// <summary>It is nowhere any more: its slices are free.</summary>
    private void Forget(SimDispatch dispatch)
    {
        _known.Remove(dispatch.Message.Id);
        _dispatches.Remove(dispatch.Number);
        for (var i = 0; i < dispatch.Slots.Length; i++)
        {
            if (dispatch.Slots[i] >= 0)
            {
                var slice = dispatch.Message.Slices[i];
                _chunks[dispatch.Slots[i]].Live.Clear(slice.First, slice.Count);
            }
        }

        // Only now: two slices may be of one chunk.
        foreach (var slot in dispatch.Slots)
        {
            if (slot >= 0)
            {
                _chunks.FreeIfDone(slot);
            }
        }
    }

    private static DispatchFinished Report(SimWorker worker, SimDispatch dispatch, SliceOutcome outcome)
    {
        var message = dispatch.Message;
        var slices = new SliceReport[message.Slices.Count];
        for (var i = 0; i < slices.Length; i++)
        {
            var slice = message.Slices[i];
            slices[i] = new SliceReport(slice.Job, slice.No, slice.First, slice.Count, outcome);
        }

        return new DispatchFinished
        {
            Id = message.Id,
            Epoch = message.Epoch,
            Worker = worker.Id,
            Lane = message.Lane,
            Model = message.Model,
            Slices = slices,
            Batches = outcome == SliceOutcome.Done ? dispatch.Ran : [],
        };
    }

    /// <summary>The simulator's own decision: what runs is thrown away, all is handed back.</summary>
    private void Stop(DispatchId id)
    {
        if (!_known.TryGetValue(id, out var dispatch))
        {
            return; // It has just ended.
        }

        if (!dispatch.HasReached)
        {
            dispatch.IsStopped = true;
            return;
        }

        var worker = _workers[Numbers.Of(dispatch.Message.Worker).Slot];
        _trace.Fold(_now, (uint)worker.Slot, -2, dispatch.Slots.Length, 0);
        worker.Lane(dispatch.Message.Lane).Remove(dispatch);
        if (worker.Running == dispatch)
        {
            _measures.Busy(worker.Pool, worker.BatchStart, _now, 0, wasted: true);
            worker.Running = null;
            worker.Turn++;
        }

        var report = Report(worker, dispatch, SliceOutcome.HandedBack);
        Forget(dispatch);
        Tell(new DispatchEnded(report));
        if (worker.Running is null)
        {
            BeginBatch(worker);
        }
    }

    // Signs of life

    private void Beat(SimWorker worker, uint life)
    {
        if (!worker.Alive || worker.Life != life)
        {
            return;
        }

        Tell(new WorkerSeen(Heartbeat(worker)), _options.WorkerToScheduler);
        _events.Add(_now + _options.HeartbeatEvery.Ticks, EventKind.Heartbeat, worker.Slot, (int)life);
    }

    private WorkerHeartbeat Heartbeat(SimWorker worker)
    {
        var beat = worker.Beat ??= FirstBeat(worker);
        var held = new List<HeldDispatch>();
        foreach (var lane in (ReadOnlySpan<Lane>)[Lane.Express, Lane.Bulk])
        {
            foreach (var dispatch in worker.Lane(lane))
            {
                var message = dispatch.Message;
                held.Add(new HeldDispatch(message.Id, message.Epoch, lane, dispatch.Begun, message.Slices));
            }
        }

        if (beat.Models.Count != worker.Loaded.Count(l => l))
        {
            beat = worker.Beat = beat with { Models = Models(worker) };
        }

        return held.Count == 0 ? beat : beat with { Held = held };
    }

    private WorkerHeartbeat FirstBeat(SimWorker worker) =>
        new()
        {
            Worker = worker.Id,
            Name = $"{worker.Spec.Name}-{worker.Slot}",
            Pool = worker.Spec.Name,
            Provider = worker.Spec.Provider,
            Device = worker.Spec.Devices[0].Name,
            PricePerHourPico = worker.Spec.PricePerHourPico,
            UptimeNs = 1,
            Models = Models(worker),
            MemoryBudgetBytes = 1L << 36,
            Epoch = 1,
            Held = [],
            Draining = false,
        };

    private LoadedModel[] Models(SimWorker worker) =>
        [.. _options.Models.Where((_, i) => worker.Loaded[i]).Select(m => new LoadedModel(m.Ref, worker.Spec.Provider, 1 << 28))];

    // Faults

    private void Doom(SimWorker worker)
    {
        if (worker.Spec.MeanLife > TimeSpan.Zero)
        {
            var life = (long)(worker.Spec.MeanLife.Ticks * _faults.Exponential());
            _events.Add(_now + Math.Max(1, life), EventKind.Crash, worker.Slot, (int)worker.Life);
        }
    }

    /// <summary>The process is gone, and what it ran is lost; nobody is told.</summary>
    private void Die(SimWorker worker, uint life)
    {
        if (!worker.Alive || worker.Life != life)
        {
            return;
        }

        if (worker.Running is not null)
        {
            _measures.Busy(worker.Pool, worker.BatchStart, _now, 0, wasted: true);
            worker.Running = null;
        }

        worker.Alive = false;
        _someDied = true;
        worker.Turn++;
        var begun = new List<ChunkKey>();
        foreach (var dispatch in worker.Lane(Lane.Express).Concat(worker.Lane(Lane.Bulk)).ToList())
        {
            if (dispatch.Begun)
            {
                begun.AddRange(dispatch.Message.Slices.Select(s => s.Chunk));
            }

            Forget(dispatch);
        }

        worker.Lane(Lane.Express).Clear();
        worker.Lane(Lane.Bulk).Clear();
        _suspects[worker.Id] = begun;
        _events.Add(_now + worker.Spec.RestartAfter.Ticks, EventKind.Restart, worker.Slot);
    }

    /// <summary>The policy has noticed: the books are closed, and it is told what had begun there.</summary>
    private void Bury(WorkerId id)
    {
        var suspects = new List<(ChunkKey Chunk, int Attempts)>();
        foreach (var key in _suspects.GetValueOrDefault(id, []).Distinct())
        {
            var slot = Find(key);
            if (slot >= 0)
            {
                suspects.Add((key, ++_chunks[slot].Attempts));
            }
        }

        _suspects.Remove(id);
        var (life, place) = Numbers.Of(id);
        _promises.Require(!_workers[place].Alive || _workers[place].Life != life, "Only the dead are declared lost.");
        TellAfter(new WorkerGone(id, suspects), _options.EndingTime.Ticks);
    }

    private void ComeBack(SimWorker worker)
    {
        worker.Restart();
        Doom(worker);
        Tell(new WorkerSeen(Heartbeat(worker)), _options.WorkerToScheduler);
        _events.Add(_now + _options.HeartbeatEvery.Ticks, EventKind.Heartbeat, worker.Slot, (int)worker.Life);
    }
}
