using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// What all baselines share, so that a baseline's file holds its idea alone: facts become queues, devices and flights; a batch is sent as
/// one dispatch that the worker runs whole; what comes back waits again; what passed its deadline ends. Times inside are UTC ticks.
/// </summary>
/// <param name="order">The order in which chunks of a model and class wait.</param>
internal abstract class Baseline(BaselineSetup setup, QueueOrder order = QueueOrder.Due) : IPolicy
{
    /// <summary>No bound: the worker runs the dispatch as one batch.</summary>
    private const long PaddedUnitsUnbounded = long.MaxValue / 4;

    private static readonly TimeSpan BatchTimeUnbounded = TimeSpan.FromHours(1);

    private static readonly Comparer<BaselineDevice> ByNo = Comparer<BaselineDevice>.Create(static (a, b) => a.No.CompareTo(b.No));

    private readonly Dictionary<ModelRef, BaselineModel> _byRef = [];
    private readonly List<BaselineModel> _models = [];
    private readonly Dictionary<ChunkKey, BaselineChunk> _chunks = [];
    private readonly PriorityQueue<BaselineChunk, (long, long)> _byDeadline = new();
    private readonly Dictionary<WorkerId, BaselineDevice> _byWorker = [];
    private readonly List<BaselineDevice> _devices = [];
    private readonly SortedSet<BaselineDevice> _idle = new(ByNo);
    private readonly List<BaselineDevice> _resting = [];
    private readonly Dictionary<DispatchId, BaselineFlight> _flights = [];
    private readonly List<Decision> _endings = [];
    private List<Decision> _decisions = [];
    private PolicyOptions _options = setup.Options;
    private long _arrivals;
    private int _devicesSeen;
    private int _sent;
    private long _wake;
    private long _judgeAt;
    private bool _planning;
    private bool _theyBeat;

    protected BaselineSetup Setup { get; } = setup;

    /// <summary>The time of this turn.</summary>
    protected long Now { get; private set; }

    /// <summary>Models with or without work, in order of being heard of.</summary>
    protected IReadOnlyList<BaselineModel> Models => _models;

    /// <summary>Living devices in order of being seen.</summary>
    protected IReadOnlyList<BaselineDevice> Devices => _devices;

    /// <summary>Devices that run nothing and may be sent something, in order of being seen.</summary>
    protected IReadOnlyCollection<BaselineDevice> Idle => _idle;

    protected IReadOnlyCollection<BaselineFlight> Flights => _flights.Values;

    public void Observe(Fact fact, DateTimeOffset time)
    {
        Now = time.UtcTicks;
        switch (fact)
        {
            case ChunkArrived arrived:
                Arrive(arrived.Chunk);
                break;
            case WorkerSeen seen:
                See(seen.Heartbeat);
                break;
            case WorkerGone gone:
                Bury(gone.Worker);
                break;
            case ModelProfileKnown known:
                ModelOf(known.Model).Profile(known.Profile, known.Limits);
                break;
            case DispatchEnded ended:
                Finish(ended.Report);
                break;
            case DispatchReturned returned:
                TakeBack(returned.Dispatch);
                break;
            case DispatchFaulted faulted:
                TakeBack(faulted.Dispatch);
                break;
            case ChunksEnded ended:
                ended.Chunks.ToList().ForEach(Forget);
                break;
            case EndingFailed failed:
                _endings.Add(failed.Decision);
                break;
            case JobCancelled cancelled:
                Cancel(cancelled.Job);
                break;
            case LimitsChanged changed:
                _options = changed.Options;
                break;
        }
    }

    public IReadOnlyList<Decision> Plan(DateTimeOffset time)
    {
        Now = time.UtcTicks;
        _wake = long.MaxValue;
        _planning = true;
        _decisions = [.. _endings];
        _endings.Clear();
        JudgeWorkers();
        WakeRested();
        ExpireLate();
        Decide();
        _planning = false;
        return _decisions;
    }

    public DateTimeOffset NextWake(DateTimeOffset time) =>
        _wake >= DateTimeOffset.MaxValue.UtcTicks
            ? DateTimeOffset.MaxValue
            : new DateTimeOffset(Math.Max(_wake, time.UtcTicks), TimeSpan.Zero);

    /// <summary>The idea: what to send to whom, now.</summary>
    protected abstract void Decide();

    /// <summary>A chunk was put into its queue.</summary>
    protected virtual void OnArrived(BaselineChunk chunk) { }

    /// <summary>A flight ended; what of it was handed back waits again already.</summary>
    protected virtual void OnEnded(BaselineFlight flight, DispatchFinished report) { }

    // What an idea is said with.

    protected BaselineModel ModelOf(ModelRef model)
    {
        if (!_byRef.TryGetValue(model, out var found))
        {
            _byRef[model] = found = new BaselineModel(model, order);
            _models.Add(found);
        }

        return found;
    }

    /// <summary>Plans again at this time, if no fact comes before.</summary>
    protected void WakeAt(long at) => _wake = Math.Min(_wake, at);

    /// <summary>The first idle device that has the model loaded, else the first idle one, else null.</summary>
    protected BaselineDevice? IdleFor(BaselineModel model, Func<BaselineDevice, bool>? may = null)
    {
        BaselineDevice? other = null;
        if (may is null && _idle.Min is { } first && first.Loaded.Contains(model.Ref))
        {
            return first;
        }

        foreach (var device in _idle)
        {
            if (may is not null && !may(device))
            {
                continue;
            }

            if (device.Loaded.Contains(model.Ref))
            {
                return device;
            }

            other ??= device;
        }

        return other;
    }

    /// <summary>A batch to be filled for a model.</summary>
    protected static BaselineBatch Batch(BaselineModel model) => new(model);

    /// <summary>Sends what the batch holds as one dispatch, which its worker runs whole. An empty batch is not sent.</summary>
    protected BaselineFlight? Send(BaselineDevice device, BaselineBatch batch, string reason, Lane lane = Lane.Express)
    {
        if (batch.Tasks == 0)
        {
            return null;
        }

        var estimated = batch.Model.Latency(batch.Tasks, device);
        var start = Math.Max(Now, device.BusyUntil);
        var id = new DispatchId(new Guid(++_sent, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0]));
        var flight = new BaselineFlight(id, device, batch.Model, lane, batch.Slices, batch.Tasks, batch.Due, Now, start + estimated);
        _flights[id] = flight;
        device.Flights.Add(flight);
        Refresh(device);
        foreach (var (chunk, range) in batch.Slices)
        {
            chunk.Sent += range.Count;
        }

        var why = new Why(reason, batch.Tasks, 0, new TimeSpan(estimated), new TimeSpan(batch.Due - Now));
        _decisions.Add(new SendDispatch(Message(flight, reason), why));
        return flight;
    }

    /// <summary>Sends the first tasks of one queue.</summary>
    protected BaselineFlight? Send(
        BaselineDevice device,
        BaselineModel model,
        BaselineQueue queue,
        int tasks,
        string reason,
        Lane lane = Lane.Express
    ) => Send(device, Batch(model).Take(queue, tasks), reason, lane);

    /// <summary>Says a decision of another kind, such as to stop a running batch.</summary>
    protected void Issue(Decision decision) => _decisions.Add(decision);

    /// <summary>Gives a chunk up: what of it waits leaves its queue now, and ends when nothing of it runs any more.</summary>
    protected void Drop(
        BaselineChunk chunk,
        TaskOutcome outcome = TaskOutcome.Expired,
        FailureKind kind = FailureKind.DeadlinePassed,
        string message = "It could not end in time."
    )
    {
        chunk.Queue?.Remove(chunk);
        chunk.GivenUp = (outcome, kind, message);
        EndIfLanded(chunk);
    }

    /// <summary>Drops the queue's first chunks for as long as the condition holds.</summary>
    protected void DropHeads(BaselineQueue queue, Func<BaselineChunk, bool> hopeless)
    {
        while (!queue.IsEmpty && hopeless(queue.Head))
        {
            Drop(queue.Head);
        }
    }

    /// <summary>The model whose queue of this class is first in the queues' order; null when none waits.</summary>
    protected BaselineModel? FirstWaiting(LatencyClass latencyClass)
    {
        BaselineModel? first = null;
        foreach (var model in _models)
        {
            var queue = model.Queue(latencyClass);
            if (!queue.IsEmpty && (first is null || Before(queue.Head, first.Queue(latencyClass).Head)))
            {
                first = model;
            }
        }

        return first;
    }

    /// <summary>
    /// What a baseline does with standard and bulk work when its idea is silent on them: strictly standard before bulk, each batch as
    /// large as the setup's bound on device time allows, on the bulk lane.
    /// </summary>
    /// <returns>False when nothing was sent.</returns>
    protected bool SendBulk(Func<BaselineDevice, bool>? may = null)
    {
        foreach (var latencyClass in (ReadOnlySpan<LatencyClass>)[LatencyClass.Standard, LatencyClass.Bulk])
        {
            if (_idle.Count > 0 && FirstWaiting(latencyClass) is { } model && IdleFor(model, may) is { } device)
            {
                Send(device, model, model.Queue(latencyClass), BulkTasks(model, device), $"{latencyClass.Name()}.fill", Lane.Bulk);
                return true;
            }
        }

        return false;
    }

    /// <summary>The target of express tasks, in ticks.</summary>
    protected long ExpressTarget =>
        _options.Classes.TryGetValue(LatencyClass.Express, out var options) ? options.Target.Ticks : TimeSpan.TicksPerSecond;

    /// <summary>Ticks that an express batch may take, by the setup's share of the target, on so many devices (all of them by default).</summary>
    protected long ExpressBatchTicks(int devices = 0)
    {
        var count = devices > 0 ? devices : Math.Max(1, _devices.Count);
        return (long)(ExpressTarget * (Setup.ExpressBatchShare ?? (1 / (1 + Math.Min(1, 2.0 / count)))));
    }

    /// <summary>The batch size that whoever tunes a server by hand arrives at: the largest within that time, at least one.</summary>
    protected int ExpressTasks(BaselineModel model, BaselineDevice? device = null, int devices = 0) =>
        Math.Max(1, model.TasksWithin(ExpressBatchTicks(devices), device));

    /// <summary>Tasks of a batch within the setup's bound on a bulk batch's device time, at least one.</summary>
    protected int BulkTasks(BaselineModel model, BaselineDevice? device = null) =>
        Math.Max(1, model.TasksWithin(Setup.BulkBatchTimeMax.Ticks, device));

    private bool Before(BaselineChunk a, BaselineChunk b) =>
        order == QueueOrder.Due && a.Due != b.Due ? a.Due < b.Due : a.Arrival < b.Arrival;

    private Dispatch Message(BaselineFlight flight, string reason) =>
        new()
        {
            Id = flight.Id,
            Epoch = Setup.Epoch,
            Worker = flight.Device.Id,
            Lane = flight.Lane,
            Model = flight.Model.Ref,
            Slices = [.. flight.Slices.Select(s => new Slice(s.Chunk.Key.Job, s.Chunk.Key.No, s.Range.First, s.Range.Count))],
            BatchTimeMax = BatchTimeUnbounded,
            PaddedUnitsMax = PaddedUnitsUnbounded,
            Reason = reason,
        };

    // Chunks

    private void Arrive(in ChunkHeader header)
    {
        if (header.Tasks <= 0 || _chunks.ContainsKey(header.Key))
        {
            return;
        }

        var model = ModelOf(header.Model);
        model.SeeChunk(header);
        var chunk = new BaselineChunk(header, Setup.Due(header), ++_arrivals);
        _chunks[chunk.Key] = chunk;
        model.Queue(chunk.Class).Add(chunk);
        _byDeadline.Enqueue(chunk, (chunk.Deadline, chunk.Arrival));
        OnArrived(chunk);
    }

    private void ExpireLate()
    {
        while (_byDeadline.TryPeek(out var chunk, out var at) && at.Item1 <= Now)
        {
            _byDeadline.Dequeue();
            if (chunk.GivenUp is null && _chunks.ContainsKey(chunk.Key))
            {
                Drop(chunk, message: "Its deadline passed.");
            }
        }
    }

    private void Cancel(JobId job)
    {
        foreach (var chunk in _chunks.Values.Where(c => c.Key.Job == job).OrderBy(c => c.Arrival).ToList())
        {
            Drop(chunk, TaskOutcome.Cancelled, FailureKind.Cancelled, "Its job was cancelled.");
        }
    }

    private void EndIfLanded(BaselineChunk chunk)
    {
        if (chunk.Sent > 0 || !_chunks.Remove(chunk.Key))
        {
            return;
        }

        if (chunk is { GivenUp: { } end, Waiting: > 0 })
        {
            var why = new Why(Reasons.DeadlinePassed, chunk.Waiting, 0, default, new TimeSpan(chunk.Due - Now));
            (_planning ? _decisions : _endings).Add(new EndChunks([chunk.Key], end.Outcome, end.Kind, end.Message, why));
        }
    }

    private void Forget(ChunkKey key)
    {
        if (_chunks.TryGetValue(key, out var chunk) && chunk.Sent == 0)
        {
            chunk.Queue?.Remove(chunk);
            _chunks.Remove(key);
        }
    }

    // Devices

    private void See(WorkerHeartbeat beat)
    {
        if (!_byWorker.TryGetValue(beat.Worker, out var device))
        {
            _byWorker[beat.Worker] = device = new BaselineDevice(beat.Worker, ++_devicesSeen);
            _devices.Add(device);
        }

        device.Pool = beat.Pool;
        device.Provider = beat.Provider;
        device.PricePerHourPico = beat.PricePerHourPico;
        device.Draining = beat.Draining;
        device.DeclaredLost = false;
        device.SeenAt = Now;
        _theyBeat |= device.Beats++ > 0;
        device.Load(beat.Models);
        Refresh(device);
    }

    /// <summary>A worker that fell silent is lost, where workers beat at all; the answer takes it off the books.</summary>
    private void JudgeWorkers()
    {
        if (!_theyBeat)
        {
            return;
        }

        if (Now < _judgeAt)
        {
            WakeToJudge();
            return;
        }

        _judgeAt = Now + TimeSpan.TicksPerSecond;
        foreach (var device in _devices)
        {
            if (!device.DeclaredLost && Now - device.SeenAt > _options.WorkerLostAfter.Ticks)
            {
                device.DeclaredLost = true;
                Refresh(device);
                _decisions.Add(new DeclareLost(device.Id, new Why(Reasons.WorkerSilent)));
            }
        }

        WakeToJudge();
    }

    /// <summary>While something runs its worker is watched, even when nothing else happens.</summary>
    private void WakeToJudge()
    {
        if (_flights.Count > 0)
        {
            WakeAt(_judgeAt);
        }
    }

    private void Bury(WorkerId worker)
    {
        if (_byWorker.Remove(worker, out var device))
        {
            _devices.Remove(device);
            _idle.Remove(device);
            _resting.Remove(device);
            foreach (var flight in device.Flights.ToList())
            {
                Land(flight, []);
            }
        }
    }

    private void Rest(BaselineDevice device)
    {
        device.RestsUntil = Now + Setup.DeviceRest.Ticks;
        if (_byWorker.ContainsKey(device.Id) && !_resting.Contains(device))
        {
            _resting.Add(device);
        }

        Refresh(device);
    }

    private void WakeRested()
    {
        for (var i = _resting.Count - 1; i >= 0; i--)
        {
            var device = _resting[i];
            if (device.RestsUntil > Now)
            {
                WakeAt(device.RestsUntil);
                continue;
            }

            _resting.RemoveAt(i);
            Refresh(device);
        }
    }

    private void Refresh(BaselineDevice device)
    {
        var idle = device is { Draining: false, DeclaredLost: false, Flights.Count: 0 } && device.RestsUntil <= Now;
        if (idle && _byWorker.ContainsKey(device.Id))
        {
            _idle.Add(device);
        }
        else
        {
            _idle.Remove(device);
        }
    }

    // Flights

    private void Finish(DispatchFinished report)
    {
        if (!_flights.TryGetValue(report.Id, out var flight))
        {
            return;
        }

        foreach (var batch in report.Batches)
        {
            flight.Model.SeeBatch(batch);
        }

        Land(flight, report.Slices);
        if (report.Batches.Count == 0 && !flight.Preempted && report.Slices.All(s => s.Outcome != SliceOutcome.Done))
        {
            Rest(flight.Device);
        }

        OnEnded(flight, report);
    }

    private void TakeBack(DispatchId id)
    {
        if (_flights.TryGetValue(id, out var flight))
        {
            Land(flight, []);
            Rest(flight.Device);
        }
    }

    /// <summary>What is not done waits again.</summary>
    private void Land(BaselineFlight flight, IReadOnlyList<SliceReport> reports)
    {
        _flights.Remove(flight.Id);
        flight.Device.Flights.Remove(flight);
        Refresh(flight.Device);
        if (reports.Count == flight.Slices.Count && reports.All(static r => r.Outcome == SliceOutcome.Done))
        {
            foreach (var (chunk, range) in flight.Slices)
            {
                chunk.Sent -= range.Count;
                EndIfDone(chunk);
            }

            return;
        }

        var done = reports.Where(s => s.Outcome == SliceOutcome.Done).ToLookup(s => new ChunkKey(s.Job, s.No));
        foreach (var (chunk, range) in flight.Slices)
        {
            chunk.Sent -= range.Count;
            var rest = new TaskRanges();
            rest.Add(range);
            foreach (var slice in done[chunk.Key])
            {
                rest.Subtract(new TaskRange(slice.First, slice.Count));
            }

            rest.ToList().ForEach(r => Return(chunk, r));
            EndIfDone(chunk);
        }
    }

    private void EndIfDone(BaselineChunk chunk)
    {
        if (chunk.Waiting == 0 || chunk.GivenUp is not null)
        {
            EndIfLanded(chunk);
        }
    }

    private void Return(BaselineChunk chunk, TaskRange range)
    {
        if (chunk.GivenUp is null)
        {
            (chunk.Queue ?? ModelOf(chunk.Model).Queue(chunk.Class)).Return(chunk, range);
        }
        else
        {
            chunk.Return(range);
        }
    }
}

/// <summary>The tasks of one batch, taken from queues of one model.</summary>
internal sealed class BaselineBatch(BaselineModel model)
{
    private readonly List<(BaselineChunk Chunk, TaskRange Range)> _slices = [];

    public BaselineModel Model { get; } = model;
    public IReadOnlyList<(BaselineChunk Chunk, TaskRange Range)> Slices => _slices;
    public int Tasks { get; private set; }

    /// <summary>When its most urgent task is due.</summary>
    public long Due { get; private set; } = long.MaxValue;

    /// <summary>Takes tasks in the queue's order, from the chunk at a place on. The model's own limit on rows holds.</summary>
    public BaselineBatch Take(BaselineQueue queue, int tasks, int place = 0)
    {
        var left = Math.Min(tasks, Model.TasksMax - Tasks);
        while (left > 0 && place < queue.Count)
        {
            var chunk = queue[place];
            var range = queue.TakeAt(place, left);
            _slices.Add((chunk, range));
            Due = Math.Min(Due, chunk.Due);
            Tasks += range.Count;
            left -= range.Count;
        }

        return this;
    }
}
