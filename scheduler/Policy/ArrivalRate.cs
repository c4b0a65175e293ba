namespace Pipeline.Scheduler.Policy;

/// <summary>
/// How often express work comes: a mean over the last arrivals. The express rule looks ahead with it; while few have come it is zero.
/// </summary>
internal sealed class ArrivalRate
{
    /// <summary>
    /// Arrivals it is taken over: those of the last second, so that a burst is not taken to last (the mean of gaps that vary four times as
    /// much as Poisson's needs thousands), but at least 512 (of Poisson arrivals their mean is within 9 % nineteen times of twenty).
    /// </summary>
    private const int Most = 4096;
    private const int Least = 512;
    private const long Span = TimeSpan.TicksPerSecond;
    private const int ArrivalsMin = 32;

    private readonly long[] _at = new long[Most];
    private readonly long[] _units = new long[Most];
    private long _count;
    private long _first;
    private long _unitsInWindow;

    /// <summary>Takes an arrival in; times that run backwards count as the latest.</summary>
    public void Observe(long at, long units)
    {
        at = _count > 0 ? Math.Max(at, Newest) : at;
        while (_count - _first == Most || (_count - _first >= Least && _at[_first % Most] < at - Span))
        {
            _unitsInWindow -= _units[_first++ % Most];
        }

        (_at[_count % Most], _units[_count % Most]) = (at, units);
        _unitsInWindow += units;
        _count++;
    }

    /// <summary>Arrivals per tick of 100 ns; zero while nobody knows.</summary>
    public double PerTick(long now)
    {
        var oldest = _at[_first % Most];
        return _count < ArrivalsMin || now <= oldest ? 0 : (double)(_count - 1 - _first) / (now - oldest);
    }

    /// <summary>Units of a mean arrival, as estimated at the door.</summary>
    public double UnitsMean => _count == 0 ? 1 : Math.Max(1, (double)_unitsInWindow / (_count - _first));

    /// <summary>When the last came; 0 before the first.</summary>
    public long Newest => _count == 0 ? 0 : _at[(int)((_count - 1) % Most)];
}
