using Pipeline.Hosting;

namespace Pipeline.ResultsApi.Recurring;

/// <summary>How recurring work is run; section <c>Recurring</c>.</summary>
public sealed record RecurringOptions
{
    public const string Section = "Recurring";

    /// <summary>Whether this instance runs any. One that does not still serves the requests about it.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary>Schedules other than the works' own, by name.</summary>
    public IReadOnlyDictionary<string, string> Schedules { get; init; } = new Dictionary<string, string>();

    /// <summary>Works that one instance runs at the same time.</summary>
    public int RunsMax { get; init; } = 4;

    /// <summary>Runs of each work whose outcome is remembered; older than the logs' age they go in any case.</summary>
    public int HistoryMax { get; init; } = 1000;

    /// <summary>How often instances say that they are alive, and how long over it one is taken for dead: then its runs are repeated.</summary>
    public TimeSpan CheckInEvery { get; init; } = TimeSpan.FromSeconds(7.5);
    public TimeSpan DeadAfter { get; init; } = TimeSpan.FromSeconds(7.5);

    /// <summary>How late a run may begin before the others that were missed meanwhile are left out.</summary>
    public TimeSpan MisfireAfter { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>How often an instance without anything due looks for what others have asked to be run.</summary>
    public TimeSpan LookEvery { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long an <c>Idempotency-Key</c> is kept: at least what ingest honours (<c>Ingest:IdempotencyKeyLife</c>).</summary>
    public TimeSpan IdempotencyKeyLife { get; init; } = TimeSpan.FromHours(24);

    /// <summary>Age at which a file that is still not whole is taken for a broken upload.</summary>
    public TimeSpan FileUploadMax { get; init; } = TimeSpan.FromHours(24);

    /// <summary>Rows that one transaction removes at most, and jobs that one of an erasure takes on.</summary>
    public int StepRowsMax { get; init; } = 5000;
    public int StepJobsMax { get; init; } = 200;

    /// <exception cref="OptionsException">One or more options are out of range.</exception>
    public static RecurringOptions Read(IConfiguration configuration)
    {
        var options = configuration.GetSection(Section).Get<RecurringOptions>() ?? new RecurringOptions();
        var check = new OptionsCheck(Section);
        check.Expect(options.RunsMax is >= 1 and <= 64, nameof(RunsMax), "1 to 64", options.RunsMax);
        check.Expect(options.HistoryMax is >= 1 and <= 1_000_000, nameof(HistoryMax), "1 to 1000000", options.HistoryMax);
        check.Expect(options.StepRowsMax is >= 1 and <= 1_000_000, nameof(StepRowsMax), "1 to 1000000", options.StepRowsMax);
        check.Expect(options.StepJobsMax is >= 1 and <= 10_000, nameof(StepJobsMax), "1 to 10000", options.StepJobsMax);
        ExpectTime(options.CheckInEvery, nameof(CheckInEvery), TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(5));
        ExpectTime(options.DeadAfter, nameof(DeadAfter), TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(30));
        ExpectTime(options.MisfireAfter, nameof(MisfireAfter), TimeSpan.FromMilliseconds(100), TimeSpan.FromHours(1));
        ExpectTime(options.LookEvery, nameof(LookEvery), TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(10));
        ExpectTime(options.IdempotencyKeyLife, nameof(IdempotencyKeyLife), TimeSpan.FromSeconds(1), TimeSpan.FromDays(365));
        ExpectTime(options.FileUploadMax, nameof(FileUploadMax), TimeSpan.FromMinutes(10), TimeSpan.FromDays(30));
        foreach (var (name, text) in options.Schedules)
        {
            check.Expect(Schedule.TryParse(text) is not null, $"{nameof(Schedules)}:{name}", Schedule.Form, text);
        }

        check.ThrowIfAny();
        return options;

        void ExpectTime(TimeSpan value, string option, TimeSpan min, TimeSpan max) =>
            check.Expect(value >= min && value <= max, option, $"{min} to {max}", value);
    }
}
