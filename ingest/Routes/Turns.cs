using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Ingest.Routes;

/// <summary>
/// The turns that a routed job is expected to take: which part of its tasks goes on to each further variant, by what was measured of the route. With
/// more than two variants the same part is taken to go on from each, so that the turns of a task come to the measured ones.
/// </summary>
/// <param name="Further">The variants after the first, and the part of all tasks that comes to them.</param>
internal sealed record Turns(IReadOnlyList<(ModelRef Model, double Share)> Further)
{
    public double PerTask => 1 + Further.Sum(turn => turn.Share);

    /// <summary>Of no route, or one that was not measured: the first turn is the last.</summary>
    public static Turns Of(ModelRoute? route, RouteQuality? quality)
    {
        if (route is null || quality?.Choices.FirstOrDefault(c => c.Choice == route.ToString()) is not { } measured)
        {
            return new Turns([]);
        }

        var goesOn = GoesOn(measured.TurnsPerTask - 1, route.Variants.Count - 1);
        return new Turns([.. route.Variants.Skip(1).Select((variant, i) => (ModelRef.Parse(variant.Model), Math.Pow(goesOn, i + 1)))]);
    }

    /// <summary>
    /// As <see cref="Prediction.Estimate(Forecast, ModelRef, LatencyClass, long, long, DateTimeOffset)"/>, with every further turn behind the one
    /// before it. Null when a model that takes one has no live worker.
    /// </summary>
    public Estimated? Estimate(
        Forecast forecast,
        ModelRef first,
        LatencyClass latencyClass,
        long units,
        long tasks,
        DateTimeOffset deadline
    )
    {
        var whole = Prediction.Estimate(forecast, first, latencyClass, units, tasks, deadline);
        foreach (var (model, share) in Further)
        {
            var (part, rows) = ((long)Math.Ceiling(units * share), (long)Math.Ceiling(tasks * share));
            var turn = rows > 0 ? Prediction.Estimate(forecast, model, latencyClass, part, rows, deadline) : null;
            whole =
                rows == 0 ? whole
                : whole is { } before && turn is { } next ? Behind(before, next)
                : null;
        }

        return whole;
    }

    /// <summary>It waits for the turn before it and for what is ahead of its model, whichever is longer, and then takes its own time.</summary>
    private static Estimated Behind(in Estimated before, in Estimated next)
    {
        var own = next.Completion - next.Start;
        return before with
        {
            Completion = Later(before.Completion, next.Start) + own,
            Early = Later(before.Early, next.Early),
            Late = Later(before.Late, next.Late) + own,
            CostPico = before.CostPico + next.CostPico,
            CostHighPico = before.CostHighPico + next.CostHighPico,
            TaskCostPico = before.TaskCostPico + next.TaskCostPico,
        };
    }

    /// <summary>The share s with s + s² + … + sⁿ as measured, by halving.</summary>
    private static double GoesOn(double turns, int variants)
    {
        var (low, high) = (0.0, 1.0);
        while (high - low > 1e-9)
        {
            var middle = (low + high) / 2;
            (low, high) = Enumerable.Range(1, variants).Sum(i => Math.Pow(middle, i)) < turns ? (middle, high) : (low, middle);
        }

        return turns <= 0 ? 0 : high;
    }

    private static DateTimeOffset Later(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;
}
