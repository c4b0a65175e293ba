using System.Threading.Channels;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Packed batches before the device, a bounded queue a lane. Express is taken first, always, and bulk only while what ran before it
/// is written in good time; within a lane what is run again (the halves of a batch that failed) comes before what is new.
/// </summary>
internal sealed class DeviceQueue : IDisposable
{
    private readonly Channel<PackedWork>[] _lanes;
    private readonly Stack<PackedWork>[] _again = [new(), new()];
    private readonly ManualResetEventSlim _changed = new(false);
    private readonly Unwritten _unwritten;

    public DeviceQueue(int batchesMax, Unwritten unwritten)
    {
        _lanes = [NewLane(batchesMax), NewLane(batchesMax)];
        _unwritten = unwritten;
        unwritten.Shrunk += _changed.Set;
    }

    /// <summary>Adds a batch at the end of its lane, waiting while that is full.</summary>
    public async ValueTask AddAsync(PackedWork work, CancellationToken stop)
    {
        if (work.Lane == Lane.Express)
        {
            _unwritten.ExpressCame();
        }

        await _lanes[(int)work.Lane].Writer.WriteAsync(work, stop);
        _changed.Set();
    }

    /// <summary>Puts a batch in front of its lane. Only the taker may.</summary>
    public void AddAgain(PackedWork work) => _again[(int)work.Lane].Push(work);

    /// <summary>Waits for the next batch. One taker.</summary>
    /// <exception cref="OperationCanceledException">It is time to stop; what waits is left.</exception>
    public PackedWork Take(CancellationToken stop)
    {
        while (true)
        {
            // Before looking: what changes while we look wakes us.
            _changed.Reset();
            stop.ThrowIfCancellationRequested();
            if ((TryTake(Lane.Express) ?? (_unwritten.HasRoom ? TryTake(Lane.Bulk) : null)) is { } work)
            {
                return work;
            }

            _changed.Wait(stop);
        }
    }

    /// <summary>Gives up everything that waits, once nobody adds or takes any more.</summary>
    public void Dispose()
    {
        _unwritten.Shrunk -= _changed.Set;
        foreach (var lane in (ReadOnlySpan<Lane>)[Lane.Express, Lane.Bulk])
        {
            while (TryTake(lane) is { } work)
            {
                work.Discard();
            }
        }

        _changed.Dispose();
    }

    private PackedWork? TryTake(Lane lane) =>
        _again[(int)lane].TryPop(out var again) ? again
        : _lanes[(int)lane].Reader.TryRead(out var work) ? work
        : null;

    private static Channel<PackedWork> NewLane(int batchesMax) =>
        Channel.CreateBounded<PackedWork>(new BoundedChannelOptions(batchesMax) { SingleReader = true });
}
