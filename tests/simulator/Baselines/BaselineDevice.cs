using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Simulator.Baselines;

/// <summary>A worker's device as a baseline sees it. A baseline gives it one batch at a time, decided when it is free.</summary>
/// <param name="no">Its number in order of being seen: the total order of devices.</param>
internal sealed class BaselineDevice(WorkerId id, int no)
{
    public WorkerId Id { get; } = id;
    public int No { get; } = no;
    public string Pool { get; set; } = "";
    public string Provider { get; set; } = "";
    public long PricePerHourPico { get; set; }
    public HashSet<ModelRef> Loaded { get; } = [];
    private IReadOnlyList<LoadedModel>? _said;
    public bool Draining { get; set; }

    /// <summary>What it was sent and has not ended, in order of sending.</summary>
    public List<BaselineFlight> Flights { get; } = [];

    /// <summary>It gets nothing before this time: it handed something back unasked.</summary>
    public long RestsUntil { get; set; }

    public long SeenAt { get; set; }

    /// <summary>Heartbeats heard.</summary>
    public int Beats { get; set; }

    public bool DeclaredLost { get; set; }

    /// <summary>Takes over what a heartbeat says is loaded.</summary>
    public void Load(IReadOnlyList<LoadedModel> models)
    {
        if (!ReferenceEquals(models, _said))
        {
            _said = models;
            Loaded.Clear();
            Loaded.UnionWith(models.Select(m => m.Model));
        }
    }

    /// <summary>When what it was sent should have ended; in the past when it is free.</summary>
    public long BusyUntil => Flights.Count == 0 ? long.MinValue : Flights[^1].EndsAt;
}

/// <summary>A batch that was sent. Times are UTC ticks.</summary>
/// <param name="Due">When its most urgent task is due.</param>
/// <param name="EndsAt">When it should end by the latency table.</param>
internal sealed record BaselineFlight(
    DispatchId Id,
    BaselineDevice Device,
    BaselineModel Model,
    Lane Lane,
    IReadOnlyList<(BaselineChunk Chunk, TaskRange Range)> Slices,
    int Tasks,
    long Due,
    long SentAt,
    long EndsAt
)
{
    /// <summary>Set by a policy that stopped it: what comes back then is no fault of the device.</summary>
    public bool Preempted { get; set; }

    public LatencyClass Class => Slices[0].Chunk.Class;
}

/// <summary>What waits for one model, in a queue for each class, and what its batches cost.</summary>
internal sealed class BaselineModel(ModelRef model, QueueOrder order)
{
    private readonly Dictionary<string, LatencyTable> _tables = [];
    private LatencyTable _table = new(null);

    public ModelRef Ref { get; } = model;
    public BaselineQueue Express { get; } = new(order);
    public BaselineQueue Standard { get; } = new(order);
    public BaselineQueue Bulk { get; } = new(order);

    /// <summary>Tasks that a batch may hold.</summary>
    public int TasksMax { get; private set; } = int.MaxValue;

    /// <summary>Padded units of a task: learned, since a batch is padded to its longest. 1 where profiles count rows.</summary>
    public double UnitsPerTask { get; private set; }

    public BaselineQueue Queue(LatencyClass latencyClass) =>
        latencyClass switch
        {
            LatencyClass.Express => Express,
            LatencyClass.Standard => Standard,
            _ => Bulk,
        };

    /// <summary>Takes a profile; where several pools were measured each keeps its own, and the first stands for the others.</summary>
    public void Profile(ModelProfile? profile, LimitSpec limits)
    {
        var table = new LatencyTable(profile);
        _table = _tables.Count == 0 ? table : _table;
        _tables[profile?.Provider ?? ""] = table;
        TasksMax = Math.Max(1, limits.BatchRowsMax);
    }

    public void SeeChunk(in ChunkHeader chunk) =>
        UnitsPerTask = UnitsPerTask > 0 ? UnitsPerTask : Math.Max(1, (double)chunk.Units / Math.Max(1, chunk.Tasks));

    /// <summary>About the last 50 batches count.</summary>
    public void SeeBatch(BatchFact batch)
    {
        if (batch is { Rows: > 0, PaddedUnits: > 0 })
        {
            UnitsPerTask += 0.02 * (((double)batch.PaddedUnits / batch.Rows) - UnitsPerTask);
        }
    }

    /// <summary>l(b): ticks that a batch of so many tasks takes.</summary>
    public long Latency(int tasks, BaselineDevice? device = null) =>
        (long)Math.Round(TableFor(device).Ticks(tasks * Math.Max(1, UnitsPerTask)));

    /// <summary>The most tasks of a batch that takes at most so many ticks; 0 when not even one fits.</summary>
    public int TasksWithin(long ticks, BaselineDevice? device = null)
    {
        var units = TableFor(device).Units(ticks + 0.5);
        var tasks = (int)Math.Clamp(units / Math.Max(1, UnitsPerTask), 0, TasksMax);
        return tasks < TasksMax && Latency(tasks + 1, device) <= ticks ? tasks + 1 : tasks;
    }

    private LatencyTable TableFor(BaselineDevice? device) =>
        device is not null && _tables.TryGetValue(device.Provider, out var table) ? table : _table;
}
