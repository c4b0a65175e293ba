using Pipeline.Contracts;

namespace Pipeline.Tests.Integration.Transport;

/// <summary>One message of every kind, with every field set to something that a careless serializer would change.</summary>
internal static class MessageSamples
{
    private static readonly DateTimeOffset Now = new(2026, 5, 4, 3, 2, 1, 987, TimeSpan.Zero);

    public static ChunkSubmitted Chunk(string model = "language-id", LatencyClass latencyClass = LatencyClass.Bulk) =>
        new()
        {
            Job = JobId.New(Now),
            No = 7,
            Tenant = TenantId.New(Now),
            Model = new ModelRef(model, "1.0.0"),
            Class = latencyClass,
            Deadline = Now.AddHours(24),
            QueuedAt = Now,
            FirstSeq = 3584,
            Tasks = 512,
            Units = 5_000_000_000,
            UnitsMax = 511,
        };

    public static Dispatch Dispatch(WorkerId worker, Lane lane) =>
        new()
        {
            Id = DispatchId.New(Now),
            Epoch = 12,
            Worker = worker,
            Lane = lane,
            Model = new ModelRef("a.b", "2"),
            Slices = [new Slice(JobId.New(Now), 0, 1, 2), new Slice(JobId.New(Now), 3, 0, 512)],
            BatchTimeMax = TimeSpan.FromTicks(1_234_567),
            PaddedUnitsMax = 65_536,
            CommitRowsMax = 8,
            Reason = "bulk.full",
        };

    public static DispatchFinished Finished(WorkerId worker) =>
        new()
        {
            Id = DispatchId.New(Now),
            Epoch = 12,
            Worker = worker,
            Lane = Lane.Express,
            Model = new ModelRef("a", "2"),
            Slices =
            [
                new SliceReport(JobId.New(Now), 0, 1, 2, SliceOutcome.Done),
                new SliceReport(JobId.New(Now), 4, 0, 1, SliceOutcome.HandedBack),
            ],
            Batches = [new BatchFact(32, 1000, 1024, 5_000_000_000)],
        };

    public static WorkerHeartbeat Heartbeat(WorkerId worker, bool draining = false) =>
        new()
        {
            Worker = worker,
            Name = "w-1",
            Pool = "default",
            Provider = "cpu",
            Device = "a device",
            PricePerHourPico = Cost.PicoPerUsd,
            UptimeNs = long.MaxValue / 3,
            Models = [new LoadedModel(new ModelRef("a", "2"), "cpu", 1_000_000)],
            MemoryBudgetBytes = 1L << 33,
            Epoch = 12,
            Held = [new HeldDispatch(DispatchId.New(Now), 11, Lane.Bulk, true, [new Slice(JobId.New(Now), 0, 0, 10)])],
            Draining = draining,
        };

    public static Forecast Forecast() =>
        new() { At = Now, Pools = [new PoolForecast("default", new ModelRef("a", "2"), 3, [1, 2, 3], 1.5, 0.25, 4096)] };

    /// <summary>All kinds.</summary>
    public static IReadOnlyList<object> All(WorkerId worker) =>
        [
            Chunk(),
            new ChunksSubmitted { Chunks = [Chunk(), Chunk()] },
            Dispatch(worker, Lane.Bulk),
            Finished(worker),
            Heartbeat(worker),
            new SchedulerTick { Instance = Guid.NewGuid(), SentAt = Now },
            new SchedulerChanged { Epoch = 13, Instance = Guid.NewGuid() },
            new JobChanged { Job = JobId.New(Now), Change = JobChange.Resumed },
            new HoldsChanged(),
            Forecast(),
            new AskJobDecisions { Job = JobId.New(Now), Most = 64 },
        ];
}
