namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Rows that have run and are not committed. Where PostgreSQL is slower than the device they would pile up, and an answer to whoever
/// waits, which is committed in its turn, would come behind them all. So where express comes, the device takes no further bulk batch
/// while writing them would take longer than <paramref name="timeMax"/>. Small commits cost a tenth of the throughput then; where no
/// express comes nothing is bounded here.
/// </summary>
internal sealed class Unwritten(TimeSpan timeMax, TimeProvider time)
{
    /// <summary>Express that came this long ago may come again.</summary>
    private static readonly TimeSpan ExpressRemembered = TimeSpan.FromMinutes(1);

    /// <summary>Smaller commits tell of their fixed cost: only that a row takes no longer.</summary>
    private const int RowsMeasuredMin = 256;

    /// <summary>Weight of a new measurement.</summary>
    private const double Weight = 0.2;

    private readonly Lock _lock = new();
    private long _rows;
    private double _ticksPerRow;
    private long? _expressAt;

    /// <summary>Rows were committed, or given up.</summary>
    public event Action? Shrunk;

    /// <summary>Rows that have run and are not committed.</summary>
    public long Rows
    {
        get
        {
            lock (_lock)
            {
                return _rows;
            }
        }
    }

    /// <summary>True while more bulk may run; always when nothing waits to be written.</summary>
    public bool HasRoom
    {
        get
        {
            lock (_lock)
            {
                return _rows * _ticksPerRow < timeMax.Ticks || _expressAt is not { } at || time.GetElapsedTime(at) > ExpressRemembered;
            }
        }
    }

    /// <summary>Somebody waits for an answer.</summary>
    public void ExpressCame()
    {
        lock (_lock)
        {
            _expressAt = time.GetTimestamp();
        }
    }

    public void Add(int rows)
    {
        lock (_lock)
        {
            _rows += rows;
        }
    }

    /// <param name="took">How long the commit took that succeeded, not waiting for a server that was away; null when they were given up.</param>
    public void Remove(int rows, TimeSpan? took)
    {
        lock (_lock)
        {
            _rows -= rows;
            if (took is { } time && rows > 0 && (double)time.Ticks / rows is var ticks && (rows >= RowsMeasuredMin || ticks < _ticksPerRow))
            {
                _ticksPerRow = _ticksPerRow == 0 ? ticks : _ticksPerRow + (Weight * (ticks - _ticksPerRow));
            }
        }

        Shrunk?.Invoke();
    }
}
