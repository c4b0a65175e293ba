using System.Text.Json;
using System.Text.Json.Serialization;

namespace Pipeline.Contracts;

/// <summary>
/// An ordered list of model variants, the cheapest first: a task runs on the first, and goes on to the next (escalates) as long as what
/// it was answered is not accepted. The last variant accepts everything.
/// </summary>
/// <param name="Version">Counted from 1; a changed list is a new version. A job keeps the one it was accepted with.</param>
/// <param name="Variants">Two or more.</param>
public sealed record ModelRoute(string Name, int Version, IReadOnlyList<RouteVariant> Variants)
{
    /// <summary>How routes are stored: snake_case names, what is absent left out.</summary>
    public static JsonSerializerOptions Json { get; } =
        new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull };

    /// <summary><c>name@version</c>, as models are written.</summary>
    public override string ToString() => $"{Name}@{Version}";

    /// <summary>What a worker has to know of a turn to take it.</summary>
    /// <param name="turn">From 1.</param>
    public RouteStep StepOf(int turn) =>
        new(turn, Variants[turn - 1].Accept, turn < Variants.Count ? ModelRef.Parse(Variants[turn].Model) : null);
}

/// <summary>One model of a route.</summary>
/// <param name="Model"><c>name</c> or <c>name@version</c>; in the route of a job always the latter.</param>
/// <param name="Accept">When its answer stands; null for the last variant, and for no other.</param>
public sealed record RouteVariant(string Model, Acceptance? Accept = null);

/// <summary>When a variant's answer is accepted: where every threshold that is given holds. At least one is given.</summary>
public sealed record Acceptance
{
    /// <summary>The score of the best label is at least this, 0 to 1.</summary>
    public double? ProbabilityMin { get; init; }

    /// <summary>The score of the best label is above that of the second by at least this, 0 to 1.</summary>
    public double? MarginMin { get; init; }

    /// <summary>The input has at most so many units.</summary>
    public int? UnitsMax { get; init; }

    /// <summary>True when none of the thresholds looks at the answer.</summary>
    [JsonIgnore]
    public bool IsOfLength => ProbabilityMin is null && MarginMin is null;

    /// <summary>A score that is not a number is never enough.</summary>
    /// <param name="top">Score of the best label.</param>
    /// <param name="second">Score of the second; 0 where there is only one label.</param>
    /// <param name="units">Units of the input.</param>
    public bool Accepts(double top, double second, long units) =>
        !(ProbabilityMin is { } probability && !(top >= probability))
        && !(MarginMin is { } margin && !(top - second >= margin))
        && !(units > UnitsMax);
}

/// <summary>A turn of a routed task: when its answer stands, and which model is asked otherwise.</summary>
/// <param name="Turn">From 1: the place of the variant in the route.</param>
/// <param name="Accept">Null for the last variant.</param>
/// <param name="Next">The next variant; null for the last.</param>
public sealed record RouteStep(int Turn, Acceptance? Accept, ModelRef? Next);

/// <summary>What was measured of a route's version with labelled tasks.</summary>
/// <param name="Tasks">How many tasks the figures are of.</param>
/// <param name="Choices">Every variant alone, and the route itself.</param>
public sealed record RouteQuality(DateTimeOffset MeasuredAt, int Tasks, IReadOnlyList<ChoiceQuality> Choices);

/// <summary>How good a model or a route was, and what it cost.</summary>
/// <param name="Choice"><c>name@version</c> of the model, or of the route.</param>
/// <param name="Accuracy">Part of the tasks whose best label was the right one, 0 to 1.</param>
/// <param name="CostPerTaskPicoUsd">Pico-USD of a task, over all its turns.</param>
/// <param name="TurnsPerTask">Model executions of a task: 1 and, of a route, the part that escalated.</param>
public sealed record ChoiceQuality(string Choice, double Accuracy, double CostPerTaskPicoUsd, double TurnsPerTask);
