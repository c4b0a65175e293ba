using System.Runtime.InteropServices;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// What nobody can beat, not even knowing all arrivals: a bound from above on the tasks of one model that end within one target, on
/// identical devices which run a batch of b tasks, all of them arrived, in l(b) without a break.
/// <para>
/// One device: exact (<see cref="OneDevice"/>). Several: the least of three bounds (<see cref="Attained"/>): all tasks; N times what
/// one device makes of the whole list, since what each device runs is a schedule of one device; and <see cref="Fluid"/>, which gives
/// every task the cheapest share of a batch that any window of its neighbours allows, and lets devices divide work like water.
/// Times are ticks (100 ns), or any unit that all of them share.
/// </para>
/// </summary>
internal static class ClairvoyantBound
{
    /// <param name="arrivals">When each task came, in order.</param>
    /// <param name="target">A task is attained when its batch ends no later than this after it came.</param>
    /// <param name="latency">l(1), l(2), … up to the largest batch a device takes.</param>
    public static int Attained(ReadOnlySpan<long> arrivals, long target, ReadOnlySpan<long> latency, int devices)
    {
        var one = OneDevice(arrivals, target, latency);
        return devices == 1
            ? one
            : (int)Math.Min(Math.Min(arrivals.Length, (long)devices * one), Fluid(arrivals, target, latency, devices));
    }

    /// <summary>
    /// The most tasks one device can attain, exactly. Some best schedule runs its tasks in order of arrival, and every batch is a run
    /// of neighbours: swapping two batches' tasks into order moves no arrival behind a start and no due time before an end (targets
    /// are equal), and among all batches of b tasks that end with task i the last b are due latest. So a state is (tasks looked at,
    /// attained, device free): from it either the next task is given up or it heads a batch. For each number looked at only states
    /// count that no other dominates by being free as early with more attained, and a device that is free before the next arrival is
    /// as good as one free at it; that leaves about as many states as tasks fit into one target.
    /// </summary>
    public static int OneDevice(ReadOnlySpan<long> arrivals, long target, ReadOnlySpan<long> latency)
    {
        var ring = new Front[latency.Length + 1];
        for (var i = 0; i < ring.Length; i++)
        {
            ring[i] = new Front();
        }

        ring[0].Offer(0, long.MinValue);
        for (var i = 0; i < arrivals.Length; i++)
        {
            var front = ring[i % ring.Length];
            var states = front.Pareto(arrivals[i]);
            foreach (var (attained, free) in states)
            {
                ring[(i + 1) % ring.Length].Offer(attained, free);
                for (var b = 1; b <= latency.Length && i + b <= arrivals.Length; b++)
                {
                    var last = arrivals[i + b - 1];
                    if (last > arrivals[i] + target)
                    {
                        break;
                    }

                    var end = Math.Max(free, last) + latency[b - 1];
                    if (end <= arrivals[i] + target)
                    {
                        ring[(i + b) % ring.Length].Offer(attained + b, end);
                    }
                }
            }

            front.Clear();
        }

        return ring[arrivals.Length % ring.Length].Most;
    }

    /// <summary>
    /// A bound by relaxing. A task that is attained shares its batch, of b say, with tasks that came within target − l(b) of each
    /// other, so it takes at least c = min l(b)/b of device time over all b that such a window around it allows. Let it take just c,
    /// anywhere between arrival and due time, cut into any parts, on all devices at once, and let part of a task count as part: what
    /// attains the most is then found greedily. Work that can be done of any set of tasks, serving the earliest due first, is a
    /// matroid's rank, and a unit of work is worth 1/c tasks; so the cheapest tasks come first, and each price adds what its tasks
    /// can still add.
    /// </summary>
    public static int Fluid(ReadOnlySpan<long> arrivals, long target, ReadOnlySpan<long> latency, int devices)
    {
        var shares = Shares(arrivals, target, latency);
        var attained = 0.0;
        var before = 0.0;
        foreach (var price in new SortedSet<double>(shares.Where(double.IsFinite)))
        {
            var work = WorkWithin(arrivals, target, shares, price, devices);
            attained += (work - before) / price;
            before = work;
        }

        return (int)Math.Floor(attained + 1e-6);
    }

    /// <summary>The least device time each task can take; infinite where it can run in no batch at all.</summary>
    private static double[] Shares(ReadOnlySpan<long> arrivals, long target, ReadOnlySpan<long> latency)
    {
        var shares = new double[arrivals.Length];
        shares.AsSpan().Fill(double.PositiveInfinity);
        for (var b = 1; b <= latency.Length; b++)
        {
            var share = (double)latency[b - 1] / b;
            var done = 0;
            for (var first = 0; first + b <= arrivals.Length; first++)
            {
                if (arrivals[first + b - 1] - arrivals[first] + latency[b - 1] > target)
                {
                    continue;
                }

                for (done = Math.Max(done, first); done < first + b; done++)
                {
                    shares[done] = Math.Min(shares[done], share);
                }
            }
        }

        return shares;
    }

    /// <summary>Work that all devices together can do of the tasks up to this price, the earliest due first.</summary>
    private static double WorkWithin(ReadOnlySpan<long> arrivals, long target, double[] shares, double priceMax, int devices)
    {
        var work = 0.0;
        var now = double.NegativeInfinity;
        for (var i = 0; i < arrivals.Length; i++)
        {
            if (shares[i] <= priceMax)
            {
                now = Math.Max(now, arrivals[i]);
                var done = Math.Clamp((arrivals[i] + target - now) * devices, 0, shares[i]);
                work += done;
                now += done / devices;
            }
        }

        return work;
    }

    /// <summary>For each number of attained tasks the earliest time the device can be free.</summary>
    private sealed class Front
    {
        private readonly List<long> _free = [];
        private readonly List<(int, long)> _pareto = [];
        private int _low;

        public int Most => _low + _free.Count - 1;

        public void Offer(int attained, long free)
        {
            if (_free.Count == 0)
            {
                _low = attained;
            }

            for (; attained < _low; _low--)
            {
                _free.Insert(0, long.MaxValue);
            }

            while (attained > Most)
            {
                _free.Add(long.MaxValue);
            }

            _free[attained - _low] = Math.Min(_free[attained - _low], free);
        }

        /// <summary>Those states that are worth going on from: the more attained, the later free, and none free before now.</summary>
        public ReadOnlySpan<(int Attained, long Free)> Pareto(long now)
        {
            _pareto.Clear();
            var earliest = long.MaxValue;
            for (var k = _free.Count - 1; k >= 0 && earliest > now; k--)
            {
                if (_free[k] < earliest)
                {
                    earliest = Math.Max(_free[k], now);
                    _pareto.Add((_low + k, earliest));
                }
            }

            return CollectionsMarshal.AsSpan(_pareto);
        }

        public void Clear() => _free.Clear();
    }
}
