using Pipeline.Contracts;

namespace Pipeline.Simulator;

/// <summary>
/// Finds the largest load that keeps a promise, as MLPerf's LoadGen searches its Server rate: bisection on the rate, the same seed each
/// time, the first tenth of every probe not counted.
/// </summary>
internal static class Search
{
    /// <summary>Counted tasks of one probe: a share of 1 % late is then known to a twentieth of itself (one deviation of √(n·p)).</summary>
    public const long TasksPerProbe = 40_000;

    /// <param name="run">Lives a world at this load.</param>
    /// <param name="upTo">A load that is surely too high; nothing above it is tried.</param>
    /// <param name="attainmentMin">Share of express tasks that have to be there when due.</param>
    /// <param name="precision">Relative width of the answer.</param>
    /// <returns>The largest load seen to keep the promise; 0 when none did.</returns>
    public static double MaxRate(Func<double, SimResult> run, double upTo, double attainmentMin = 0.99, double precision = 0.01)
    {
        var (kept, broken) = (0.0, upTo);
        while (broken - kept > precision * broken && broken > 1e-3 * upTo)
        {
            var tried = (kept + broken) / 2;
            if (run(tried).Of(LatencyClass.Express).Attainment >= attainmentMin)
            {
                kept = tried;
            }
            else
            {
                broken = tried;
            }
        }

        return kept;
    }

    /// <summary>The largest ρ of a scenario at which a policy keeps the percentile.</summary>
    public static double MaxRho(
        Scenario scenario,
        PolicyEntry policy,
        Parameters parameters,
        double attainmentMin = 0.99,
        double upTo = 1.3,
        double precision = 0.01
    )
    {
        var probe = parameters with { Tasks = parameters.Tasks > 0 ? parameters.Tasks : TasksPerProbe };
        return MaxRate(rho => scenario.Run(policy, probe with { Rho = rho }), upTo, attainmentMin, precision);
    }
}
