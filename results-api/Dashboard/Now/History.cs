using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Dashboard.Now;

/// <summary>A stretch of the past that ends now, and the steps it is shown in.</summary>
/// <param name="Name">As addresses have it.</param>
public sealed record HistoryRange(string Name, string Title, TimeSpan Length, SlaGrain Step)
{
    public static readonly IReadOnlyList<HistoryRange> All =
    [
        new("24h", "24 hours", TimeSpan.FromHours(24), SlaGrain.Hour),
        new("7d", "7 days", TimeSpan.FromDays(7), SlaGrain.Day),
        new("30d", "30 days", TimeSpan.FromDays(30), SlaGrain.Day),
    ];

    /// <summary>Whether its steps are days, by which device time is kept, too.</summary>
    public bool HasDays => Step == SlaGrain.Day;
}

/// <summary>What ended in one step, of one class.</summary>
/// <param name="InTarget">The part of the jobs that ended within the class's target; null where none ended.</param>
public sealed record HistoryStep(DateTimeOffset At, string Class, long Tasks, double? InTarget, decimal CostPico);

/// <summary>How a pool's devices spent a day: the part of their time that one account has.</summary>
public sealed record DeviceDay(DateOnly Day, string Pool, string Account, double Part);

/// <summary>A range as it was; steps and days in which nothing happened are left out.</summary>
public sealed record History(HistoryRange Range, IReadOnlyList<HistoryStep> Steps, IReadOnlyList<DeviceDay> Devices);
