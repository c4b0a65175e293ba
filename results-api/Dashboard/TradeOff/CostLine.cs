namespace Pipeline.ResultsApi.Dashboard.TradeOff;

/// <summary>
/// What a batch of a model takes on a pool's device, as the scheduler reckons it: α + β · units, padding included in β. Throughput rises with the batch and
/// so does the time that whoever rides in it waits: the one curve that fleet and callers share.
/// </summary>
/// <param name="UnitsPerTask">Mean.</param>
public sealed record CostLine(double AlphaNs, double BetaNs, double UnitsPerTask)
{
    /// <summary>Larger batches are not reckoned with.</summary>
    public const int RowsMax = 65_536;

    private double NsPerTask => Math.Max(BetaNs * UnitsPerTask, 1e-3);

    public TimeSpan BatchTime(double rows) => TimeSpan.FromMicroseconds((AlphaNs + (NsPerTask * rows)) / 1000);

    /// <summary>Tasks a second of one worker that does nothing else; finite also where a batch takes less than a <see cref="TimeSpan"/> tells.</summary>
    public double Throughput(double rows) => rows / (AlphaNs + (NsPerTask * rows)) * 1e9;

    /// <summary>Pico-USD of 1,000 tasks on a worker that is never idle.</summary>
    public double PicoPerThousand(double rows, double pricePerHourPico) => pricePerHourPico / 3600 / Throughput(rows) * 1000;

    /// <summary>The largest batch that takes no longer; at least one task.</summary>
    public int RowsWithin(TimeSpan time) => (int)Math.Clamp((time.TotalNanoseconds - AlphaNs) / NsPerTask, 1, RowsMax);

    /// <summary>The smallest batch with which so many workers keep up with what arrives; null where none is large enough.</summary>
    public int? RowsFor(double tasksPerSecond, int workers)
    {
        // n / (α + βn) ≥ rate  ⇔  n ≥ α · rate / (1 − β · rate), while β · rate < 1.
        var rate = tasksPerSecond / workers / 1e9;
        var rest = 1 - (NsPerTask * rate);
        var rows = rest <= 0 ? double.PositiveInfinity : Math.Max(1, Math.Ceiling((AlphaNs * rate / rest) - 1e-9));
        return rows <= RowsMax ? (int)rows : null;
    }
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
    public static WhatIf Of(CostLine line, TimeSpan batchTimeMax, int workers, double priceOfHourPico, double tasksPerSecond)
    {
        var most = line.RowsWithin(batchTimeMax);
        var capacity = workers * line.Throughput(most);
        var rows = line.RowsFor(tasksPerSecond, workers);
        var served = Math.Min(tasksPerSecond, capacity);
        return new WhatIf(
            most,
            rows <= most ? rows : null,
            capacity,
            tasksPerSecond / capacity,
            served >= TasksPerSecondMin ? workers * priceOfHourPico / 3600 / served * 1000 : null,
            (int)Math.Max(1, Math.Ceiling(tasksPerSecond / line.Throughput(most)))
        );
    }
}
