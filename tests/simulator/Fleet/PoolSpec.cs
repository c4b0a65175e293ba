using Pipeline.Contracts;

namespace Pipeline.Simulator.Fleet;

/// <summary>Workers of one kind.</summary>
internal sealed record PoolSpec
{
    public string Name { get; init; } = "default";
    public required int Workers { get; init; }

    /// <summary>What each model takes on this pool's device, by its place in <see cref="WorldOptions.Models"/>.</summary>
    public required IReadOnlyList<DeviceProfile> Devices { get; init; }
    public string Provider { get; init; } = "cuda";
    public long PricePerHourPico { get; init; } = Cost.PicoPerUsd;

    /// <summary>Deviation of the logarithm of a batch's time. Steady GPUs show 0.003 to 0.04 (tables of Nexus, SOSP'19).</summary>
    public double JitterSigma { get; init; }

    /// <summary>Factors of a batch's time that were measured, drawn from evenly; null for none.</summary>
    public double[]? Scatter { get; init; }

    /// <summary>Time of the device before a dispatch's first batch, when the worker notes that it begins; no part of the batch's time.</summary>
    public Delay BeginTime { get; init; }

    /// <summary>A batch is this likely to take <see cref="StragglerFactor"/> times its time.</summary>
    public double StragglerShare { get; init; }
    public double StragglerFactor { get; init; } = 5;

    /// <summary>What a worker's first batch of a model takes longer.</summary>
    public TimeSpan LoadTime { get; init; }

    /// <summary>True when every worker has every model loaded from the start.</summary>
    public bool Warm { get; init; } = true;

    /// <summary>Mean life of a worker, exponential; zero when none ever dies.</summary>
    public TimeSpan MeanLife { get; init; }

    /// <summary>A dead worker's place is taken by a new one, under another id, after this.</summary>
    public TimeSpan RestartAfter { get; init; } = TimeSpan.FromSeconds(20);
}

/// <summary>A model of the simulated registry.</summary>
/// <param name="Profile">What registration measured, as the policy is told.</param>
internal sealed record ModelSpec(ModelRef Ref, ModelProfile? Profile, LimitSpec Limits);
