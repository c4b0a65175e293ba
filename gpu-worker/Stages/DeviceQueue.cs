using System.Threading.Channels;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Packed batches before the device, a bounded queue a lane. Express is taken first, always, and bulk only while what ran before it
/// is written in good time, and no express is on its way from the worker's door to here; within a lane what is run again (the halves of a batch
/// that failed) comes before what is new.
/// </summary>
internal sealed class DeviceQueue : IDisposable
{
    /// <summary>How long bulk stands back for express that has reached the worker: some times as long as that is fetched and packed in.</summary>
    private static readonly TimeSpan ExpressComesWithin = TimeSpan.FromMilliseconds(5);

    private readonly Channel<PackedWork>[] _lanes;
    private readonly Stack<PackedWork>[] _again = [new(), new()];
    private readonly ManualResetEventSlim _changed = new(false);
    private readonly Unwritten _unwritten;
    private readonly TimeProvider _time;

    /// <summary>When express reached the worker that has not come here yet; 0 where none is known to be on its way.</summary>
    private long _expressSince;

    public DeviceQueue(int batchesMax, Unwritten unwritten, TimeProvider time)
    {
        _lanes = [NewLane(batchesMax), NewLane(batchesMax)];
        (_unwritten, _time) = (unwritten, time);
        unwritten.Shrunk += _changed.Set;
    }

    /// <summary>
    /// An express dispatch has reached the worker. A bulk batch that began in the moment until it is packed would keep the device from it for
    /// many times as long.
    /// </summary>
    public void ExpressComes() => Volatile.Write(ref _expressSince, Math.Max(1, _time.GetTimestamp()));

    /// <summary>Adds a batch at the end of its lane, waiting while that is full.</summary>
    public async ValueTask AddAsync(PackedWork work, CancellationToken stop)
    {
        if (work.Lane == Lane.Express)
        {
            _unwritten.ExpressCame();
        }

        await _lanes[(int)work.Lane].Writer.WriteAsync(work, stop);
        if (work.Lane == Lane.Express)
        {
            Volatile.Write(ref _expressSince, 0);
        }

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
            var standBack = StandBack();
            var bulk = _unwritten.HasRoom && standBack <= TimeSpan.Zero;
            if ((TryTake(Lane.Express) ?? (bulk ? TryTake(Lane.Bulk) : null)) is { } work)
            {
                return work;
            }

            _changed.Wait(standBack > TimeSpan.Zero ? standBack : Timeout.InfiniteTimeSpan, stop);
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

    /// <summary>For how long bulk stands back yet.</summary>
    private TimeSpan StandBack() =>
        Volatile.Read(ref _expressSince) is var since and not 0 ? ExpressComesWithin - _time.GetElapsedTime(since) : TimeSpan.Zero;

    private PackedWork? TryTake(Lane lane) =>
        _again[(int)lane].TryPop(out var again) ? again
        : _lanes[(int)lane].Reader.TryRead(out var work) ? work
        : null;

    private static Channel<PackedWork> NewLane(int batchesMax) =>
        Channel.CreateBounded<PackedWork>(new BoundedChannelOptions(batchesMax) { SingleReader = true });
}
