using Pipeline.Hosting;
using Pipeline.Migrations;

namespace Pipeline.ResultsApi.Recurring.Works;

/// <summary>
/// How long data is kept after its job has ended, of tenants that have no ages of their own, and what reports are made of; section <c>Retention</c>.
/// </summary>
public sealed record RetentionOptions
{
    public const string Section = "Retention";

    /// <summary>What tasks were given.</summary>
    public TimeSpan Inputs { get; init; } = TimeSpan.FromDays(30);

    /// <summary>Their results.</summary>
    public TimeSpan Outputs { get; init; } = TimeSpan.FromDays(90);

    /// <summary>Events, webhook deliveries, and the history of recurring work.</summary>
    public TimeSpan Logs { get; init; } = TimeSpan.FromDays(30);

    /// <summary>Sums by the minute, the hour and the day; a report of older time than its edges' minutes begins and ends with whole hours.</summary>
    public TimeSpan SlaMinutes { get; init; } = TimeSpan.FromDays(90);
    public TimeSpan SlaHours { get; init; } = TimeSpan.FromDays(800);
    public TimeSpan SlaDays { get; init; } = TimeSpan.FromDays(3650);

    /// <summary>Answers at the door, callbacks and breaches.</summary>
    public TimeSpan SlaDetails { get; init; } = TimeSpan.FromDays(800);

    /// <summary>Kept reports.</summary>
    public TimeSpan Reports { get; init; } = TimeSpan.FromDays(3650);

    /// <summary>Alerts look at the minutes and hours of the last days, of an objective at three, and compare with the day before.</summary>
    private static readonly TimeSpan SlaMin = TimeSpan.FromDays(8);

    public TimeSpan Of(SlaKept kind) =>
        kind switch
        {
            SlaKept.Minutes => SlaMinutes,
            SlaKept.Hours => SlaHours,
            SlaKept.Days => SlaDays,
            SlaKept.Details => SlaDetails,
            _ => Reports,
        };

    public TimeSpan Of(RemovalKind kind) =>
        kind switch
        {
            RemovalKind.Inputs => Inputs,
            RemovalKind.Outputs => Outputs,
            _ => Logs,
        };

    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static RetentionOptions Read(IConfiguration configuration)
    {
        var options = configuration.GetSection(Section).Get<RetentionOptions>() ?? new RetentionOptions();
        var check = new OptionsCheck(Section);
        foreach (var kind in Enum.GetValues<RemovalKind>())
        {
            var age = options.Of(kind);
            check.Expect(
                age >= RetentionAges.AgeMin && age <= RetentionAges.AgeMax,
                kind.ToString(),
                $"{RetentionAges.AgeMin} to {RetentionAges.AgeMax}",
                age
            );
        }

        foreach (var kind in Enum.GetValues<SlaKept>())
        {
            var age = options.Of(kind);
            var name = kind == SlaKept.Reports ? nameof(Reports) : $"Sla{kind}";
            check.Expect(age >= SlaMin && age <= RetentionAges.AgeMax, name, $"{SlaMin} to {RetentionAges.AgeMax}", age);
        }

        check.Expect(options.SlaHours >= options.SlaMinutes, nameof(SlaHours), $"at least {nameof(SlaMinutes)}", options.SlaHours);
        check.Expect(options.SlaDays >= options.SlaHours, nameof(SlaDays), $"at least {nameof(SlaHours)}", options.SlaDays);
        check.ThrowIfAny();
        return options;
    }
}
