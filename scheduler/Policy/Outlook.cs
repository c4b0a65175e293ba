using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// The forecast: for every pool and model the work ahead of what would be submitted now, by class. Devices are shared by models, so
/// other models' work is counted as the device time it takes, in the units of the model asked about. β is told per unit as the door
/// estimates it (padding included), so that who knows a job's units can predict its end. It is made of totals: its cost is that of the
/// pools times the models, and one pass over the workers, however long the backlog is.
/// </summary>
internal static class Outlook
{
    public static Forecast Of(Backlog backlog, Fleet fleet, CostBook costs, ExpressRule express, PolicyOptions options, DateTimeOffset now)
    {
        var loads = fleet.Loads(now.UtcTicks);
        var alive = loads.Sum(l => l.Workers);
        var models = costs.Models.ToList();
        var rows = new List<PoolForecast>(loads.Count * models.Count);
        foreach (var (pool, workers, expressTicks, bulkTicks, tasks, start) in loads)
        {
            var waiting = WaitingNs(pool.Name, (double)workers / alive, backlog, costs, options);
            waiting[(int)LatencyClass.Express] += (double)expressTicks * TimeSpan.NanosecondsPerTick;
            waiting[(int)LatencyClass.Standard] += (double)bulkTicks * TimeSpan.NanosecondsPerTick;
            var writes = costs.WritesOf(pool.Name);
            var row = new PoolForecast(pool.Name, default!, workers, [], 0, 0, 0)
            {
                PricePerHourPico = pool.PricePerHourPico,
                TasksAhead = TasksAhead((double)workers / alive, tasks, backlog),
                RowNs = writes.RowNs,
                RowBand = writes.Band,
                ExpressBatchTimeMax = options.ExpressBatchTimeMax,
                ExpressFreeAt = start < DateTimeOffset.MaxValue.UtcTicks ? new(Math.Max(start, now.UtcTicks), TimeSpan.Zero) : null,
            };
            var bulkMax = express.BulkBatchTimeMax(pool.Name, now.UtcTicks);
            foreach (var model in models.Where(pool.MayHave))
            {
                var time = express.BulkBatchTime(pool.Name, model, bulkMax).Time;
                rows.Add(Row(row with { BulkBatchTimeMax = time }, model, waiting, costs, options));
            }
        }

        return new Forecast { At = now, Pools = rows };
    }

    /// <summary>Each class waits for those before it; what bulk lanes hold is ahead of standard work, too: what is sent is not called back.</summary>
    private static PoolForecast Row(PoolForecast pool, ModelRef model, double[] waitingNs, CostBook costs, PolicyOptions options)
    {
        var cost = costs.Of(pool.Pool, model);
        var pace = costs.Pace(cost, model, options.BulkBatchTimeMax);
        var nsPerUnit = pace.Ns(1, 0);
        var ahead = new long[waitingNs.Length];
        var sum = 0.0;
        for (var i = 0; i < ahead.Length; i++)
        {
            sum += waitingNs[i];
            ahead[i] = (long)Math.Min(sum / nsPerUnit, long.MaxValue / 4.0);
        }

        return pool with
        {
            Model = model,
            UnitsAhead = ahead,
            AlphaNs = pace.AlphaNs,
            BetaNs = pace.BetaNs * cost.PaddingRatio,
            UnitsPerBatch = pace.UnitsPerBatch,
            BatchNs = BatchNs(pace),
            RowsPerBatch = pace.RowsMax,
            ErrorBand = cost.UpperBand,
            LowerBand = cost.LowerBand,
            RealShare = cost.RealShare,
        };
    }

    /// <summary>By doublings of the door's units, up to a full batch: a score of numbers however large that is.</summary>
    private static List<long> BatchNs(in Pace pace)
    {
        var times = new List<long>();
        for (var units = 1L; ; units *= 2)
        {
            var isFull = units >= pace.UnitsPerBatch;
            times.Add((long)pace.Cost.BatchNs(Math.Min(units, pace.UnitsPerBatch) * pace.Cost.PaddingRatio));
            if (isFull)
            {
                return times;
            }
        }
    }

    /// <summary>Rows that are written before those of new work: each class waits for those before it.</summary>
    private static long[] TasksAhead(double share, long inFlight, Backlog backlog)
    {
        var ahead = new long[3];
        foreach (var queue in backlog.Queues.SelectMany(queues => queues))
        {
            ahead[(int)queue.Class] += (long)(share * queue.Tasks);
        }

        ahead[(int)LatencyClass.Standard] += inFlight;
        ahead[1] += ahead[0];
        ahead[2] += ahead[1];
        return ahead;
    }

    /// <summary>Device time of what waits in each class, as far as it falls to this pool: its share of all live workers.</summary>
    private static double[] WaitingNs(string pool, double share, Backlog backlog, CostBook costs, PolicyOptions options)
    {
        var waiting = new double[3];
        foreach (var queues in backlog.Queues)
        {
            foreach (var queue in queues)
            {
                if (queue.Tasks > 0)
                {
                    var pace = costs.Pace(costs.Of(pool, queue.Model), queue.Model, options.BulkBatchTimeMax);
                    waiting[(int)queue.Class] += share * pace.Ns(queue.Units, queue.Tasks);
                }
            }
        }

        return waiting;
    }
}
