namespace Pipeline.Scheduler.Policy;

/// <summary>
/// How often express work comes: a mean over the last arrivals. The express rule looks ahead with it. A rate taken too high costs
/// more than one taken too low (tasks would step aside for others that never come), so it is told a few percent low, and while few
/// have come it is zero.
/// </summary>
internal sealed class ArrivalRate
{
    /// <summary>Arrivals it is taken over: the mean of 512 Poisson arrivals is within 9 % nineteen times of twenty.</summary>
    private const int Window = 512;
    private const int ArrivalsMin = 32;
    private const double Caution = 0.97;

    private readonly long[] _at = new long[Window];
    private readonly long[] _units = new long[Window];
    private long _count;
    private long _unitsInWindow;

    /// <summary>Takes an arrival in; times that run backwards count as the latest.</summary>
    public void Observe(long at, long units)
    {
        var slot = (int)(_count % Window);
        _unitsInWindow += units - (_count >= Window ? _units[slot] : 0);
        (_at[slot], _units[slot]) = (_count > 0 ? Math.Max(at, Newest) : at, units);
        _count++;
    }

    /// <summary>Arrivals per tick of 100 ns; zero while nobody knows.</summary>
    public double PerTick(long now)
    {
        var known = Math.Min(_count, Window);
        var oldest = _at[(int)(_count > Window ? _count % Window : 0)];
        return known < ArrivalsMin || now <= oldest ? 0 : Caution * known / (now - oldest);
    }

    /// <summary>Units of a mean arrival, as estimated at the door.</summary>
    public double UnitsMean => _count == 0 ? 1 : Math.Max(1, (double)_unitsInWindow / Math.Min(_count, Window));

    /// <summary>When the last came; 0 before the first.</summary>
    public long Newest => _count == 0 ? 0 : _at[(int)((_count - 1) % Window)];
}
