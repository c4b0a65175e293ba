using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Sla;

/// <summary>Bounds of SLA reports; section <c>Sla</c>.</summary>
public sealed record SlaOptions
{
    public const string Section = "Sla";

    /// <summary>Where the objectives are, as OpenSLO v1 files; empty for the defaults.</summary>
    public string ObjectivesFolder { get; init; } = "";

    /// <summary>The time zone of weekly and monthly reports, by its IANA name.</summary>
    public string TimeZone { get; init; } = "UTC";

    /// <summary>Days of one report.</summary>
    public int WindowDaysMax { get; init; } = 400;

    /// <summary>Breaches listed in a report, and those looked at for their cause.</summary>
    public int BreachesListedMax { get; init; } = 1000;
    public int BreachesCountedMax { get; init; } = 200_000;

    /// <summary>Reports kept of a tenant; the oldest go.</summary>
    public int StoredReportsMax { get; init; } = 1000;

    /// <summary>Reports made at a time; more are answered 429.</summary>
    public int ReportsMax { get; init; } = 4;

    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static SlaOptions Read(IConfiguration configuration)
    {
        var o = configuration.GetSection(Section).Get<SlaOptions>() ?? new SlaOptions();
        var check = new OptionsCheck(Section);
        check.Expect(ReportCalendar.Zone(o.TimeZone) is not null, nameof(TimeZone), ReportCalendar.ZoneForm, o.TimeZone);
        check.Expect(o.WindowDaysMax is >= 1 and <= 3660, nameof(WindowDaysMax), "1 to 3660", o.WindowDaysMax);
        check.Expect(o.BreachesListedMax is >= 0 and <= 100_000, nameof(BreachesListedMax), "0 to 100000", o.BreachesListedMax);
        check.Expect(
            o.BreachesCountedMax >= o.BreachesListedMax && o.BreachesCountedMax <= 10_000_000,
            nameof(BreachesCountedMax),
            $"{nameof(BreachesListedMax)} ({o.BreachesListedMax}) to 10000000",
            o.BreachesCountedMax
        );
        check.Expect(o.StoredReportsMax is >= 1 and <= 100_000, nameof(StoredReportsMax), "1 to 100000", o.StoredReportsMax);
        check.Expect(o.ReportsMax is >= 1 and <= 1000, nameof(ReportsMax), "1 to 1000", o.ReportsMax);
        check.ThrowIfAny();
        return o;
    }
}
