using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// Clockwork (OSDI'20): devices are predictable, so everything is planned by the clock. A batch has one of a few sizes; l(b) is the p99
/// of the last ten batches of that size, which is their largest. Work is handed to a device up to 10 ms ahead of the time f when it is
/// free. Of every model and size with enough tasks that would end in time the one goes whose latest start, d − l(b) of its first task, comes
/// first; then that model's largest size that has enough tasks takes its place. A task that even the smallest size cannot end in
/// time is dropped. Results aim to be early by a margin, 5 ms of the authors' 100 ms, and sizes that take over 25 ms are not used
/// (the smallest always is). The check of a worker that an action starts in its window is left out: simulated workers start on time.
/// Standard and bulk tasks fill up sizes behind the express ones.
/// </summary>
/// <param name="sizes">In rising order; the authors' are 1, 2, 4, 8 and 16.</param>
/// <param name="ahead">How long before it is free a device is given more.</param>
/// <param name="marginShare">The share of the express target by which results aim to be early.</param>
internal sealed class ClockworkPolicy(
    BaselineSetup setup,
    IReadOnlyList<int>? sizes = null,
    TimeSpan? ahead = null,
    double marginShare = 0.05,
    TimeSpan? sizeTimeMax = null
) : Baseline(setup)
{
    private readonly int[] _sizes = [.. sizes ?? [1, 2, 4, 8, 16]];
    private readonly long _ahead = (ahead ?? TimeSpan.FromMilliseconds(10)).Ticks;
    private readonly long _sizeTimeMax = (sizeTimeMax ?? TimeSpan.FromMilliseconds(25)).Ticks;
    private readonly Dictionary<(BaselineModel, string Pool), SizeTimes[]> _times = [];
    private readonly Dictionary<DispatchId, long> _estimates = [];
    private readonly Dictionary<BaselineDevice, long> _freeAt = [];

    private long Margin => (long)(Setup.Target(LatencyClass.Express) * marginShare);

    protected override void Decide()
    {
        while (NextFree() is { } next && HasWork())
        {
            if (next.At > Now + _ahead)
            {
                WakeAt(next.At - _ahead);
                return;
            }

            if (!Serve(next.Device, next.At))
            {
                return; // All that waited was late.
            }
        }
    }

    /// <summary>Measured times replace estimates: a batch that ended early lets what is behind it start early.</summary>
    protected override void OnEnded(BaselineFlight flight, DispatchFinished report)
    {
        _estimates.Remove(flight.Id);
        var times = TimesOf(flight.Model, flight.Device);
        foreach (var batch in report.Batches)
        {
            if (Array.IndexOf(_sizes, batch.Rows) is var size and >= 0)
            {
                times[size].See(batch.DeviceNs / TimeSpan.NanosecondsPerTick);
            }
        }

        var free = Now;
        foreach (var behind in flight.Device.Flights)
        {
            free += _estimates.GetValueOrDefault(behind.Id);
        }

        _freeAt[flight.Device] = free;
    }

    private bool HasWork()
    {
        foreach (var model in Models)
        {
            if (!model.First().IsEmpty)
            {
                return true;
            }
        }

        return false;
    }

    private (BaselineDevice Device, long At)? NextFree()
    {
        (BaselineDevice Device, long At)? next = null;
        foreach (var device in Devices)
        {
            var at = device.Flights.Count == 0 ? Now : Math.Max(Now, _freeAt.GetValueOrDefault(device));
            if (device is { Draining: false, DeclaredLost: false } && device.RestsUntil <= Now && (next is null || at < next.Value.At))
            {
                next = (device, at);
            }
        }

        return next;
    }

    private bool Serve(BaselineDevice device, long free)
    {
        (BaselineModel Model, SizeTimes[] Times, long Key)? urgent = null;
        foreach (var model in Models)
        {
            if (model.First().IsEmpty)
            {
                continue;
            }

            var times = TimesOf(model, device);
            DropLate(model, free + times[0].Ticks);
            for (var size = 0; size < _sizes.Length; size++)
            {
                var key = Place(model, times, size, free) is { } place ? DueFrom(model, place) - times[size].Ticks : long.MaxValue;
                if (key < (urgent?.Key ?? long.MaxValue))
                {
                    urgent = (model, times, key);
                }
            }
        }

        return urgent is { } strategy && SendLargest(strategy.Model, strategy.Times, device, free);
    }

    private bool SendLargest(BaselineModel model, SizeTimes[] times, BaselineDevice device, long free)
    {
        for (var size = _sizes.Length - 1; size >= 0; size--)
        {
            if (Place(model, times, size, free) is not { } place)
            {
                continue;
            }

            var batch = Batch(model).Take(model.Express, _sizes[size], place);
            while (batch.Tasks < _sizes[size])
            {
                var queue = model.Standard.Due <= model.Bulk.Due ? model.Standard : model.Bulk;
                batch.Take(queue, Math.Min(_sizes[size] - batch.Tasks, queue.Head.Waiting));
            }

            if (Send(device, batch, "clockwork.size") is { } flight)
            {
                _estimates[flight.Id] = times[size].Ticks;
                _freeAt[device] = free + times[size].Ticks;
                return true;
            }
        }

        return false;
    }

    private void DropLate(BaselineModel model, long end)
    {
        DropHeads(model.Express, c => c.Due - Margin < end);
        DropHeads(model.Standard, c => c.Due < end);
        DropHeads(model.Bulk, c => c.Due < end);
    }

    /// <summary>Where in the express queue a batch of this size starts so that it ends in time; null when too few tasks would.</summary>
    private int? Place(BaselineModel model, SizeTimes[] times, int size, long free)
    {
        if (_sizes[size] > model.TasksMax || (size > 0 && times[size].Ticks > _sizeTimeMax))
        {
            return null;
        }

        var place = FirstDueFrom(model.Express, free + times[size].Ticks + Margin);
        var tasks = model.SlackTasks();
        for (var i = place; i < model.Express.Count && tasks < _sizes[size]; i++)
        {
            tasks += model.Express[i].Waiting;
        }

        return tasks >= _sizes[size] ? place : null;
    }

    private static long DueFrom(BaselineModel model, int place)
    {
        var express = place < model.Express.Count ? model.Express[place].Due : long.MaxValue;
        return Math.Min(express, Math.Min(model.Standard.Due, model.Bulk.Due));
    }

    private static int FirstDueFrom(BaselineQueue queue, long due)
    {
        var (low, high) = (0, queue.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = queue[middle].Due < due ? (middle + 1, high) : (low, middle);
        }

        return low;
    }

    private SizeTimes[] TimesOf(BaselineModel model, BaselineDevice device)
    {
        if (!_times.TryGetValue((model, device.Pool), out var times))
        {
            _times[(model, device.Pool)] = times = [.. _sizes.Select(b => new SizeTimes(model.Latency(b, device)))];
        }

        return times;
    }

    /// <summary>The last ten times of one size; until there are ten, the profile's is one of them.</summary>
    private sealed class SizeTimes(long profiled)
    {
        private const int Kept = 10;
        private readonly long[] _last = [profiled, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        private int _next = 1;

        /// <summary>The p99 of ten is the largest.</summary>
        public long Ticks { get; private set; } = profiled;

        public void See(long ticks)
        {
            _last[_next++ % Kept] = ticks;
            Ticks = _last.Max();
        }
    }
}
