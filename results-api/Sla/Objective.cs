using Pipeline.Contracts;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Sla;

/// <summary>What an objective looks at. The first group are times with a limit, the second ratios of what was good to all.</summary>
internal enum Indicator
{
    /// <summary>A task's time from acceptance to result; one that failed by our fault or expired is never within the limit.</summary>
    EndToEnd,

    /// <summary>Of tasks that succeeded: from acceptance to the worker, and on the device.</summary>
    QueueWait,
    DeviceTime,

    /// <summary>A job's time to its first result, and to its end; one that expired is never within the limit.</summary>
    FirstResult,
    JobEndToEnd,

    /// <summary>Tasks, and jobs, done within their class's own target.</summary>
    Tasks,
    Jobs,

    /// <summary>Requests for work that were taken, of those that were no fault of their client and within the limits.</summary>
    Requests,

    /// <summary>Webhook deliveries that were punctual.</summary>
    Callbacks,
}

/// <summary>One objective of an OpenSLO file.</summary>
/// <param name="Slo">The SLO's name; it may have several objectives.</param>
/// <param name="Name">What it is called.</param>
/// <param name="LimitUs">Of a time: the limit in microseconds.</param>
/// <param name="Target">The share that has to be good, from 0 to less than 1.</param>
/// <param name="Window">The period the file asks for, as OpenSLO writes it (<c>30d</c>); reports are of the window they are asked for.</param>
/// <param name="Class">Only of this class, tenant (by name) and model (<c>name</c> or <c>name@version</c>); null for all.</param>
internal sealed record Objective(
    string Slo,
    string Name,
    string Service,
    Indicator Indicator,
    long? LimitUs,
    double Target,
    string Window,
    LatencyClass? Class,
    string? Tenant,
    string? Model
)
{
    public static bool IsTime(Indicator indicator) => indicator <= Indicator.JobEndToEnd;

    /// <summary>Whether sums of these keys count for it.</summary>
    public bool Covers(LatencyClass latencyClass, string tenant, string model) =>
        (Class is null || Class == latencyClass)
        && (Tenant is null || Tenant == tenant)
        && (Model is null || Model == model || model.StartsWith(Model + "@", StringComparison.Ordinal));

    /// <summary>What of the sums was good, and of how many. Of requests and callbacks there is nothing in them.</summary>
    public (long Good, long Total) Count(SlaSums sums) =>
        Indicator switch
        {
            Indicator.EndToEnd => (sums[SlaTime.Total].CountWithin(LimitUs!.Value), sums.Answerable),
            Indicator.QueueWait => (sums[SlaTime.Queued].CountWithin(LimitUs!.Value), sums[SlaTime.Queued].Count),
            Indicator.DeviceTime => (sums[SlaTime.Device].CountWithin(LimitUs!.Value), sums[SlaTime.Device].Count),
            Indicator.FirstResult => (sums[SlaTime.FirstResult].CountWithin(LimitUs!.Value), sums.Jobs),
            Indicator.JobEndToEnd => (sums[SlaTime.JobTotal].CountWithin(LimitUs!.Value), sums.Jobs),
            Indicator.Tasks => (sums[SlaCount.Within], sums.Answerable),
            Indicator.Jobs => (sums[SlaCount.JobsWithin], sums.Jobs),
            _ => (0, 0),
        };
}
