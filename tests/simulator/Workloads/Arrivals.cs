using Pipeline.Contracts;

namespace Pipeline.Simulator.Workloads;

/// <summary>A chunk as a client submits it.</summary>
/// <param name="At">When it is accepted, in ticks from the world's start.</param>
/// <param name="Model">The model's place in <see cref="WorldOptions.Models"/>.</param>
/// <param name="UnitsEach">Units of each task, where all are equal.</param>
/// <param name="Lengths">Units of each task, where they differ.</param>
/// <param name="Window">Ticks from acceptance until the deadline; 0 for the class's completion window.</param>
/// <param name="JobChunks">Chunks of its job; they come one after another, in order of <paramref name="No"/>.</param>
/// <param name="No">Its place in its job.</param>
internal readonly record struct Submission(
    long At,
    LatencyClass Class = LatencyClass.Express,
    int Model = 0,
    int Tenant = 0,
    int Tasks = 1,
    int UnitsEach = 1,
    int[]? Lengths = null,
    long Window = 0,
    int JobChunks = 1,
    int No = 0
);

/// <summary>Submissions in order of time.</summary>
internal interface IArrivals
{
    /// <summary>The next submission; false when no more come.</summary>
    bool Next(out Submission submission);
}

/// <summary>What every submission of a stream has in common.</summary>
internal sealed record Kind
{
    public LatencyClass Class { get; init; } = LatencyClass.Express;
    public int Model { get; init; }

    /// <summary>Tenants from <see cref="Tenant"/> on take turns.</summary>
    public int Tenant { get; init; }
    public int Tenants { get; init; } = 1;
    public int Tasks { get; init; } = 1;
    public int Units { get; init; } = 1;
    public TimeSpan Window { get; init; }

    public Submission At(long at, int count, int units = 0, int[]? lengths = null) =>
        new(at, Class, Model, Tenant + (count % Tenants), Tasks, units > 0 ? units : Units, lengths, Window.Ticks);
}

/// <summary>
/// Gaps drawn from a gamma distribution with this coefficient of variation; with 1 it is a Poisson process. AlpaServe (OSDI'23)
/// measures bursts with 4.
/// </summary>
internal sealed class GammaArrivals(Kind kind, double ratePerSecond, double cv, long count, ulong seed) : IArrivals
{
    private readonly Chance _chance = Chance.For(seed, 101);
    private readonly double _meanTicks = TimeSpan.TicksPerSecond / ratePerSecond;
    private readonly double _shape = 1 / (cv * cv);
    private double _at;
    private long _sent;

    public bool Next(out Submission submission)
    {
        submission = default;
        if (_sent >= count)
        {
            return false;
        }

        _at += _meanTicks * (cv == 1 ? _chance.Exponential() : _chance.Gamma(_shape));
        submission = kind.At((long)_at, (int)(_sent++ % int.MaxValue));
        return true;
    }
}

/// <summary>Streams merged by time; at one time the earlier stream goes first.</summary>
internal sealed class Superposition : IArrivals
{
    private readonly List<(IArrivals Stream, Submission Head)> _streams = [];

    public Superposition(params IEnumerable<IArrivals> streams)
    {
        foreach (var stream in streams)
        {
            if (stream.Next(out var head))
            {
                _streams.Add((stream, head));
            }
        }
    }

    public bool Next(out Submission submission)
    {
        submission = default;
        if (_streams.Count == 0)
        {
            return false;
        }

        var soonest = 0;
        for (var i = 1; i < _streams.Count; i++)
        {
            soonest = _streams[i].Head.At < _streams[soonest].Head.At ? i : soonest;
        }

        var (stream, head) = _streams[soonest];
        submission = head;
        if (stream.Next(out var next))
        {
            _streams[soonest] = (stream, next);
        }
        else
        {
            _streams.RemoveAt(soonest);
        }

        return true;
    }
}
