using System.Diagnostics;
using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Fleet;
using Pipeline.Simulator.Workloads;

namespace Pipeline.Simulator;

/// <summary>
/// A fleet and its clients in virtual time, driven by the policy that is asked for: take the next event, advance the clock, observe,
/// plan, apply, check, fold into the trace hash. The same options, arrivals and policy live the same life.
/// </summary>
internal sealed partial class World
{
    public static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>Rounds of planning at one time stamp. A policy that still decides then goes in circles.</summary>
    private const int RoundsMax = 10_000;

    /// <summary>Times in a period at which heartbeats come, each from an equal part of the workers.</summary>
    private const int HeartbeatPhases = 20;

    private readonly WorldOptions _options;
    private readonly IArrivals _arrivals;
    private readonly IPolicy _policy;
    private readonly string _policyName;
    private readonly EventQueue _events = new();
    private readonly ChunkStore _chunks = new();
    private readonly Measures _measures;
    private readonly Promises _promises;
    private readonly TraceHash _trace = new();
    private readonly Store<Fact> _facts = new();
    private readonly Chance _delays;
    private Submission _nextSubmission;
    private bool _moreArrive;
    private bool _told;
    private long _now = Start.UtcTicks;
    private long _wake = long.MaxValue;
    private long _lastDeadline;
    private uint _jobs;
    private (uint Job, int Slot) _openJob;
    private long _happened;
    private long _plans;
    private long _decisions;
    private long _policyTicks;
    private double _toldAt;

    public World(WorldOptions options, IArrivals arrivals, IPolicy policy, string policyName = "")
    {
        _options = options;
        _arrivals = arrivals;
        _policy = policy;
        _policyName = policyName;
        _measures = new Measures(options, Start.UtcTicks);
        _delays = Chance.For(options.Seed, 1);
        _jitter = Chance.For(options.Seed, 2);
        _faults = Chance.For(options.Seed, 3);
        _cutting = new Cutting(_chunks, options.Models);
        _workers = [.. Fleet(options)];
        _promises = new Promises(options);
    }

    /// <summary>Lives until all has ended.</summary>
    /// <exception cref="PromiseBrokenException">The policy broke a promise.</exception>
    public SimResult Run()
    {
        var watch = Stopwatch.StartNew();
        Introduce();
        while (NextTime() is var time && time < EndTime())
        {
            _now = time;
            Happen();
            Decide();
            Check();
            TellHowFar(watch);
        }

        return Close(watch.Elapsed.TotalSeconds);
    }

    // Time

    private long NextTime() =>
        Math.Min(Math.Min(_events.NextTime, _wake), _moreArrive ? Start.UtcTicks + _nextSubmission.At : long.MaxValue);

    /// <summary>When nothing is left to wait for: all has ended, or should long have.</summary>
    private long EndTime() =>
        _options.EndAt > TimeSpan.Zero ? Start.UtcTicks + _options.EndAt.Ticks
        : _moreArrive ? long.MaxValue
        : _measures.TasksEnded == _measures.TasksSubmitted ? long.MinValue
        : _lastDeadline + TimeSpan.TicksPerHour;

    private void Introduce()
    {
        foreach (var model in _options.Models)
        {
            Tell(new ModelProfileKnown(model.Ref, model.Profile, model.Limits));
        }

        foreach (var worker in _workers)
        {
            Tell(new WorkerSeen(Heartbeat(worker)));
            // Spread over the period, but no more than a scheduler's turns are: what comes close together is observed together.
            var phase = _options.HeartbeatEvery.Ticks * (1 + (worker.Slot % HeartbeatPhases)) / HeartbeatPhases;
            _events.Add(_now + phase, EventKind.Heartbeat, worker.Slot, (int)worker.Life);
            Doom(worker);
        }

        _moreArrive = _arrivals.Next(out _nextSubmission);
        Decide();
    }

    private void Happen()
    {
        while (_moreArrive && Start.UtcTicks + _nextSubmission.At == _now)
        {
            Submit(_nextSubmission);
            var at = _nextSubmission.At;
            _moreArrive = _arrivals.Next(out _nextSubmission);
            _promises.Require(!_moreArrive || _nextSubmission.At >= at, "Submissions come in order of time.");
        }

        while (_events.NextTime == _now)
        {
            _happened++;
            var happened = _events.Take();
            switch (happened.Kind)
            {
                case EventKind.ChunkReaches:
                case EventKind.FactReaches:
                    Observe(_facts.Remove(happened.Subject));
                    break;
                case EventKind.DispatchReaches:
                    Stage(happened.Subject);
                    break;
                case EventKind.BatchEnds:
                    EndBatch(_workers[happened.Subject], happened.Life);
                    break;
                case EventKind.Heartbeat:
                    Beat(_workers[happened.Subject], (uint)happened.Life);
                    break;
                case EventKind.Crash:
                    Die(_workers[happened.Subject], (uint)happened.Life);
                    break;
                case EventKind.Restart:
                    ComeBack(_workers[happened.Subject]);
                    break;
            }
        }
    }

    // Facts

    private void Tell(Fact fact, Delay delay = default)
    {
        if (delay.IsZero)
        {
            Observe(fact);
        }
        else
        {
            TellAfter(fact, delay.Draw(_delays));
        }
    }

    private void TellAfter(Fact fact, long ticks)
    {
        if (ticks <= 0)
        {
            Observe(fact);
        }
        else
        {
            _events.Add(_now + ticks, EventKind.FactReaches, _facts.Add(fact));
        }
    }

    private void Observe(Fact fact)
    {
        _told = true;
        var began = Clock();
        _policy.Observe(fact, new DateTimeOffset(_now, TimeSpan.Zero));
        _policyTicks += Clock() - began;
    }

    // Clients

    private void Submit(in Submission submission)
    {
        _happened++;
        if (submission.No == 0)
        {
            _openJob = (++_jobs, _chunks.Reserve(submission.JobChunks));
        }

        var slot = _openJob.Slot + submission.No;
        ref var chunk = ref _chunks[slot];
        var promise = _options.Policy.Classes[submission.Class];
        var deadline = _now + (submission.Window > 0 ? submission.Window : promise.CompletionWindow.Ticks);
        chunk = new SimChunk
        {
            Job = _openJob.Job,
            No = submission.No,
            FirstSlot = _openJob.Slot,
            Tasks = submission.Tasks,
            Model = submission.Model,
            Tenant = submission.Tenant,
            Class = submission.Class,
            QueuedAt = _now,
            Deadline = deadline,
            Due = Math.Min(_now + promise.Target.Ticks, deadline),
            UnitsEach = submission.UnitsEach,
            Lengths = submission.Lengths,
            Ended = new Marks(submission.Tasks),
            Live = new Marks(submission.Tasks),
        };
        _lastDeadline = Math.Max(_lastDeadline, deadline);
        _measures.Submit(submission.Class, _now, submission.Tasks);
        Tell(new ChunkArrived(Header(chunk)), _options.SubmitToScheduler);
    }

    private ChunkHeader Header(in SimChunk chunk)
    {
        var (units, unitsMax) = ((long)chunk.Tasks * chunk.UnitsEach, chunk.UnitsEach);
        if (chunk.Lengths is { } lengths)
        {
            (units, unitsMax) = (0, 0);
            foreach (var length in lengths)
            {
                (units, unitsMax) = (units + length, Math.Max(unitsMax, length));
            }
        }

        return new ChunkHeader(
            Numbers.Job(chunk.Job, chunk.FirstSlot),
            chunk.No,
            Numbers.Tenant(chunk.Tenant),
            _options.Models[chunk.Model].Ref,
            chunk.Class,
            new DateTimeOffset(chunk.Deadline, TimeSpan.Zero),
            new DateTimeOffset(chunk.QueuedAt, TimeSpan.Zero),
            chunk.Tasks,
            units,
            unitsMax,
            chunk.Tasks,
            0
        );
    }

    // Decisions

    private void Decide()
    {
        for (var round = 0; _told || (round == 0 && _wake <= _now); round++)
        {
            _promises.Require(round < RoundsMax, "A policy comes to an end at one time stamp.");
            _told = false;
            _wake = long.MaxValue;
            _plans++;
            var began = Clock();
            var decided = _policy.Plan(new DateTimeOffset(_now, TimeSpan.Zero));
            _policyTicks += Clock() - began;
            foreach (var decision in decided)
            {
                _decisions++;
                Apply(decision);
            }
        }

        // A wake that is due already would be asked for again and again: time has to pass.
        _wake = Math.Max(_policy.NextWake(new DateTimeOffset(_now, TimeSpan.Zero)).UtcTicks, _now + 1);
    }

    private void Apply(Decision decision)
    {
        switch (decision)
        {
            case SendDispatch send:
                Send(send.Dispatch);
                break;
            case Preempt preempt:
                Stop(preempt.Dispatch);
                break;
            case EndChunks ending:
                End(ending);
                break;
            case FailTasks failing:
                Fail(failing);
                break;
            case DeclareLost lost:
                Bury(lost.Worker);
                break;
        }
    }

    private void End(EndChunks ending)
    {
        foreach (var key in ending.Chunks)
        {
            var slot = Find(key);
            if (slot >= 0)
            {
                Drop(slot, 0, _chunks[slot].Tasks, firstOnly: false);
            }
        }

        TellAfter(new ChunksEnded(ending.Chunks), _options.EndingTime.Ticks);
    }

    private void Fail(FailTasks failing)
    {
        var slot = Find(failing.Slice.Chunk);
        if (slot >= 0)
        {
            Drop(slot, failing.Slice.First, failing.Slice.Count, failing.FirstOnly);
        }

        TellAfter(new TasksFailed(failing), _options.EndingTime.Ticks);
    }

    /// <summary>Ends what has no result and is in no dispatch.</summary>
    private void Drop(int slot, int first, int count, bool firstOnly)
    {
        ref var chunk = ref _chunks[slot];
        for (var task = first; task < first + count; task++)
        {
            if (chunk.Ended.Has(task) || chunk.Live.Has(task))
            {
                continue;
            }

            chunk.Ended.Set(task, 1);
            chunk.EndedTasks++;
            _measures.Drop(chunk.Class, chunk.QueuedAt, 1);
            _trace.Fold(_now, chunk.Job, chunk.No, task, -1);
            if (firstOnly)
            {
                chunk.Attempts = 0;
                break;
            }
        }

        _chunks.FreeIfDone(slot);
    }

    private int Find(ChunkKey key)
    {
        var (job, firstSlot) = Numbers.Of(key.Job);
        return _chunks.Find(job, firstSlot, key.No);
    }

    // The end

    private void Check()
    {
        if (_options.CheckAll)
        {
            _promises.Check(_measures, _workers, _now);
        }
    }

    /// <summary>Real time, where the policy is timed; it decides nothing.</summary>
    private long Clock() => _options.TimePolicy ? Stopwatch.GetTimestamp() : 0;

    private void TellHowFar(Stopwatch watch)
    {
        if (_options.Progress && (_happened & 0xFFFF) == 0 && watch.Elapsed.TotalSeconds - _toldAt > 5)
        {
            _toldAt = watch.Elapsed.TotalSeconds;
            var lived = new TimeSpan(_now - Start.UtcTicks);
            Console.Error.WriteLine($"{_policyName}: {lived:d\\.hh\\:mm\\:ss} lived, {_measures.TasksEnded:N0} tasks ended, {_toldAt:0} s");
        }
    }

    private SimResult Close(double wallSeconds)
    {
        _promises.CheckSums(_measures, _chunks, _dispatches);
        var from = Start.UtcTicks + _options.MeasureFrom.Ticks;
        var until = _options.MeasureUntil > TimeSpan.Zero ? Start.UtcTicks + _options.MeasureUntil.Ticks : Math.Max(_now, from);
        return new SimResult(
            _policyName,
            _options.Seed,
            _measures.Classes,
            _measures.Pools,
            (double)(until - from) / TimeSpan.TicksPerSecond,
            _measures.TasksSubmitted,
            _measures.TasksEnded,
            _happened,
            _plans,
            _decisions,
            _trace.Value,
            wallSeconds,
            (double)_policyTicks / Stopwatch.Frequency
        );
    }
}
