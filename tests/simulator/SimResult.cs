using Pipeline.Contracts;

namespace Pipeline.Simulator;

/// <summary>What a simulated life came to.</summary>
/// <param name="Seconds">Measured virtual seconds.</param>
/// <param name="TraceHash">Of every decision and every end: equal hashes, equal lives.</param>
/// <param name="PolicySeconds">Real time spent in the policy, where it was measured.</param>
internal sealed record SimResult(
    string Policy,
    ulong Seed,
    IReadOnlyList<ClassMeasures> Classes,
    IReadOnlyList<PoolMeasures> Pools,
    double Seconds,
    long TasksSubmitted,
    long TasksEnded,
    long Events,
    long Plans,
    long Decisions,
    ulong TraceHash,
    double WallSeconds,
    double PolicySeconds
)
{
    /// <summary>What express leaves to bulk, in units per second; 0 where the scenario has no bulk.</summary>
    public double BulkUnitsPerSecondMax { get; init; }

    /// <summary>Share of that which was done.</summary>
    public double BulkRetained => BulkUnitsPerSecondMax <= 0 ? 0 : Bulk.UnitsDone / Math.Max(Seconds, 1e-9) / BulkUnitsPerSecondMax;

    public ClassMeasures Of(LatencyClass latencyClass) => Classes[(int)latencyClass];

    public ClassMeasures Express => Of(LatencyClass.Express);
    public ClassMeasures Standard => Of(LatencyClass.Standard);
    public ClassMeasures Bulk => Of(LatencyClass.Bulk);

    /// <summary>Tasks that were there by their due time, per second, over all classes.</summary>
    public double Goodput => Classes.Sum(c => c.Attained) / Math.Max(Seconds, 1e-9);

    public double BusySeconds => Pools.Sum(p => p.BusySeconds);
    public double WastedSeconds => Pools.Sum(p => p.WastedSeconds);
    public double CostUsd => Pools.Sum(p => p.CostUsd);
    public long TasksDone => Classes.Sum(c => c.TasksDone);
    public double CostPerTaskUsd => CostUsd / Math.Max(1, TasksDone);

    /// <summary>Share of the devices' time that they were busy.</summary>
    public double Utilisation => BusySeconds / Math.Max(Seconds * Pools.Sum(p => p.Workers), 1e-9);
    public double MeanBatch => (double)Pools.Sum(p => p.Tasks) / Math.Max(1, Pools.Sum(p => p.Batches));
}
