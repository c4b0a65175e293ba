using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.ResultsApi.Dashboard.TradeOff;

/// <summary>
/// What batches of a model take on a pool's device, as the scheduler's last forecast has it, padding included. Throughput rises with the batch and so
/// does the time that whoever rides in it waits: the one curve that fleet and callers share.
/// </summary>
/// <param name="unitsPerTask">Mean.</param>
public sealed class BatchCurve(PoolForecast pool, double unitsPerTask)
{
    /// <summary>Larger batches are not reckoned with.</summary>
    private const int RowsLimit = 65_536;

    /// <summary>Tasks of the largest batch that the model takes.</summary>
    public int RowsMax { get; } = Math.Clamp(pool.RowsPerBatch ?? RowsLimit, 1, RowsLimit);

    public TimeSpan BatchTime(double rows) => TimeSpan.FromMicroseconds(BatchNs(rows) / 1000);

    /// <summary>Tasks a second of one worker that does nothing else; finite also where a batch takes less than a <see cref="TimeSpan"/> tells.</summary>
    public double Throughput(double rows) => rows / BatchNs(rows) * 1e9;

    /// <summary>Pico-USD of 1,000 tasks on a worker that is never idle.</summary>
    public double PicoPerThousand(double rows, double pricePerHourPico) => pricePerHourPico / 3600 / Throughput(rows) * 1000;

    /// <summary>The largest batch that takes no longer; at least one task.</summary>
    public int RowsWithin(TimeSpan time)
    {
        var (least, most) = (1, RowsMax);
        while (least < most)
        {
            var middle = least + ((most - least + 1) / 2);
            (least, most) = BatchNs(middle) <= time.TotalNanoseconds ? (middle, most) : (least, middle - 1);
        }

        return least;
    }

    /// <summary>The smallest batch with which so many workers keep up with what arrives; null where none is large enough.</summary>
    public int? RowsFor(double tasksPerSecond, int workers)
    {
        var rate = tasksPerSecond / workers * (1 - 1e-9);
        return Enumerable.Range(1, RowsMax).Where(rows => Throughput(rows) >= rate).Select(rows => (int?)rows).FirstOrDefault();
    }

    private double BatchNs(double rows) => Math.Max(Prediction.BatchNs(pool, rows * unitsPerTask), rows * 1e-3);
}

/// <summary>What would be if: the answer to the sliders.</summary>
/// <param name="RowsMax">The largest batch within the time cap.</param>
/// <param name="Rows">The smallest that keeps up with the arrivals; null where even the largest does not.</param>
/// <param name="Busy">Part of the workers' time that the arrivals need with the largest batch; above 1 the backlog grows.</param>
/// <param name="PicoPerThousand">What 1,000 tasks cost with the workers as many as they are, idle time included.</param>
public sealed record WhatIf(int RowsMax, int? Rows, double Capacity, double Busy, double? PicoPerThousand, int WorkersNeeded)
{
    /// <summary>Fewer arrivals are none: what one of them would cost cannot be written down.</summary>
    private const double TasksPerSecondMin = 1e-6;

    /// <param name="priceOfHourPico">Of one worker.</param>
    public static WhatIf Of(BatchCurve curve, TimeSpan batchTimeMax, int workers, double priceOfHourPico, double tasksPerSecond)
    {
        var most = curve.RowsWithin(batchTimeMax);
        var capacity = workers * curve.Throughput(most);
        var rows = curve.RowsFor(tasksPerSecond, workers);
        var served = Math.Min(tasksPerSecond, capacity);
        return new WhatIf(
            most,
            rows <= most ? rows : null,
            capacity,
            tasksPerSecond / capacity,
            served >= TasksPerSecondMin ? workers * priceOfHourPico / 3600 / served * 1000 : null,
            (int)Math.Max(1, Math.Ceiling(tasksPerSecond / curve.Throughput(most)))
        );
    }
}
