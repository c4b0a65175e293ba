using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// The workers, what their lanes hold, and who has fallen silent. Workers stand in heaps by when they would start new work; a change of
/// one worker costs the logarithm of their number, and so does the question who is free first. Times are UTC ticks (of 100 ns).
/// <code>
/// Add, Remove, Started, Refuse, See ──Place──> the worker's place on its pool's shelves
/// time passes                       ──Advance──> those whose time has come are placed again
/// </code>
/// </summary>
internal sealed class Fleet
{
    private const int GoneRemembered = 1024;

    /// <summary>Pools without workers that are remembered: what they cost, and that they can be asked for workers.</summary>
    private const int EmptyPoolsMax = 64;

    /// <summary>Weight of a new measurement of a load time.</summary>
    private const double LoadWeight = 0.3;

    private readonly SortedDictionary<WorkerId, FleetWorker> _workers = [];
    private readonly Dictionary<WorkerId, FleetWorker> _byId = [];
    private readonly HashSet<WorkerId> _gone = [];
    private readonly Queue<WorkerId> _goneInOrder = new();
    private readonly List<Pool> _pools = [];
    private readonly List<Pool> _emptied = [];
    private readonly Dictionary<(string Pool, ModelRef Model), long> _loadTicks = [];
    private readonly WorkerHeap _turning = new();
    private readonly WorkerHeap _living = new();
    private PolicyOptions _options = new();
    private Holds _holds = Holds.None;
    private FleetWorker? _reserved;

    public PolicyOptions Options
    {
        get => _options;
        init => _options = value;
    }

    /// <summary>In order of ids, so that no choice depends on how a table is walked.</summary>
    public IReadOnlyCollection<FleetWorker> Workers => _workers.Values;

    /// <summary>In order of names, with those that have no workers now.</summary>
    public IReadOnlyList<Pool> Pools => _pools;

    public FleetWorker? Find(WorkerId id) => _byId.GetValueOrDefault(id);

    public Pool? FindPool(string name)
    {
        var place = PlaceOf(name);
        return place >= 0 ? _pools[place] : null;
    }

    // Coming, living and going

    /// <summary>The worker, new or known; null when its life was closed: it has to come back under another id.</summary>
    public FleetWorker? Admit(WorkerId id, long now)
    {
        if (_gone.Contains(id))
        {
            return null;
        }

        if (!_byId.TryGetValue(id, out var worker))
        {
            worker = new FleetWorker(id) { SeenAt = now };
            _workers.Add(id, worker);
            _byId.Add(id, worker);
            _living.Put(worker.Living, now);
        }

        return worker;
    }

    /// <summary>Takes a heartbeat in. A worker that moved to another pool takes what it holds along.</summary>
    public void See(FleetWorker worker, WorkerHeartbeat heartbeat, long now)
    {
        worker.SeenAt = Math.Max(worker.SeenAt, now);
        var pool = worker.Home?.Pool is { } home && home.Name == heartbeat.Pool ? home : PoolOf(heartbeat.Pool);
        pool.Provider = heartbeat.Provider;
        pool.PricePerHourPico = Math.Max(0, heartbeat.PricePerHourPico);
        worker.Stopping = heartbeat.Draining;
        var draining = IsDraining(worker, pool);
        var same = worker is { Heard: true } && worker.Draining == draining && pool == worker.Home?.Pool;
        if (same && HasExactly(worker, heartbeat.Models))
        {
            return;
        }

        (worker.Heard, worker.Draining) = (true, draining);
        worker.Models.Clear();
        foreach (var (model, _, _) in heartbeat.Models)
        {
            worker.Models.Add(model);
            worker.HasLoaded(model);
        }

        worker.Models.UnionWith(worker.Flights.Select(f => f.Model).OfType<ModelRef>().Where(m => !worker.NotLoadable.Contains(m)));
        Settle(worker, pool, now);
    }

    /// <summary>These pools and workers get nothing more, and finish what they have; others that were held are back.</summary>
    public void Hold(Holds holds, long now)
    {
        _holds = holds;
        foreach (var worker in _workers.Values)
        {
            if (worker.Home?.Pool is { } pool && IsDraining(worker, pool) is var draining && draining != worker.Draining)
            {
                worker.Draining = draining;
                Settle(worker, pool, now);
            }
        }
    }

    public void Remove(WorkerId id)
    {
        if (_byId.Remove(id, out var worker))
        {
            _workers.Remove(id);
            Unsettle(worker);
            worker.Living.Leave();
            worker.Turning.Leave();
            _reserved = _reserved == worker ? null : _reserved;
        }

        if (_gone.Add(id))
        {
            _goneInOrder.Enqueue(id);
        }

        if (_goneInOrder.Count > GoneRemembered)
        {
            _gone.Remove(_goneInOrder.Dequeue());
        }
    }

    /// <summary>
    /// The next worker that was silent for longer than this; it is declared lost, and told once. Null when there is none. Signs of life
    /// are entered only when a worker comes first here, so a heartbeat costs nothing.
    /// </summary>
    public FleetWorker? TakeSilent(long now, TimeSpan lostAfter)
    {
        if (LeastSeen() is not { } worker || now - worker.SeenAt <= lostAfter.Ticks)
        {
            return null;
        }

        worker.Declared = true;
        worker.Living.Leave();
        Place(worker, now);
        return worker;
    }

    /// <summary>When the next worker will have been silent for too long; <see cref="long.MaxValue"/> when there is none.</summary>
    public long NextSilent(TimeSpan lostAfter) => LeastSeen() is { } worker ? worker.SeenAt + lostAfter.Ticks + 1 : long.MaxValue;

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

    /// <summary>The bounds changed: what has room may have changed for everybody.</summary>
    public void Change(PolicyOptions options, long now)
    {
        _options = options;
        foreach (var worker in _workers.Values)
        {
            Place(worker, now);
        }
    }

    // What lanes hold

    /// <summary>A dispatch is on its way to the worker. Where its model is not loaded, loading is part of its estimate.</summary>
    public void Add(FleetWorker worker, Flight flight, long now)
    {
        if (flight.Model is { } model && worker.Models.Add(model))
        {
            flight.LoadTicks = LoadTicks(worker.Pool, model);
            flight.EstimatedTicks += flight.LoadTicks;
            if (worker.Home is { } home)
            {
                Settle(worker, home.Pool, now);
            }
        }

        var lane = worker.Lane(flight.Lane);
        if (lane.Flights.Count == 0 && !flight.Begun)
        {
            flight.StartedAt = StartOn(worker, flight.Lane, now);
        }

        lane.Add(flight);
        worker.FlightsApart += flight.Apart ? 1 : 0;
        Delay(worker, flight, flight.EstimatedTicks);
        Place(worker, now);
    }

    /// <summary>The dispatch has ended, or is given up. What is next on its lane starts now.</summary>
    /// <returns>Its worker, if that is known still.</returns>
    public FleetWorker? Remove(Flight flight, long now)
    {
        if (Find(flight.Worker) is not { } worker)
        {
            return null;
        }

        var lane = worker.Lane(flight.Lane);
        var held = lane.Flights.Count;
        var first = lane.Remove(flight);
        if (lane.Flights.Count == held)
        {
            return worker;
        }

        worker.FlightsApart -= flight.Apart ? 1 : 0;
        Delay(worker, flight, (first ? Math.Max(0, now - flight.StartedAt) : 0) - flight.EstimatedTicks);
        if (first && lane.Flights is [{ Begun: false } next, ..])
        {
            next.StartedAt = now;
        }

        if (lane.Flights.Count == 0 && worker.Lane(Lane.Bulk).Flights is [{ Begun: false } bulk, ..])
        {
            bulk.StartedAt = Math.Min(bulk.StartedAt, now);
        }

        Place(worker, now);
        return worker;
    }

    /// <summary>A heartbeat lists the dispatch: what is begun has started by now, what is first and not begun starts later than it.</summary>
    public void Listed(Flight flight, bool begun, long now)
    {
        flight.ListedAt = Math.Max(flight.ListedAt, now);
        if (flight.Begun || Find(flight.Worker) is not { } worker)
        {
            return;
        }

        var first = worker.Lane(flight.Lane).Flights is [var f, ..] && f == flight;
        if (begun ? flight.StartedAt > now || !first : first && flight.StartedAt < now)
        {
            flight.StartedAt = now;
            Place(worker, now);
        }

        flight.Begun = begun;
    }

    /// <summary>The lane handed a dispatch back without running it: it is left alone for a while, longer each time.</summary>
    public void Refuse(FleetWorker worker, Lane lane, long now)
    {
        worker.Lane(lane).Refuse(_options.RefusalPauseMax, now);
        Place(worker, now);
    }

    public void Accept(FleetWorker worker, Lane lane, long now)
    {
        if (worker.Lane(lane).Refusals > 0)
        {
            worker.Lane(lane).Accept();
            Place(worker, now);
        }
    }

    /// <summary>The worker could not load the model: others are tried, and it again after a while, longer each time.</summary>
    /// <returns>True when nobody is left who could be tried, and it has been tried often enough.</returns>
    public bool CannotLoad(FleetWorker worker, ModelRef model, long now)
    {
        worker.CannotLoad(model, _options.LoadRetryFirst, _options.LoadRetryMax, now);
        if (worker.Home is { } home)
        {
            Settle(worker, home.Pool, now);
        }

        return worker.LoadFailures(model) > _options.FaultsMax && !_pools.Exists(p => p.MayHave(model));
    }

    /// <summary>Its queue was gone: nothing is sent to it until then.</summary>
    public void Shun(FleetWorker worker, long until, long now)
    {
        worker.UnreachableUntil = until;
        Place(worker, now);
    }

    // Loading

    /// <summary>What loading a model on a worker of this pool took.</summary>
    public void LearnLoad(string pool, ModelRef model, double ns)
    {
        if (double.IsFinite(ns) && ns >= 0)
        {
            var ticks = (long)Math.Min(ns / TimeSpan.NanosecondsPerTick, TimeSpan.TicksPerHour);
            var known = _loadTicks.TryGetValue((pool, model), out var before);
            _loadTicks[(pool, model)] = known ? before + (long)(LoadWeight * (ticks - before)) : ticks;
        }
    }

    /// <summary>What loading a model on a worker of this pool is taken to cost.</summary>
    public long LoadTicks(string pool, ModelRef model) => _loadTicks.GetValueOrDefault((pool, model), _options.LoadTimeGuess.Ticks);

    // Who is free

    /// <summary>
    /// The worker that would start work for this model soonest: what its lanes hold ahead, and loading where the model is not loaded
    /// (see <see cref="StartChoice"/>). Ties go to the lower id. Null when no lane has room.
    /// </summary>
    /// <param name="pool">Only workers of this pool; null for all.</param>
    public FleetWorker? SoonestFree(Lane lane, ModelRef model, string? pool, long now)
    {
        Advance(now);
        var choice = new StartChoice();
        foreach (var candidate in _pools)
        {
            if (pool is null || candidate.Name == pool)
            {
                choice.Consider(candidate, LoadTicks(candidate.Name, model), lane, model, now, long.MaxValue);
            }
        }

        return choice.Best;
    }

    /// <summary>Workers of all pools that hold nothing on this lane and have room on it.</summary>
    public int EmptyCount(Lane lane, long now)
    {
        Advance(now);
        var count = 0;
        foreach (var pool in _pools)
        {
            count += pool.EmptyCount(lane);
        }

        return count;
    }

    /// <summary>
    /// What the live workers of each pool hold, in order of the pools' names. It looks at every worker, once a second for the forecast.
    /// </summary>
    public IReadOnlyList<PoolLoad> Loads(long now)
    {
        var loads = new PoolLoad[_pools.Count];
        foreach (var worker in _workers.Values)
        {
            if (
                worker is not { Heard: true, Declared: false, Draining: false, Home.Pool: { } pool }
                || PlaceOf(pool.Name) is not (>= 0 and var place)
            )
            {
                continue;
            }

            ref var load = ref loads[place];
            load = new PoolLoad(
                pool,
                load.Workers + 1,
                load.ExpressTicks + worker.Lane(Lane.Express).Ahead(now),
                load.BulkTicks + worker.Lane(Lane.Bulk).Ahead(now),
                load.Tasks + worker.Lane(Lane.Bulk).Flights.Sum(f => (long)f.Tasks),
                Math.Min(
                    load.Workers == 0 ? long.MaxValue : load.ExpressStart,
                    worker.MayWork(now) ? worker.ExpressStart(now) : long.MaxValue
                )
            );
        }

        return [.. loads.Where(l => l.Workers > 0)];
    }

    /// <summary>When the next lane that is left alone may be used again, or a model be loaded that could not be; <see cref="long.MaxValue"/> when there is none.</summary>
    public long NextOpening(long now)
    {
        Advance(now);
        var next = long.MaxValue;
        foreach (var pool in _pools)
        {
            next = Math.Min(next, Math.Min(pool.Holds.First?.Key ?? long.MaxValue, pool.Retries.First?.Key ?? long.MaxValue));
        }

        return next;
    }

    /// <summary>
    /// A worker without any work; else the one that will be soonest is kept free for it. Null when none is idle yet. It looks at all
    /// workers, which happens only while a chunk waits that two workers have died over.
    /// </summary>
    /// <param name="model">Nobody who could not load it is chosen.</param>
    public FleetWorker? Reserve(ModelRef model, long now)
    {
        var willing = _workers.Values.Where(w => w.MayWork(now) && !w.NotLoadable.Contains(model)).ToList();
        var chosen =
            willing.Find(w => w.IsIdle)
            ?? willing.Find(w => w.Reserved)
            ?? willing.MinBy(w => w.Lane(Lane.Express).FreeAt(now) + w.Lane(Lane.Bulk).FreeAt(now));
        if (chosen != _reserved)
        {
            Release(now);
        }

        if (chosen is null)
        {
            return null;
        }

        (_reserved, chosen.Reserved) = (chosen, true);
        Place(chosen, now);
        return chosen.IsIdle ? chosen : null;
    }

    /// <summary>Nobody is kept free any more.</summary>
    public void Release(long now)
    {
        if (_reserved is { } worker)
        {
            (_reserved, worker.Reserved) = (null, false);
            Place(worker, now);
        }
    }

    /// <summary>Places those again for whom a time has come: what they run became overdue, or a pause is over.</summary>
    internal void Advance(long now)
    {
        while (_turning.First is { Worker: var worker } first && first.Key <= now)
        {
            if (worker.RetryLoads(now) && worker.Home is { } home)
            {
                Settle(worker, home.Pool, now);
            }
            else
            {
                Place(worker, now);
            }
        }
    }

    // Places

    /// <summary>Lets a worker stand where its state at this time belongs.</summary>
    private void Place(FleetWorker worker, long now)
    {
        if (worker.Home is not { } home)
        {
            return;
        }

        var turns = worker.LoadRetryAt;
        if (turns < long.MaxValue)
        {
            home.Pool.Retries.Put(worker.Retrying, turns);
        }
        else
        {
            worker.Retrying.Leave();
        }

        var count = PoolCount.None;
        if (worker.MayWork(now))
        {
            count = PoolCount.Willing | (worker.IsIdle ? PoolCount.Idle : 0);
        }

        count |= PlaceLane(worker, home, Lane.Express, now, ref turns) ? PoolCount.ExpressEmpty : 0;
        count |= PlaceLane(worker, home, Lane.Bulk, now, ref turns) ? PoolCount.BulkEmpty : 0;
        home.Pool.Count(worker.Counted, -1);
        home.Pool.Count(count, +1);
        worker.Counted = count;
        if (turns == long.MaxValue)
        {
            worker.Turning.Leave();
        }
        else
        {
            _turning.Put(worker.Turning, turns);
        }
    }

    private bool IsDraining(FleetWorker worker, Pool pool) => worker.Stopping || _holds.HoldWorker(worker.Id, pool.Name);

    /// <returns>True when the lane is empty and has room.</returns>
    private bool PlaceLane(FleetWorker worker, LoadedSet home, Lane lane, long now, ref long turns)
    {
        var (node, held) = (worker.Shelved(lane), worker.Held(lane));
        var (mine, other) = (worker.Lane(lane), worker.Lane(lane == Lane.Express ? Lane.Bulk : Lane.Express));
        var closedUntil = Math.Max(mine.HoldUntil, worker.UnreachableUntil);
        var willing = worker is { Heard: true, Draining: false, Declared: false };
        if (!willing || closedUntil > now || worker.Reserved || worker.FlightsApart > 0)
        {
            node.Leave();
            held.Leave();
            if (willing && closedUntil > now)
            {
                home.Pool.Holds.Put(held, closedUntil);
                turns = Math.Min(turns, closedUntil);
            }

            return false;
        }

        held.Leave();
        var shelf = home.Shelf(lane);
        if (mine.Flights.Count > 0)
        {
            var full = mine.Flights.Count >= _options.DispatchesPerLaneMax;
            PutByEnd(node, mine, full ? shelf.Full : shelf.Soon, full ? shelf.FullLate : shelf.Late, now, ref turns);
        }
        else if (other.Flights.Count == 0)
        {
            shelf.Idle.Put(node, 0);
        }
        else if (lane == Lane.Express)
        {
            shelf.Behind.Put(node, other.Flights[0].NextBoundary(now));
        }
        else
        {
            PutByEnd(node, other, shelf.Behind, shelf.Late, now, ref turns);
        }

        return mine.Flights.Count == 0;
    }

    private static void PutByEnd(WorkerNode node, LaneLoad load, WorkerHeap soon, WorkerHeap late, long now, ref long turns)
    {
        if (load.FirstEndsAt > now)
        {
            soon.Put(node, load.FirstEndsAt + load.StagedTicks);
            turns = Math.Min(turns, load.FirstEndsAt);
        }
        else
        {
            late.Put(node, load.StagedTicks - load.FirstEndsAt);
        }
    }

    /// <summary>When a dispatch that is first on its lane comes on the device.</summary>
    private static long StartOn(FleetWorker worker, Lane lane, long now) =>
        lane == Lane.Express ? worker.ExpressStart(now) : Math.Max(now, worker.Lane(Lane.Express).FreeAt(now));

    /// <summary>What express takes of the device the bulk dispatch beside it gets later.</summary>
    private static void Delay(FleetWorker worker, Flight flight, long ticks)
    {
        if (flight.Lane == Lane.Express && worker.Lane(Lane.Bulk).Flights is [var bulk, ..])
        {
            bulk.StartedAt += ticks;
        }
    }

    private FleetWorker? LeastSeen()
    {
        while (_living.First is { } first)
        {
            if (first.Key == first.Worker.SeenAt)
            {
                return first.Worker;
            }

            _living.Put(first, first.Worker.SeenAt);
        }

        return null;
    }

    /// <summary>Lets a worker stand among those of this pool that have its models.</summary>
    private void Settle(FleetWorker worker, Pool pool, long now)
    {
        var home = pool.SetOf(worker.Models, worker.NotLoadable);
        if (worker.Home != home)
        {
            Unsettle(worker);
            worker.Home = home;
            home.Members++;
            pool.Members++;
            _emptied.Remove(pool);
        }

        Place(worker, now);
    }

    private void Unsettle(FleetWorker worker)
    {
        if (worker.Home is not { } home)
        {
            return;
        }

        foreach (var lane in (ReadOnlySpan<Lane>)[Lane.Express, Lane.Bulk])
        {
            worker.Shelved(lane).Leave();
            worker.Held(lane).Leave();
        }

        worker.Retrying.Leave();
        home.Pool.Count(worker.Counted, -1);
        (worker.Counted, worker.Home) = (PoolCount.None, null);
        if (--home.Members == 0)
        {
            home.Pool.Drop(home);
        }

        if (--home.Pool.Members == 0)
        {
            Emptied(home.Pool);
        }
    }

    private void Emptied(Pool pool)
    {
        _emptied.Add(pool);
        if (_emptied.Count > EmptyPoolsMax)
        {
            var oldest = _emptied[0];
            _emptied.RemoveAt(0);
            _pools.Remove(oldest);
            foreach (var key in _loadTicks.Keys.Where(k => k.Pool == oldest.Name).ToList())
            {
                _loadTicks.Remove(key);
            }
        }
    }

    private Pool PoolOf(string name)
    {
        var place = PlaceOf(name);
        if (place < 0)
        {
            place = ~place;
            _pools.Insert(place, new Pool(this, name));
        }

        return _pools[place];
    }

    private int PlaceOf(string name)
    {
        var (low, high) = (0, _pools.Count - 1);
        while (low <= high)
        {
            var middle = (low + high) / 2;
            var order = string.CompareOrdinal(_pools[middle].Name, name);
            if (order == 0)
            {
                return middle;
            }

            (low, high) = order < 0 ? (middle + 1, high) : (low, middle - 1);
        }

        return ~low;
    }

    /// <summary>True when nothing changed: these are all its models, beside those its flights bring.</summary>
    private static bool HasExactly(FleetWorker worker, IReadOnlyList<LoadedModel> models)
    {
        for (var i = 0; i < models.Count; i++)
        {
            if (!worker.Models.Contains(models[i].Model))
            {
                return false;
            }
        }

        return worker.Models.Count <= models.Count
            || worker.Models.All(m => models.Any(l => l.Model == m) || worker.Flights.Any(f => f.Model == m));
    }
}

/// <summary>What a pool's live workers hold.</summary>
/// <param name="ExpressTicks">Device time their express lanes have ahead, by the estimates.</param>
/// <param name="BulkTicks">The same of their bulk lanes.</param>
/// <param name="Tasks">Tasks their bulk lanes hold.</param>
/// <param name="ExpressStart">When express work sent now would start at the soonest; <see cref="long.MaxValue"/> when none may work.</param>
internal readonly record struct PoolLoad(Pool Pool, int Workers, long ExpressTicks, long BulkTicks, long Tasks, long ExpressStart);
