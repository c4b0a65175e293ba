namespace Pipeline.GpuWorker.OnnxRuntime;

/// <summary>How a model is loaded: where it runs and with what.</summary>
internal sealed record SessionOptions
{
    /// <summary>Providers in order of preference: the first that loads runs the model. Known: <c>cuda</c>, <c>webgpu</c>, <c>cpu</c>.</summary>
    public IReadOnlyList<string> Providers { get; init; } = [ExecutionProviders.Cuda, ExecutionProviders.WebGpu, ExecutionProviders.Cpu];

    /// <summary>Threads inside one operator on the CPU, 0 to 1024; 0 takes one per core.</summary>
    public int IntraOpThreads { get; init; }

    /// <summary>Whether idle threads spin for work. Faster alone; on a shared machine they starve everybody else.</summary>
    public bool AllowSpinning { get; init; }

    /// <summary>How far the graph is rewritten before it runs.</summary>
    public GraphOptimization Optimization { get; init; } = GraphOptimization.All;

    /// <summary>The most device memory the session's arena takes, in bytes; null leaves it to the device. Heeded by <c>cuda</c>.</summary>
    public long? GpuMemoryLimitBytes { get; init; }

    /// <summary>Which device, counted from 0. Heeded by <c>cuda</c>.</summary>
    public int DeviceId { get; init; }

    /// <summary>Names every option that is out of its range.</summary>
    /// <exception cref="ArgumentException">At least one is.</exception>
    public void Validate()
    {
        var mistakes = Mistakes().ToList();
        if (mistakes.Count > 0)
            throw new ArgumentException(string.Join(" ", mistakes));
    }

    private IEnumerable<string> Mistakes()
    {
        if (Providers.Count == 0)
            yield return $"{nameof(Providers)}: expected at least one of {string.Join(", ", ExecutionProviders.Known)}, given none.";
        foreach (var unknown in Providers.Except(ExecutionProviders.Known))
            yield return $"{nameof(Providers)}: expected {string.Join(", ", ExecutionProviders.Known)}, given '{unknown}'.";
        if (IntraOpThreads is < 0 or > 1024)
            yield return $"{nameof(IntraOpThreads)}: expected 0 to 1024, given {IntraOpThreads}.";
        if (!Enum.IsDefined(Optimization))
            yield return $"{nameof(Optimization)}: expected a {nameof(GraphOptimization)}, given {Optimization}.";
        if (GpuMemoryLimitBytes is <= 0)
            yield return $"{nameof(GpuMemoryLimitBytes)}: expected more than 0, given {GpuMemoryLimitBytes}.";
        if (DeviceId < 0)
            yield return $"{nameof(DeviceId)}: expected 0 or more, given {DeviceId}.";
    }
}

/// <summary>Levels of graph optimisation, with the library's numbers.</summary>
internal enum GraphOptimization
{
    None = 0,
    Basic = 1,
    Extended = 2,
    All = 99,
}
