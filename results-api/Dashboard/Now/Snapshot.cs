using Pipeline.Hosting;
using Pipeline.ResultsApi.Alerts;

namespace Pipeline.ResultsApi.Dashboard.Now;

/// <summary>Where everything stands at one moment; rates are over <see cref="Window"/> before it.</summary>
public sealed record Snapshot
{
    public static readonly TimeSpan Window = TimeSpan.FromMinutes(5);

    public required DateTimeOffset At { get; init; }

    /// <summary>How many alerts fire, by severity, the worst first; those without any are left out.</summary>
    public required IReadOnlyList<(Severity Severity, long Alerts)> Firing { get; init; }
    public required IReadOnlyList<ClassNow> Classes { get; init; }
    public required IReadOnlyList<PoolNow> Pools { get; init; }

    public required DueNow Due { get; init; }

    /// <summary>The last hour, minute by minute, oldest first.</summary>
    public required IReadOnlyList<MinuteNow> Minutes { get; init; }
}

/// <summary>One latency class.</summary>
/// <param name="OpenJobs">Jobs that have not ended; of them <paramref name="PausedJobs"/> are held back.</param>
/// <param name="Waiting">Tasks without a result.</param>
/// <param name="OldestAt">When the longest-waiting job that is not held back was accepted.</param>
/// <param name="ArrivedPerSecond">Tasks of jobs that came.</param>
/// <param name="EndedPerSecond">Tasks of jobs that ended.</param>
/// <param name="EndedJobs">Jobs that ended in the window.</param>
/// <param name="P95">From acceptance to end, 19 of 20 of those jobs; null where none ended.</param>
/// <param name="InTarget">The part of them that ended within the class's target.</param>
/// <param name="JobsTarget">The part that has to, by the objectives in force; null where none says.</param>
public sealed record ClassNow(
    string Name,
    TimeSpan Target,
    long OpenJobs,
    long PausedJobs,
    long Waiting,
    DateTimeOffset? OldestAt,
    double ArrivedPerSecond,
    double EndedPerSecond,
    long EndedJobs,
    TimeSpan? P95,
    double? InTarget,
    double? JobsTarget
)
{
    /// <summary>Times as fast as allowed at which the error budget of <see cref="JobsTarget"/> goes; above 1 it will not last.</summary>
    public double? BudgetBurn => JobsTarget is { } target && InTarget is { } part ? (1 - part) / (1 - target) : null;
}

/// <summary>The workers of one pool that live.</summary>
/// <param name="Accounts">Parts of the booked time by account, 0 to 1.</param>
/// <param name="RowsPerBatch">Mean.</param>
/// <param name="Padding">Part of the padded units that is padding.</param>
/// <param name="PicoPerThousand">What 1,000 tasks cost, everything booked included.</param>
public sealed record PoolNow(
    string Name,
    int Workers,
    string Providers,
    string Devices,
    IReadOnlyDictionary<string, double> Accounts,
    double RowsPerSecond,
    double RowsPerBatch,
    double Padding,
    decimal PicoPerHour,
    decimal? PicoPerThousand
);

/// <summary>Jobs that have not ended, and whether they will make it.</summary>
/// <param name="AtRisk">How many will not, by class; classes without any are left out.</param>
/// <param name="Jobs">Those at risk first, each soonest deadline first.</param>
/// <param name="More">True when there are open jobs, with later deadlines, that were not looked at.</param>
public sealed record DueNow(IReadOnlyDictionary<string, int> AtRisk, IReadOnlyList<JobView> Jobs, bool More)
{
    public static bool IsAtRisk(JobView job, DateTimeOffset now) => job.PredictedAt > job.Deadline || job.Deadline < now;
}

/// <summary>One minute: tasks that came, tasks that ran, and in how many batches.</summary>
public sealed record MinuteNow(DateTimeOffset At, long Arrived, long Ran, long Batches);
