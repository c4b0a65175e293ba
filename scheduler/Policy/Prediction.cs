using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>When work will be done: as expected, and at latest in 19 of 20 cases.</summary>
public readonly record struct Predicted(DateTimeOffset Completion, DateTimeOffset Late);

/// <summary>How much work is asked about.</summary>
/// <param name="Units">Of the tasks that run, as estimated at the door.</param>
/// <param name="Tasks">Tasks that run; they spread over no more workers than they are, nor than they fill batches.</param>
/// <param name="Copies">Tasks that get the result of another: no device is needed for them, but they are written as well.</param>
public readonly record struct WorkSize(long Units, long Tasks, long Copies = 0)
{
    /// <summary>Results that are written.</summary>
    public long Results => Tasks + Copies;

    /// <summary>With another task of that many units.</summary>
    public WorkSize With(long units, bool isCopy) => isCopy ? this with { Copies = Copies + 1 } : new(Units + units, Tasks + 1, Copies);
}

/// <summary>What work would take in the pool that would run it.</summary>
/// <param name="Start">When its first batch is expected to begin.</param>
/// <param name="Early">Its completion at soonest in 19 of 20 cases.</param>
/// <param name="Late">Its completion at latest in 19 of 20 cases.</param>
/// <param name="CostPico">Pico-USD of the device time it is expected to take, on all workers together; null where the pool has no price.</param>
/// <param name="CostHighPico">The same at most, in 19 of 20 cases.</param>
/// <param name="TaskCostPico">What of the expected cost is the tasks' own, without padding.</param>
public readonly record struct Estimated(
    string Pool,
    DateTimeOffset Start,
    DateTimeOffset Completion,
    DateTimeOffset Early,
    DateTimeOffset Late,
    long? CostPico,
    long? CostHighPico,
    long? TaskCostPico
)
{
    /// <summary>True when the pool has nothing to do, of whatever class or model.</summary>
    public bool IsIdle { get; init; }

    /// <summary>The same from now on: what a forecast some seconds old has starting before now, starts now.</summary>
    public Estimated NotBefore(DateTimeOffset now)
    {
        var late = now - Start;
        return late <= TimeSpan.Zero
            ? this
            : this with
            {
                Start = now,
                Completion = Moved(Completion),
                Early = Moved(Early),
                Late = Moved(Late),
            };

        DateTimeOffset Moved(DateTimeOffset at) => at < DateTimeOffset.MaxValue - late ? at + late : DateTimeOffset.MaxValue;
    }
}

/// <summary>When newly submitted work will be done, from the scheduler's last forecast. The door predicts with it at admission.</summary>
public static class Prediction
{
    /// <summary>What is added for the error of estimates where a forecast does not tell it.</summary>
    private const double BandUnknown = 0.2;

    /// <summary>
    /// The earliest completion among the pools that have the model: what is ahead of the work and the work itself, at the pool's pace.
    /// What is ahead takes <c>β + α / units per batch</c> a unit on one worker; the work itself the time of its own batches, which are dearer by the
    /// unit where they are small; and a task at least the time to write its row. Null when no live worker of any pool has the model.
    /// </summary>
    /// <param name="now">When it is asked, where that is later than the forecast (<see cref="Estimated.NotBefore"/>).</param>
    public static Predicted? Of(Forecast forecast, ModelRef model, LatencyClass latencyClass, WorkSize size, DateTimeOffset? now = null)
    {
        Predicted? earliest = null;
        foreach (var pool in forecast.Pools)
        {
            if (pool.Model == model && Estimate(forecast.At, pool, latencyClass, size) is { } estimated)
            {
                var at = estimated.NotBefore(now ?? forecast.At);
                earliest = at.Completion >= earliest?.Completion ? earliest : new(at.Completion, at.Late);
            }
        }

        return earliest;
    }

    /// <summary>
    /// Start, completion and cost where the policy would run the work: express where it is done first, the slower classes where it costs
    /// least of what is done by the deadline, and where nothing is, where it is done first. Null when no live worker has the model.
    /// </summary>
    public static Estimated? Estimate(Forecast forecast, ModelRef model, LatencyClass latencyClass, WorkSize size, DateTimeOffset deadline)
    {
        Estimated? best = null;
        foreach (var pool in forecast.Pools)
        {
            if (pool.Model == model && Estimate(forecast.At, pool, latencyClass, size) is { } one && Precedes(one, best))
            {
                best = one;
            }
        }

        return best;

        bool Precedes(Estimated one, Estimated? other) =>
            other is not { } than ? true
            : latencyClass == LatencyClass.Express || one.Late > deadline || than.Late > deadline ? one.Completion < than.Completion
            : (one.CostPico ?? long.MaxValue, one.Completion).CompareTo((than.CostPico ?? long.MaxValue, than.Completion)) < 0;
    }

    /// <summary>The same in one pool; null when it has no live worker, or beyond the end of time.</summary>
    public static Estimated? Estimate(DateTimeOffset at, PoolForecast pool, LatencyClass latencyClass, WorkSize size)
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

        var rowNs = pool.RowNs ?? 0;
        waitNs = Math.Max(waitNs, (double)(pool.TasksAhead?.ElementAtOrDefault((int)latencyClass) ?? 0) / pool.Workers * rowNs);
        waitNs = Math.Max(0, waitNs);
        var spread = Math.Clamp(Math.Min(Math.Ceiling(Batches(pool, size.Units, size.Tasks)), size.Tasks), 1, pool.Workers);
        var ownNs = OwnNs(pool, size.Units / spread, size.Tasks / spread, size.Results / spread * rowNs);
        var deviceNs = DeviceNs(pool, size.Units, size.Tasks);
        var late = 1 + Math.Max(Band(pool.ErrorBand), pool.RowBand ?? 0);
        var early = Math.Max(0, 1 - Math.Max(Band(pool.LowerBand), pool.RowBand ?? 0));
        return
            After(at, waitNs) is { } start
            && After(at, waitNs + ownNs) is { } completion
            && After(at, (waitNs + ownNs) * early) is { } earliest
            && After(at, (waitNs + ownNs) * late) is { } latest
            ? new(
                pool.Pool,
                start,
                completion,
                earliest,
                latest,
                CostOf(pool, deviceNs),
                CostOf(pool, deviceNs * (1 + Band(pool.ErrorBand))),
                CostOf(pool, deviceNs * (pool.RealShare ?? 1))
            )
            {
                IsIdle = pool.UnitsAhead.All(of => of <= 0),
            }
            : null;
    }

    /// <summary>How many batches the work fills.</summary>
    private static double Batches(PoolForecast pool, double units, double tasks) =>
        Math.Max(units / Math.Max(1, pool.UnitsPerBatch), tasks / Math.Max(1, pool.RowsPerBatch ?? double.PositiveInfinity));

    /// <summary>One worker's time for its share, when its turn has come.</summary>
    /// <param name="writeNs">What it takes to write the results, which goes on beside the device.</param>
    private static double OwnNs(PoolForecast pool, double units, double tasks, double writeNs) =>
        Math.Max(
            0,
            pool.BatchNs is null
                // Less than a batch is left over at the end, and takes a whole batch's fixed time.
                ? pool.AlphaNs + Math.Max(units * UnitNs(pool), writeNs)
                : Math.Max(DeviceNs(pool, units, tasks), writeNs)
        );

    /// <summary>Device time of one batch, in nanoseconds.</summary>
    /// <param name="units">As the door estimates them; more than a full batch's at the pace of its last unit.</param>
    public static double BatchNs(PoolForecast pool, double units)
    {
        var more = Math.Max(0, units - pool.UnitsPerBatch);
        return pool.BatchNs is { Count: > 0 } times
            ? BatchNs(times, pool.UnitsPerBatch, units - more) + (more * pool.BetaNs)
            : pool.AlphaNs + (units * pool.BetaNs);
    }

    /// <summary>Device time of the work alone: full batches, and one of what is left over.</summary>
    private static double DeviceNs(PoolForecast pool, double units, double tasks)
    {
        var batches = Batches(pool, units, tasks);
        if (pool.BatchNs is not { Count: > 0 } times)
        {
            return Math.Max(0, (Math.Ceiling(batches) * pool.AlphaNs) + (units * pool.BetaNs));
        }

        var full = Math.Floor(batches);
        var inFull = full > 0 ? units * (full / batches) : 0;
        return (full > 0 ? full * BatchNs(times, pool.UnitsPerBatch, inFull / full) : 0)
            + (batches > full ? BatchNs(times, pool.UnitsPerBatch, units - inFull) : 0);
    }

    /// <summary>Between the doublings a line; what is less than a unit takes what one does.</summary>
    private static double BatchNs(IReadOnlyList<long> times, long full, double units)
    {
        var from = (int)Math.Clamp(Math.Floor(Math.Log2(Math.Max(1, units))), 0, Math.Max(0, times.Count - 2));
        if (units <= 1 || from + 1 >= times.Count)
        {
            return times[0];
        }

        var (low, high) = (Math.Pow(2, from), from + 2 == times.Count ? Math.Max(full, Math.Pow(2, from) + 1) : Math.Pow(2, from + 1));
        return times[from] + (Math.Min(1, (units - low) / (high - low)) * (times[from + 1] - times[from]));
    }

    private static long? CostOf(PoolForecast pool, double deviceNs) =>
        pool.PricePerHourPico is { } price && price * deviceNs / TimeSpan.FromHours(1).TotalNanoseconds is < long.MaxValue and var pico
            ? (long)pico
            : null;

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

    private static double UnitNs(PoolForecast pool) => pool.BetaNs + (pool.AlphaNs / Math.Max(1, pool.UnitsPerBatch));

    private static double Band(double? told) => told is >= 0 and var band && double.IsFinite(band) ? band : BandUnknown;

    private static DateTimeOffset? After(DateTimeOffset at, double ns)
    {
        var ticks = ns / TimeSpan.NanosecondsPerTick;
        return ticks < (DateTimeOffset.MaxValue - at).Ticks ? at.AddTicks((long)ticks) : null;
    }
}
