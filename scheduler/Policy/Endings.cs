using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// Decisions to end tasks that never run: a few at a time, each as often as it takes until it is carried out. What is being ended
/// counts as in flight meanwhile, so nothing else takes it.
/// </summary>
internal sealed class Endings(Backlog backlog)
{
    private readonly Queue<FailTasks> _convicted = new();
    private readonly Queue<(Decision Decision, long NotBefore)> _again = new();
    private int _open;

    public PolicyOptions Options { get; set; } = new();

    /// <summary>When something failed waits to be tried again: at that time; else <see cref="long.MaxValue"/>.</summary>
    public long NextWake => _again.TryPeek(out var next) ? next.NotBefore : long.MaxValue;

    /// <summary>Tasks that have to fail alone; the caller has taken them into flight.</summary>
    public void Convict(FailTasks decision) => _convicted.Enqueue(decision);

    /// <summary>As many decisions as may be open at once.</summary>
    public void Plan(List<Decision> decisions, long now)
    {
        while (_open < Options.EndingsOpenMax && Next(now) is { } decision)
        {
            _open++;
            decisions.Add(decision);
        }
    }

    public void Done() => _open = Math.Max(0, _open - 1);

    public void Failed(Decision decision, long now)
    {
        Done();
        _again.Enqueue((decision, now + Options.EndingRetryAfter.Ticks));
    }

    private Decision? Next(long now)
    {
        if (_again.TryPeek(out var again) && again.NotBefore <= now)
        {
            _again.Dequeue();
            return again.Decision;
        }

        return _convicted.TryDequeue(out var convicted) ? convicted : NextOfJobs();
    }

    /// <summary>A job's next chunks of which nothing is in flight; those in flight stand in line again when they land.</summary>
    private EndChunks? NextOfJobs()
    {
        while (backlog.FirstToEnd() is { } job)
        {
            var chunks = new List<ChunkKey>();
            var (tasks, units) = (0, 0L);
            while (chunks.Count < Options.EndingChunksMax && backlog.NextOf(job) is { } chunk)
            {
                if (chunk.InFlight == 0)
                {
                    tasks += chunk.Waiting.Count;
                    units += chunk.UnitsWaiting;
                    Backlog.TakeAll(chunk);
                    chunks.Add(chunk.Key);
                }
            }

            if (chunks.Count > 0)
            {
                var ending = (EndChunks)job.Ending!;
                return ending with { Chunks = chunks, Why = ending.Why with { Tasks = tasks, Units = units } };
            }
        }

        return null;
    }
}
