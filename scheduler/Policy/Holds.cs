using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// What operators hold: nothing more is dispatched for these tenants and models (by name, all their versions), nor to these pools and
/// workers. What was sent before ends.
/// </summary>
internal sealed record Holds(
    IReadOnlyList<TenantId> Tenants,
    IReadOnlyList<string> Models,
    IReadOnlyList<string> Pools,
    IReadOnlyList<WorkerId> Workers
)
{
    public static Holds None { get; } = new([], [], [], []);

    public bool IsEmpty => Tenants.Count + Models.Count + Pools.Count + Workers.Count == 0;

    public bool HoldWork(TenantId tenant, ModelRef model) => Tenants.Contains(tenant) || Models.Contains(model.Name);

    public bool HoldWorker(WorkerId worker, string pool) => Workers.Contains(worker) || Pools.Contains(pool);
}
