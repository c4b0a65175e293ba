namespace Pipeline.Scheduler.Policy;

/// <summary>
/// What it costs that work waits when a look-ahead ends, in tasks that will be late. A longer wait leaves less slack, so smaller batches,
/// which serve less: where they serve less than what comes, the wait grows by itself until batches hold one task, in steps too small for
/// any horizon to show.
/// <para>
/// The backlog is taken to be a diffusion: it drifts by what comes less what the devices serve in batches as long as the head's slack, and
/// scatters as arrivals do. One that lets nobody wait beyond a bound loses half its variance times its density there (a reflected Brownian
/// motion: Harrison, Brownian Motion and Stochastic Flow Systems, 1985); the bound that loses the least is the best. A task more
/// costs a task beyond it, and below it the chance that the backlog comes to the bound before it is worked off (the ratio of scale
/// functions: Karlin and Taylor, A Second Course in Stochastic Processes, 1981, chapter 15).
/// </para>
/// </summary>
internal sealed class WaitCost
{
    /// <summary>Waits that are told apart.</summary>
    private const int Steps = 24;

    /// <summary>
    /// The part of a target that heads may wait without any danger: a batch of half a target fits then, which devices that come free
    /// together lead to by themselves. Measured: with a third or three fifths less of the ceiling is kept (README.md).
    /// </summary>
    private const double SafeShare = 0.5;

    /// <summary>By wait: twice the drift over the variance, summed up over the backlog; and the cost.</summary>
    private readonly double[] _sums = new double[Steps + 1];
    private readonly double[] _costs = new double[Steps + 1];

    /// <summary>The wait that costs nothing, and what lies between two waits that are told apart, in ticks; 0 while nothing costs.</summary>
    private double _safe;
    private double _step;
    private double _rate;

    /// <summary>From here on no wait costs anything.</summary>
    public void Clear() => _step = 0;

    /// <summary>From here on waits cost what they do under this load.</summary>
    public void Set(ExpressFlow flow)
    {
        Clear();
        var longest = (double)flow.Target - flow.Time.Ticks(flow.UnitsMean);
        _safe = Math.Max(SafeShare * flow.Target, flow.Devices > 0 && flow.Rate > 0 ? flow.WaitToFill(longest) : longest);
        var step = (longest - _safe) / Steps;
        if (step <= 0)
        {
            return;
        }

        Sum(flow, step);
        // Where a batch holds any number in the same time, no wait is dangerous.
        if (double.IsFinite(_sums[Steps]))
        {
            Add(Bound(), step * flow.Rate);
            (_step, _rate) = (step, flow.Rate);
        }
    }

    /// <summary>Tasks that will be late because what comes has to wait so long, in ticks, until it is first served.</summary>
    public double Of(double wait)
    {
        if (_step <= 0 || wait <= _safe)
        {
            return 0;
        }

        var at = (wait - _safe) / _step;
        var i = (int)Math.Min(at, Steps - 1);
        return at > Steps ? _costs[Steps] + ((at - Steps) * _step * _rate) : _costs[i] + ((at - i) * (_costs[i + 1] - _costs[i]));
    }

    private void Sum(ExpressFlow flow, double step)
    {
        _sums[0] = 0;
        var before = flow.Growth(_safe);
        for (var i = 1; i <= Steps; i++)
        {
            var growth = flow.Growth(_safe + (i * step));
            // A step is `step` times the rate in tasks, and the variance is the rate times the dispersion: both rates cancel.
            _sums[i] = _sums[i - 1] + ((before + growth) / flow.Dispersion * step);
            before = growth;
        }
    }

    /// <summary>The bound on the wait at which the fewest are lost.</summary>
    private int Bound()
    {
        var high = _sums.Max();
        double Density(int i) => Math.Exp(_sums[i] - high);
        var (best, fewest, all) = (Steps, double.PositiveInfinity, 0.0);
        for (var i = 1; i <= Steps; i++)
        {
            all += Density(i - 1) + Density(i);
            if (Density(i) / all < fewest)
            {
                (best, fewest) = (i, Density(i) / all);
            }
        }

        return best;
    }

    /// <param name="tasks">That come in a step.</param>
    private void Add(int bound, double tasks)
    {
        var low = _sums.Take(bound + 1).Min();
        double Scale(int i) => Math.Exp(low - _sums[i]);
        var whole = 0.0;
        for (var i = 1; i <= bound; i++)
        {
            whole += Scale(i - 1) + Scale(i);
        }

        var (part, before) = (0.0, 0.0);
        for (var i = 1; i <= Steps; i++)
        {
            part += i <= bound ? Scale(i - 1) + Scale(i) : 0;
            var chance = part / whole;
            _costs[i] = _costs[i - 1] + ((before + chance) / 2 * tasks);
            before = chance;
        }
    }
}

/// <summary>Express work that comes to equal devices, which serve it batch after batch.</summary>
/// <param name="Rate">Arrivals per tick.</param>
/// <param name="UnitsMean">Units of one, as estimated at the door.</param>
/// <param name="UnitsMax">Units that a batch may hold, beside its time.</param>
/// <param name="Target">Within which each is to be done, in ticks.</param>
/// <param name="Dispersion">The index of dispersion of what comes in a target's time (<see cref="ArrivalRate.Dispersion"/>).</param>
internal readonly record struct ExpressFlow(
    IBatchTime Time,
    int Devices,
    double Rate,
    double UnitsMean,
    double UnitsMax,
    long Target,
    double Dispersion
)
{
    private const int Halvings = 20;

    /// <summary>Tasks per tick by which the backlog grows while heads wait so long before they are served.</summary>
    public double Growth(double wait)
    {
        var units = Units(wait);
        return Rate - (Devices * units / UnitsMean / Math.Max(1, Time.Ticks(units)));
    }

    /// <summary>The wait after which as much has come as fits into a batch; after a shorter one batches hold all that has come.</summary>
    public double WaitToFill(double longest)
    {
        var (low, high) = (0.0, longest);
        for (var halving = 0; halving < Halvings; halving++)
        {
            var middle = (low + high) / 2;
            (low, high) = Rate * middle * UnitsMean < Units(middle) ? (middle, high) : (low, middle);
        }

        return high;
    }

    /// <summary>What fits into a batch whose head has waited so long.</summary>
    private double Units(double wait) => Math.Max(UnitsMean, Math.Min(Time.UnitsWithin((long)(Target - wait)), UnitsMax));
}
