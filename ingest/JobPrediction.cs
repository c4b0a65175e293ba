using Pipeline.Scheduler.Policy;

namespace Pipeline.Ingest;

/// <summary>What a job is predicted to take when it is accepted, to be held against what it took.</summary>
/// <param name="At">When it should be done.</param>
/// <param name="Early">Not before that in 19 of 20 cases.</param>
/// <param name="Late">Not after that in 19 of 20 cases.</param>
/// <param name="CostPico">What its tasks should cost, in pico-USD; null where the pool has no price.</param>
/// <param name="ForecastUs">Microseconds from its acceptance to its completion by the forecast alone, from which the next predictions are learned.</param>
/// <param name="ForecastCostPico">The same of its cost.</param>
internal sealed record JobPrediction(
    DateTimeOffset At,
    DateTimeOffset Early,
    DateTimeOffset Late,
    long? CostPico,
    long ForecastUs,
    long? ForecastCostPico
)
{
    /// <summary>
    /// The forecast's estimate, corrected by what became of the last jobs of its kind. A forecast a few seconds old may place the end
    /// before now; nothing ends before it has begun.
    /// </summary>
    /// <returns>Null beyond the end of time.</returns>
    public static JobPrediction? Of(Estimated estimated, Corrections corrections, DateTimeOffset now)
    {
        var forecastUs = Us(estimated.Completion - now);
        var (at, early, late) = corrections.Time is { } time
            ? (time.At(forecastUs), time.At(forecastUs) * time.Low, time.At(forecastUs) * time.High)
            : (forecastUs, Us(estimated.Early - now), Us(estimated.Late - now));
        var cost =
            estimated.TaskCostPico is { } pico && corrections.Cost is { } learned
                ? (long)Math.Min(learned.At(pico), long.MaxValue / 2.0)
                : estimated.TaskCostPico;
        return late < (DateTimeOffset.MaxValue - now).TotalMicroseconds
            ? new JobPrediction(After(at), After(early), After(late), cost, (long)forecastUs, estimated.TaskCostPico)
            : null;

        static double Us(TimeSpan span) => Math.Max(0, Math.Floor(span.TotalMicroseconds));

        DateTimeOffset After(double us) => now.AddTicks((long)us * TimeSpan.TicksPerMicrosecond);
    }
}
