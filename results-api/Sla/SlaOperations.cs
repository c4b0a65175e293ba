using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Sla;

/// <summary>What reports promise, for the API's document.</summary>
internal static class SlaOperations
{
    private static readonly ResultsApiOptions Lists = new();
    private static readonly ApiParameter Id = ApiParameter.Path("id", ApiType.Id, "The id.");

    private static readonly ApiParameter[] Window =
    [
        ApiParameter.Query(
            "from",
            ApiType.Text(),
            "A day (`2026-11-01`, all of it by the zone's clocks) or a moment with its offset. Default: 30 days before `to`."
        ),
        ApiParameter.Query("to", ApiType.Text(), "A day (included) or a moment (not included). Default: now."),
        ApiParameter.Query("tz", ApiType.Text(), "The time zone of days, weeks and months, by its IANA name. Default: `UTC`."),
        ApiParameter.Query(
            "by",
            ApiType.List(ReportWindow.Keys),
            "What rows are by (`class`, `model`, and for operators `tenant`), and one of `day`, `week`, `month` for what the window is cut into. Default: `day,class,model`."
        ),
        ApiParameter.Query("tenant", ApiType.Text(), "Operators: only this tenant, by its name. Default: all."),
    ];

    private static readonly ApiParameter[] Form =
    [
        ApiParameter.Query("format", ApiType.Word(["json", "csv", "html"], "json"), "As `Accept` says, too."),
        ApiParameter.Query("section", ApiType.Word([.. ReportCsv.Sections.Keys], "rows"), "The part of the report that CSV has."),
    ];

    private static readonly ApiAnswer Csv = new(StatusCodes.Status200OK, "text/csv", null, "A section as CSV.");

    public static readonly ApiOperation GetReport = new(
        "getSlaReport",
        ApiTags.Reports,
        "What was promised, and what was kept.",
        """
        Objectives against what was attained, with the error budget; percentiles of queue wait, device time, end to end and first result, off by at most 0.79 %; cost, reuse and padding;
        where time goes and what a faster stage would bring; tasks, disconnects and outcomes by bands of time; availability of acceptance, by model too; every breach with its cause. A tenant
        sees its own, operators all. The same rows give the same bytes: `source_sha256` is over them. `format=html` gives a page of its own, with charts, that prints to a clean PDF.
        """
    )
    {
        Parameters = [.. Window, .. Form],
        Answers = [ApiAnswer.Json<SlaReport>("The report."), Csv],
        Errors = [FailureKind.InvalidRequest, FailureKind.RateLimited],
    };

    public static readonly ApiOperation KeepReport = new(
        "keepSlaReport",
        ApiTags.Reports,
        "Make a report and keep it.",
        "The parameters are those of `GET /v1/reports/sla`. It can be read ever after, whatever is excluded later, and webhooks hear `report.ready`."
    )
    {
        Parameters = Window,
        Answers = [ApiAnswer.Json<StoredReportView>("The report.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.RateLimited],
    };

    public static readonly ApiOperation ListReports = new(
        "listReports",
        ApiTags.Reports,
        "The caller's reports.",
        "Those it asked to keep, and those of weeks and months, newest first, page by page, without their documents."
    )
    {
        Parameters = [ApiParameters.Limit(Lists.ListLimitMax, Lists.ListLimitDefault, "reports"), ApiParameters.After(ApiType.Id)],
        Answers = [ApiAnswer.Json<ListView<StoredReportView>>("A page.")],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation GetStoredReport = new("getReport", ApiTags.Reports, "One report.", "As it was made, in any form.")
    {
        Parameters = [Id, .. Form],
        Answers = [ApiAnswer.Json<StoredReportView>("The report."), Csv],
        Errors = [FailureKind.InvalidRequest, FailureKind.UnknownRoute],
    };

    public static readonly ApiOperation ListExclusions = new(
        "listSlaExclusions",
        ApiTags.Reports,
        "Time that reports leave out.",
        "Newest first, page by page, withdrawn ones too."
    )
    {
        Parameters = [ApiParameters.Limit(Lists.ListLimitMax, Lists.ListLimitDefault, "exclusions"), ApiParameters.After(ApiType.Id)],
        Answers = [ApiAnswer.Json<ListView<ExclusionView>>("A page.")],
        Errors = [FailureKind.InvalidRequest],
    };

    public static readonly ApiOperation AddExclusion = new(
        "addSlaExclusion",
        ApiTags.Reports,
        "Leave time out of reports (operators).",
        "Announced maintenance, say: what ends in it counts for no figure, and every report of that time names the reason. Reports that were kept before stay as they are."
    )
    {
        Bodies =
        [
            new(
                "application/json",
                typeof(ExclusionBody),
                "`from` and `to`, whole minutes, and the `reason`.",
                """{"from": "2026-11-08T02:00:00Z", "to": "2026-11-08T04:00:00Z", "reason": "Announced maintenance of the database."}"""
            ),
        ],
        Answers = [ApiAnswer.Json<ExclusionView>("The exclusion.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.OperatorOnly],
    };

    public static readonly ApiOperation WithdrawExclusion = new(
        "withdrawSlaExclusion",
        ApiTags.Reports,
        "Count excluded time again (operators).",
        "The exclusion stays in the list, with the moment it was withdrawn; a second time changes nothing."
    )
    {
        Parameters = [Id],
        Answers = [ApiAnswer.Json<ExclusionView>("The exclusion.")],
        Errors = [FailureKind.OperatorOnly, FailureKind.UnknownRoute],
    };
}

/// <summary>Time to leave out.</summary>
internal sealed record ExclusionBody
{
    public required DateTimeOffset From { get; init; }
    public required DateTimeOffset To { get; init; }
    public required string Reason { get; init; }
}
