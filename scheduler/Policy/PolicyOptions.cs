using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>The bounds the policy plans within. Every default stands beside its option; the service checks the ranges when it starts.</summary>
internal sealed record PolicyOptions
{
    /// <summary>A worker that was silent for this long is lost. Heartbeats come every second, so three may be missed.</summary>
    public TimeSpan WorkerLostAfter { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>A dispatch that a living worker has not listed for this long is lost: two heartbeats, and the way of the message.</summary>
    public TimeSpan DispatchUnlistedAfter { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Device time of one batch on the bulk lane: what an express task waits for at most.</summary>
    public TimeSpan BulkBatchTimeMax { get; init; } = TimeSpan.FromMilliseconds(250);

    /// <summary>Device time of one batch on the express lane.</summary>
    public TimeSpan ExpressBatchTimeMax { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// Estimated device time of a bulk dispatch. What is dispatched is never moved, so it bounds how long a decision binds;
    /// a second amortises messages and database trips (a few ms each) to nothing.
    /// </summary>
    public TimeSpan DispatchTimeTarget { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Estimated device time of an express dispatch.</summary>
    public TimeSpan ExpressDispatchTimeMax { get; init; } = TimeSpan.FromMilliseconds(250);

    /// <summary>
    /// An express dispatch is sent this long before its device is expected to be free: the way of the message, and of the report of
    /// the one before, which comes after its commit.
    /// </summary>
    public TimeSpan ExpressLead { get; init; } = TimeSpan.FromMilliseconds(10);

    /// <summary>How much of the cost model's error band (95 % of batches are within it) is kept free before an express task is due.</summary>
    public double ExpressBandShare { get; init; } = 1;

    /// <summary>
    /// While bulk has the devices, an express batch may wait for company for this share of its target: the more
    /// travel together, the more device time is left for bulk. 0 sends each as soon as a lane takes it, and holds none back until the
    /// bulk batch on the device is about to end.
    /// </summary>
    public double ExpressDeferShare { get; init; } = 0.5;

    /// <summary>The longest it waits for company, however long its target is: who waits for an answer notices.</summary>
    public TimeSpan ExpressDeferMax { get; init; } = TimeSpan.FromMilliseconds(20);

    /// <summary>
    /// The share of express tasks that may step aside so that the rest make their target. 1: as many as it takes. What could not make
    /// it anyhow is not counted.
    /// </summary>
    public double ExpressRelegateShareMax { get; init; } = 1;

    /// <summary>
    /// True for fleets that pay for device time by use, or hand it back when idle: express then waits for company on idle devices as
    /// well. False where an idle device costs as much as a busy one: express goes out at once there.
    /// </summary>
    public bool DeviceTimePaidByUse { get; init; }

    /// <summary>
    /// A dispatch that is not full is staged only when the one before it is about to end. Decided earlier, a trickle of small jobs
    /// would travel one by one; decided later, the device would wait for the fetch.
    /// </summary>
    public TimeSpan StageLead { get; init; } = TimeSpan.FromMilliseconds(300);

    /// <summary>Slices a dispatch holds at most. Small jobs merge: 256 of ten tasks each still make a message of 30 kB.</summary>
    public int SlicesMax { get; init; } = 256;

    /// <summary>Tasks a dispatch holds at most: 64 full chunks.</summary>
    public int TasksMax { get; init; } = 64 * ChunkPayload.TasksMax;

    /// <summary>Dispatches a worker's lane holds at most: one runs, one is staged.</summary>
    public int DispatchesPerLaneMax { get; init; } = 2;

    /// <summary>How often a dispatch's tasks are planned again, each time in smaller dispatches, after it faulted.</summary>
    public int FaultsMax { get; init; } = 3;

    /// <summary>Chunks that one decision ends.</summary>
    public int EndingChunksMax { get; init; } = 64;

    /// <summary>Decisions that end tasks and are not carried out yet.</summary>
    public int EndingsOpenMax { get; init; } = 4;

    /// <summary>Pause before an ending that failed is tried again.</summary>
    public TimeSpan EndingRetryAfter { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>What loading a model is taken to cost when workers are compared.</summary>
    public TimeSpan LoadTimeGuess { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>A model that a worker could not load is tried there again after this, then after twice as long, and so on.</summary>
    public TimeSpan LoadRetryFirst { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>The longest such pause.</summary>
    public TimeSpan LoadRetryMax { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Longest pause of a lane that hands everything back without running it; the first pause is a 32nd of it.</summary>
    public TimeSpan RefusalPauseMax { get; init; } = TimeSpan.FromSeconds(8);

    /// <summary>
    /// How fast the later chunks of a large job fall due, in its own device time. With 2 a job that has run for a minute stands
    /// where a job stands that was submitted a minute later, so no small job waits for a large one's end.
    /// </summary>
    public double PaceSpread { get; init; } = 2;

    /// <summary>Shares of tenants inside a class, relative to each other; who is not named has 1.</summary>
    public IReadOnlyDictionary<TenantId, double> TenantWeights { get; init; } = new Dictionary<TenantId, double>();

    /// <summary>Workers one pool can have: what a cheaper pool cannot hold is wished for of the next.</summary>
    public int PoolWorkersMax { get; init; } = 1000;

    /// <summary>How often the wish for workers is judged.</summary>
    public TimeSpan DesiredWorkersEvery { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How long fewer workers must have sufficed before fewer are wished for.</summary>
    public TimeSpan DesiredWorkersHold { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>The shortest time in which a new worker helps; work due sooner is counted as due then.</summary>
    public TimeSpan DesiredWorkersLeadMin { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Devices wished for per device that express keeps busy: 1.25 leaves them 80 % busy.</summary>
    public double DesiredExpressHeadroom { get; init; } = 1.25;

    /// <summary>What the latency classes promise.</summary>
    /// <remarks>Copies of the defaults: what is configured is written into them.</remarks>
    public IReadOnlyDictionary<LatencyClass, LatencyClassOptions> Classes { get; init; } =
        LatencyClasses.Defaults.ToDictionary(c => c.Key, c => c.Value with { });
}
