using Pipeline.Scheduler.Policy;
using Pipeline.Simulator.Baselines;

namespace Pipeline.Simulator;

/// <summary>A policy that can be asked for by name.</summary>
/// <param name="Create">Makes one for a world; it learns everything else from facts.</param>
internal sealed record PolicyEntry(string Name, string About, Func<PolicyOptions, IPolicy> Create);

/// <summary>The policies the simulator knows: ours, and those it is compared to. Another one is one more line here.</summary>
internal static class Policies
{
    public const string Ours = "pipeline";

    public static IReadOnlyList<PolicyEntry> All { get; } =
    [new(Ours, "the policy of production", options => new Planner(options, epoch: 1, World.Start)), .. BaselineEntries.All];

    /// <exception cref="ArgumentException">No policy has this name.</exception>
    public static PolicyEntry Find(string name) =>
        All.FirstOrDefault(p => p.Name == name)
        ?? throw new ArgumentException($"No policy is called {name}. Known: {string.Join(", ", All.Select(p => p.Name))}.");
}
