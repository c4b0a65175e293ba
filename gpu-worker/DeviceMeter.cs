namespace Pipeline.GpuWorker;

/// <summary>What a stretch of the device's time was spent on.</summary>
internal enum SpanKind
{
    /// <summary>It had nothing to run.</summary>
    Idle,

    /// <summary>It had nothing to run while a model was loaded and warmed for it.</summary>
    WarmUp,

    /// <summary>A batch ran, and its rows are on their way to PostgreSQL.</summary>
    Batch,

    /// <summary>Something ran for nothing.</summary>
    Waste,
}

/// <summary>A stretch of the device's time on the worker's clock, in nanoseconds since the life began.</summary>
/// <param name="Detail">What kind of waste.</param>
internal sealed record DeviceSpan(SpanKind Kind, long FromNs, long ToNs, string? Detail = null)
{
    public long Ns => ToNs - FromNs;
}

/// <summary>
/// The device's stopwatch: cuts one worker life into spans that touch, in order, from 0 on. Every nanosecond is in exactly one of
/// them; the write stage takes them from here, front to back, and books them.
/// </summary>
internal sealed class DeviceMeter(TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly long _start = time.GetTimestamp();
    private readonly Queue<DeviceSpan> _spans = new();
    private long _measuredNs;
    private bool _running;
    private int _loads;

    /// <summary>Nanoseconds since this life began, on the process's monotonic clock.</summary>
    public long NowNs => Nanoseconds(time.GetTimestamp() - _start);

    /// <summary>The device begins to run something.</summary>
    public void RunBegins()
    {
        lock (_lock)
        {
            CloseGap(NowNs);
            _running = true;
        }
    }

    /// <summary>What it ran has ended: it was a batch, or waste of some kind.</summary>
    public DeviceSpan RunEnds(string? waste = null)
    {
        lock (_lock)
        {
            _running = false;
            return Close(NowNs, waste is null ? SpanKind.Batch : SpanKind.Waste, waste);
        }
    }

    /// <summary>A model is being loaded; while nothing runs beside it, that is warm-up.</summary>
    public void LoadBegins()
    {
        lock (_lock)
        {
            CloseGap(NowNs);
            _loads++;
        }
    }

    public void LoadEnds()
    {
        lock (_lock)
        {
            CloseGap(NowNs);
            _loads--;
        }
    }

    /// <summary>Takes the front of the chain up to and with this batch.</summary>
    public void TakeThrough(DeviceSpan batch, List<DeviceSpan> to)
    {
        lock (_lock)
        {
            DeviceSpan span;
            do
            {
                span = _spans.Dequeue();
                to.Add(span);
            } while (!ReferenceEquals(span, batch));
        }
    }

    /// <summary>Takes the front of the chain up to the first batch whose rows are still on their way, or up to now.</summary>
    public void TakeGaps(List<DeviceSpan> to)
    {
        lock (_lock)
        {
            CloseGap(NowNs);
            while (_spans.TryPeek(out var span) && span.Kind != SpanKind.Batch)
            {
                to.Add(_spans.Dequeue());
            }
        }
    }

    /// <summary>Ends the stretch since the last span, unless something runs now: then it ends with that.</summary>
    private void CloseGap(long now)
    {
        if (!_running && now > _measuredNs)
        {
            Close(now, _loads > 0 ? SpanKind.WarmUp : SpanKind.Idle, null);
        }
    }

    private DeviceSpan Close(long now, SpanKind kind, string? detail)
    {
        var span = new DeviceSpan(kind, _measuredNs, now, detail);
        _spans.Enqueue(span);
        _measuredNs = now;
        return span;
    }

    private long Nanoseconds(long ticks) =>
        time.TimestampFrequency == 1_000_000_000 ? ticks : (long)((Int128)ticks * 1_000_000_000 / time.TimestampFrequency);
}
