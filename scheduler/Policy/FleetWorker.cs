using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>One life of a worker process, as its heartbeats tell. What changes its standing is changed through <see cref="Fleet"/>.</summary>
internal sealed class FleetWorker
{
    private readonly LaneLoad[] _lanes = [new(), new()];
    private readonly WorkerNode[] _shelved;
    private readonly WorkerNode[] _held;
    private readonly Dictionary<ModelRef, (int Times, long Until)> _loadFailures = [];

    public FleetWorker(WorkerId id)
    {
        Id = id;
        _shelved = [new(this), new(this)];
        _held = [new(this), new(this)];
        Turning = new WorkerNode(this);
        Retrying = new WorkerNode(this);
        Living = new WorkerNode(this);
    }

    public WorkerId Id { get; }

    /// <summary>The name of its pool; empty until it was heard.</summary>
    public string Pool => Home?.Pool.Name ?? "";

    /// <summary>Models it has, or is loading for what was sent to it.</summary>
    public HashSet<ModelRef> Models { get; } = [];

    /// <summary>Models that it could not load when it last tried; none is sent to it again before a while has passed.</summary>
    public HashSet<ModelRef> NotLoadable { get; } = [];

    /// <summary>What it says of itself: it stops, and is to be sent nothing more.</summary>
    public bool Stopping { get; set; }

    /// <summary>It gets nothing more: it stops, or an operator holds it or its pool.</summary>
    public bool Draining { get; set; }

    /// <summary>False while only PostgreSQL spoke of it.</summary>
    public bool Heard { get; set; }

    /// <summary>Last sign of life, in UTC ticks.</summary>
    public long SeenAt { get; set; }

    /// <summary>Its queue was gone when last sent to; nothing more is sent until then.</summary>
    public long UnreachableUntil { get; set; }

    /// <summary>True when its loss was decided.</summary>
    public bool Declared { get; set; }

    /// <summary>True while it is kept free for a suspect that needs it for itself.</summary>
    public bool Reserved { get; set; }

    /// <summary>Flights that may share it with nothing.</summary>
    public int FlightsApart { get; set; }

    public IEnumerable<Flight> Flights => _lanes[0].Flights.Concat(_lanes[1].Flights);

    public LaneLoad Lane(Lane lane) => _lanes[(int)lane];

    public bool IsIdle => _lanes[0].Flights.Count == 0 && _lanes[1].Flights.Count == 0;

    public bool MayWork(long now) => Heard && !Draining && !Declared && UnreachableUntil <= now;

    public bool HasRoom(Lane lane, int dispatchesMax, long now) =>
        MayWork(now) && !Reserved && FlightsApart == 0 && Lane(lane).HoldUntil <= now && Lane(lane).Flights.Count < dispatchesMax;

    /// <summary>Device time ahead on both lanes.</summary>
    public long Ahead(long now) => _lanes[0].Ahead(now) + _lanes[1].Ahead(now);

    /// <summary>
    /// When express work sent now would start: at once on an idle device, after the batch on the device when bulk runs, else when the
    /// express it holds has ended.
    /// </summary>
    public long ExpressStart(long now) =>
        Lane(Contracts.Lane.Express).Flights.Count > 0 ? Lane(Contracts.Lane.Express).FreeAt(now)
        : Lane(Contracts.Lane.Bulk).Flights is [var bulk, ..] ? bulk.NextBoundary(now)
        : now;

    /// <summary>How often in a row it could not load the model.</summary>
    public int LoadFailures(ModelRef model) => _loadFailures.GetValueOrDefault(model).Times;

    /// <summary>When the next of <see cref="NotLoadable"/> may be tried again; <see cref="long.MaxValue"/> when there is none.</summary>
    public long LoadRetryAt => NotLoadable.Count == 0 ? long.MaxValue : NotLoadable.Min(m => _loadFailures[m].Until);

    /// <summary>It could not load the model: not tried again for a while, longer each time.</summary>
    public void CannotLoad(ModelRef model, TimeSpan retryFirst, TimeSpan retryMax, long now)
    {
        Models.Remove(model);
        if (NotLoadable.Add(model))
        {
            var times = LoadFailures(model);
            _loadFailures[model] = (times + 1, now + Math.Min(retryMax.Ticks, retryFirst.Ticks << Math.Min(times, 16)));
        }
    }

    /// <summary>It has the model after all.</summary>
    public void HasLoaded(ModelRef model)
    {
        NotLoadable.Remove(model);
        _loadFailures.Remove(model);
    }

    /// <summary>Models whose time has come may be tried again; what is known of their failures stays.</summary>
    public bool RetryLoads(long now) => NotLoadable.RemoveWhere(m => _loadFailures[m].Until <= now) > 0;

    /// <summary>The workers it stands among: those of its pool with the same models.</summary>
    internal LoadedSet? Home { get; set; }

    /// <summary>How its pool has counted it.</summary>
    internal PoolCount Counted { get; set; }

    internal WorkerNode Shelved(Lane lane) => _shelved[(int)lane];

    internal WorkerNode Held(Lane lane) => _held[(int)lane];

    /// <summary>When it stands elsewhere if nothing happens, and since when it was not heard.</summary>
    internal WorkerNode Turning { get; }

    /// <summary>When a model that it could not load may be tried again.</summary>
    internal WorkerNode Retrying { get; }
    internal WorkerNode Living { get; }
}

/// <summary>What one lane of a worker holds.</summary>
internal sealed class LaneLoad
{
    /// <summary>In the order they were sent; the first runs, or will run first.</summary>
    public List<Flight> Flights { get; } = [];

    /// <summary>How often in a row it handed a dispatch back without running any of it, and until when it is left alone for that.</summary>
    public int Refusals { get; private set; }
    public long HoldUntil { get; private set; }

    /// <summary>Estimated ticks of what is behind the first.</summary>
    public long StagedTicks { get; private set; }

    /// <summary>When the first ends, if its estimate holds; the lane must not be empty.</summary>
    public long FirstEndsAt => Flights[0].EndsAt;

    /// <summary>Estimated ticks until all it holds has run. What is overdue is taken to end now.</summary>
    public long Ahead(long now) => Flights.Count == 0 ? 0 : Math.Clamp(FirstEndsAt - now, 0, Flights[0].EstimatedTicks) + StagedTicks;

    /// <summary>
    /// When all it holds has run. An overdue dispatch is expected to need as long again as it is overdue: nothing better is known of
    /// it, and its worker must neither look free nor be given up.
    /// </summary>
    public long FreeAt(long now) => Flights.Count == 0 ? now : now + Math.Abs(FirstEndsAt - now) + StagedTicks;

    public void Add(Flight flight)
    {
        Flights.Add(flight);
        Sum();
    }

    /// <returns>True when it stood first, so that the next one comes on the device.</returns>
    public bool Remove(Flight flight)
    {
        var place = Flights.IndexOf(flight);
        if (place >= 0)
        {
            Flights.RemoveAt(place);
            Sum();
        }

        return place == 0;
    }

    /// <summary>Leaves the lane alone for a while, longer each time.</summary>
    public void Refuse(TimeSpan pauseMax, long now)
    {
        HoldUntil = now + (pauseMax.Ticks >> Math.Max(0, 5 - Refusals));
        Refusals++;
    }

    public void Accept() => (Refusals, HoldUntil) = (0, 0);

    private void Sum()
    {
        StagedTicks = 0;
        for (var i = 1; i < Flights.Count; i++)
        {
            StagedTicks += Flights[i].EstimatedTicks;
        }
    }
}
