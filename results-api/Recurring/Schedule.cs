using System.Globalization;
using Quartz;

namespace Pipeline.ResultsApi.Recurring;

/// <summary>
/// When recurring work is due: every so often, or by a cron expression. Cron is read in UTC, which knows no summer time: no hour is missing
/// there, and none comes twice.
/// </summary>
public sealed record Schedule
{
    public const string Form =
        "a time between runs (00:05:00) of 1 second to 31 days, or a cron expression in UTC, seconds first (0 15 3 * * ?)";

    public static readonly TimeSpan IntervalMin = TimeSpan.FromSeconds(1);

    /// <summary>No longer: a misprint would else be noticed after a year.</summary>
    public static readonly TimeSpan IntervalMax = TimeSpan.FromDays(31);

    private readonly TimeSpan? _interval;
    private readonly string? _cron;

    private Schedule(TimeSpan? interval, string? cron) => (_interval, _cron) = (interval, cron);

    /// <exception cref="ArgumentException">Out of <see cref="IntervalMin"/> to <see cref="IntervalMax"/>.</exception>
    public static Schedule Every(TimeSpan interval) => Parse(interval.ToString("c", CultureInfo.InvariantCulture));

    /// <param name="expression">Quartz's form: second, minute, hour, day of month, month, day of week, and where wanted the year.</param>
    /// <exception cref="ArgumentException">No cron expression, or one that never comes true.</exception>
    public static Schedule Cron(string expression) => Parse(expression);

    /// <summary>Reads either form; null for what is neither, or never comes due.</summary>
    public static Schedule? TryParse(string? text)
    {
        if (text?.Contains(':', StringComparison.Ordinal) == true)
        {
            return
                TimeSpan.TryParse(text, CultureInfo.InvariantCulture, out var interval)
                && interval >= IntervalMin
                && interval <= IntervalMax
                ? new Schedule(interval, null)
                : null;
        }

        return
            text is not null
            && CronExpression.TryParse(text, out var cron)
            && InUtc(cron).GetNextValidTimeAfter(DateTimeOffset.UtcNow) is not null
            ? new Schedule(null, text)
            : null;
    }

    /// <summary>The next time it is due after that one.</summary>
    public DateTimeOffset? After(DateTimeOffset moment) =>
        _interval is { } interval ? moment + interval : InUtc(CronExpression.Parse(_cron!)).GetNextValidTimeAfter(moment);

    /// <summary>As it is written in options, and shown.</summary>
    public override string ToString() => _cron ?? _interval!.Value.ToString("c", CultureInfo.InvariantCulture);

    /// <summary>What is missed, since nobody was there or it was paused, is made up for by one run.</summary>
    internal IScheduleBuilder ForQuartz() =>
        _interval is { } interval
            ? SimpleScheduleBuilder
                .Create()
                .WithInterval(interval)
                .RepeatForever()
                .WithMisfireInstruction(SimpleTriggerMisfireInstruction.NowWithExistingCount)
            : CronScheduleBuilder
                .Create(CronExpression.Parse(_cron!))
                .InTimeZone(TimeZoneInfo.Utc)
                .WithMisfireInstruction(CronTriggerMisfireInstruction.FireAndProceed);

    /// <summary>Whether a stored trigger says the same.</summary>
    internal bool IsOf(ITrigger trigger) =>
        trigger switch
        {
            ICronTrigger cron => cron.CronExpressionString == _cron,
            ISimpleTrigger simple => simple.RepeatInterval == _interval,
            _ => false,
        };

    private static Schedule Parse(string text) => TryParse(text) ?? throw new ArgumentException($"\"{text}\" is not {Form}.", nameof(text));

    private static CronExpression InUtc(CronExpression cron) => cron.WithTimeZone(TimeZoneInfo.Utc);
}
