using Pipeline.Contracts;

namespace Pipeline.Simulator.Workloads;

/// <summary>How long a bulk job's tasks are; null stands for tasks of the kind's own units.</summary>
/// <returns>The length of the next task, in units.</returns>
internal delegate int LengthSource();

/// <summary>Where lengths come from.</summary>
internal static class Lengths
{
    /// <summary>A file's lengths, over and over, cut at a length.</summary>
    public static LengthSource FromFile(string name, int unitsMax)
    {
        var lengths = Trace.ReadLengths(name);
        var at = 0;
        return () => Math.Clamp(lengths[at++ % lengths.Length], 1, unitsMax);
    }

    /// <summary>Log-normal with this mean: many short, few long.</summary>
    public static LengthSource LogNormal(double mean, double sigma, int unitsMax, ulong seed)
    {
        var chance = Chance.For(seed, 301);
        return () => (int)Math.Clamp(Math.Round(mean * chance.LogNormal(sigma)), 1, unitsMax);
    }
}

/// <summary>Jobs of many tasks, submitted whole: one after another at equal distances, each in chunks of 512.</summary>
/// <param name="from">When the first comes.</param>
/// <param name="every">From one to the next.</param>
/// <param name="jobs">How many.</param>
/// <param name="tasks">Tasks of each.</param>
internal sealed class BulkDrops(Kind kind, TimeSpan from, TimeSpan every, int jobs, long tasks, LengthSource? lengths = null) : IArrivals
{
    private readonly int _chunks = (int)((tasks + ChunkPayload.TasksMax - 1) / ChunkPayload.TasksMax);
    private int _job;
    private int _no;

    public bool Next(out Submission submission)
    {
        submission = default;
        if (_job >= jobs || tasks == 0)
        {
            return false;
        }

        var count = (int)Math.Min(ChunkPayload.TasksMax, tasks - ((long)_no * ChunkPayload.TasksMax));
        submission = kind.At((from + (_job * every)).Ticks, _job, lengths: Draw(count)) with
        {
            Tasks = count,
            JobChunks = _chunks,
            No = _no,
        };
        _no++;
        if (_no == _chunks)
        {
            (_job, _no) = (_job + 1, 0);
        }

        return true;
    }

    private int[]? Draw(int count)
    {
        if (lengths is null)
        {
            return null;
        }

        var drawn = new int[count];
        for (var i = 0; i < count; i++)
        {
            drawn[i] = lengths();
        }

        return drawn;
    }
}
