using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>When newly submitted work will be done, from the scheduler's last forecast. The door predicts with it at admission.</summary>
public static class Prediction
{
    /// <summary>
    /// The earliest completion among the pools that have the model: what is ahead of the work and the work itself, at the pool's pace.
    /// A unit takes <c>β + α / units per batch</c> on one worker. Null when no live worker of any pool has the model.
    /// </summary>
    /// <param name="units">Units of the new work.</param>
    public static DateTimeOffset? Completion(Forecast forecast, ModelRef model, LatencyClass latencyClass, long units)
    {
        DateTimeOffset? earliest = null;
        foreach (var pool in forecast.Pools)
        {
            if (pool.Model == model && Completion(forecast.At, pool, latencyClass, units) is { } at && !(at >= earliest))
            {
                earliest = at;
            }
        }

        return earliest;
    }

    /// <summary>Completion in one pool; null when it has no live worker.</summary>
    public static DateTimeOffset? Completion(DateTimeOffset at, PoolForecast pool, LatencyClass latencyClass, long units)
    {
        if (pool.Workers <= 0)
        {
            return null;
        }

        var ahead = (int)latencyClass < pool.UnitsAhead.Count ? pool.UnitsAhead[(int)latencyClass] : 0;
        var unitNs = pool.BetaNs + (pool.AlphaNs / Math.Max(1, pool.UnitsPerBatch));

        // Less than a batch is left over at the end, and takes a whole batch's fixed time.
        var deviceNs = pool.AlphaNs + (((double)ahead + units) * unitNs / pool.Workers);
        var ticks = deviceNs / TimeSpan.NanosecondsPerTick;
        return ticks < (DateTimeOffset.MaxValue - at).Ticks ? at.AddTicks((long)Math.Max(0, ticks)) : null;
    }
}
