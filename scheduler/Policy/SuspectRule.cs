namespace Pipeline.Scheduler.Policy;

/// <summary>
/// How the culprit is found when a worker dies. Its chunks come back with one attempt more and run alone, in ever smaller commits:
/// what was committed is cleared, so each crash leaves fewer suspects. When a worker died over single-row commits, the first task
/// without a result is the one it died over (the worker runs suspects in order), and fails alone.
/// <code>
/// attempts     0         1      2      3      4
/// commit rows  any      64      8      1      the first task without a result fails, attempts = 3
/// </code>
/// So a chunk of 512 with one culprit costs at most four workers, whatever else is in it.
/// </summary>
internal static class SuspectRule
{
    /// <summary>Attempts at which the culprit is known.</summary>
    public const int AttemptsConvicted = 4;

    /// <summary>Attempts a chunk goes on with when its culprit has failed: others may hide in it.</summary>
    public const int AttemptsAfterwards = 3;

    public static int? CommitRowsMax(WaitingChunk chunk) =>
        chunk.Attempts switch
        {
            0 => null,
            1 => 64,
            2 => 8,
            _ => 1,
        };

    /// <summary>Tasks of one dispatch: a quarter of the last with every fault.</summary>
    public static int SliceTasksMax(WaitingChunk chunk) => Math.Max(1, chunk.Tasks >> Math.Min(30, 2 * chunk.Faults));
}
