using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>The workers, what their lanes hold, and who has fallen silent.</summary>
internal sealed class Fleet
{
    private const int GoneRemembered = 1024;
    private readonly SortedDictionary<WorkerId, FleetWorker> _workers = [];
    private readonly HashSet<WorkerId> _gone = [];
    private readonly Queue<WorkerId> _goneInOrder = new();

    /// <summary>In order of ids, so that no choice depends on how a table is walked.</summary>
    public IReadOnlyCollection<FleetWorker> Workers => _workers.Values;

    public FleetWorker? Find(WorkerId id) => _workers.GetValueOrDefault(id);

    /// <summary>The worker, new or known; null when its life was closed: it has to come back under another id.</summary>
    public FleetWorker? Admit(WorkerId id, long now)
    {
        if (_gone.Contains(id))
        {
            return null;
        }

        if (!_workers.TryGetValue(id, out var worker))
        {
            worker = new FleetWorker(id) { SeenAt = now };
            _workers.Add(id, worker);
        }

        return worker;
    }

    public void Remove(WorkerId id)
    {
        _workers.Remove(id);
        if (_gone.Add(id))
        {
            _goneInOrder.Enqueue(id);
        }

        if (_goneInOrder.Count > GoneRemembered)
        {
            _gone.Remove(_goneInOrder.Dequeue());
        }
    }

    /// <summary>The scheduler itself slept, and heard nobody meanwhile: that is no worker's fault.</summary>
    public void Forgive(long slept)
    {
        foreach (var worker in _workers.Values)
        {
            worker.SeenAt += slept;
            foreach (var flight in worker.Flights)
            {
                flight.ListedAt += slept;
            }
        }
    }

    /// <summary>A worker without any work; else the one that will be soonest is kept free for it. Null when none is idle yet.</summary>
    public FleetWorker? Reserve(long now)
    {
        var willing = _workers.Values.Where(w => w.MayWork(now)).ToList();
        var chosen =
            willing.Find(w => !w.Flights.Any())
            ?? willing.Find(w => w.Reserved)
            ?? willing.MinBy(w => w.Lane(Lane.Express).Ahead(now) + w.Lane(Lane.Bulk).Ahead(now));
        Release();
        if (chosen is null)
        {
            return null;
        }

        chosen.Reserved = true;
        return chosen.Flights.Any() ? null : chosen;
    }

    /// <summary>Nobody is kept free any more.</summary>
    public void Release()
    {
        foreach (var worker in _workers.Values)
        {
            worker.Reserved = false;
        }
    }

    /// <summary>
    /// The worker that would start work for this model soonest: what its lane holds ahead, and loading where the model is not loaded.
    /// Ties go to the lower id. Null when no lane has room.
    /// </summary>
    public FleetWorker? SoonestFree(Lane lane, ModelRef model, PolicyOptions options, long now)
    {
        FleetWorker? best = null;
        var bestStart = long.MaxValue;
        foreach (var worker in _workers.Values)
        {
            if (!worker.HasRoom(lane, options.DispatchesPerLaneMax, now))
            {
                continue;
            }

            var start = worker.Lane(lane).Ahead(now) + (worker.Models.Contains(model) ? 0 : options.LoadTimeGuess.Ticks);
            if (start < bestStart)
            {
                (best, bestStart) = (worker, start);
            }
        }

        return best;
    }
}

/// <summary>One life of a worker process, as its heartbeats tell.</summary>
internal sealed class FleetWorker(WorkerId id)
{
    private readonly LaneLoad[] _lanes = [new(), new()];

    public WorkerId Id { get; } = id;
    public string Pool { get; set; } = "";
    public HashSet<ModelRef> Models { get; } = [];
    public bool Draining { get; set; }

    /// <summary>False while only PostgreSQL spoke of it.</summary>
    public bool Heard { get; set; }

    /// <summary>Last sign of life, in UTC ticks.</summary>
    public long SeenAt { get; set; }

    /// <summary>Its queue was gone when last sent to; nothing more is sent until then.</summary>
    public long UnreachableUntil { get; set; }

    /// <summary>True when its loss was decided.</summary>
    public bool Declared { get; set; }

    public IEnumerable<Flight> Flights => _lanes[0].Flights.Concat(_lanes[1].Flights);

    public LaneLoad Lane(Lane lane) => _lanes[(int)lane];

    /// <summary>True while it is kept free for a suspect that needs it for itself.</summary>
    public bool Reserved { get; set; }

    public bool MayWork(long now) => Heard && !Draining && !Declared && UnreachableUntil <= now;

    public bool HasRoom(Lane lane, int dispatchesMax, long now) =>
        MayWork(now) && !Reserved && Lane(lane).HoldUntil <= now && Lane(lane).Flights.Count < dispatchesMax && !Flights.Any(f => f.Apart);
}

/// <summary>What one lane of a worker holds.</summary>
internal sealed class LaneLoad
{
    /// <summary>In the order they were sent; the first runs, or will run first.</summary>
    public List<Flight> Flights { get; } = [];

    /// <summary>How often in a row it handed a dispatch back without running any of it, and until when it is left alone for that.</summary>
    public int Refusals { get; private set; }
    public long HoldUntil { get; private set; }

    /// <summary>Estimated ticks until all it holds has run.</summary>
    public long Ahead(long now)
    {
        var ahead = 0L;
        foreach (var flight in Flights)
        {
            ahead += flight.EstimatedTicks;
        }

        return Flights.Count == 0 ? 0 : ahead - Math.Min(Flights[0].EstimatedTicks, Math.Max(0, now - Flights[0].StartedAt));
    }

    /// <summary>Leaves the lane alone for a while, longer each time.</summary>
    public void Refuse(TimeSpan pauseMax, long now)
    {
        HoldUntil = now + (pauseMax.Ticks >> Math.Max(0, 5 - Refusals));
        Refusals++;
    }

    public void Accept() => (Refusals, HoldUntil) = (0, 0);
}

/// <summary>A dispatch that was sent, or that a worker was found to hold.</summary>
internal sealed class Flight(DispatchId id, long epoch, WorkerId worker, string pool, Lane lane, ModelRef model, long sentAt)
{
    public DispatchId Id { get; } = id;
    public long Epoch { get; } = epoch;
    public WorkerId Worker { get; } = worker;
    public string Pool { get; } = pool;
    public Lane Lane { get; } = lane;
    public ModelRef Model { get; } = model;
    public long SentAt { get; } = sentAt;

    public List<(WaitingChunk Chunk, TaskRange Range)> Slices { get; } = [];

    /// <summary>Its units as estimated at the door, and the device time they are estimated to take.</summary>
    public long Units { get; set; }
    public long EstimatedTicks { get; set; }

    /// <summary>How often its only chunk had faulted when it was sent.</summary>
    public int Faults { get; set; }

    /// <summary>True when its worker may hold nothing else.</summary>
    public bool Apart { get; set; }

    /// <summary>When a heartbeat last listed it (or when it was sent).</summary>
    public long ListedAt { get; set; } = sentAt;

    /// <summary>When it was first on the device, as far as known.</summary>
    public long StartedAt { get; set; } = sentAt;
    public bool Begun { get; set; }
}
