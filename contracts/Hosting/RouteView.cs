using System.Text.Json.Serialization;
using Pipeline.Contracts;

namespace Pipeline.Hosting;

/// <summary>A route as every answer of the API shows it.</summary>
public sealed record RouteView
{
    public string Object { get; } = "route";
    public required string Name { get; init; }

    /// <summary>Counted from 1; a changed list is a new version, and jobs keep the one they were accepted with.</summary>
    public required int Version { get; init; }

    /// <summary>The models, the cheapest first. The last accepts everything.</summary>
    public required IReadOnlyList<VariantView> Variants { get; init; }
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>What was last measured of this version; null until then.</summary>
    public required RouteQuality? Quality { get; init; }

    public static RouteView Of(ModelRoute route, DateTimeOffset createdAt, RouteQuality? quality) =>
        new()
        {
            Name = route.Name,
            Version = route.Version,
            Variants = [.. route.Variants.Select(VariantView.Of)],
            CreatedAt = createdAt,
            Quality = quality,
        };
}

/// <summary>A variant of a route.</summary>
public sealed record VariantView
{
    /// <summary><c>name</c>, for its current version when a job is accepted, or <c>name@version</c>.</summary>
    public required string Model { get; init; }

    /// <summary>When its answer stands; absent for the last variant.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public AcceptanceView? Accept { get; init; }

    public static VariantView Of(RouteVariant variant) =>
        new()
        {
            Model = variant.Model,
            Accept = variant.Accept is { } accept
                ? new AcceptanceView
                {
                    ProbabilityMin = accept.ProbabilityMin,
                    MarginMin = accept.MarginMin,
                    UnitsMax = accept.UnitsMax,
                }
                : null,
        };
}

/// <summary>When a variant's answer stands: where every threshold that is given holds.</summary>
public sealed record AcceptanceView
{
    /// <summary>Score of the best label at least, more than 0 and at most 1.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? ProbabilityMin { get; init; }

    /// <summary>By how much it is above that of the second at least, more than 0 and at most 1.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? MarginMin { get; init; }

    /// <summary>Units of the input at most.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? UnitsMax { get; init; }
}
