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
    /// <summary>What is told as latest, in 19 of 20 cases, has a turn in it that is more likely than this.</summary>
    public const double LateShare = 0.05;

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
    /// As <see cref="Prediction.Estimate(Forecast, ModelRef, LatencyClass, WorkSize, DateTimeOffset)"/>, with every further turn behind the one
    /// before it. Null when a model that takes one has no live worker.
    /// </summary>
    public Estimated? Estimate(Forecast forecast, ModelRef first, LatencyClass latencyClass, WorkSize size, DateTimeOffset deadline)
    {
        var whole = Prediction.Estimate(forecast, first, latencyClass, size, deadline);
        foreach (var (_, estimated, chance) in After(forecast, latencyClass, size, deadline))
        {
            whole = whole is { } before && estimated is { } next ? Behind(before, next, chance) : null;
        }

        return whole;
    }

    /// <summary>The turns after the first, each as if it stood alone, and how likely it is to be taken: below 1 where less than a task goes on.</summary>
    public IEnumerable<(ModelRef Model, Estimated? Estimated, double Chance)> After(
        Forecast forecast,
        LatencyClass latencyClass,
        WorkSize size,
        DateTimeOffset deadline
    )
    {
        foreach (var (model, share) in Further)
        {
            var rows = (long)Math.Ceiling(size.Tasks * share);
            if (rows > 0)
            {
                var part = (long)Math.Ceiling((double)size.Units * rows / size.Tasks);
                yield return (
                    model,
                    Prediction.Estimate(forecast, model, latencyClass, new(part, rows), deadline),
                    size.Tasks * share / rows
                );
            }
        }
    }

    /// <summary>It waits for the turn before it and for what is ahead of its model, whichever is longer, and then takes its own time.</summary>
    private static Estimated Behind(in Estimated before, in Estimated next, double chance)
    {
        var own = next.Completion - next.Start;
        return before with
        {
            Completion = chance > 0.5 ? Later(before.Completion, next.Start) + own : before.Completion,
            Early = chance > 0.95 ? Later(before.Early, next.Early) : before.Early,
            Late = chance > LateShare ? Later(before.Late + own + (next.Late - next.Completion), next.Late) : before.Late,
            CostPico = before.CostPico + Part(next.CostPico),
            CostHighPico = before.CostHighPico + (chance > LateShare ? next.CostHighPico : 0),
            TaskCostPico = before.TaskCostPico + Part(next.TaskCostPico),
        };

        long? Part(long? pico) => (long?)(chance * pico);
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
