using System.Text.Json;
using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.ResultsApi.Alerts.Probes;

/// <summary>What the endpoints of probes promise, for the API's document.</summary>
internal static class ProbeOperations
{
    private static readonly ResultsApiOptions Lists = new();
    private static readonly ApiParameter Name = ApiParameter.Path("name", ApiType.Text(64), "The probe's name.");
    private static readonly IReadOnlyList<FailureKind> OfOne = [FailureKind.UnknownProbe, FailureKind.OperatorOnly];

    public static readonly ApiOperation List = new("listProbes", ApiTags.Alerts, "The probes.", "For operators. In order of their names.")
    {
        Answers = [ApiAnswer.Json<ListView<ProbeView>>("All of them.")],
        Errors = [FailureKind.OperatorOnly],
    };

    public static readonly ApiOperation Get = new("getProbe", ApiTags.Alerts, "One probe.", "For operators. With its last run.")
    {
        Parameters = [Name],
        Answers = [ApiAnswer.Json<ProbeView>("The probe.")],
        Errors = OfOne,
    };

    public static readonly ApiOperation Put = new(
        "setProbe",
        ApiTags.Alerts,
        "Ask the service again and again what is known.",
        """
        For operators. Sent through the public door as a client would, paid for by the tenant of results-api's probe key, and counted in
        availability. The output is right when it has all members of `expect`, where `label` stands for the likeliest of `labels`; numbers may
        differ by `tolerance` (0.001). Two wrong or missing
        answers of three raise `probe_failing`, two slow ones `probe_slow`.
        """
    )
    {
        Parameters = [Name],
        Bodies =
        [
            new ApiBody(
                "application/json",
                typeof(ProbeBody),
                "`model`, `input` and `expect`, and where wanted `class` (`express`), `tolerance`, `every_seconds` (60), `slow_ms` (500), `enabled`.",
                """{"model": "language-id-small", "input": "Guten Morgen, wie geht es dir?", "expect": {"label": "de"}, "every_seconds": 30}"""
            ),
        ],
        Answers = [ApiAnswer.Json<ProbeView>("The probe; it is due at once.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.OperatorOnly],
    };

    public static readonly ApiOperation Delete = new("deleteProbe", ApiTags.Alerts, "Remove a probe and its runs.", "For operators.")
    {
        Parameters = [Name],
        Answers = [ApiAnswer.Json<ProbeDeleted>("It is no more.")],
        Errors = OfOne,
    };

    public static readonly ApiOperation Run = new(
        "runProbe",
        ApiTags.Alerts,
        "Send a probe now.",
        "For operators. Its run is listed a moment later."
    )
    {
        Parameters = [Name],
        Answers = [ApiAnswer.Json<ProbeView>("The probe, due now.")],
        Errors = [.. OfOne, FailureKind.InvalidState],
    };

    public static readonly ApiOperation Runs = new(
        "listProbeRuns",
        ApiTags.Alerts,
        "What became of a probe.",
        "For operators. Newest first, page by page."
    )
    {
        Parameters =
        [
            Name,
            ApiParameters.Limit(Lists.ListLimitMax, Lists.ListLimitDefault, "runs"),
            ApiParameters.After(ApiType.Whole(1, long.MaxValue)),
        ],
        Answers = [ApiAnswer.Json<ListView<ProbeRunView>>("A page.")],
        Errors = [FailureKind.InvalidRequest, .. OfOne],
    };
}

/// <summary>A probe.</summary>
internal sealed record ProbeBody(
    string Model,
    JsonElement Input,
    JsonElement Expect,
    string? Class = null,
    double? Tolerance = null,
    int? EverySeconds = null,
    int? SlowMs = null,
    bool? Enabled = null
);
