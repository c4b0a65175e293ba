namespace Pipeline.Simulator.Workloads;

/// <summary>Submissions that were recorded elsewhere, in order of time.</summary>
internal sealed class Replayed(IEnumerable<Submission> submissions) : IArrivals
{
    private readonly Queue<Submission> _left = new(submissions);

    public bool Next(out Submission submission) => _left.TryDequeue(out submission);
}
