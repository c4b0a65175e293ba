using System.Collections.Concurrent;
using Pipeline.Contracts;

namespace Pipeline.Simulator.Report;

/// <summary>What is kept of a life: the full measures would be 100 kB each.</summary>
/// <param name="Express">Share of express tasks that were there when due; <paramref name="Bulk"/> likewise.</param>
/// <param name="Starved">Bulk tasks without a result by their deadline.</param>
internal sealed record Outcome(
    string Policy,
    double Express,
    double Bulk,
    double BulkRetained,
    double Goodput,
    double ExpressP99Ms,
    double ExpressMaxMs,
    double BulkMaxSeconds,
    long Starved,
    double BusySeconds,
    double CostPerMillionUsd,
    double Seconds
)
{
    public static Outcome Of(SimResult result) =>
        new(
            result.Policy,
            result.Express.Attainment,
            result.Bulk.Attainment,
            result.BulkRetained,
            result.Goodput,
            result.Express.Wait.Quantile(0.99) / TimeSpan.TicksPerMillisecond,
            (double)result.Express.Wait.Max / TimeSpan.TicksPerMillisecond,
            (double)result.Bulk.Wait.Max / TimeSpan.TicksPerSecond,
            result.Bulk.Starved,
            result.BusySeconds,
            1e6 * result.CostPerTaskUsd,
            result.Seconds
        );
}

/// <summary>Lives what cells ask for. A policy that fails is counted as having attained nothing, and the report names it.</summary>
internal sealed class Lives
{
    private readonly ConcurrentDictionary<string, string> _failures = new(StringComparer.Ordinal);

    /// <summary>What failed and how, in a fixed order.</summary>
    public IEnumerable<KeyValuePair<string, string>> Failures => _failures.OrderBy(f => f.Key, StringComparer.Ordinal);

    /// <returns>Null when the policy broke a promise or failed.</returns>
    public SimResult? Live(string cell, Scenario scenario, PolicyEntry policy, Parameters parameters)
    {
        try
        {
            return scenario.Run(policy, parameters with { Tune = o => Tuned(o, policy) });
        }
#pragma warning disable CA1031 // A report of all policies says which of them failed, whatever the failure is.
        catch (Exception e)
#pragma warning restore CA1031
        {
            _failures[$"{policy.Name}, {cell}"] = e.Message;
            return null;
        }

        Scheduler.Policy.PolicyOptions Tuned(Scheduler.Policy.PolicyOptions options, PolicyEntry entry)
        {
            var tuned = parameters.Tune?.Invoke(options) ?? options;
            // It sends every batch of its next 10 ms at once, so a bound of two dispatches a lane would not be Clockwork.
            return entry.Name.StartsWith("clockwork", StringComparison.Ordinal) ? tuned with { DispatchesPerLaneMax = 64 } : tuned;
        }
    }

    /// <summary>The policy told a target that is shorter than the one it is judged by.</summary>
    public static PolicyEntry WithMargin(PolicyEntry policy, double margin) =>
        new(
            FormattableString.Invariant($"{policy.Name} margin {100 * margin:0.#} %"),
            policy.About,
            options =>
            {
                var express = options.Classes[LatencyClass.Express];
                return policy.Create(
                    Scenarios.WithTarget(options, LatencyClass.Express, (1 - margin) * express.Target, express.CompletionWindow)
                );
            }
        );
}
