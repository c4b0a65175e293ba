namespace Pipeline.Scheduler.Policy.Index;

/// <summary>
/// A tenant's jobs in one class queue, and how far it is: its virtual time is the units it took over its weight (start-time fair
/// queueing, Goyal et al., SIGCOMM'96).
/// </summary>
internal sealed class TenantLine(int tenant, DueOrder order)
{
    public int Tenant { get; } = tenant;
    public IntHeap<DueOrder> Jobs { get; } = new(order);
    public double VirtualTime { get; set; }

    /// <summary>Its places among the lines with jobs, by virtual time and by due time.</summary>
    public int PlaceByTime;
    public int PlaceByDue;
}

/// <summary>Lines by virtual time; of those that are equally far, the one whose first job is due first.</summary>
internal readonly struct LinesByTime(List<TenantLine?> lines, DueOrder order) : IHeapOrder
{
    public bool Less(int a, int b)
    {
        var (x, y) = (lines[a]!, lines[b]!);
        return x.VirtualTime < y.VirtualTime || (x.VirtualTime <= y.VirtualTime && order.Less(x.Jobs.Min, y.Jobs.Min));
    }

    public ref int Place(int id) => ref lines[id]!.PlaceByTime;
}

/// <summary>Lines by when their first job is due.</summary>
internal readonly struct LinesByDue(List<TenantLine?> lines, DueOrder order) : IHeapOrder
{
    public bool Less(int a, int b) => order.Less(lines[a]!.Jobs.Min, lines[b]!.Jobs.Min);

    public ref int Place(int id) => ref lines[id]!.PlaceByDue;
}
