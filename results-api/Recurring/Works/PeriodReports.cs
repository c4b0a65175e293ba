using Pipeline.ResultsApi.Sla;

namespace Pipeline.ResultsApi.Recurring.Works;

/// <summary>Makes the SLA reports of the week and the month that ended last, each once.</summary>
internal sealed class PeriodReports(SlaReports reports) : IRecurringWork
{
    public string Name => "sla-reports";
    public string Purpose => "Makes the SLA reports of the week and the month that ended last, and tells webhooks that they are there.";

    /// <summary>Weeks and months end at midnight somewhere in every hour; what is made already is not made again.</summary>
    public Schedule Schedule { get; } = Schedule.Every(TimeSpan.FromMinutes(15));

    public async Task<IReadOnlyDictionary<string, long>> RunAsync(CancellationToken stop) =>
        new Dictionary<string, long>
        {
            ["weekly_made"] = await reports.MakeOfPeriodThatEndedAsync(CalendarUnit.Week, stop),
            ["monthly_made"] = await reports.MakeOfPeriodThatEndedAsync(CalendarUnit.Month, stop),
        };
}
