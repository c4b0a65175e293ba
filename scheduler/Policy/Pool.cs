using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>Workers with the same accelerator and price, as their heartbeats tell, in order of when each would start new work.</summary>
internal sealed class Pool(Fleet fleet, string name)
{
    private readonly List<LoadedSet> _sets = [];
    private readonly int[] _empty = new int[2];

    public string Name { get; } = name;
    public string Provider { get; set; } = "";

    /// <summary>Price of an hour of one worker; never negative.</summary>
    public long PricePerHourPico { get; set; }

    /// <summary>Workers that may work.</summary>
    public int Workers { get; private set; }

    /// <summary>Workers that may work and hold nothing on either lane.</summary>
    public int IdleCount { get; private set; }

    /// <summary>Everyone that belongs to it, willing or not.</summary>
    public int Members { get; set; }

    /// <summary>Lanes that are left alone for a while, by when that ends.</summary>
    internal WorkerHeap Holds { get; } = new();

    /// <summary>Workers that could not load a model, by when that may be tried again.</summary>
    internal WorkerHeap Retries { get; } = new();

    internal List<LoadedSet> Sets => _sets;

    /// <summary>Workers that hold nothing on this lane and have room on it.</summary>
    public int EmptyCount(Lane lane) => _empty[(int)lane];

    /// <summary>
    /// The worker that would start express work of this model soonest, of those whose express lane is empty or will be within
    /// <paramref name="lead"/> ticks; one without the model only if loading it there is sooner. Null when there is none.
    /// </summary>
    public FleetWorker? FreeExpress(ModelRef model, long now, long lead)
    {
        fleet.Advance(now);
        var choice = new StartChoice();
        choice.Consider(this, fleet.LoadTicks(Name, model), Lane.Express, model, now, lead);
        return choice.Best;
    }

    /// <summary>When the next express lane is free, by the estimates; <see cref="long.MaxValue"/> when nobody may work.</summary>
    public long NextExpressFreeAt(long now)
    {
        fleet.Advance(now);
        var next = Holds.First?.Key ?? long.MaxValue;
        foreach (var set in _sets)
        {
            next = Math.Min(next, set.Shelf(Lane.Express).NextFreeAt(now));
        }

        return next;
    }

    /// <summary>When each device that has the model could start express work; of many, about the soonest.</summary>
    public void ExpressFreeTimes(ModelRef model, long now, Lookahead look)
    {
        fleet.Advance(now);
        foreach (var set in _sets)
        {
            if (set.Models.Contains(model))
            {
                set.Shelf(Lane.Express).FreeTimes(now, look);
            }
        }
    }

    /// <summary>True when one of its workers has the model.</summary>
    public bool Has(ModelRef model) => _sets.Exists(s => s.Members > 0 && s.Models.Contains(model));

    /// <summary>True when one of its workers has the model, or has not failed to load it lately.</summary>
    public bool MayHave(ModelRef model) => _sets.Exists(s => s.Members > 0 && !s.NotLoadable.Contains(model));

    internal LoadedSet SetOf(IReadOnlySet<ModelRef> models, IReadOnlySet<ModelRef> notLoadable)
    {
        foreach (var known in _sets)
        {
            if (known.Models.SetEquals(models) && known.NotLoadable.SetEquals(notLoadable))
            {
                return known;
            }
        }

        var set = new LoadedSet(this, [.. models], [.. notLoadable]);
        _sets.Add(set);
        return set;
    }

    /// <summary>Nobody has exactly these models any more.</summary>
    internal void Drop(LoadedSet set) => _sets.Remove(set);

    internal void Count(PoolCount count, int sign)
    {
        Workers += count.HasFlag(PoolCount.Willing) ? sign : 0;
        IdleCount += count.HasFlag(PoolCount.Idle) ? sign : 0;
        _empty[(int)Lane.Express] += count.HasFlag(PoolCount.ExpressEmpty) ? sign : 0;
        _empty[(int)Lane.Bulk] += count.HasFlag(PoolCount.BulkEmpty) ? sign : 0;
    }
}

/// <summary>What a worker adds to its pool's counts.</summary>
[Flags]
internal enum PoolCount
{
    None = 0,
    Willing = 1,
    Idle = 2,
    ExpressEmpty = 4,
    BulkEmpty = 8,
}

/// <summary>
/// The workers of a pool that have the same models, and failed to load the same others. A pool has few such sets, however many workers and models: a question about a
/// model looks at each set's first worker.
/// </summary>
internal sealed class LoadedSet(Pool pool, HashSet<ModelRef> models, HashSet<ModelRef> notLoadable)
{
    private readonly LaneShelf[] _shelves = [new(), new()];

    public Pool Pool { get; } = pool;
    public HashSet<ModelRef> Models { get; } = models;
    public HashSet<ModelRef> NotLoadable { get; } = notLoadable;
    public int Members { get; set; }

    public LaneShelf Shelf(Lane lane) => _shelves[(int)lane];
}

/// <summary>
/// Workers by when a new dispatch on one of their lanes would start. Each stands in one heap, whose key holds until something happens
/// to the worker or a time comes that <see cref="Fleet.Advance"/> watches; so nothing here is computed again as time passes.
/// </summary>
internal sealed class LaneShelf
{
    /// <summary>The whole device is idle: it would start now.</summary>
    public WorkerHeap Idle { get; } = new();

    /// <summary>
    /// The lane is empty, the other has the device; by when that lets go: express waits for the end of a batch, bulk for express.
    /// Batch ends that have passed are moved on when somebody asks.
    /// </summary>
    public WorkerHeap Behind { get; } = new();

    /// <summary>The lane holds something and has room; by when it will be free.</summary>
    public WorkerHeap Soon { get; } = new();

    /// <summary>As <see cref="Soon"/>, but what runs is overdue; by staged time less the time it was to end (see <see cref="LateStart"/>).</summary>
    public WorkerHeap Late { get; } = new();

    /// <summary>No room; by when they will be free.</summary>
    public WorkerHeap Full { get; } = new();
    public WorkerHeap FullLate { get; } = new();

    /// <summary><c>now + (now − ends) + staged</c>: an overdue dispatch is expected to need as long again as it is overdue.</summary>
    public static long LateStart(WorkerNode late, long now) => now + Math.Max(0, now + late.Key);

    /// <summary>The first of those with room, and when it would start; lanes that hold something count when they end within the lead.</summary>
    public (FleetWorker? Worker, long Start) Soonest(Lane lane, long now, long lead)
    {
        if (Idle.First is { } idle)
        {
            return (idle.Worker, now);
        }

        (FleetWorker? Worker, long Start) best = (null, long.MaxValue);
        var latest = lead < long.MaxValue - now ? now + lead : long.MaxValue;
        Take(FirstBehind(lane, now), Behind.First?.Key ?? 0, long.MaxValue, ref best);
        Take(Soon.First, Soon.First?.Key ?? 0, latest, ref best);
        Take(Late.First, Late.First is { } late ? LateStart(late, now) : 0, latest, ref best);
        return best;
    }

    /// <summary>When the first of those without room will be free.</summary>
    public long FullUntil(long now) =>
        Math.Min(Full.First?.Key ?? long.MaxValue, FullLate.First is { } late ? LateStart(late, now) : long.MaxValue);

    public long NextFreeAt(long now) =>
        Idle.Count + Behind.Count > 0
            ? now
            : Math.Min(
                Math.Min(Soon.First?.Key ?? long.MaxValue, Late.First is { } late ? LateStart(late, now) : long.MaxValue),
                FullUntil(now)
            );

    public void FreeTimes(long now, Lookahead look)
    {
        FreeTimes(Idle, now, look);
        FreeTimes(Behind, now, look);
        FreeTimes(Soon, now, look);
        FreeTimes(Late, now, look);
        FreeTimes(Full, now, look);
        FreeTimes(FullLate, now, look);
    }

    private static void FreeTimes(WorkerHeap heap, long now, Lookahead look)
    {
        // A heap's first places hold the soonest, nearly: twice what the look-ahead tells apart is enough.
        foreach (var node in heap.Nodes[..Math.Min(heap.Count, 2 * Lookahead.DevicesMax)])
        {
            look.AddDevice(node.Worker.ExpressStart(now));
        }
    }

    private WorkerNode? FirstBehind(Lane lane, long now)
    {
        while (lane == Lane.Express && Behind.First is { } first && first.Key <= now)
        {
            Behind.Put(first, first.Worker.ExpressStart(now));
        }

        return Behind.First;
    }

    private static void Take(WorkerNode? node, long start, long latest, ref (FleetWorker? Worker, long Start) best)
    {
        if (
            node is not null
            && start <= latest
            && (best.Worker is null || (start, node.Worker.Id).CompareTo((best.Start, best.Worker.Id)) < 0)
        )
        {
            best = (node.Worker, start);
        }
    }
}

/// <summary>
/// The choice of a worker for a model over any number of pools: the one that would start soonest. A model is loaded elsewhere only when
/// that is sooner than every worker that has it, or when those have no room and a device lies idle; so two models with much work do
/// not take each other's workers in turns.
/// </summary>
internal struct StartChoice()
{
    private (FleetWorker? Worker, long Start) _loaded = (null, long.MaxValue);
    private (FleetWorker? Worker, long Start) _unloaded = (null, long.MaxValue);
    private (FleetWorker? Worker, long Start) _idle = (null, long.MaxValue);
    private long _fullUntil = long.MaxValue;

    public readonly FleetWorker? Best =>
        _loaded.Worker is not null ? (_unloaded.Start < _loaded.Start ? _unloaded.Worker : _loaded.Worker)
        : _unloaded.Start < _fullUntil ? _unloaded.Worker
        : _idle.Worker;

    public void Consider(Pool pool, long loadTicks, Lane lane, ModelRef model, long now, long lead)
    {
        foreach (var set in pool.Sets)
        {
            var shelf = set.Shelf(lane);
            var soonest = shelf.Soonest(lane, now, lead);
            if (set.Models.Contains(model))
            {
                _loaded = Sooner(_loaded, soonest);
                _fullUntil = Math.Min(_fullUntil, shelf.FullUntil(now));
            }
            else if (soonest.Worker is not null && !set.NotLoadable.Contains(model))
            {
                soonest.Start += loadTicks;
                _unloaded = Sooner(_unloaded, soonest);
                _idle = shelf.Idle.Count > 0 ? Sooner(_idle, soonest) : _idle;
            }
        }
    }

    private static (FleetWorker? Worker, long Start) Sooner((FleetWorker? Worker, long Start) a, (FleetWorker? Worker, long Start) b) =>
        b.Worker is null || (a.Worker is not null && (a.Start, a.Worker.Id).CompareTo((b.Start, b.Worker.Id)) <= 0) ? a : b;
}
