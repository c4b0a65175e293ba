using System.Globalization;
using Pipeline.Contracts;

namespace Pipeline.Ingest.Routes;

/// <summary>The cheapest of a route's variants, and the route itself, whose measured quality is enough.</summary>
internal static class RouteChoice
{
    /// <summary>Chooses among what was measured; of two that cost the same the better.</summary>
    /// <param name="route">With every version fixed.</param>
    /// <returns>The choice (<c>name@version</c> of a model, or of the route), or null and why there is none.</returns>
    public static (string? Choice, string? Why) Choose(ModelRoute route, RouteQuality? quality, double qualityMin)
    {
        if (quality is null)
        {
            return (null, $"Nothing has been measured of route {route}.");
        }

        var measured = quality.Choices.Select(c => c.Choice).ToHashSet();
        if (route.Variants.FirstOrDefault(v => !measured.Contains(v.Model)) is { } other)
        {
            return (null, $"Route {route} was measured with other model versions: {other.Model} was not among them.");
        }

        var best = quality
            .Choices.Where(c => c.Accuracy >= qualityMin && (c.Choice == route.ToString() || route.Variants.Any(v => v.Model == c.Choice)))
            .OrderBy(c => c.CostPerTaskPicoUsd)
            .ThenByDescending(c => c.Accuracy)
            .FirstOrDefault();
        return best is not null ? (best.Choice, null) : (null, $"Measured of {quality.Tasks} tasks: {Show(quality)}.");
    }

    private static string Show(RouteQuality quality) =>
        string.Join(
            ", ",
            quality
                .Choices.OrderByDescending(c => c.Accuracy)
                .Select(c => string.Create(CultureInfo.InvariantCulture, $"{c.Choice} {c.Accuracy:0.####}"))
        );
}
