using Pipeline.Contracts;

namespace Pipeline.Migrations;

/// <summary>What is counted of the tasks and jobs of a span of time; each is a column of the tables of <see cref="SlaTables"/>.</summary>
public enum SlaCount
{
    /// <summary>Tasks by outcome.</summary>
    Succeeded,
    Failed,
    Expired,
    Cancelled,

    /// <summary>Of the failed, those by a fault of their client.</summary>
    ClientFaults,

    /// <summary>Of the succeeded, those done within their class's target.</summary>
    Within,

    /// <summary>The succeeded by their time from acceptance to result: at most 100, 500, 800, 1000 ms, and more; each apart.</summary>
    Band100,
    Band500,
    Band800,
    Band1000,
    BandMore,

    /// <summary>Of the succeeded, results that were made for another task: of the same job, and from the tenant's cache.</summary>
    ReusedJob,
    ReusedCache,

    /// <summary>Model executions.</summary>
    Ran,

    /// <summary>Units of these, what the device ran with padding (rounded for each chunk's tasks of a batch), and the tasks of the batch each was in.</summary>
    Units,
    PaddedUnits,
    BatchRows,

    /// <summary>Pico-USD: what they cost, what is charged (rounded down for each chunk's tasks of a batch), and what reuse saved.</summary>
    CostPico,
    PricePico,
    SavedPico,

    /// <summary>Jobs that ended by themselves.</summary>
    JobsCompleted,
    JobsExpired,

    /// <summary>Of the completed, those done within their class's target.</summary>
    JobsWithin,
}

/// <summary>What is kept as a histogram; each is a column. Of tasks that succeeded, and of jobs that completed.</summary>
public enum SlaTime
{
    /// <summary>From acceptance to the worker, from there to the device, on the device, and from there to the write of the result.</summary>
    Queued,
    Staged,
    Device,
    Writing,

    /// <summary>From acceptance to the write of the result: the four together.</summary>
    Total,

    /// <summary>From a job's acceptance to its first result, and to its end.</summary>
    FirstResult,
    JobTotal,
}

/// <summary>What sums are kept by.</summary>
/// <param name="Model">The version that ran, <c>name@version</c>; of a job the version it was accepted for.</param>
public readonly record struct SlaKey(TenantId Tenant, LatencyClass Class, string Model);

/// <summary>Counts and histograms of some span of time. They add up: of parts to the whole, exactly.</summary>
public sealed class SlaSums
{
    /// <summary>The bounds of the bands, in microseconds: what people perceive as instant, prompt, noticeable, and a pause.</summary>
    public static readonly IReadOnlyList<long> BandsUs = [100_000, 500_000, 800_000, 1_000_000];

    public static readonly IReadOnlyList<SlaCount> Counts = Enum.GetValues<SlaCount>();
    public static readonly IReadOnlyList<SlaTime> Times = Enum.GetValues<SlaTime>();

    private readonly long[] _counts = new long[Counts.Count];
    private readonly LatencyHistogram[] _times = [.. Times.Select(_ => new LatencyHistogram())];

    public long this[SlaCount count]
    {
        get => _counts[(int)count];
        set => _counts[(int)count] = value;
    }

    public LatencyHistogram this[SlaTime time] => _times[(int)time];

    /// <summary>Tasks that the service answers for: that were not cancelled, and did not fail by their client's fault.</summary>
    public long Answerable => this[SlaCount.Succeeded] + this[SlaCount.Failed] - this[SlaCount.ClientFaults] + this[SlaCount.Expired];

    /// <summary>All tasks that ended.</summary>
    public long Ended => this[SlaCount.Succeeded] + this[SlaCount.Failed] + this[SlaCount.Expired] + this[SlaCount.Cancelled];

    /// <summary>Jobs that the service answers for.</summary>
    public long Jobs => this[SlaCount.JobsCompleted] + this[SlaCount.JobsExpired];

    public void Add(SlaSums other)
    {
        for (var i = 0; i < _counts.Length; i++)
        {
            _counts[i] += other._counts[i];
        }

        for (var i = 0; i < _times.Length; i++)
        {
            _times[i].Add(other._times[i]);
        }
    }

    public static SlaSums Total(IEnumerable<SlaSums> parts)
    {
        var total = new SlaSums();
        foreach (var part in parts)
        {
            total.Add(part);
        }

        return total;
    }

    /// <summary>Adds tasks that succeeded and have these times.</summary>
    public void AddSucceeded(LatencyClass latencyClass, long tasks, long queuedUs, long stagedUs, long deviceUs, long totalUs)
    {
        this[SlaTime.Queued].Add(queuedUs, tasks);
        this[SlaTime.Staged].Add(stagedUs, tasks);
        this[SlaTime.Device].Add(deviceUs, tasks);
        this[SlaTime.Writing].Add(WritingUs(queuedUs, stagedUs, deviceUs, totalUs), tasks);
        this[SlaTime.Total].Add(totalUs, tasks);
        this[SlaCount.Band100 + BandOf(totalUs)] += tasks;
        this[SlaCount.Within] += totalUs <= TargetUs(latencyClass) ? tasks : 0;
    }

    /// <summary>Adds a job that ended by itself.</summary>
    public void AddJob(LatencyClass latencyClass, bool completed, long? firstResultUs, long totalUs)
    {
        if (!completed)
        {
            this[SlaCount.JobsExpired]++;
            return;
        }

        this[SlaCount.JobsCompleted]++;
        this[SlaCount.JobsWithin] += totalUs <= TargetUs(latencyClass) ? 1 : 0;
        this[SlaTime.JobTotal].Add(totalUs);
        if (firstResultUs is { } first)
        {
            this[SlaTime.FirstResult].Add(first);
        }
    }

    /// <summary>What is left of the whole: the writer's queue, and making the rows. The commit itself is not in any of the times.</summary>
    public static long WritingUs(long queuedUs, long stagedUs, long deviceUs, long totalUs) =>
        Math.Max(0, totalUs - queuedUs - stagedUs - deviceUs);

    /// <summary>The place of a time among the bands, from 0.</summary>
    public static int BandOf(long totalUs)
    {
        var band = 0;
        while (band < BandsUs.Count && totalUs > BandsUs[band])
        {
            band++;
        }

        return band;
    }

    public static long TargetUs(LatencyClass latencyClass) =>
        LatencyClasses.Defaults[latencyClass].Target.Ticks / TimeSpan.TicksPerMicrosecond;
}
