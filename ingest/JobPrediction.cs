using Pipeline.Scheduler.Policy;

namespace Pipeline.Ingest;

/// <summary>What a job is predicted to take when it is accepted, to be held against what it took.</summary>
/// <param name="Start">When its first batch should begin; not after <paramref name="At"/>.</param>
/// <param name="At">When it should be done.</param>
/// <param name="Early">Not before that in 19 of 20 cases.</param>
/// <param name="Late">Not after that in 19 of 20 cases.</param>
/// <param name="CostPico">What its tasks should cost, in pico-USD; null where the pool has no price.</param>
/// <param name="Forecast">The same by the forecast alone.</param>
/// <param name="ForecastCostPico">The forecast's cost.</param>
internal sealed record JobPrediction(
    DateTimeOffset Start,
    DateTimeOffset At,
    DateTimeOffset Early,
    DateTimeOffset Late,
    long? CostPico,
    ForecastTime Forecast,
    long? ForecastCostPico
)
{
    /// <summary>What is assumed before anything has ended: some milliseconds for commits and messages, and that little is known of how many.</summary>
    private static readonly Correction Assumed = new(Fixed: 20_000, WaitFactor: 1, OwnFactor: 1, Low: 0.25, High: 4);

    /// <summary>
    /// The forecast's estimate, corrected by what became of the last jobs of its kind; else by what became of others, or by what is assumed, and
    /// then the band is no narrower than the forecast's own. What a forecast a few seconds old has starting before now, starts now.
    /// </summary>
    /// <param name="learned">What is known of jobs with such a forecast.</param>
    /// <returns>Null beyond the end of time.</returns>
    public static JobPrediction? Of(in Estimated estimated, Func<ForecastTime, Corrections> learned, DateTimeOffset now)
    {
        var current = estimated.NotBefore(now);
        var forecast = ForecastTime.Of(current, now);
        var corrections = learned(forecast);
        var wait = ForecastTime.UsOf(current.Start - now);
        var time = corrections.Time ?? corrections.OthersTime ?? Assumed;
        var (start, at) = (wait * time.WaitFactor, forecast.By(time));
        var (early, late) = (at * time.Low, at * time.High);
        if (corrections.Time is null)
        {
            early = Math.Min(early, ForecastTime.UsOf(current.Early - now));
            late = Math.Max(late, ForecastTime.UsOf(current.Late - now));
        }

        var cost =
            estimated.TaskCostPico is { } pico && corrections.Cost is { } known
                ? (long)Math.Min(known.At(0, pico), long.MaxValue / 2.0)
                : estimated.TaskCostPico;
        return late < (DateTimeOffset.MaxValue - now).TotalMicroseconds
            ? new JobPrediction(After(Math.Min(start, at)), After(at), After(early), After(late), cost, forecast, estimated.TaskCostPico)
            : null;

        DateTimeOffset After(double us) => now.AddTicks((long)us * TimeSpan.TicksPerMicrosecond);
    }
}

/// <summary>A forecast's time from a job's acceptance to its completion, from which the next predictions are learned.</summary>
/// <param name="WaitUs">Microseconds of it that are spent on what is ahead; null where the pool has nothing to do.</param>
/// <param name="Us">All of it.</param>
internal readonly record struct ForecastTime(long? WaitUs, long Us)
{
    /// <summary>Sorts beyond the first: forecasts up to 20 ms, 160 ms, 1.3 s, 10 s, 82 s, and longer ones.</summary>
    private const int SortsMax = 6;
    private const double ShortUs = 20_000;
    private const double Octave = 8;

    /// <summary>The work's own part.</summary>
    public long OwnUs => Us - (WaitUs ?? 0);

    /// <summary>Forecasts of a sort are alike in how far they are off: 0 where nothing is ahead, else by their length.</summary>
    public int Sort => WaitUs is null ? 0 : 1 + Length;

    /// <summary>Which of the lengths of <see cref="Sort"/>, whether anything is ahead or not.</summary>
    public int Length => (int)Math.Clamp(Math.Ceiling(Math.Log(Math.Max(1, Us) / ShortUs, Octave)), 0, SortsMax - 1);

    public static ForecastTime Of(in Estimated estimated, DateTimeOffset now)
    {
        var current = estimated.NotBefore(now);
        return new ForecastTime(current.IsIdle ? null : UsOf(current.Start - now), UsOf(current.Completion - now));
    }

    /// <summary>Microseconds, corrected.</summary>
    public double By(Correction learned) => learned.At(WaitUs ?? 0, OwnUs);

    public static long UsOf(TimeSpan span) => Math.Max(0, span.Ticks / TimeSpan.TicksPerMicrosecond);
}
