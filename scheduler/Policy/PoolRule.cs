using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// Which pool runs standard and bulk work: the cheapest by the unit that still brings it in time. A dearer one is used when what waits
/// would not be done on the cheaper ones by when it is due, or when a cheaper one does not exist.
/// </summary>
internal sealed class PoolRule(Backlog backlog, Fleet fleet, CostBook costs)
{
    /// <summary>Cheaper pools count as enough when the work fits into this share of the time left: estimates err, and workers fail.</summary>
    private const double TimeShareMax = 0.8;

    /// <summary>How long an answer holds: the backlog changes by seconds of work, not by milliseconds.</summary>
    private static readonly long AnswerHolds = TimeSpan.FromMilliseconds(250).Ticks;

    private readonly Dictionary<ModelRef, (long Until, int Pools)> _answers = [];
    private readonly Dictionary<ModelRef, (long Until, IReadOnlyList<Pool> Pools)> _orders = [];

    public PolicyOptions Options { get; set; } = new();

    /// <summary>The part of a pool's device time that express leaves.</summary>
    public Func<string, double> LeftShare { get; set; } = static _ => 1;

    /// <summary>When a pool that is not needed yet may be.</summary>
    public long LookAgainAt { get; private set; } = long.MaxValue;

    /// <summary>The worker for the next bulk dispatch of this model, or null when none may take it now.</summary>
    public FleetWorker? ForBulk(ClassQueue[] queues, long now)
    {
        LookAgainAt = long.MaxValue;
        var pools = ByCost(queues[0].Model, now);
        if (pools.Count == 0)
        {
            return null;
        }

        var needed = pools.Count == 1 ? 1 : PoolsNeeded(queues, pools, now);
        for (var i = 0; i < needed; i++)
        {
            if (fleet.SoonestFree(Lane.Bulk, queues[0].Model, pools[i].Name, now) is { } worker)
            {
                return worker;
            }
        }

        LookAgainAt = needed < pools.Count ? now + AnswerHolds : long.MaxValue;
        return null;
    }

    /// <summary>The worker for promoted work: whichever express lane takes it first, the cheapest pool before the others.</summary>
    public FleetWorker? ForPromoted(ModelRef model, long now)
    {
        foreach (var pool in ByCost(model, now))
        {
            if (pool.FreeExpress(model, now, Options.ExpressLead > TimeSpan.Zero ? Options.ExpressLead.Ticks : -1) is { } worker)
            {
                return worker;
            }
        }

        return null;
    }

    /// <summary>The pools, the one where a unit of this model costs least first; ties by name.</summary>
    public IReadOnlyList<Pool> ByCost(ModelRef model, long now)
    {
        if (fleet.Pools.Count <= 1)
        {
            return fleet.Pools;
        }

        if (!_orders.TryGetValue(model, out var order) || now >= order.Until || order.Pools.Count != fleet.Pools.Count)
        {
            order = (
                now + AnswerHolds,
                [.. fleet.Pools.OrderBy(p => p.PricePerHourPico * NsPerUnit(p, model)).ThenBy(p => p.Name, StringComparer.Ordinal)]
            );
            _orders[model] = order;
        }

        return order.Pools;
    }

    private double NsPerUnit(Pool pool, ModelRef model) => costs.Pace(costs.Of(pool.Name, model), model, Options.BulkBatchTimeMax).Ns(1, 0);

    /// <summary>How many pools, the cheapest first, it takes to bring in time all that is due by each moment.</summary>
    private int PoolsNeeded(ClassQueue[] queues, IReadOnlyList<Pool> pools, long now)
    {
        var model = queues[0].Model;
        if (_answers.TryGetValue(model, out var answer) && now < answer.Until && answer.Pools <= pools.Count)
        {
            return answer.Pools;
        }

        var needed = 1;
        while (needed < pools.Count && !Suffices(pools, needed, now))
        {
            needed++;
        }

        _answers[model] = (now + AnswerHolds, needed);
        return needed;
    }

    private bool Suffices(IReadOnlyList<Pool> pools, int count, long now)
    {
        var dueNs = 0.0;
        foreach (var (dueBy, queue, units, tasks) in backlog.WorkByDeadline())
        {
            dueNs += NsOn(pools, count, queue, units, tasks);
            if (dueNs > TimeShareMax * Math.Max(0, dueBy - now) * TimeSpan.NanosecondsPerTick)
            {
                return false;
            }
        }

        return ByTarget(pools, count, LatencyClass.Standard, now) && ByTarget(pools, count, LatencyClass.Bulk, now);
    }

    /// <summary>True when all that waits of the class, and of those before it, is done before the first of it is late.</summary>
    private bool ByTarget(IReadOnlyList<Pool> pools, int count, LatencyClass latencyClass, long now)
    {
        var (ns, due) = (0.0, long.MaxValue);
        foreach (var queues in backlog.Queues)
        {
            for (var c = LatencyClass.Standard; c <= latencyClass; c++)
            {
                ns += NsOn(pools, count, queues[(int)c], queues[(int)c].Units, queues[(int)c].Tasks);
            }

            due = Math.Min(due, queues[(int)latencyClass].Due);
        }

        return due == long.MaxValue || ns <= TimeShareMax * Math.Max(0, due - now) * TimeSpan.NanosecondsPerTick;
    }

    /// <summary>Time the first pools together take for this work.</summary>
    private double NsOn(IReadOnlyList<Pool> pools, int count, ClassQueue queue, long units, long tasks)
    {
        if (tasks == 0)
        {
            return 0;
        }

        var rate = 0.0;
        for (var i = 0; i < count; i++)
        {
            var pace = costs.Pace(costs.Of(pools[i].Name, queue.Model), queue.Model, Options.BulkBatchTimeMax);
            rate += LeftShare(pools[i].Name) * pools[i].Workers / Math.Max(1, pace.Ns(units, tasks));
        }

        return rate > 0 ? 1 / rate : double.PositiveInfinity;
    }
}
