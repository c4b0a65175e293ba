using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// The policy: facts in, decisions out, time as an argument; the same facts at the same times give the same decisions. One instance
/// serves all pools and lives as long as one epoch of leadership. It holds what waits (<see cref="Backlog"/>), who works
/// (<see cref="Fleet"/>), what was sent (flights) and what devices cost (<see cref="CostBook"/>). A slice is in one live flight at a time.
/// </summary>
internal sealed class Planner : IPolicy
{
    private const int EndedRemembered = 4096;

    /// <summary>A lane whose broker could not be reached is tried again after this.</summary>
    private static readonly TimeSpan UnreachablePause = TimeSpan.FromSeconds(2);

    /// <summary>Workers that promoted work can count on at least: it goes on the express lane.</summary>
    private const double LeftMin = 0.05;

    private readonly long _epoch;
    private readonly CostBook _costs = new();
    private readonly Backlog _backlog;
    private readonly Fleet _fleet;
    private readonly ExpressLoad _expressLoad = new();
    private readonly DesiredWorkers _desired;
    private readonly Endings _endings;
    private readonly DispatchBuilder _builder;
    private readonly Dictionary<DispatchId, Flight> _flights = [];
    private readonly HashSet<DispatchId> _ended = [];
    private readonly Queue<DispatchId> _endedInOrder = new();
    private readonly BulkGate _gate;

    /// <summary>Workers heard since the last turn.</summary>
    private readonly List<FleetWorker> _heard = [];

    /// <summary>Jobs moved since the last turn, to be recorded.</summary>
    private readonly List<MoveJob> _moved = [];
    private int _promotedFlights;
    private PolicyOptions _options;
    private readonly ExpressRule _express;
    private readonly PoolRule _pools;
    private readonly HashSet<ModelRef> _passed = [];

    /// <summary>More urgent work that was not full yet, and the worker whose place it waits for, in this turn.</summary>
    private readonly List<(FleetWorker Worker, ClassQueue[] Queues)> _early = [];
    private long _lastPlanAt;
    private long _wantAt;
    private long _wake;

    /// <param name="epoch">The epoch every dispatch of this planner carries.</param>
    /// <param name="now">When this scheduler took over.</param>
    public Planner(PolicyOptions options, long epoch, DateTimeOffset now)
    {
        _options = options;
        _epoch = epoch;
        _backlog = new Backlog(_costs) { Options = options };
        _fleet = new Fleet { Options = options };
        _desired = new DesiredWorkers(_costs, _expressLoad);
        _wantAt = now.UtcTicks + options.DesiredWorkersEvery.Ticks;
        _endings = new Endings(_backlog) { Options = options };
        _builder = new DispatchBuilder(_backlog, _costs, epoch) { Options = options };
        _pools = new PoolRule(_backlog, _fleet, _costs) { Options = options };
        _express = new ExpressRule(_backlog, _costs, _fleet, _pools) { Options = options };
        _backlog.NsPerUnit = NsPerUnit;
        _pools.LeftShare = _express.LeftShareAtMost;
        _gate = new BulkGate(now.UtcTicks + options.WorkerLostAfter.Ticks);
        _lastPlanAt = now.UtcTicks;
        _wake = now.UtcTicks;
    }

    public Backlog Backlog => _backlog;
    public Fleet Fleet => _fleet;
    public CostBook Costs => _costs;
    public IReadOnlyCollection<Flight> Flights => _flights.Values;

    /// <summary>Takes one fact in. Nothing is decided yet; the cost is that of the fact, not of the backlog.</summary>
    public void Observe(Fact fact, DateTimeOffset time)
    {
        var now = time.UtcTicks;
        switch (fact)
        {
            case ChunkArrived arrived:
                Arrive(arrived.Chunk, now);
                break;
            case JobCancelled cancelled:
                _backlog.Cancel(cancelled.Job, CancelledEnding);
                break;
            case JobPaused paused:
                _backlog.Pause(paused.Job);
                break;
            case JobResumed resumed:
                _backlog.Resume(resumed.Job);
                break;
            case JobMoved moved:
                Move(moved, now);
                break;
            case HoldsKnown known:
                _backlog.Hold(known.Holds);
                _fleet.Hold(known.Holds, now);
                break;
            case WorkerSeen seen:
                _costs.SeePool(seen.Heartbeat.Pool, seen.Heartbeat.Provider);
                See(seen.Heartbeat, now);
                break;
            case WorkerExpected expected:
                _fleet.Admit(expected.Worker, now);
                _gate.Await(expected.Worker);
                break;
            case WorkerGone gone:
                Bury(gone, now);
                break;
            case DispatchEnded ended:
                Finish(ended.Report, now);
                break;
            case DispatchReturned returned:
                TakeBack(returned, now);
                break;
            case DispatchFaulted faulted:
                Fault(faulted, now);
                break;
            case ModelProfileKnown known:
                _costs.Register(known.Model, known.Profile, known.Limits);
                break;
            case ChunksEnded ended:
                _endings.Done();
                ended.Chunks.Select(_backlog.Find).OfType<WaitingChunk>().ToList().ForEach(LandEnded);
                break;
            case TasksFailed failed:
                _endings.Done();
                Sentence(failed.Decision);
                break;
            case EndingFailed failed:
                _endings.Failed(failed.Decision, now);
                break;
            case LimitsChanged changed:
                _options = changed.Options;
                _backlog.Options = _endings.Options = _builder.Options = _express.Options = _pools.Options = _options;
                _fleet.Change(changed.Options, now);
                break;
        }
    }

    /// <summary>Decides what to do now, most urgent first.</summary>
    public IReadOnlyList<Decision> Plan(DateTimeOffset time)
    {
        var now = time.UtcTicks;
        var decisions = new List<Decision>();
        _wake = long.MaxValue;
        NoticeOwnSleep(now);
        JudgeWorkers(decisions, now);
        decisions.AddRange(_moved);
        _moved.Clear();
        HearAlarms(decisions, now);
        _endings.Plan(decisions, now);
        PlaceApart(decisions, now);
        PlacePromoted(decisions, now, overdue: true);
        PlaceExpress(decisions, now);
        PlacePromoted(decisions, now, overdue: false);
        FillBulk(decisions, now);
        WantWorkers(decisions, now);
        WakeAt(_endings.NextWake);
        return decisions;
    }

    /// <summary>When to plan again, if no fact comes before.</summary>
    public DateTimeOffset NextWake(DateTimeOffset time) =>
        _wake >= DateTimeOffset.MaxValue.UtcTicks
            ? DateTimeOffset.MaxValue
            : new DateTimeOffset(Math.Max(_wake, time.UtcTicks), TimeSpan.Zero);

    /// <summary>What the pools can expect, for admission and for people.</summary>
    public Forecast Forecast(DateTimeOffset time) => Outlook.Of(_backlog, _fleet, _costs, _express, _options, time);

    /// <summary>The fewest workers that keep every deadline feasible, as the work stands at this time.</summary>
    public int DesiredWorkers(DateTimeOffset time) => _desired.Needs(_backlog, _fleet.Pools, _options, time.UtcTicks).Sum(w => w.Workers);

    /// <summary>What is wished for of each pool, steadied against waves.</summary>
    public IReadOnlyList<PoolWish> WantedWorkers => _desired.Wishes;

    // Chunks

    private void Arrive(in ChunkHeader header, long now)
    {
        if (_backlog.Add(header) is not { } chunk)
        {
            return;
        }

        if (header.Class == LatencyClass.Express)
        {
            _expressLoad.Arrive(header.Model, chunk.Units, header.Remaining, now);
            _express.Arrived(header.Model, chunk.UnitsWaiting, now);
        }

        if (_backlog.WasCancelled(header.Job))
        {
            _backlog.Cancel(header.Job, CancelledEnding);
        }

        ConvictIfDue(chunk);
    }

    /// <summary>It came to its class now, as far as its class's load is concerned.</summary>
    private void Move(JobMoved moved, long now)
    {
        foreach (var job in _backlog.Move(moved.Job, moved.Class, moved.Deadline.UtcTicks, moved.Since.UtcTicks))
        {
            var tasks = (int)job.TasksWaiting;
            if (moved.Class == LatencyClass.Express)
            {
                _expressLoad.Arrive(job.Queue.Model, job.UnitsWaiting, tasks, now);
                _express.Arrived(job.Queue.Model, job.UnitsWaiting, now);
            }

            var why = new Why(Reasons.Moved, tasks, job.UnitsWaiting, Slack: new(job.TargetAt - now), ChunksWaiting: job.Queue.Chunks);
            _moved.Add(new MoveJob(job.Id, why));
        }
    }

    /// <summary>A worker died over single-row commits of this chunk: the first task without a result has to fail alone.</summary>
    private void ConvictIfDue(WaitingChunk chunk)
    {
        if (chunk.Attempts < SuspectRule.AttemptsConvicted || chunk.InFlight > 0 || chunk.Waiting.IsEmpty)
        {
            return;
        }

        Backlog.TakeAll(chunk);
        _endings.Convict(
            new FailTasks(
                new Slice(chunk.Job.Id, chunk.No, 0, chunk.Tasks),
                FirstOnly: true,
                FailureKind.WorkerCrashed,
                $"Workers died over this chunk {chunk.Attempts} times; in the end this task was alone in its commit.",
                new Why(Reasons.SuspectFound, chunk.Tasks, chunk.Units)
            )
        );
    }

    /// <summary>Nothing of it is left. One that was announced again after its end waits, and is not to run.</summary>
    private void LandEnded(WaitingChunk chunk)
    {
        if (chunk.InFlight == 0)
        {
            Backlog.TakeAll(chunk);
        }

        _backlog.Land(chunk);
    }

    private void Sentence(FailTasks decision)
    {
        if (_backlog.Find(decision.Slice.Chunk) is not { } chunk)
        {
            return;
        }

        if (decision.FirstOnly)
        {
            chunk.Attempts = SuspectRule.AttemptsAfterwards;
            _backlog.Return(chunk, new TaskRange(0, chunk.Tasks));
        }

        _backlog.Land(chunk);
    }

    /// <summary>Jobs whose deadline has passed end, and jobs whose work has to start by now to be in time are promoted.</summary>
    private void HearAlarms(List<Decision> decisions, long now)
    {
        while (_backlog.NextAlarm(now) is { } job)
        {
            if (job.Deadline <= now)
            {
                _backlog.End(job, ExpiredEnding(job, now));
                continue;
            }

            var why = new Why(
                Reasons.Promoted,
                (int)Math.Min(job.TasksWaiting, int.MaxValue),
                job.UnitsWaiting,
                new TimeSpan(job.Deadline - job.LatestStart),
                new TimeSpan(job.LatestStart - now),
                job.Queue.Chunks
            );
            decisions.Add(new PromoteJob(job.Id, why));
        }

        WakeAt(_backlog.NextAlarmAt);
    }

    private static EndChunks CancelledEnding { get; } =
        new([], TaskOutcome.Cancelled, FailureKind.Cancelled, "The job was cancelled before this task ran.", new Why(Reasons.JobCancelled));

    private static EndChunks HopelessEnding(WaitingJob job, string reason) =>
        new(
            [],
            TaskOutcome.Expired,
            FailureKind.DeadlinePassed,
            $"The deadline {new DateTimeOffset(job.Deadline, TimeSpan.Zero):O} could not be met any more.",
            new Why(reason, ChunksWaiting: job.ChunksWaiting)
        );

    private static EndChunks ExpiredEnding(WaitingJob job, long now) =>
        new(
            [],
            TaskOutcome.Expired,
            FailureKind.DeadlinePassed,
            $"The deadline {new DateTimeOffset(job.Deadline, TimeSpan.Zero):O} passed before this task ran.",
            new Why(Reasons.DeadlinePassed, Slack: new TimeSpan(job.Deadline - now), ChunksWaiting: job.ChunksWaiting)
        );

    // Workers

    private void See(WorkerHeartbeat heartbeat, long now)
    {
        if (_fleet.Admit(heartbeat.Worker, now) is not { } worker)
        {
            return;
        }

        _fleet.See(worker, heartbeat, now);
        _heard.Add(worker);
        _gate.Heard(heartbeat.Worker, knowsEpoch: heartbeat.Epoch >= _epoch);
        foreach (var held in heartbeat.Held)
        {
            if (!_flights.TryGetValue(held.Id, out var flight))
            {
                Adopt(worker, held, now);
                continue;
            }

            _fleet.Listed(flight, held.Begun, now);
        }
    }

    /// <summary>The worker holds what this planner did not send, or had given up: it counts as in flight.</summary>
    private void Adopt(FleetWorker worker, HeldDispatch held, long now)
    {
        if (_ended.Contains(held.Id) || held.Slices.Count == 0)
        {
            return; // Its end overtook the heartbeat.
        }

        var chunks = held.Slices.Select(s => (Chunk: _backlog.Find(s.Chunk), Range: new TaskRange(s.First, s.Count))).ToList();
        var model = chunks.Select(c => c.Chunk?.Job.Queue.Model).FirstOrDefault(m => m is not null);
        var flight = new Flight(held.Id, held.Epoch, worker.Id, worker.Pool, held.Lane, model, now)
        {
            Begun = held.Begun,
            BatchTicks = (held.Lane == Lane.Express ? _options.ExpressBatchTimeMax : _options.BulkBatchTimeMax).Ticks,
        };
        foreach (var (found, range) in chunks)
        {
            if (found is { } chunk)
            {
                chunk.InFlight++;
                Backlog.Withdraw(chunk);
                Backlog.Remove(chunk, range);
                _backlog.Stand(chunk);
                flight.Slices.Add((chunk, range));
                flight.Units += chunk.UnitsOf(range.Count);
            }
        }

        if (model is { } known)
        {
            flight.EstimatedTicks = Backlog.Ticks(
                _costs.Pace(_costs.Of(worker.Pool, known), known, _options.BulkBatchTimeMax).Ns(flight.Units, 0)
            );
        }

        TakeOff(worker, flight, now);
    }

    private void JudgeWorkers(List<Decision> decisions, long now)
    {
        while (_fleet.TakeSilent(now, _options.WorkerLostAfter) is { } worker)
        {
            var tasks = worker.Flights.Sum(f => f.Slices.Sum(s => s.Range.Count));
            decisions.Add(new DeclareLost(worker.Id, new Why(Reasons.WorkerSilent, tasks, Slack: new TimeSpan(worker.SeenAt - now))));
        }

        WakeAt(_fleet.NextSilent(_options.WorkerLostAfter));
        WakeAt(_fleet.NextOpening(now));
        foreach (var worker in _heard)
        {
            GiveUpUnlisted(worker, now);
        }

        _heard.Clear();
    }

    /// <summary>What a worker lists changes when it is heard, so that is when it is looked at.</summary>
    private void GiveUpUnlisted(FleetWorker worker, long now)
    {
        if (worker.IsIdle || worker.Declared)
        {
            return;
        }

        var unlisted = worker.Flights.Where(f => now - f.ListedAt > _options.DispatchUnlistedAfter.Ticks).ToList();
        foreach (var flight in unlisted)
        {
            ComeDown(flight, now);
            ReturnAll(flight);
        }
    }

    /// <summary>The worker's books are closed: its suspects are marked first, then what it held is free.</summary>
    private void Bury(WorkerGone gone, long now)
    {
        foreach (var (key, attempts) in gone.Suspects)
        {
            if (_backlog.Find(key) is { } chunk)
            {
                _backlog.Suspect(chunk, attempts);
            }
        }

        if (_fleet.Find(gone.Worker) is { } worker)
        {
            foreach (var flight in worker.Flights.ToList())
            {
                ComeDown(flight, now);
                ReturnAll(flight);
            }
        }

        _fleet.Remove(gone.Worker);
        _gate.Buried(gone.Worker);
        foreach (var (key, _) in gone.Suspects)
        {
            if (_backlog.Find(key) is { } chunk)
            {
                ConvictIfDue(chunk);
            }
        }
    }

    private void WantWorkers(List<Decision> decisions, long now)
    {
        if (now >= _wantAt)
        {
            _wantAt = now + _options.DesiredWorkersEvery.Ticks;
            var changed = _desired.Judge(_backlog, _fleet.Pools, _options, now);
            decisions.AddRange(changed.Select(w => new WantWorkers(w.Pool, w.Workers, w.Why)));
        }
    }

    /// <summary>A scheduler that slept finds every worker silent; it must not take its own sleep for their death.</summary>
    private void NoticeOwnSleep(long now)
    {
        var slept = now - _lastPlanAt - (_options.WorkerLostAfter.Ticks / 2);
        if (slept > 0)
        {
            _fleet.Forgive(slept);
        }

        _lastPlanAt = now;
        WakeAt(now + (_options.WorkerLostAfter.Ticks / 3));
    }

    // Flights

    private void Finish(DispatchFinished report, long now)
    {
        Remember(report.Id);
        if (!_flights.TryGetValue(report.Id, out var flight))
        {
            // It was given up, and ended after all: what is done need not run again.
            var ended = DoneIn(report);
            foreach (var chunk in ended.Select(d => _backlog.Find(d.Key)).OfType<WaitingChunk>().ToList())
            {
                TakeOffWaiting(chunk, ended[chunk.Key]);
            }

            return;
        }

        var worker = ComeDown(flight, now);
        var notLoadable = report.NotLoaded is not null && worker is not null && _fleet.CannotLoad(worker, report.Model, now);
        var done = IsWhole(report, flight) ? null : DoneIn(report);
        foreach (var (chunk, range) in flight.Slices)
        {
            var rest = done is null ? default : Rest(range, done[chunk.Key]);
            if (notLoadable && rest.Count > 0)
            {
                // Why is in the worker's log: it may name the worker's folders, and this is told to tenants.
                Convict(chunk, range, Reasons.LoadsSpent, $"No worker can load {report.Model}; the input is not at fault.");
                continue;
            }

            if (!rest.IsEmpty)
            {
                chunk.Job.UnitsTaken -= chunk.UnitsOf(rest.Count);
                rest.ToList().ForEach(r => _backlog.Return(chunk, r));
            }

            _backlog.Land(chunk);
            ConvictIfDue(chunk);
        }

        Learn(flight, report, now);
        if (worker is null || report.NotLoaded is not null)
        {
            return;
        }

        if (report.Batches.Count == 0 && done is { Count: 0 } && flight.Epoch == _epoch)
        {
            _fleet.Refuse(worker, flight.Lane, now);
        }
        else
        {
            _fleet.Accept(worker, flight.Lane, now);
        }
    }

    /// <summary>True when all that was sent is done, slice by slice: what nearly every report says, and what needs no look-up.</summary>
    private static bool IsWhole(DispatchFinished report, Flight flight)
    {
        var slices = report.Slices;
        if (slices.Count == 0 || slices.Count != flight.Slices.Count)
        {
            return false;
        }

        for (var i = 0; i < slices.Count; i++)
        {
            var (chunk, range) = flight.Slices[i];
            var slice = slices[i];
            if (
                slice.Outcome != SliceOutcome.Done
                || new ChunkKey(slice.Job, slice.No) != chunk.Key
                || new TaskRange(slice.First, slice.Count) != range
            )
            {
                return false;
            }
        }

        return true;
    }

    private static ILookup<ChunkKey, SliceReport> DoneIn(DispatchFinished report) =>
        report.Slices.Where(s => s.Outcome == SliceOutcome.Done).ToLookup(s => new ChunkKey(s.Job, s.No));

    /// <summary>What is not done of the tasks that were sent.</summary>
    private static TaskRanges Rest(TaskRange sent, IEnumerable<SliceReport> done)
    {
        var rest = TaskRanges.Of(sent);
        foreach (var slice in done)
        {
            rest.Subtract(new TaskRange(slice.First, slice.Count));
        }

        return rest;
    }

    private void TakeOffWaiting(WaitingChunk chunk, IEnumerable<SliceReport> done)
    {
        chunk.InFlight++;
        foreach (var slice in done)
        {
            Backlog.Remove(chunk, new TaskRange(slice.First, slice.Count));
        }

        Backlog.Withdraw(chunk);
        _backlog.Land(chunk);
    }

    private void Learn(Flight flight, DispatchFinished report, long now)
    {
        if (flight.LoadTicks > 0 && report.Batches.Count > 0)
        {
            // What the dispatch took beside its batches; fetching is in it, which is small beside loading.
            var tookNs = (double)(now - flight.StartedAt) * TimeSpan.NanosecondsPerTick;
            _fleet.LearnLoad(flight.Pool, report.Model, Math.Max(0, tookNs - report.Batches.Sum(b => (double)b.DeviceNs)));
        }

        var whole = report.Slices.All(s => s.Outcome == SliceOutcome.Done);
        _costs.Observe(flight.Pool, report.Model, report.Batches);
        if (flight.Lane == Lane.Bulk && flight.LoadTicks == 0 && whole)
        {
            _costs
                .WritesOf(flight.Pool)
                .Observe(
                    report.Batches.Sum(b => (long)b.Rows),
                    report.Batches.Sum(b => (double)b.DeviceNs),
                    (double)(now - flight.StartedAt) * TimeSpan.NanosecondsPerTick
                );
        }

        if (flight.Lane == Lane.Express)
        {
            _expressLoad.Observe(flight.Pool, report.Batches.Sum(b => (double)Math.Max(0, b.DeviceNs)), now);
        }
        var ran = report.Batches.Sum(b => (long)b.Rows);
        if (ran > 0 && whole && ran == report.Slices.Sum(s => (long)s.Count) && flight.Units >= ran)
        {
            // Every task of it ran, and none of them is a copy of another, which the door counts no units for though it may run.
            _costs.Of(flight.Pool, report.Model).ObservePadding(flight.Units, report.Batches.Sum(b => b.PaddedUnits));
        }
    }

    private void TakeBack(DispatchReturned returned, long now)
    {
        if (!_flights.TryGetValue(returned.Dispatch, out var flight))
        {
            return;
        }

        var worker = ComeDown(flight, now);
        ReturnAll(flight);
        if (worker is not null && returned.WorkerUnreachable)
        {
            _fleet.Shun(worker, now + UnreachablePause.Ticks, now);
        }
        else if (worker is not null)
        {
            _fleet.Refuse(worker, flight.Lane, now);
        }
    }

    /// <summary>Not done: planned again in smaller dispatches, and when that is spent, failed with the reason.</summary>
    private void Fault(DispatchFaulted faulted, long now)
    {
        if (!_flights.TryGetValue(faulted.Dispatch, out var flight))
        {
            return;
        }

        Remember(flight.Id);
        if (ComeDown(flight, now) is { } worker)
        {
            _fleet.Refuse(worker, flight.Lane, now);
        }

        var faults = flight.Faults + 1;
        foreach (var (chunk, range) in flight.Slices)
        {
            Backlog.Fault(chunk, Math.Min(faults, _options.FaultsMax));
            if (faults <= _options.FaultsMax)
            {
                chunk.Job.UnitsTaken -= chunk.UnitsOf(range.Count);
                _backlog.Return(chunk, range);
                _backlog.Land(chunk);
                continue;
            }

            Convict(chunk, range, Reasons.FaultsSpent, $"Workers failed to run this dispatch {faults} times: {faulted.Message}");
        }
    }

    /// <summary>Tasks in flight that nobody can run; those that have a result keep it.</summary>
    private void Convict(WaitingChunk chunk, TaskRange range, string code, string message) =>
        _endings.Convict(
            new FailTasks(
                new Slice(chunk.Job.Id, chunk.No, range.First, range.Count),
                FirstOnly: false,
                FailureKind.DispatchFailed,
                message,
                new Why(code, range.Count, chunk.UnitsOf(range.Count))
            )
        );

    private void ReturnAll(Flight flight)
    {
        foreach (var (chunk, range) in flight.Slices)
        {
            chunk.Job.UnitsTaken -= chunk.UnitsOf(range.Count);
            _backlog.Return(chunk, range);
            _backlog.Land(chunk);
        }
    }

    private void TakeOff(FleetWorker worker, Flight flight, long now)
    {
        _flights.Add(flight.Id, flight);
        _fleet.Add(worker, flight, now);
    }

    private FleetWorker? ComeDown(Flight flight, long now)
    {
        _promotedFlights -= flight.Promoted && _flights.ContainsKey(flight.Id) ? 1 : 0;
        _flights.Remove(flight.Id);
        return _fleet.Remove(flight, now);
    }

    private void Remember(DispatchId ended)
    {
        if (_ended.Add(ended))
        {
            _endedInOrder.Enqueue(ended);
        }

        if (_endedInOrder.Count > EndedRemembered)
        {
            _ended.Remove(_endedInOrder.Dequeue());
        }
    }

    // Placing

    /// <summary>Suspects near conviction get workers for themselves; while none is idle, one is kept free until it is.</summary>
    private void PlaceApart(List<Decision> decisions, long now)
    {
        while (_gate.IsClear && _backlog.NextApart() is { } chunk)
        {
            if (_fleet.Reserve(chunk.Job.Queue.Model, now) is not { } worker)
            {
                return;
            }

            var express = chunk.Job.Queue.Class == LatencyClass.Express;
            var bounds = express
                ? new DispatchBounds(Lane.Express, _options.ExpressDispatchTimeMax, _options.ExpressBatchTimeMax, Reasons.SuspectApart)
                : new DispatchBounds(Lane.Bulk, _options.DispatchTimeTarget, _options.BulkBatchTimeMax, Reasons.SuspectApart);
            var (flight, decision) = _builder.BuildApart(worker, chunk, bounds, now);
            TakeOff(worker, flight, now);
            decisions.Add(decision);
        }

        _fleet.Release(now);
    }

    /// <summary>Express goes out as long as a device takes it, the most urgent model first; see <see cref="ExpressRule"/>.</summary>
    private void PlaceExpress(List<Decision> decisions, long now)
    {
        _passed.Clear();
        _express.MayFill = _gate.IsOpen(now);
        while (ExpressRule.Next(_backlog, _passed) is { } queue)
        {
            switch (_express.Step(queue, now))
            {
                case ExpressSend send:
                    var bounds = new DispatchBounds(
                        Lane.Express,
                        _options.ExpressDispatchTimeMax,
                        _options.ExpressBatchTimeMax,
                        send.Reason
                    );
                    if (_builder.BuildExpress(send.Worker, queue, send.Chunks, send.FillUnits, bounds, now) is { } built)
                    {
                        TakeOff(send.Worker, built.Flight, now);
                        decisions.Add(built.Decision);
                    }

                    break;
                case ExpressAside aside:
                    StepAside(aside, decisions, now);
                    break;
                case ExpressWait wait:
                    WakeAt(wait.Until > now ? wait.Until : long.MaxValue);
                    _passed.Add(queue.Model);
                    break;
            }
        }
    }

    /// <summary>
    /// Promoted work travels on the express lane, one batch at a time, so it gets the device before bulk that was given away already.
    /// It goes after express while it has slack left and before it then, on half of the devices at most.
    /// </summary>
    private void PlacePromoted(List<Decision> decisions, long now, bool overdue)
    {
        foreach (var queues in _backlog.Queues)
        {
            for (var c = LatencyClass.Standard; c <= LatencyClass.Bulk; c++)
            {
                var queue = queues[(int)c];
                while (
                    queue.PromotedJobs.Min is { } job
                    && (!overdue || job.LatestStart <= now)
                    && 2 * _promotedFlights < Math.Max(2, _fleet.Workers.Count)
                    && _pools.ForPromoted(queue.Model, now) is { } worker
                )
                {
                    var time = _express.BulkBatchTime(worker.Pool, queue.Model, now).Time;
                    var bounds = new DispatchBounds(Lane.Express, time, time, Reasons.Promoted);
                    if (_builder.Build(worker, [queue], bounds, now) is not { } built)
                    {
                        break;
                    }

                    built.Flight.Promoted = true;
                    _promotedFlights++;
                    TakeOff(worker, built.Flight, now);
                    decisions.Add(built.Decision);
                }
            }
        }
    }

    private void StepAside(ExpressAside aside, List<Decision> decisions, long now)
    {
        foreach (var job in aside.Jobs)
        {
            var why = new Why(
                aside.Reason,
                (int)job.TasksWaiting,
                job.UnitsWaiting,
                Slack: new TimeSpan(job.TargetAt - now),
                ChunksWaiting: job.Queue.Chunks
            );
            decisions.Add(new RelegateJob(job.Id, why));
            if (job.Deadline > job.TargetAt)
            {
                _backlog.Relegate(job);
            }
            else
            {
                _backlog.End(job, HopelessEnding(job, aside.Reason));
            }
        }
    }

    /// <summary>Standard and bulk fill the bulk lanes in one order of when they are due.</summary>
    private void FillBulk(List<Decision> decisions, long now)
    {
        if (!_gate.IsOpen(now))
        {
            WakeAt(_gate.OpensAt + 1);
            return;
        }

        _passed.Clear();
        _early.Clear();
        while (BulkRule.Next(_backlog, _passed) is { } queues)
        {
            var model = queues[0].Model;
            if (_pools.ForBulk(queues, now) is not { } worker)
            {
                _passed.Add(model); // No lane that may take it has room; the next end of a dispatch wakes us.
                WakeAt(_pools.LookAgainAt);
                continue;
            }

            var (batchTime, tight) = _express.BulkBatchTime(worker.Pool, model, now);
            var pace = _costs.Pace(_costs.Of(worker.Pool, model), model, batchTime);
            var spares = _express.Spares(worker, model, batchTime, tight, now);
            // What a worker holds runs whenever no express batch is there: where that is a matter of moments, it is given one batch at a time.
            var single = tight || _express.IsBusy(worker.Pool);
            if (!spares || (single && worker.Lane(Lane.Bulk).Flights.Count > 0))
            {
                _passed.Add(model); // Express needs the device; its next arrival or end wakes us.
                WakeAt(now + batchTime.Ticks);
                continue;
            }

            if (BulkRule.Bounds(queues, worker, _fleet, pace, batchTime, _options, now) is not { } bounds)
            {
                // Too early to stage what is not full: look again when what runs is about to end.
                WakeAt(now + worker.Lane(Lane.Bulk).Ahead(now) - _options.StageLead.Ticks);
                _passed.Add(model);
                _early.Add((worker, queues));
                continue;
            }

            if (_early.FindIndex(e => e.Worker == worker) is >= 0 and var place)
            {
                // Less urgent work of another model would take the place that it waits for, and the next one, and so on.
                queues = _early[place].Queues;
                _early.RemoveAt(place);
                batchTime = _express.BulkBatchTime(worker.Pool, queues[0].Model, now).Time;
                bounds = new DispatchBounds(Lane.Bulk, _options.DispatchTimeTarget, batchTime, Reasons.BulkNext);
            }

            bounds = single ? bounds with { Time = batchTime } : bounds;
            if (_builder.Build(worker, queues, bounds, now) is { } built)
            {
                TakeOff(worker, built.Flight, now);
                decisions.Add(built.Decision);
            }
        }
    }

    /// <summary>Time a unit takes with what express leaves of all workers, and half as much to spare: what latest starts are reckoned with.</summary>
    private double NsPerUnit(ClassQueue queue)
    {
        var workers = 0.0;
        foreach (var pool in _fleet.Pools)
        {
            workers += pool.Workers * _express.LeftShareAtMost(pool.Name);
        }

        var pace = _costs.Pace(_costs.Reference(queue.Model), queue.Model, _options.BulkBatchTimeMax);
        return 1.5 * pace.Ns(1, 0) / Math.Max(LeftMin, workers);
    }

    private void WakeAt(long at) => _wake = Math.Min(_wake, at);
}
