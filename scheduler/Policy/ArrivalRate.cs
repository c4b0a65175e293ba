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

    /// <summary>Mean gaps without an arrival that nobody takes for chance: one pause in three thousand is longer where arrivals are independent.</summary>
    private const double SilentGaps = 8;

    private readonly long[] _at = new long[Most];
    private readonly long[] _units = new long[Most];
    private long _count;
    private long _first;
    private long _unitsInWindow;
    private long _span = Span;
    private readonly Swing _swing = new();

    /// <summary>Takes an arrival in; times that run backwards count as the latest.</summary>
    /// <param name="span">How long the stretches of time are whose arrivals are compared for <see cref="Swing"/>.</param>
    public void Observe(long at, long units, long span = Span)
    {
        at = _count > 0 ? Math.Max(at, Newest) : at;
        _swing.Observe(at, span);
        _span = span;
        while (_count - _first == Most || (_count - _first >= Least && _at[_first % Most] < at - Span))
        {
            _unitsInWindow -= _units[_first++ % Most];
        }

        (_at[_count % Most], _units[_count % Most]) = (at, units);
        _unitsInWindow += units;
        _count++;
    }

    /// <summary>
    /// Arrivals per tick of 100 ns; zero while nobody knows. No more than the silence since the last one allows, as far as it is longer than the
    /// stretches that are compared, in which bunches and pauses are as usual: a stream that has ended would count for as long again as it lasted.
    /// </summary>
    public double PerTick(long now)
    {
        var oldest = _at[_first % Most];
        if (_count < ArrivalsMin || now <= oldest)
        {
            return 0;
        }

        var mean = (double)(_count - 1 - _first) / (now - oldest);
        var silence = now - Newest - _span;
        return silence > 0 ? Math.Min(mean, SilentGaps * Math.Max(1, _swing.Dispersion) / silence) : mean;
    }

    /// <summary>Units of a mean arrival, as estimated at the door.</summary>
    public double UnitsMean => _count == 0 ? 1 : Math.Max(1, (double)_unitsInWindow / (_count - _first));

    /// <summary>
    /// Deviation over mean of what comes in a stretch of time; null while nobody knows.
    /// </summary>
    public double? Swing => _swing.Deviation;

    /// <summary>
    /// The index of dispersion: the variance of what comes in such a stretch over its mean, 1 where arrivals are independent (Poisson) and
    /// while nobody knows, and never less.
    /// </summary>
    /// <param name="mean">Arrivals in a stretch, in the mean.</param>
    public double Dispersion(double mean) => Swing is { } swing ? Math.Max(1, swing * swing * mean) : 1;

    /// <summary>When the last came; 0 before the first.</summary>
    public long Newest => _count == 0 ? 0 : _at[(int)((_count - 1) % Most)];
}

/// <summary>
/// By how much arrivals in stretches of time scatter, relative to their mean: from the differences of neighbouring stretches, so that a
/// load that grows slowly does not count as scatter. It halves in about twenty stretches.
/// </summary>
internal sealed class Swing
{
    private const double Weight = 1.0 / 32;

    /// <summary>Differences before anything is known.</summary>
    private const int DifferencesMin = 8;

    private long _from;
    private long _count;
    private long _countBefore = -1;
    private double _mean;
    private double _square;
    private int _seen;

    /// <summary>Deviation over mean; null while nobody knows.</summary>
    public double? Deviation => _seen < DifferencesMin || _mean <= 0 ? null : Math.Sqrt(_square / 2) / _mean;

    /// <summary>Variance over mean of what comes in a stretch; 0 while nobody knows.</summary>
    public double Dispersion => Deviation is { } deviation ? deviation * deviation * _mean : 0;

    /// <summary>An arrival, at a time that is no earlier than the last one's.</summary>
    public void Observe(long at, long span)
    {
        if (_count == 0 && _countBefore < 0)
        {
            _from = at;
        }

        span = Math.Max(1, span);
        // After a pause a few empty stretches say as much as all of them.
        _from = Math.Max(_from, at - (DifferencesMin * span));
        for (; at - _from >= span; _from += span)
        {
            Close();
        }

        _count++;
    }

    private void Close()
    {
        if (_countBefore >= 0)
        {
            var weight = Math.Max(Weight, 1.0 / ++_seen);
            var difference = (double)(_count - _countBefore);
            _square += weight * ((difference * difference) - _square);
            _mean += weight * (((_count + _countBefore) / 2.0) - _mean);
        }

        (_countBefore, _count) = (_count, 0);
    }
}
