using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// The forecast: for every pool and model the work ahead of what would be submitted now, by class. Devices are shared by models, so
/// other models' work is counted as the device time it takes, in the units of the model asked about. β is told per unit as the door
/// estimates it (padding included), so that who knows a job's units can predict its end.
/// </summary>
internal static class Outlook
{
    public static Forecast Of(
        Backlog backlog,
        Fleet fleet,
        CostBook costs,
        IReadOnlyCollection<Flight> flights,
        PolicyOptions options,
        DateTimeOffset now
    )
    {
        var alive = fleet.Workers.Where(w => w is { Heard: true, Declared: false, Draining: false }).ToList();
        var pools = alive.GroupBy(w => w.Pool).OrderBy(p => p.Key, StringComparer.Ordinal);
        var models = costs.Models.ToList();
        var rows = new List<PoolForecast>();
        foreach (var pool in pools)
        {
            var workers = pool.Count();
            var aheadNs = AheadNs(pool.Key, (double)workers / alive.Count, backlog, costs, flights, options, now.UtcTicks);
            rows.AddRange(models.Select(model => Row(pool.Key, workers, model, aheadNs, costs, options)));
        }

        return new Forecast { At = now, Pools = rows };
    }

    private static PoolForecast Row(string pool, int workers, ModelRef model, double[] aheadNs, CostBook costs, PolicyOptions options)
    {
        var cost = costs.Of(pool, model);
        var pace = costs.Pace(cost, model, options.BulkBatchTimeMax);
        var nsPerUnit = pace.Ns(1, 0);
        return new PoolForecast(
            pool,
            model,
            workers,
            [.. aheadNs.Select(ns => (long)Math.Min(ns / nsPerUnit, long.MaxValue / 4.0))],
            cost.AlphaNs,
            cost.BetaNs * cost.PaddingRatio,
            pace.UnitsPerBatch
        );
    }

    /// <summary>Device time ahead of express, standard and bulk work on one pool; each class waits for those before it.</summary>
    private static double[] AheadNs(
        string pool,
        double share,
        Backlog backlog,
        CostBook costs,
        IReadOnlyCollection<Flight> flights,
        PolicyOptions options,
        long now
    )
    {
        var ahead = new double[3];
        foreach (var queue in backlog.Queues.SelectMany(q => q))
        {
            if (queue.Tasks > 0)
            {
                var pace = costs.Pace(costs.Of(pool, queue.Model), queue.Model, options.BulkBatchTimeMax);
                ahead[(int)queue.Class] += share * pace.Ns(queue.Units, queue.Tasks);
            }
        }

        foreach (var flight in flights.Where(f => f.Pool == pool))
        {
            var ran = flight.Begun ? Math.Clamp(now - flight.StartedAt, 0, flight.EstimatedTicks) : 0;
            var ns = (double)(flight.EstimatedTicks - ran) * TimeSpan.NanosecondsPerTick;
            ahead[flight.Lane == Lane.Express ? (int)LatencyClass.Express : (int)LatencyClass.Standard] += ns;
        }

        ahead[1] += ahead[0];
        ahead[2] += ahead[1];
        return ahead;
    }
}
