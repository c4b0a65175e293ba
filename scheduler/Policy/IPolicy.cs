namespace Pipeline.Scheduler.Policy;

/// <summary>
/// A scheduling policy: facts in, decisions out, time as an argument. <see cref="Planner"/> is the one of production; the simulator
/// compares it with published ones behind the same interface. The same facts at the same times give the same decisions.
/// </summary>
internal interface IPolicy
{
    /// <summary>Takes one fact in. Nothing is decided yet.</summary>
    void Observe(Fact fact, DateTimeOffset time);

    /// <summary>Decides what to do now. Carrying a decision out may answer with facts, at this time or later.</summary>
    IReadOnlyList<Decision> Plan(DateTimeOffset time);

    /// <summary>When to plan again, if no fact comes before; <see cref="DateTimeOffset.MaxValue"/> when nothing is awaited.</summary>
    DateTimeOffset NextWake(DateTimeOffset time);
}
