using Pipeline.Scheduler.Policy;

namespace Pipeline.Simulator;

/// <summary>What a scenario can be told. Each uses what concerns it; 0 or null stands for the scenario's own.</summary>
internal sealed record Parameters
{
    public ulong Seed { get; init; } = 1;

    /// <summary>Express tasks; in <c>day</c> tasks of all classes.</summary>
    public long Tasks { get; init; }

    /// <summary>Express load over the analytic ceiling (<see cref="Ceiling"/>).</summary>
    public double Rho { get; init; }

    /// <summary>Bulk load over what express leaves.</summary>
    public double BulkRho { get; init; }

    /// <summary>Coefficient of variation of the gaps between arrivals.</summary>
    public double Cv { get; init; } = 1;
    public string? Profile { get; init; }

    /// <summary>A file of ../shared/data/traces.</summary>
    public string? Trace { get; init; }
    public int Workers { get; init; }

    /// <summary>Express target in milliseconds.</summary>
    public double TargetMs { get; init; }

    /// <summary>Deviation of the logarithm of a batch's time.</summary>
    public double Jitter { get; init; } = 0.01;

    /// <summary>The profile the policy is told is wrong by this factor.</summary>
    public double ProfileError { get; init; } = 1;
    public int Tenants { get; init; } = 1;

    /// <summary>Changes the bounds the policy plans within, last of all.</summary>
    public Func<PolicyOptions, PolicyOptions>? Tune { get; init; }

    /// <summary>Changes the world, last of all.</summary>
    public Func<WorldOptions, WorldOptions>? Shape { get; init; }

    /// <summary>True to time the policy apart from the simulator.</summary>
    public bool TimePolicy { get; init; }
    public bool Progress { get; init; }
}
