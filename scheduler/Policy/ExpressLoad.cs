using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// Express work per second over about the last minute: the device time it took on each pool, and what came of each model. Express has
/// no backlog to plan by: it needs devices in proportion to how much of it comes.
/// </summary>
internal sealed class ExpressLoad
{
    /// <summary>Pools or models that are remembered; beyond it those without load are forgotten.</summary>
    private const int KeysMax = 1024;

    private readonly SortedDictionary<string, Rate> _served = new(StringComparer.Ordinal);
    private readonly Dictionary<ModelRef, (Rate Units, Rate Tasks)> _arrived = [];

    /// <summary>An express dispatch took this much device time.</summary>
    public void Observe(string pool, double deviceNs, long now)
    {
        if (!_served.TryGetValue(pool, out var rate))
        {
            foreach (var idle in _served.Count < KeysMax ? [] : _served.Where(s => s.Value.PerSecond(now) == 0).Select(s => s.Key).ToList())
            {
                _served.Remove(idle);
            }

            _served[pool] = rate = new Rate();
        }

        rate.Add(deviceNs, now);
    }

    /// <summary>An express chunk came.</summary>
    public void Arrive(ModelRef model, long units, int tasks, long now)
    {
        if (!_arrived.TryGetValue(model, out var rates))
        {
            foreach (
                var idle in _arrived.Count < KeysMax
                    ? []
                    : _arrived.Where(a => a.Value.Tasks.PerSecond(now) == 0).Select(a => a.Key).ToList()
            )
            {
                _arrived.Remove(idle);
            }

            _arrived[model] = rates = (new Rate(), new Rate());
        }

        rates.Units.Add(units, now);
        rates.Tasks.Add(tasks, now);
    }

    /// <summary>Devices of this pool that the express work of all pools would keep busy.</summary>
    /// <remarks>
    /// The larger of two: what came, in full batches, and what was served, in the batches it was served in. While devices suffice the
    /// second tells of small batches; when they do not, it stands still, and the first tells of what did not get its turn.
    /// </remarks>
    public double Devices(string pool, CostBook costs, PolicyOptions options, long now)
    {
        var here = ArrivedNs(pool, costs, options, now);
        var served = 0.0;
        foreach (var (name, rate) in _served)
        {
            if (rate.PerSecond(now) is > 0 and var ns)
            {
                var there = name == pool ? here : ArrivedNs(name, costs, options, now);
                served += there > 0 && here > 0 ? ns * here / there : ns;
            }
        }

        return Math.Max(here, served) / TimeSpan.FromSeconds(1).TotalNanoseconds;
    }

    private double ArrivedNs(string pool, CostBook costs, PolicyOptions options, long now)
    {
        var ns = 0.0;
        foreach (var model in costs.Models)
        {
            if (_arrived.TryGetValue(model, out var rates) && rates.Tasks.PerSecond(now) is > 0 and var tasks)
            {
                var cost = pool.Length > 0 ? costs.Of(pool, model) : costs.Reference(model);
                ns += costs.Pace(cost, model, options.ExpressBatchTimeMax).Ns(rates.Units.PerSecond(now), tasks);
            }
        }

        return ns;
    }
}

/// <summary>
/// An amount per second, averaged with weights that halve about every 40 s. Counted in whole seconds: the same amounts at the same times
/// give the same number, however often it is asked for.
/// </summary>
internal sealed class Rate
{
    /// <summary>Seconds the average covers.</summary>
    private const int Seconds = 60;

    /// <summary>After this long without anything it starts anew.</summary>
    private const int SecondsForgotten = 600;

    private long _second;
    private double _sum;
    private double _average;
    private int _seen;

    /// <summary>Adds to the second of this time; one that is past already counts for the newest. What cannot be is passed over.</summary>
    public void Add(double amount, long now)
    {
        if (!(amount > 0) || double.IsInfinity(amount))
        {
            return;
        }

        var second = now / TimeSpan.TicksPerSecond;
        if (second > _second)
        {
            (_average, _seen) = Until(second);
            (_second, _sum) = (second, 0);
        }

        _sum += amount;
    }

    /// <summary>The average over the seconds that are complete.</summary>
    public double PerSecond(long now) => Until(now / TimeSpan.TicksPerSecond).Average;

    private (double Average, int Seen) Until(long second)
    {
        if (_second == 0 || second - _second > SecondsForgotten)
        {
            return (0, 0);
        }

        var (average, seen, amount) = (_average, _seen, _sum);
        for (var s = _second; s < second; s++)
        {
            seen = Math.Min(seen + 1, Seconds);
            average += (amount - average) / seen;
            amount = 0;
        }

        return (average, seen);
    }
}
