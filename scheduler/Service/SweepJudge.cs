using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Scheduler.Service;

/// <summary>
/// Compares what a sweep read with the index. A page is a moment old when it is judged: a chunk that has just ended, or a job that was
/// just resumed, looks amiss. So a difference counts only when the sweep before saw the same.
/// </summary>
internal sealed class SweepJudge
{
    private HashSet<object> _before = [];
    private HashSet<object> _now = [];

    /// <summary>The facts that the index lacks for certain.</summary>
    public IEnumerable<Fact> Judge(Swept page, Backlog index)
    {
        var facts = page.Chunks.SelectMany(chunk => Differences(chunk, index)).ToList();
        if (page.Last)
        {
            (_before, _now) = (_now, []);
        }

        return facts;
    }

    private IEnumerable<Fact> Differences(OpenChunk chunk, Backlog index)
    {
        if (index.Find(chunk.Header.Key) is null && SeenTwice(chunk.Header.Key))
        {
            yield return new ChunkArrived(chunk.Header);
            foreach (var flag in Recovery.FlagsOf(chunk))
            {
                yield return flag;
            }
        }

        // A routed job stands in the index once for each model; what is told of one of them is told of all.
        if ((index.Find(chunk.Header.Key)?.Job ?? index.Find(chunk.Header.Job)) is not { } job)
        {
            yield break;
        }

        if (chunk.Cancelling && job.Ending is null && SeenTwice(new JobCancelled(job.Id)))
        {
            yield return new JobCancelled(job.Id);
        }

        Fact flagFact = chunk.Paused ? new JobPaused(job.Id) : new JobResumed(job.Id);
        if (chunk.Paused != job.Paused && SeenTwice(flagFact))
        {
            yield return flagFact;
        }

        var asStored = new JobMoved(job.Id, chunk.Header.Class, chunk.Header.Deadline, chunk.Header.QueuedAt);
        if (job.Ending is null && !StandsBy(job, asStored) && SeenTwice(asStored))
        {
            yield return asStored;
        }
    }

    /// <summary>PostgreSQL keeps microseconds. Where the class is the same, from when its target counts was not changed.</summary>
    private static bool StandsBy(WaitingJob job, JobMoved stored) =>
        (job.Relegated ? LatencyClass.Express : job.Queue.Class) == stored.Class
        && Math.Abs(job.Deadline - stored.Deadline.UtcTicks) <= TimeSpan.TicksPerMicrosecond;

    private bool SeenTwice(object difference)
    {
        _now.Add(difference);
        return _before.Contains(difference);
    }
}
