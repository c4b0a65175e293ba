using Pipeline.Contracts;
using Pipeline.Hosting;
using Pipeline.Hosting.Api;

namespace Pipeline.Ingest.Routes;

/// <summary>What the writes on routes promise, for the API's document.</summary>
internal static class RouteOperations
{
    private static readonly IngestOptions Defaults = new();

    private static readonly ApiParameter Name = ApiParameter.Path("name", ApiType.Text(100), "The route's name, without @.");

    public static readonly ApiOperation Set = new(
        "setRoute",
        ApiTags.Routes,
        "Sets a route: models in order, the cheapest first, each with the rule by which its answer stands.",
        $"2 to {Defaults.RouteVariantsMax} variants, all of which take the same input and give the same type of result. A rule is met where every threshold it has is: "
            + "`probability_min` and `margin_min` look at the scores of labels, `units_max` at the length of the input. The last variant has no rule. "
            + "The same list again changes nothing, another is a new version; jobs keep the version they were accepted with."
    )
    {
        Parameters = [Name],
        Bodies =
        [
            new(
                "application/json",
                typeof(RouteBody),
                "The variants.",
                """{"variants": [{"model": "language-id-small", "accept": {"probability_min": 0.9}}, {"model": "language-id-large"}]}"""
            ),
        ],
        Answers = [ApiAnswer.Json<RouteView>("The route as it is kept.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.OperatorOnly, FailureKind.InvalidState],
    };

    public static readonly ApiOperation SetQuality = new(
        "setRouteQuality",
        ApiTags.Routes,
        "Keeps what was measured of a version of a route.",
        "By it `min_quality` chooses. `pipeline routes evaluate` measures and sends it."
    )
    {
        Parameters = [Name],
        Bodies =
        [
            new(
                "application/json",
                typeof(QualityBody),
                "What was measured.",
                """{"version": 1, "measured_at": "2026-11-26T20:00:00Z", "tasks": 2000, "choices": [{"choice": "language-id-small@1.0.0", "accuracy": 0.98, "cost_per_task_pico_usd": 377, "turns_per_task": 1}]}"""
            ),
        ],
        Answers = [ApiAnswer.Json<RouteQuality>("As it is kept.")],
        Errors = [FailureKind.InvalidRequest, FailureKind.InputTooLarge, FailureKind.OperatorOnly, FailureKind.UnknownModelRoute],
    };
}

/// <summary>The shapes that <see cref="SetRoutes"/> reads.</summary>
internal sealed record RouteBody(IReadOnlyList<VariantView> Variants);

/// <param name="Version">The version of the route that was measured.</param>
/// <param name="Tasks">How many tasks the figures are of.</param>
internal sealed record QualityBody(int Version, DateTimeOffset MeasuredAt, int Tasks, IReadOnlyList<ChoiceQuality> Choices);
