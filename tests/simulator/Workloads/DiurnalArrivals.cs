namespace Pipeline.Simulator.Workloads;

/// <summary>
/// Poisson arrivals whose rate swings once over a period, from low at its start to high in its middle: candidates at the highest rate
/// are kept with the probability of the moment (thinning; Lewis and Shedler, 1979). Day-long public traces are not to be had, so the
/// curve is modelled.
/// </summary>
/// <param name="swing">Share of the mean that the rate rises and falls by, 0 to 1.</param>
internal sealed class DiurnalArrivals(Kind kind, double meanPerSecond, double swing, TimeSpan period, long count, ulong seed) : IArrivals
{
    private readonly Chance _chance = Chance.For(seed, 401);
    private readonly double _gapTicks = TimeSpan.TicksPerSecond / (meanPerSecond * (1 + swing));
    private double _at;
    private long _sent;

    public bool Next(out Submission submission)
    {
        submission = default;
        if (_sent >= count)
        {
            return false;
        }

        do
        {
            _at += _gapTicks * _chance.Exponential();
        } while (_chance.Uniform() * (1 + swing) > 1 - (swing * Math.Cos(2 * Math.PI * _at / period.Ticks)));

        submission = kind.At((long)_at, (int)(_sent++ % int.MaxValue));
        return true;
    }
}
