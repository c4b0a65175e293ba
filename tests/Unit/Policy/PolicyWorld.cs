using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Tests.Unit.Policy;

/// <summary>A planner with a clock of its own and short words for facts; a test mentions only what matters to it.</summary>
internal sealed class PolicyWorld
{
    public static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    public static readonly ModelRef Model = new("language-id", "1.0.0");
    public static readonly TenantId Tenant = new(new Guid("00000000-0000-7000-8000-000000000001"));
    private int _ids;

    public PolicyWorld(PolicyOptions? options = null, long epoch = 1)
    {
        Options = options ?? new PolicyOptions();
        Planner = new Planner(Options, epoch, Now);
    }

    public PolicyOptions Options { get; }
    public Planner Planner { get; }
    public DateTimeOffset Now { get; private set; } = Start;

    /// <summary>A model whose batches take 1 ms and 1 µs a unit: 249,000 units fit 250 ms, a second is about a million units.</summary>
    public static ModelProfile Profile { get; } =
        new()
        {
            Provider = "cpu",
            Device = "test",
            Points = [],
            AlphaNs = 1_000_000,
            BetaNs = 1000,
            BatchDrift = 0,
            MemoryBytes = 1,
        };

    public PolicyWorld Knows(ModelRef? model = null, ModelProfile? profile = null)
    {
        Observe(
            new ModelProfileKnown(model ?? Model, profile ?? Profile, new LimitSpec { BatchRowsMax = 4096, PaddedUnitsMax = 1_000_000 })
        );
        return this;
    }

    public void Observe(Fact fact) => Planner.Observe(fact, Now);

    public IReadOnlyList<Decision> Plan() => Planner.Plan(Now);

    /// <summary>The dispatches of a plan.</summary>
    public IReadOnlyList<Dispatch> Sends() => [.. Plan().OfType<SendDispatch>().Select(s => s.Dispatch)];

    /// <summary>Lets time pass in steps shorter than a heartbeat, so that the planner does not think that it slept.</summary>
    public void Wait(TimeSpan time)
    {
        for (var left = time; left > TimeSpan.Zero; left -= TimeSpan.FromSeconds(1))
        {
            Now += left < TimeSpan.FromSeconds(1) ? left : TimeSpan.FromSeconds(1);
            if (left > TimeSpan.FromSeconds(1))
            {
                Unplanned.AddRange(Plan());
            }
        }
    }

    /// <summary>What was decided while time passed.</summary>
    public List<Decision> Unplanned { get; } = [];

    public JobId Job() => new(new Guid($"00000000-0000-7000-8000-{++_ids:d12}"));

    public WorkerId Worker(params ModelRef[] loaded)
    {
        var id = new WorkerId(new Guid($"00000000-0000-7000-9000-{++_ids:d12}"));
        Beat(id, loaded: loaded.Length > 0 ? loaded : [Model]);
        return id;
    }

    public void Beat(
        WorkerId worker,
        long epoch = 1,
        bool draining = false,
        IReadOnlyList<HeldDispatch>? held = null,
        IReadOnlyList<ModelRef>? loaded = null,
        string pool = "default"
    ) => Observe(new WorkerSeen(Heartbeat(worker, epoch, draining, held, loaded, pool)));

    public static WorkerHeartbeat Heartbeat(
        WorkerId worker,
        long epoch = 1,
        bool draining = false,
        IReadOnlyList<HeldDispatch>? held = null,
        IReadOnlyList<ModelRef>? loaded = null,
        string pool = "default"
    ) =>
        new()
        {
            Worker = worker,
            Name = "w",
            Pool = pool,
            Provider = "cpu",
            Device = "test",
            PricePerHourPico = Cost.PicoPerUsd,
            UptimeNs = 1,
            Models = [.. (loaded ?? [Model]).Select(m => new LoadedModel(m, "cpu", 1))],
            MemoryBudgetBytes = 1,
            Epoch = epoch,
            Held = held ?? [],
            Draining = draining,
        };

    public ChunkHeader Chunk(
        JobId? job = null,
        int no = 0,
        int tasks = 512,
        int unitsPerTask = 100,
        LatencyClass latencyClass = LatencyClass.Bulk,
        TimeSpan? deadline = null,
        ModelRef? model = null,
        int attempts = 0,
        int? remaining = null,
        long? units = null
    )
    {
        var header = new ChunkHeader(
            job ?? Job(),
            no,
            Tenant,
            model ?? Model,
            latencyClass,
            Now + (deadline ?? TimeSpan.FromHours(24)),
            Now,
            tasks,
            units ?? (long)tasks * unitsPerTask,
            unitsPerTask,
            remaining ?? tasks,
            attempts
        );
        Observe(new ChunkArrived(header));
        return header;
    }

    /// <summary>The worker ran all of it.</summary>
    public void Finish(Dispatch dispatch, SliceOutcome outcome = SliceOutcome.Done, params BatchFact[] batches) =>
        Observe(new DispatchEnded(Report(dispatch, outcome, batches)));

    /// <summary>The worker could not load the model.</summary>
    public void NotLoaded(Dispatch dispatch) =>
        Observe(new DispatchEnded(Report(dispatch, SliceOutcome.HandedBack) with { NotLoaded = "the file is damaged" }));

    public static DispatchFinished Report(Dispatch dispatch, SliceOutcome outcome, params BatchFact[] batches) =>
        new()
        {
            Id = dispatch.Id,
            Epoch = dispatch.Epoch,
            Worker = dispatch.Worker,
            Lane = dispatch.Lane,
            Model = dispatch.Model,
            Slices = [.. dispatch.Slices.Select(s => new SliceReport(s.Job, s.No, s.First, s.Count, outcome))],
            Batches = batches,
        };

    public static HeldDispatch Held(Dispatch dispatch, bool begun = true) =>
        new(dispatch.Id, dispatch.Epoch, dispatch.Lane, begun, dispatch.Slices);
}
