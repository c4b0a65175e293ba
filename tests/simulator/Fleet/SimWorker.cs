using Pipeline.Contracts;

namespace Pipeline.Simulator.Fleet;

/// <summary>A worker's place in the fleet. When its process dies, another life takes the place under another id.</summary>
internal sealed class SimWorker(int slot, int pool, PoolSpec spec)
{
    private readonly List<SimDispatch>[] _lanes = [new(2), new(2)];

    public int Slot { get; } = slot;
    public int Pool { get; } = pool;
    public PoolSpec Spec { get; } = spec;
    public uint Life { get; private set; } = 1;
    public WorkerId Id { get; private set; } = Numbers.Worker(1, slot);
    public bool Alive { get; set; } = true;
    public bool[] Loaded { get; } = [.. Enumerable.Repeat(spec.Warm, spec.Devices.Count)];

    /// <summary>Whose batch is on the device.</summary>
    public SimDispatch? Running { get; set; }
    public long BatchStart { get; set; }
    public long BatchEnd { get; set; }
    public long BatchNs { get; set; }

    /// <summary>Its last heartbeat, without what it holds.</summary>
    public WorkerHeartbeat? Beat { get; set; }

    /// <summary>Counts batches that began, so that the foreseen end of one that was stopped is known for stale.</summary>
    public int Turn { get; set; }

    public List<SimDispatch> Lane(Lane lane) => _lanes[(int)lane];

    /// <summary>At every batch boundary the express lane goes first.</summary>
    public SimDispatch? Next =>
        _lanes[0].Count > 0 ? _lanes[0][0]
        : _lanes[1].Count > 0 ? _lanes[1][0]
        : null;

    /// <summary>Another process takes the place.</summary>
    public void Restart()
    {
        Id = Numbers.Worker(++Life, Slot);
        Alive = true;
        Beat = null;
        Array.Fill(Loaded, Spec.Warm && Spec.LoadTime == TimeSpan.Zero);
    }
}
