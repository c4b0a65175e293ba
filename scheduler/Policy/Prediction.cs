using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>When work will be done: as expected, and at latest in 19 of 20 cases.</summary>
public readonly record struct Predicted(DateTimeOffset Completion, DateTimeOffset Late);

/// <summary>When newly submitted work will be done, from the scheduler's last forecast. The door predicts with it at admission.</summary>
public static class Prediction
{
    /// <summary>What is added for the error of estimates where a forecast does not tell it.</summary>
    private const double BandUnknown = 0.2;

    /// <summary>
    /// The earliest completion among the pools that have the model: what is ahead of the work and the work itself, at the pool's pace.
    /// A unit takes <c>β + α / units per batch</c> on one worker. Null when no live worker of any pool has the model.
    /// </summary>
    /// <param name="units">Units of the new work, as estimated at the door.</param>
    /// <param name="tasks">Its tasks: it never spreads over more workers than it has tasks, nor than it fills batches.</param>
    public static Predicted? Of(Forecast forecast, ModelRef model, LatencyClass latencyClass, long units, long tasks)
    {
        Predicted? earliest = null;
        foreach (var pool in forecast.Pools)
        {
            if (
                pool.Model == model
                && Of(forecast.At, pool, latencyClass, units, tasks) is { } at
                && !(at.Completion >= earliest?.Completion)
            )
            {
                earliest = at;
            }
        }

        return earliest;
    }

    /// <summary>Completion in one pool; null when it has no live worker, or beyond the end of time.</summary>
    public static Predicted? Of(DateTimeOffset at, PoolForecast pool, LatencyClass latencyClass, long units, long tasks)
    {
        if (pool.Workers <= 0)
        {
            return null;
        }

        var ahead = (int)latencyClass < pool.UnitsAhead.Count ? pool.UnitsAhead[(int)latencyClass] : 0;
        var waitNs = (double)ahead / pool.Workers * UnitNs(pool);
        if (latencyClass == LatencyClass.Express && pool.ExpressFreeAt is { } free)
        {
            // Nothing of its class may be ahead, and yet it waits for the batch that is on the device.
            waitNs = Math.Max(waitNs, (free - at).TotalNanoseconds);
        }

        // Less than a batch is left over at the end, and takes a whole batch's fixed time.
        var batches = Math.Ceiling((double)units / Math.Max(1, pool.UnitsPerBatch));
        var spread = Math.Clamp(Math.Min(batches, tasks), 1, pool.Workers);
        var ownNs = pool.AlphaNs + (units / spread * UnitNs(pool));
        var expected = Math.Max(0, waitNs) + Math.Max(0, ownNs);
        return After(at, expected) is { } completion && After(at, expected * (1 + Band(pool))) is { } late ? new(completion, late) : null;
    }

    /// <summary>
    /// The earliest that any order of work could have it done: all workers of all pools that have the model run it together, behind
    /// express work alone, which goes first at every batch. Null when there is no such worker.
    /// </summary>
    public static DateTimeOffset? AtBest(Forecast forecast, ModelRef model, LatencyClass latencyClass, long units)
    {
        var unitsPerNs = 0.0;
        var aheadNs = double.MaxValue;
        var alphaNs = double.MaxValue;
        foreach (var pool in forecast.Pools)
        {
            if (pool.Model == model && pool.Workers > 0)
            {
                var ahead = latencyClass > LatencyClass.Express && pool.UnitsAhead.Count > 0 ? pool.UnitsAhead[0] : 0;
                unitsPerNs += pool.Workers / Math.Max(1e-9, UnitNs(pool));
                aheadNs = Math.Min(aheadNs, ahead * UnitNs(pool) / pool.Workers);
                alphaNs = Math.Min(alphaNs, pool.AlphaNs);
            }
        }

        return unitsPerNs > 0 ? After(forecast.At, aheadNs + Math.Max(alphaNs, units / unitsPerNs)) : null;
    }

    /// <inheritdoc cref="Of(Forecast, ModelRef, LatencyClass, long, long)"/>
    public static DateTimeOffset? Completion(Forecast forecast, ModelRef model, LatencyClass latencyClass, long units) =>
        Of(forecast, model, latencyClass, units, long.MaxValue)?.Completion;

    /// <summary>Completion in one pool; null when it has no live worker.</summary>
    public static DateTimeOffset? Completion(DateTimeOffset at, PoolForecast pool, LatencyClass latencyClass, long units) =>
        Of(at, pool, latencyClass, units, long.MaxValue)?.Completion;

    private static double UnitNs(PoolForecast pool) => pool.BetaNs + (pool.AlphaNs / Math.Max(1, pool.UnitsPerBatch));

    private static double Band(PoolForecast pool) => pool.ErrorBand is >= 0 and var band && double.IsFinite(band) ? band : BandUnknown;

    private static DateTimeOffset? After(DateTimeOffset at, double ns)
    {
        var ticks = ns / TimeSpan.NanosecondsPerTick;
        return ticks < (DateTimeOffset.MaxValue - at).Ticks ? at.AddTicks((long)ticks) : null;
    }
}
