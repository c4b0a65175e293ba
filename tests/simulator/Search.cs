using Pipeline.Contracts;

namespace Pipeline.Simulator;

/// <summary>Finds by bisection the largest load that keeps a promise, as MLPerf's LoadGen searches the Server rate.</summary>
internal static class Search
{
    /// <param name="run">Lives a world at this rate or load.</param>
    /// <param name="upTo">A load that is surely too high; nothing above it is tried.</param>
    /// <param name="attainmentMin">Share of express tasks that have to be there when due.</param>
    /// <param name="precision">Relative width of the answer.</param>
    /// <returns>The largest load seen to keep the promise; 0 when none did.</returns>
    public static double MaxRate(Func<double, SimResult> run, double upTo, double attainmentMin = 0.99, double precision = 0.01)
    {
        var (kept, broken) = (0.0, upTo);
        while (broken - kept > precision * broken && broken > 1e-6 * upTo)
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
    public static double MaxRho(string scenario, string policy, Parameters parameters, double attainmentMin = 0.99, double upTo = 1.3)
    {
        var found = Scenarios.Find(scenario);
        return MaxRate(rho => found.Run(policy, parameters with { Rho = rho }), upTo, attainmentMin);
    }
}
