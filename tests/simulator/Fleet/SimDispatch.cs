using Pipeline.Contracts;

namespace Pipeline.Simulator.Fleet;

/// <summary>A dispatch on its way, staged or running: its slices with their chunks' slots, and the batches it was cut into.</summary>
internal sealed class SimDispatch(Dispatch message, int[] slots, int model)
{
    /// <summary>Its place in the world's store.</summary>
    public int Number { get; set; }
    public Dispatch Message { get; } = message;
    public int[] Slots { get; } = slots;
    public int Model { get; } = model;

    /// <summary>Batches in the order they run.</summary>
    public List<SimBatch> Batches { get; } = new(1);

    /// <summary>The tasks in the order they run, where that is not the order of the slices.</summary>
    public (int Slot, int Task)[]? Order { get; set; }

    /// <summary>What has run.</summary>
    public List<BatchFact> Ran { get; } = new(1);
    public bool Begun { get; set; }

    /// <summary>False while it is on its way to the worker.</summary>
    public bool HasReached { get; set; }

    /// <summary>It was stopped on its way: the worker hands it back when it comes.</summary>
    public bool IsStopped { get; set; }

    /// <summary>Where the next batch starts, in the order of the slices.</summary>
    public int SliceAt { get; set; }
    public int TaskAt { get; set; }

    public bool HasRun => Ran.Count == Batches.Count;
}

/// <summary>Tasks that run together: from a place in the dispatch's order, so many.</summary>
internal readonly record struct SimBatch(int First, int Count, long Units, long PaddedUnits);
