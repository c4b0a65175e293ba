using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>Bounds of alerts; section <c>Alerts</c>. What the rules find is set by the API.</summary>
public sealed record AlertOptions
{
    public const string Section = "Alerts";

    /// <summary>How often it is looked for what is wrong.</summary>
    public TimeSpan LookEvery { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Jobs with the nearest deadlines that are predicted at each look.</summary>
    public int JobsMax { get; init; } = 1000;

    /// <summary>How long after a notification of a rule its further alerts wait for the next one; 0 for not at all.</summary>
    public TimeSpan GroupWindow { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long resolved alerts and silences that are over are kept.</summary>
    public TimeSpan Keep { get; init; } = TimeSpan.FromDays(400);

    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static AlertOptions Read(IConfiguration configuration)
    {
        var o = configuration.GetSection(Section).Get<AlertOptions>() ?? new AlertOptions();
        var check = new OptionsCheck(Section);
        check.Expect(
            o.LookEvery >= TimeSpan.FromMilliseconds(10) && o.LookEvery <= TimeSpan.FromMinutes(5),
            nameof(LookEvery),
            "10 ms to 5 min",
            o.LookEvery
        );
        check.Expect(o.JobsMax is >= 1 and <= 100_000, nameof(JobsMax), "1 to 100000", o.JobsMax);
        check.Expect(
            o.GroupWindow >= TimeSpan.Zero && o.GroupWindow <= TimeSpan.FromDays(1),
            nameof(GroupWindow),
            "0 to 1 day",
            o.GroupWindow
        );
        check.Expect(o.Keep >= TimeSpan.FromDays(3) && o.Keep <= TimeSpan.FromDays(3650), nameof(Keep), "3 to 3650 days", o.Keep);
        check.ThrowIfAny();
        return o;
    }
}
