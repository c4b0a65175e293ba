namespace Pipeline.Scheduler.Policy;

/// <summary>
/// How the culprit is found when a worker dies. Its chunks come back with one attempt more and run alone, in ever smaller commits:
/// what was committed is cleared, so each crash leaves fewer suspects. When a worker died over single-row commits, the first task
/// without a result is the one it died over (the worker runs suspects in order), and fails alone.
/// <code>
/// attempts     0         1      2      3      4
/// commit rows  any      64      8      1      the first task without a result fails, attempts = 3
/// </code>
/// With single-row commits a chunk has a worker for itself (apart): a death on the other lane must not convict it. Before that, bad
/// company costs it a step at most. So a chunk of 512 with one culprit costs at most four workers, whatever else is in it. Attempts tell how far the search has come,
/// so a death counts by the commit size the chunk ran with: when two workers die over the same step it is one step.
/// </summary>
internal static class SuspectRule
{
    /// <summary>Attempts at which the culprit is known.</summary>
    public const int AttemptsConvicted = 4;

    /// <summary>Attempts from which it shares its worker with nobody: those that run row by row.</summary>
    public const int AttemptsApart = 3;

    /// <summary>Attempts a chunk goes on with when its culprit has failed: others may hide in it.</summary>
    public const int AttemptsAfterwards = 3;

    /// <summary>Commit sizes by attempts, from 1 on.</summary>
    public static IReadOnlyList<int> CommitRows { get; } = [64, 8, 1];

    public static int? CommitRowsMax(WaitingChunk chunk) =>
        chunk.Attempts == 0 ? null : CommitRows[Math.Min(chunk.Attempts, CommitRows.Count) - 1];

    /// <summary>Attempts after a worker died while the chunk ran with this commit size.</summary>
    public static int AttemptsAfter(int attempts, int? commitRows) =>
        Math.Max(attempts, 1 + (commitRows is { } rows ? 1 + CommitRows.ToList().IndexOf(rows) : 0));

    /// <summary>Tasks of one dispatch: a quarter of the last with every fault.</summary>
    public static int SliceTasksMax(WaitingChunk chunk) => Math.Max(1, chunk.Tasks >> Math.Min(30, 2 * chunk.Faults));
}
