using System.Numerics;
using Pipeline.Contracts;
using Pipeline.Simulator.Fleet;

namespace Pipeline.Simulator;

/// <summary>Times counted in buckets of about 1 % width (a power of two in 64 parts), so that percentiles need little memory.</summary>
internal sealed class Spread
{
    private const int Parts = 64;
    private readonly long[] _buckets = new long[60 * Parts];
    private double _sum;

    public long Count { get; private set; }
    public long Max { get; private set; }
    public double Mean => Count == 0 ? 0 : _sum / Count;

    public void Add(long ticks, long times = 1)
    {
        ticks = Math.Max(0, ticks);
        _buckets[Bucket(ticks)] += times;
        _sum += (double)ticks * times;
        Count += times;
        Max = Math.Max(Max, ticks);
    }

    /// <summary>The time that this share of all stays within, to a bucket's middle.</summary>
    public double Quantile(double share)
    {
        var rank = (long)Math.Ceiling(share * Count);
        var seen = 0L;
        for (var i = 0; i < _buckets.Length; i++)
        {
            seen += _buckets[i];
            if (seen >= rank && seen > 0)
            {
                return Math.Min(Max, (Low(i) + Low(i + 1)) / 2);
            }
        }

        return Max;
    }

    private static int Bucket(long ticks)
    {
        if (ticks < 2 * Parts)
        {
            return (int)ticks;
        }

        var shift = BitOperations.Log2((ulong)ticks) - 6;
        return (shift * Parts) + (int)(ticks >> shift);
    }

    private static double Low(int bucket)
    {
        if (bucket < 2 * Parts)
        {
            return bucket;
        }

        var shift = (bucket / Parts) - 1;
        return (double)(bucket - (shift * Parts)) * Math.Pow(2, shift);
    }
}

/// <summary>What became of one class's tasks, of those that were accepted in the measured time.</summary>
internal sealed class ClassMeasures
{
    public long Submitted { get; set; }

    /// <summary>Ended successfully by their due time.</summary>
    public long Attained { get; set; }

    /// <summary>Ended successfully, too late.</summary>
    public long Late { get; set; }

    /// <summary>Ended otherwise: expired, dropped, failed.</summary>
    public long Dropped { get; set; }

    /// <summary>Had no result by their deadline: what an admitted bulk task must never be while there is capacity.</summary>
    public long Starved { get; set; }

    /// <summary>From acceptance to result, of those that succeeded.</summary>
    public Spread Wait { get; } = new();

    /// <summary>Units that ran to their end in the measured time, whenever they were accepted.</summary>
    public long UnitsDone { get; set; }
    public long TasksDone { get; set; }

    public double Attainment => Submitted == 0 ? 1 : (double)Attained / Submitted;
}

/// <summary>What a pool's devices did in the measured time.</summary>
internal sealed class PoolMeasures(string name, int workers, long pricePerHourPico)
{
    public string Name { get; } = name;
    public int Workers { get; } = workers;
    public long PricePerHourPico { get; } = pricePerHourPico;
    public long BusyTicks { get; set; }

    /// <summary>Device time whose work was lost: preempted, crashed, or of tasks that had ended otherwise.</summary>
    public long WastedTicks { get; set; }
    public long Batches { get; set; }
    public long Tasks { get; set; }

    public double BusySeconds => (double)BusyTicks / TimeSpan.TicksPerSecond;
    public double WastedSeconds => (double)WastedTicks / TimeSpan.TicksPerSecond;
    public double CostUsd => BusySeconds / 3600 * PricePerHourPico / Cost.PicoPerUsd;
}

/// <summary>Counts as the world goes.</summary>
internal sealed class Measures(WorldOptions options, long startAt)
{
    private readonly long _from = startAt + options.MeasureFrom.Ticks;
    private readonly long _until = options.MeasureUntil > TimeSpan.Zero ? startAt + options.MeasureUntil.Ticks : long.MaxValue;

    public ClassMeasures[] Classes { get; } = [new(), new(), new()];
    public PoolMeasures[] Pools { get; } = [.. options.Pools.Select(p => new PoolMeasures(p.Name, p.Workers, p.PricePerHourPico))];

    /// <summary>Tasks of all time, counted or not: the sums that have to close.</summary>
    public long TasksSubmitted { get; private set; }
    public long TasksEnded { get; private set; }
    public long FirstCounted { get; private set; } = long.MaxValue;
    public long LastCounted { get; private set; }

    public void Submit(LatencyClass latencyClass, long queuedAt, int tasks)
    {
        TasksSubmitted += tasks;
        if (IsMeasured(queuedAt))
        {
            Classes[(int)latencyClass].Submitted += tasks;
            FirstCounted = Math.Min(FirstCounted, queuedAt);
            LastCounted = Math.Max(LastCounted, queuedAt);
        }
    }

    public void Succeed(in SimChunk chunk, long at, int tasks, long units)
    {
        TasksEnded += tasks;
        var counts = Classes[(int)chunk.Class];
        if (IsMeasured(at))
        {
            counts.UnitsDone += units;
            counts.TasksDone += tasks;
        }

        if (!IsMeasured(chunk.QueuedAt))
        {
            return;
        }

        counts.Wait.Add(at - chunk.QueuedAt, tasks);
        counts.Starved += at > chunk.Deadline ? tasks : 0;
        if (at <= chunk.Due)
        {
            counts.Attained += tasks;
        }
        else
        {
            counts.Late += tasks;
        }
    }

    public void Drop(LatencyClass latencyClass, long queuedAt, int tasks)
    {
        TasksEnded += tasks;
        if (IsMeasured(queuedAt))
        {
            Classes[(int)latencyClass].Dropped += tasks;
            Classes[(int)latencyClass].Starved += tasks;
        }
    }

    public void Busy(int pool, long from, long to, int tasks, bool wasted)
    {
        var ticks = Math.Max(0, Math.Min(to, _until) - Math.Max(from, _from));
        var measures = Pools[pool];
        measures.BusyTicks += ticks;
        measures.WastedTicks += wasted ? ticks : 0;
        if (IsMeasured(to) && !wasted)
        {
            measures.Batches++;
            measures.Tasks += tasks;
        }
    }

    private bool IsMeasured(long at) => at >= _from && at < _until;
}
