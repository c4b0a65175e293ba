namespace Pipeline.Scheduler.Policy;

/// <summary>
/// What a pool's dispatches take beside their device time: every result is a row that PostgreSQL has to write, and a fast model on a
/// small database is bound by that. Learned from how fast one bulk dispatch of a worker ends after the other. Only forecasts reckon
/// with it; batches are made by device time.
/// </summary>
internal sealed class WriteModel
{
    /// <summary>Time of a row before anything was measured: what one connection writes on two cores.</summary>
    private const double RowNsFirst = 16_000;

    /// <summary>What takes longer is not bound by its rows, whatever it is bound by.</summary>
    private const double RowNsMax = 200_000;

    /// <summary>Fewer rows tell of the fixed time of a commit.</summary>
    private const int RowsMin = 512;

    /// <summary>Weight of a new measurement.</summary>
    private const double Weight = 0.2;

    /// <summary>A dispatch is bound by its rows when the device was busy for less of it than this.</summary>
    private const double DeviceShareMax = 0.8;

    /// <summary>Of a normal distribution 95 % lie within this many mean deviations.</summary>
    private const double DeviationsOfBand = 2.45;

    private double _deviation = 0.08;

    /// <summary>Time of a row where rows are what a worker waits for.</summary>
    public double RowNs { get; private set; } = RowNsFirst;

    /// <summary>By how much 95 % of dispatches took longer than reckoned at most, as a share.</summary>
    public double Band => DeviationsOfBand * _deviation;

    /// <summary>Time of so much work on one worker.</summary>
    public double Ns(double deviceNs, double rows) => Math.Max(deviceNs, rows * RowNs);

    /// <param name="rows">Results of a bulk dispatch.</param>
    /// <param name="deviceNs">What its batches took.</param>
    /// <param name="tookNs">From the end of the dispatch before it, or its start on an idle worker, to its own end.</param>
    public void Observe(long rows, double deviceNs, double tookNs)
    {
        if (rows < RowsMin || !(tookNs > 0) || !(deviceNs >= 0))
        {
            return;
        }

        var off = Math.Min(2, Math.Abs(tookNs - Ns(deviceNs, rows)) / Ns(deviceNs, rows));
        _deviation += Weight * (off - _deviation);
        var rowNs = tookNs / rows;
        if (rowNs < RowNs || (deviceNs < DeviceShareMax * tookNs && rowNs <= RowNsMax))
        {
            RowNs += Weight * (rowNs - RowNs);
        }
    }
}
