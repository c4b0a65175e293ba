using System.Threading.Channels;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Stages;

/// <summary>
/// Packed batches before the device, a bounded queue a lane. Express is taken first, always; within a lane what is run again (the
/// halves of a batch that failed) comes before what is new.
/// </summary>
internal sealed class DeviceQueue(int batchesMax) : IDisposable
{
    private readonly Channel<PackedWork>[] _lanes = [NewLane(batchesMax), NewLane(batchesMax)];
    private readonly Stack<PackedWork>[] _again = [new(), new()];
    private readonly SemaphoreSlim _ready = new(0);

    /// <summary>Adds a batch at the end of its lane, waiting while that is full.</summary>
    public async ValueTask AddAsync(PackedWork work, CancellationToken stop)
    {
        await _lanes[(int)work.Lane].Writer.WriteAsync(work, stop);
        _ready.Release();
    }

    /// <summary>Puts a batch in front of its lane. Only the taker may.</summary>
    public void AddAgain(PackedWork work)
    {
        _again[(int)work.Lane].Push(work);
        _ready.Release();
    }

    /// <summary>Waits for the next batch. One taker.</summary>
    /// <exception cref="OperationCanceledException">It is time to stop; what waits is left.</exception>
    public PackedWork Take(CancellationToken stop)
    {
        _ready.Wait(stop);
        return TryTake(Lane.Express) ?? TryTake(Lane.Bulk) ?? throw new InvalidOperationException("The device was promised a batch.");
    }

    /// <summary>Gives up everything that waits, once nobody adds or takes any more.</summary>
    public void Dispose()
    {
        foreach (var lane in (ReadOnlySpan<Lane>)[Lane.Express, Lane.Bulk])
        {
            while (TryTake(lane) is { } work)
            {
                work.Discard();
            }
        }

        _ready.Dispose();
    }

    private PackedWork? TryTake(Lane lane) =>
        _again[(int)lane].TryPop(out var again) ? again
        : _lanes[(int)lane].Reader.TryRead(out var work) ? work
        : null;

    private static Channel<PackedWork> NewLane(int batchesMax) =>
        Channel.CreateBounded<PackedWork>(new BoundedChannelOptions(batchesMax) { SingleReader = true });
}
