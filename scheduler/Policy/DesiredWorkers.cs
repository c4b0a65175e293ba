namespace Pipeline.Scheduler.Policy;

/// <summary>How many workers a pool should have, and why.</summary>
internal sealed record PoolWish(string Pool, int Workers, Why Why);

/// <summary>
/// The fewest workers, cheapest pools first, that keep every due time and serve the express load: the largest, over due times, of the
/// device time due by then over the time left, and the devices express keeps busy with some headroom. More are wished for at once; fewer
/// only when the smaller number has sufficed for <see cref="PolicyOptions.DesiredWorkersHold"/>, and then the most of that time, so that
/// a wave of work does not send workers away that the next one needs.
/// </summary>
internal sealed class DesiredWorkers(CostBook costs, ExpressLoad express)
{
    /// <summary>A whole worker is not wished for a remainder that rounding left.</summary>
    private const double Rounding = 1e-9;

    private readonly SortedDictionary<string, Standing> _standings = new(StringComparer.Ordinal);

    /// <summary>The wishes as last judged, in order of pools' names.</summary>
    public IReadOnlyList<PoolWish> Wishes { get; private set; } = [];

    /// <summary>Judges anew.</summary>
    /// <returns>The wishes that changed.</returns>
    public IReadOnlyList<PoolWish> Judge(Backlog backlog, IReadOnlyList<Pool> pools, PolicyOptions options, long now)
    {
        var needs = Needs(backlog, pools, options, now);
        foreach (var unknown in _standings.Keys.Where(k => needs.TrueForAll(n => n.Pool != k)).ToList())
        {
            _standings.Remove(unknown); // Nobody remembers the pool.
        }

        var changed = new List<PoolWish>();
        foreach (var need in needs)
        {
            var standing = _standings.GetValueOrDefault(need.Pool) ?? (_standings[need.Pool] = new Standing(need.Pool));
            if (standing.Move(need, options.DesiredWorkersHold.Ticks, now))
            {
                changed.Add(standing.Wish);
            }
        }

        Wishes = [.. _standings.Values.Select(s => s.Wish)];
        return changed;
    }

    /// <summary>What the work that is known needs now, without regard to what was wished for before.</summary>
    public List<PoolWish> Needs(Backlog backlog, IReadOnlyList<Pool> pools, PolicyOptions options, long now)
    {
        var demands = pools.Select(p => new Demand(p.Name, p.PricePerHourPico)).ToList();
        if (demands.Count == 0)
        {
            demands.Add(new Demand("", 0)); // Nobody has been seen yet: somebody has to come, from whatever pool.
        }

        foreach (var demand in demands)
        {
            demand.Express = options.DesiredExpressHeadroom * express.Devices(demand.Pool, costs, options, now);
        }

        foreach (var (dueBy, queue, units, tasks) in backlog.WorkByDeadline())
        {
            // What is due sooner than a new worker could help is no reason for more workers than can help.
            var left = Math.Max(dueBy - now, options.DesiredWorkersLeadMin.Ticks) * (double)TimeSpan.NanosecondsPerTick;
            foreach (var demand in demands)
            {
                var cost = demand.Pool.Length > 0 ? costs.Of(demand.Pool, queue.Model) : costs.Reference(queue.Model);
                demand.Add(costs.Pace(cost, queue.Model, options.BulkBatchTimeMax).Ns(units, tasks), left, units, tasks, dueBy - now);
            }
        }

        return Share(demands, options.PoolWorkersMax);
    }

    /// <summary>The cheapest pool takes what it can hold, and leaves the rest to the next one.</summary>
    private static List<PoolWish> Share(List<Demand> demands, int workersMax)
    {
        demands.Sort(
            static (a, b) =>
                a.Price.CompareTo(b.Price) is var price and not 0 ? price
                : a.Devices.CompareTo(b.Devices) is var devices and not 0 ? devices
                : string.CompareOrdinal(a.Pool, b.Pool)
        );
        var wishes = new List<PoolWish>();
        var rest = 1.0;
        foreach (var demand in demands)
        {
            var need = rest * demand.Devices;
            var workers = (int)Math.Min(workersMax, Math.Ceiling(need - Rounding));
            wishes.Add(demand.Wish(Math.Max(0, workers), spilled: rest < 1));
            rest = need <= workersMax ? 0 : rest * (1 - (workersMax / need));
        }

        return wishes;
    }

    /// <summary>What all the work would take of one pool, were it the only one.</summary>
    private sealed class Demand(string pool, long pricePerHourPico)
    {
        private double _dueNs;
        private long _units;
        private long _tasks;
        private double _most;
        private Why _why = new(Reasons.WantDeadline);

        public string Pool { get; } = pool;

        /// <summary>Devices that express keeps busy.</summary>
        public double Express { get; set; }

        /// <summary>Devices needed, for due times and for express.</summary>
        public double Devices => Express + _most;

        /// <summary>What all of it costs on this pool, for comparison.</summary>
        public double Price => pricePerHourPico * (Devices > 0 ? Devices : 1);

        public void Add(double ns, double leftNs, long units, long tasks, long slack)
        {
            (_dueNs, _units, _tasks) = (_dueNs + ns, _units + units, _tasks + tasks);
            if (_dueNs / leftNs > _most)
            {
                _most = _dueNs / leftNs;
                _why = new Why(
                    Reasons.WantDeadline,
                    (int)Math.Min(_tasks, int.MaxValue),
                    _units,
                    new TimeSpan((long)Math.Min(_dueNs / TimeSpan.NanosecondsPerTick, long.MaxValue / 4.0)),
                    new TimeSpan(slack)
                );
            }
        }

        public PoolWish Wish(int workers, bool spilled)
        {
            var reason =
                workers == 0 ? Reasons.WantNone
                : spilled ? Reasons.WantSpill
                : Express > _most ? Reasons.WantExpress
                : Reasons.WantDeadline;
            return new PoolWish(Pool, workers, _why with { Code = reason });
        }
    }

    /// <summary>What was wished for of a pool, and since when less would do.</summary>
    private sealed class Standing(string pool)
    {
        private long? _lowSince;
        private PoolWish? _lowMost;

        public PoolWish Wish { get; private set; } = new(pool, 0, new Why(Reasons.WantNone));

        /// <returns>True when the number changed.</returns>
        public bool Move(PoolWish need, long hold, long now)
        {
            var before = Wish.Workers;
            if (need.Workers >= before)
            {
                (Wish, _lowSince) = (need, null);
                return need.Workers > before;
            }

            if (_lowSince is null || need.Workers >= _lowMost!.Workers)
            {
                _lowMost = need;
            }

            _lowSince ??= now;
            if (now - _lowSince.Value < hold)
            {
                return false;
            }

            Wish = _lowMost!;
            (_lowSince, _lowMost) = (need.Workers < Wish.Workers ? now : null, need);
            return true;
        }
    }
}
