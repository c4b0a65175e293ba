using Pipeline.Simulator.Fleet;

namespace Pipeline.Simulator.Fidelity;

/// <summary>
/// The simulator's parameters as the real system's calibration shows them: device time by padded units with its scatter, and how long
/// messages, fetch, packing and commit take. Distributions are kept as they were measured, and drawn from.
/// </summary>
internal sealed record Measured
{
    /// <summary>Calls of one size from which its mean is believed.</summary>
    private const int CallsMin = 4;

    /// <summary>A dispatch that reached the worker this long before the device was free waited packed beside it.</summary>
    private static readonly long StagedBefore = TimeSpan.FromMilliseconds(15).Ticks;

    public required DeviceProfile Device { get; init; }

    /// <summary>Device time over the profile's, call by call; their mean is 1.</summary>
    public required double[] Scatter { get; init; }
    public required Delay SubmitToScheduler { get; init; }
    public required Delay SchedulerToWorker { get; init; }
    public required Delay BeginTime { get; init; }
    public required Delay DeviceToResult { get; init; }
    public required Delay WorkerToScheduler { get; init; }

    /// <summary>The parameters as they were known before a pair: from the calibration, and from the streams before it and the pairs that preceded it.</summary>
    public static Measured Before(Observed seen, int pair) =>
        From(
            seen,
            [
                SeenJob.Calibration,
                .. seen.Jobs.Select(j => j.Mark).Distinct().Where(m => m <= SeenJob.Before(0) && m >= SeenJob.Before(pair)),
            ]
        );

    /// <summary>Reads the parameters off what was seen while jobs of these marks were under way.</summary>
    /// <exception cref="ArgumentException">There is too little of it.</exception>
    public static Measured From(Observed seen, params int[] marks)
    {
        var jobs = seen.Jobs.Where(j => marks.Contains(j.Mark)).ToList();
        var spans = jobs.GroupBy(j => j.Mark).Select(g => (From: g.Min(j => j.QueuedAt), Until: g.Max(j => j.EndedAt))).ToList();
        var batches = seen
            .Batches.Where(b => spans.Exists(s => b.StartedAt >= s.From && b.StartedAt <= s.Until))
            .OrderBy(b => b.StartedAt)
            .ToList();
        var device = Profile(batches);
        var firsts = FirstOfDispatch(batches);
        var begin = Gaps(firsts);
        var beginMean = begin.Length > 0 ? (long)begin.Average() : 0;
        return new Measured
        {
            Device = device,
            Scatter = ScatterOf(batches, device),
            SubmitToScheduler = Delay.Of(jobs.Where(j => j.ArrivedAt > 0).Select(j => j.ArrivedAt - j.QueuedAt)),
            // Only where the device was free is the way the whole wait; what it takes to begin is counted apart.
            SchedulerToWorker = Delay.Of(
                firsts
                    .Where(f => f.Batch.DecidedAt > 0 && f.FreeSince > 0 && f.FreeSince < f.Batch.DecidedAt)
                    .Select(f => f.Batch.StartedAt - f.Batch.DecidedAt - beginMean)
            ),
            BeginTime = Delay.Of(begin),
            // Bulk rows may wait for company before they are committed; express rows do not.
            DeviceToResult = Delay.Of(
                batches.Where(b => b.Lane == Contracts.Lane.Express && b.ResultAt > 0).Select(b => b.ResultAt - b.FinishedAt)
            ),
            WorkerToScheduler = Delay.Of(
                batches.GroupBy(b => b.Dispatch).Select(g => g.Last()).Where(b => b.KnownAt > 0).Select(b => b.KnownAt - b.FinishedAt)
            ),
        };
    }

    /// <summary>The mean of every size that ran often enough.</summary>
    private static DeviceProfile Profile(List<SeenBatch> batches)
    {
        var points = batches
            .GroupBy(b => b.PaddedUnits)
            .Where(g => g.Count() >= CallsMin)
            .Select(g => (Units: g.Key, Ns: g.Average(b => (double)b.DeviceNs)))
            .ToList();
        return points.Count > 0
            ? new DeviceProfile("measured", points)
            : throw new ArgumentException($"No batch size ran {CallsMin} times: {batches.Count} batches in all.");
    }

    private static double[] ScatterOf(List<SeenBatch> batches, DeviceProfile device)
    {
        var factors = batches.Select(b => b.DeviceNs / device.Ns(b.PaddedUnits)).ToArray();
        var mean = factors.Average();
        return [.. factors.Select(f => f / mean)];
    }

    /// <summary>The first batch of each dispatch, and since when the device had been free.</summary>
    private static List<(SeenBatch Batch, long FreeSince)> FirstOfDispatch(List<SeenBatch> batches)
    {
        var seen = new HashSet<Contracts.DispatchId>();
        var firsts = new List<(SeenBatch, long)>();
        for (var i = 0; i < batches.Count; i++)
        {
            if (seen.Add(batches[i].Dispatch))
            {
                firsts.Add((batches[i], i > 0 ? batches[i - 1].FinishedAt : 0));
            }
        }

        return firsts;
    }

    /// <summary>What lay between two batches where the second one's dispatch had long been there.</summary>
    private static long[] Gaps(List<(SeenBatch Batch, long FreeSince)> firsts) =>
        [.. firsts.Where(f => f.FreeSince - f.Batch.ReceivedAt > StagedBefore).Select(f => f.Batch.StartedAt - f.FreeSince)];
}
