using Pipeline.Contracts;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>Something that is looked for.</summary>
/// <param name="Tier"><c>critical</c>, <c>warning</c>, <c>trend</c> or <c>predictive</c>: what kind of thing it says.</param>
/// <param name="Threshold">The number that decides; null where the rule has none of its own.</param>
/// <param name="Unit">What the threshold counts.</param>
/// <param name="What">What it finds, a sentence.</param>
/// <param name="Next">What to do when it fires.</param>
public sealed record AlertRule(
    string Name,
    string Tier,
    Severity Severity,
    double? Threshold,
    string? Unit,
    AlertTiming Timing,
    string What,
    string Next
)
{
    /// <summary>False for a rule that somebody must want.</summary>
    public bool EnabledAtFirst { get; init; } = true;

    /// <summary>What the threshold may be.</summary>
    public double ThresholdMax { get; init; } = 1e6;
}

/// <summary>A rule as operators set it.</summary>
public sealed record RuleSetting(AlertRule Rule, bool Enabled, Severity Severity, double? Threshold, AlertTiming Timing)
{
    public static RuleSetting Of(AlertRule rule) => new(rule, rule.EnabledAtFirst, rule.Severity, rule.Threshold, rule.Timing);
}

/// <summary>The rules there are. Their names are in alerts, silences and settings.</summary>
public static class AlertRules
{
    public const string FirstResultSlow = "first_result_slow";
    public const string FirstResultLate = "first_result_late";
    public const string EndToEndSlow = "end_to_end_slow";
    public const string ErrorRate = "error_rate";
    public const string NothingAccepted = "nothing_accepted";
    public const string ProbeFailing = "probe_failing";
    public const string ProbeSlow = "probe_slow";
    public const string BudgetBurn = "error_budget_burn";
    public const string CacheShare = "cache_share_low";
    public const string WorseThanYesterday = "worse_than_yesterday";
    public const string Slower = "latency_regression";
    public const string DeviceSlower = "device_regression";
    public const string Dearer = "cost_regression";
    public const string LessRight = "agreement_regression";
    public const string VersionWorse = "version_regression";
    public const string DeadlineAtRisk = "deadline_at_risk";
    public const string CapacityExhausted = "capacity_exhaustion";

    private static readonly AlertTiming Soon = new(TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(5), EscalateAfter: null);
    private static readonly AlertTiming Warned = new(
        TimeSpan.FromMinutes(2),
        TimeSpan.FromMinutes(10),
        EscalateAfter: TimeSpan.FromHours(4)
    );
    private static readonly AlertTiming Slowly = new(TimeSpan.FromMinutes(5), TimeSpan.FromMinutes(30), EscalateAfter: null);

    public static IReadOnlyList<AlertRule> All { get; } =
    [
        new(
            FirstResultSlow,
            "critical",
            Severity.Critical,
            0.5,
            "seconds",
            Soon,
            "The first results of express jobs of the last 5 minutes came later than this in 5 of 100.",
            "See what is ahead of express in the queues and whether workers are lost; GET /v1/reports/sla shows the stage where the time goes."
        ),
        new(
            FirstResultLate,
            "warning",
            Severity.Warning,
            0.3,
            "seconds",
            Warned,
            "The first results of express jobs of the last 5 minutes came later than this in 5 of 100.",
            "As for first_result_slow, which comes next."
        ),
        new(
            EndToEndSlow,
            "warning",
            Severity.Warning,
            1,
            "seconds",
            Warned,
            "Express tasks of the last 5 minutes took longer than this from acceptance to result in 5 of 100.",
            "Compare the stages in GET /v1/reports/sla: more workers help against waiting, a smaller BatchTimeMax against staging."
        ),
        new(
            ErrorRate,
            "critical",
            Severity.Critical,
            0.01,
            "share",
            Soon,
            "More than this share of a model's tasks of the last 5 minutes failed or expired, their clients' faults left out.",
            "GET /v1/jobs?state=failed shows which; a model that fails everywhere may be a bad version: switch back."
        )
        {
            ThresholdMax = 1,
        },
        new(
            NothingAccepted,
            "critical",
            Severity.Critical,
            5,
            "requests",
            Soon,
            "So many requests of the last 5 minutes failed at the door by the service's fault, and none was accepted.",
            "PostgreSQL or RabbitMQ may be away: /healthz/ready of ingest says which."
        ),
        new(
            ProbeFailing,
            "critical",
            Severity.Critical,
            2,
            "of the last 3",
            new AlertTiming(TimeSpan.Zero, TimeSpan.Zero, EscalateAfter: null),
            "So many of a probe's last three known answers were wrong or did not come.",
            "GET /v1/probes/{name} shows what was expected and given."
        )
        {
            ThresholdMax = 3,
        },
        new(
            ProbeSlow,
            "warning",
            Severity.Warning,
            2,
            "of the last 3",
            new AlertTiming(TimeSpan.Zero, TimeSpan.Zero, EscalateAfter: TimeSpan.FromHours(4)),
            "So many of a probe's last three answers were right but later than its slow_ms, or were refused for want of capacity.",
            "As for end_to_end_slow."
        )
        {
            ThresholdMax = 3,
        },
        new(
            BudgetBurn,
            "critical",
            Severity.Critical,
            null,
            null,
            new AlertTiming(TimeSpan.Zero, TimeSpan.FromMinutes(5), EscalateAfter: null),
            "An objective's error budget is spent too fast over a long and a short window: 1 h and 5 min at 14.4 times the allowed rate, 6 h and "
                + "30 min at 6, 1 d and 2 h at 3, 3 d and 6 h at 1. The last two are warnings.",
            "GET /v1/reports/sla lists the breaches with their causes and the budget that is left."
        ),
        new(
            CacheShare,
            "warning",
            Severity.Warning,
            0.1,
            "share",
            Slowly,
            "Less than this share of a model's tasks of the last hour were answered from results that were there.",
            "The cache may be too small (GET /v1/cache), or a new model version has started it anew."
        )
        {
            EnabledAtFirst = false,
            ThresholdMax = 1,
        },
        new(
            WorseThanYesterday,
            "trend",
            Severity.Warning,
            0.2,
            "share",
            Slowly,
            "Of the last 24 hours the 95th percentile of the time to a result is by this share above that of the 24 hours before.",
            "Compare the two days in GET /v1/reports/sla."
        ),
        new(
            Slower,
            "trend",
            Severity.Warning,
            RegressionBounds.Default.ShiftMin,
            "share",
            Warned,
            "The times from acceptance to result of the last 5 minutes are larger than those of the hour before and of the same time yesterday: "
                + "the medians by at least this share (Mann-Whitney test).",
            "See what changed when it began: a deployment, a model version, a worker, the load."
        ),
        new(
            DeviceSlower,
            "trend",
            Severity.Warning,
            RegressionBounds.Default.ShiftMin,
            "share",
            Warned,
            "As latency_regression, of the time on the device.",
            "A device that throttles, a driver, a model version, or longer inputs."
        ),
        new(
            Dearer,
            "trend",
            Severity.Warning,
            0.2,
            "share",
            Slowly,
            "The cost of a task has a new level, by this share above the one before it.",
            "Smaller batches, more padding, or a pool's new price: GET /v1/usage shows cost by class and model."
        ),
        new(
            LessRight,
            "trend",
            Severity.Critical,
            0.05,
            "share",
            new AlertTiming(TimeSpan.Zero, TimeSpan.FromMinutes(30), EscalateAfter: null),
            "A probe's share of right answers has a new level, by this share below the one before it.",
            "GET /v1/probes/{name}/runs shows since when, and which model version answered."
        )
        {
            ThresholdMax = 1,
        },
        new(
            VersionWorse,
            "trend",
            Severity.Warning,
            RegressionBounds.Default.ShiftMin,
            "share",
            Slowly,
            "Tasks of a model's newest version take longer on the device than those of the version before, or cost more, by at least this share.",
            "Switch back on the dashboard's page of the model, or accept it by resolving the alert."
        ),
        new(
            DeadlineAtRisk,
            "predictive",
            Severity.Warning,
            null,
            null,
            new AlertTiming(TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(2), EscalateAfter: null),
            "A job's predicted end is after its deadline.",
            "Add workers, pause what can wait, or tell its owner."
        ),
        new(
            CapacityExhausted,
            "predictive",
            Severity.Warning,
            48,
            "hours",
            Slowly,
            "At the pace of the last days a pool's busiest hours will need all of its workers within so many hours.",
            "Add workers to the pool, or move bulk work to quiet hours."
        )
        {
            ThresholdMax = 24 * 30,
        },
    ];

    public static AlertRule? Find(string name) => All.FirstOrDefault(rule => rule.Name == name);
}
