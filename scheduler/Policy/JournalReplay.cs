namespace Pipeline.Scheduler.Policy;

/// <summary>
/// Lives a term again from its journal: the same facts at the same times into a fresh planner. Pure, as the policy is; each plan is
/// compared with what was recorded of it.
/// </summary>
internal sealed class JournalReplay
{
    private readonly Planner _planner;
    private readonly TraceHash _hash = new();

    public JournalReplay(JournalHead head) => _planner = new Planner(head.Options, head.Epoch, At(head.Started));

    public long Facts { get; private set; }
    public long Plans { get; private set; }
    public long Decisions { get; private set; }

    /// <summary>The running hash of what was decided.</summary>
    public ulong Hash => _hash.Value;

    /// <summary>What differed from the record first; null while nothing has.</summary>
    public string? Difference { get; private set; }

    /// <summary>Takes the next line.</summary>
    /// <returns>What the planner decided at it.</returns>
    public IReadOnlyList<Decision> Take(JournalLine line)
    {
        switch (line)
        {
            case JournalFact fact:
                Facts++;
                _planner.Observe(fact.Fact, At(fact.Ticks));
                return [];
            case JournalPlan plan:
                Plans++;
                var decisions = _planner.Plan(At(plan.Ticks));
                Decisions += decisions.Count;
                _hash.Add(decisions);
                Compare(plan, decisions.Count);
                return decisions;
            default:
                return [];
        }
    }

    private void Compare(JournalPlan recorded, int decisions)
    {
        if (recorded.Decisions != decisions)
        {
            Difference ??= $"recorded {recorded.Decisions} decisions, replayed {decisions}";
        }
        else if (recorded.Hash is { } hash && hash != Hash)
        {
            Difference ??= $"recorded hash {TraceHash.Text(hash)}, replayed {TraceHash.Text(Hash)}";
        }
    }

    private static DateTimeOffset At(long ticks) => new(ticks, TimeSpan.Zero);
}
