using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Alerts;

/// <summary>What the endpoints of alerts promise, for the API's document.</summary>
internal static class AlertOperations
{
    private static readonly ResultsApiOptions Lists = new();
    private static readonly ApiParameter AlertId = ApiParameter.Path("id", ApiType.Id, "The alert's id.");
    private static readonly ApiParameter RuleName = ApiParameter.Path("name", ApiType.Text(64), "The rule's name.");
    private static readonly IReadOnlyList<FailureKind> OfOne = [FailureKind.UnknownAlert, FailureKind.OperatorOnly];
    private static readonly IReadOnlyList<FailureKind> WithBody =
    [
        FailureKind.InvalidRequest,
        FailureKind.InputTooLarge,
        FailureKind.OperatorOnly,
    ];

    public static readonly ApiOperation List = new(
        "listAlerts",
        ApiTags.Alerts,
        "What is or was wrong.",
        "For operators. Newest first, page by page."
    )
    {
        Parameters =
        [
            ApiParameters.Limit(Lists.ListLimitMax, Lists.ListLimitDefault, "alerts"),
            ApiParameters.After(ApiType.Id),
            ApiParameter.Query("state", ApiType.List(AlertRequests.States), "Only alerts in one of these states."),
            ApiParameter.Query("severity", ApiType.List(AlertRequests.Severities), "Only alerts of one of these severities."),
            ApiParameter.Query("rule", ApiType.List([.. AlertRules.All.Select(r => r.Name)]), "Only alerts of one of these rules."),
        ],
        Answers = [ApiAnswer.Json<ListView<AlertView>>("A page.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.OperatorOnly],
    };

    public static readonly ApiOperation Get = new(
        "getAlert",
        ApiTags.Alerts,
        "One alert.",
        "For operators. With the numbers it rests on, and what to do."
    )
    {
        Parameters = [AlertId],
        Answers = [ApiAnswer.Json<AlertView>("The alert.")],
        Errors = OfOne,
    };

    public static readonly ApiOperation Acknowledge = new(
        "acknowledgeAlert",
        ApiTags.Alerts,
        "Say that somebody looks after it.",
        "For operators. A warning that is acknowledged does not become critical by waiting; one that gets worse wants a new acknowledgement."
    )
    {
        Parameters = [AlertId],
        Bodies = [Body<AlertNote>("Nothing, or a `note`.", """{"note": "the driver update of this morning"}""")],
        Answers = [ApiAnswer.Json<AlertView>("The alert.")],
        Errors = [.. WithBody, FailureKind.UnknownAlert, FailureKind.InvalidState],
    };

    public static readonly ApiOperation Resolve = new(
        "resolveAlert",
        ApiTags.Alerts,
        "End an alert.",
        """
        For operators. Alerts end by themselves when nothing is found any more. One whose cause still lasts is raised anew, except regressions:
        there the new level is taken for the normal one from now on.
        """
    )
    {
        Parameters = [AlertId],
        Bodies = [Body<AlertNote>("Nothing, or a `note`.", """{"note": "longer inputs since Monday, as agreed"}""")],
        Answers = [ApiAnswer.Json<AlertView>("The alert.")],
        Errors = [.. WithBody, FailureKind.UnknownAlert, FailureKind.InvalidState],
    };

    public static readonly ApiOperation Rules = new(
        "listAlertRules",
        ApiTags.Alerts,
        "What is looked for.",
        "For operators. Every rule as it is set, with what it finds and what to do then."
    )
    {
        Answers = [ApiAnswer.Json<ListView<AlertRuleView>>("All of them.")],
        Errors = [FailureKind.OperatorOnly],
    };

    public static readonly ApiOperation SetRule = new(
        "setAlertRule",
        ApiTags.Alerts,
        "Change a rule.",
        "For operators. What is not named stays. It counts from the next look on."
    )
    {
        Parameters = [RuleName],
        Bodies =
        [
            Body<AlertRuleChange>(
                "Any of `enabled`, `severity`, `threshold`, `for_seconds`.",
                """{"threshold": 0.8, "severity": "warning"}"""
            ),
        ],
        Answers = [ApiAnswer.Json<AlertRuleView>("The rule as it is now.")],
        Errors = [.. WithBody, FailureKind.UnknownAlert],
    };

    public static readonly ApiOperation ResetRule = new(
        "resetAlertRule",
        ApiTags.Alerts,
        "Take a rule back to its defaults.",
        "For operators."
    )
    {
        Parameters = [RuleName],
        Answers = [ApiAnswer.Json<AlertRuleView>("The rule as it is now.")],
        Errors = OfOne,
    };

    public static readonly ApiOperation Silences = new(
        "listAlertSilences",
        ApiTags.Alerts,
        "Times in which alerts tell nobody.",
        "For operators. The one that ends last first."
    )
    {
        Parameters = [ApiParameter.Query("past", ApiType.Flag, "`true` for those that are over, too.")],
        Answers = [ApiAnswer.Json<ListView<SilenceView>>("The silences.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.OperatorOnly],
    };

    public static readonly ApiOperation Silence = new(
        "addAlertSilence",
        ApiTags.Alerts,
        "Have matching alerts tell nobody for a while.",
        """
        For operators. An alert is silent when its rule is `rule` (any, without one) and it has all of `labels`. It is still found and listed;
        one that outlasts the silence is told then.
        """
    )
    {
        Bodies =
        [
            Body<NewSilence>(
                "`ends_at` and `reason`, and where wanted `starts_at` (now), `rule`, `labels`.",
                """{"labels": {"pool": "spot"}, "ends_at": "2026-12-01T06:00:00Z", "reason": "new drivers on the spot pool"}"""
            ),
        ],
        Answers = [ApiAnswer.Json<SilenceView>("The silence.")],
        Errors = WithBody,
    };

    public static readonly ApiOperation EndSilence = new("endAlertSilence", ApiTags.Alerts, "End a silence now.", "For operators.")
    {
        Parameters = [ApiParameter.Path("id", ApiType.Id, "The silence's id.")],
        Answers = [ApiAnswer.Json<SilenceEnded>("It is over.")],
        Errors = OfOne,
    };

    private static ApiBody Body<T>(string meaning, string example) => new("application/json", typeof(T), meaning, example);
}

/// <summary>What is said of an alert.</summary>
internal sealed record AlertNote(string? Note = null);

/// <summary>What changes of a rule.</summary>
/// <param name="Severity"><c>info</c>, <c>warning</c> or <c>critical</c>.</param>
internal sealed record AlertRuleChange(bool? Enabled = null, string? Severity = null, double? Threshold = null, int? ForSeconds = null);

/// <summary>A new silence.</summary>
internal sealed record NewSilence(
    DateTimeOffset EndsAt,
    string Reason,
    DateTimeOffset? StartsAt = null,
    string? Rule = null,
    IReadOnlyDictionary<string, string>? Labels = null
);
