using System.Runtime.InteropServices;

namespace Pipeline.GpuWorker.Models;

/// <summary>
/// Cuts tasks into batches, so that little is spent on padding. Pure, and the same for the same tasks: they are put in order of shape
/// key, units and arrival, and cut where that costs the device least.
/// </summary>
internal static class BatchCutter
{
    /// <param name="tasks">What is to run, in order of arrival.</param>
    /// <param name="limits">What a batch may hold.</param>
    /// <returns>Every task once. Batches of short tasks come first; none is empty.</returns>
    public static IReadOnlyList<CutBatch> Cut(IReadOnlyList<PreparedTask> tasks, BatchLimits limits)
    {
        limits.Validate();
        var batches = new List<CutBatch>();
        foreach (var group in Groups(tasks).Values)
            CutGroup(CollectionsMarshal.AsSpan(group), limits, batches);
        return batches;
    }

    /// <summary>Tasks by shape key; each as one number that sorts by units, then by arrival.</summary>
    private static SortedDictionary<long, List<long>> Groups(IReadOnlyList<PreparedTask> tasks)
    {
        var groups = new SortedDictionary<long, List<long>>();
        List<long>? group = null;
        var key = 0L;
        for (var i = 0; i < tasks.Count; i++)
        {
            var task = tasks[i];
            if (group is null || task.ShapeKey != key)
            {
                key = task.ShapeKey;
                if (!groups.TryGetValue(key, out group))
                    groups.Add(key, group = []);
            }
            group.Add(((long)task.Units << 32) | (uint)i);
        }
        return groups;
    }

    /// <summary>
    /// Finds the cheapest cuts of one group, as a shortest path from its first task to its end: an edge is a batch, and costs its fixed
    /// part and its padded units. Only two ends of a batch need a look: where the length changes, and where the batch is full. Cut
    /// anywhere else, the next task could join it and nothing would cost more. So this takes tasks × batches steps at the very most,
    /// where lengths repeat far fewer.
    /// </summary>
    private static void CutGroup(Span<long> group, BatchLimits limits, List<CutBatch> batches)
    {
        group.Sort();
        var nextLength = NextLengths(group);
        var starts = new int[group.Length + 1];
        var costs = new double[group.Length + 1];
        costs.AsSpan(1).Fill(double.PositiveInfinity);
        for (var start = 0; start < group.Length; start++)
        {
            if (double.IsPositiveInfinity(costs[start]))
                continue;
            for (var end = start; end < group.Length; )
            {
                // The tasks of the next length, as many as still fit.
                var units = Units(group, end);
                var before = end;
                end = (int)Math.Min(nextLength[end], (long)start + RowsMax(units, limits));
                if (end <= before)
                    break;
                var cost = costs[start] + limits.BatchCostUnits + (DeviceRows(end - start, limits) * units);
                if (cost < costs[end])
                    (costs[end], starts[end]) = (cost, start);
                if (end < nextLength[before])
                    break;
            }
        }

        var first = batches.Count;
        for (var end = group.Length; end > 0; end = starts[end])
            batches.Add(Batch(group[starts[end]..end], limits));
        batches.Reverse(first, batches.Count - first);
    }

    /// <summary>For every task the place of the first longer one.</summary>
    private static int[] NextLengths(ReadOnlySpan<long> group)
    {
        var next = new int[group.Length];
        for (var i = group.Length - 1; i >= 0; i--)
            next[i] = i + 1 < group.Length && Units(group, i + 1) == Units(group, i) ? next[i + 1] : i + 1;
        return next;
    }

    private static CutBatch Batch(ReadOnlySpan<long> members, BatchLimits limits)
    {
        var tasks = new int[members.Length];
        var units = 0L;
        for (var i = 0; i < members.Length; i++)
        {
            tasks[i] = (int)members[i];
            units += Units(members, i);
        }
        return new CutBatch(tasks, units, DeviceRows(tasks.Length, limits) * Units(members, members.Length - 1));
    }

    private static long Units(ReadOnlySpan<long> group, int task) => group[task] >> 32;

    private static int RowsMax(long units, BatchLimits limits) =>
        limits.FixedRows > 0 ? limits.FixedRows : (int)Math.Clamp(limits.PaddedUnitsMax / units, 1, limits.RowsMax);

    private static long DeviceRows(int rows, BatchLimits limits) => limits.FixedRows > 0 ? limits.FixedRows : rows;
}

/// <summary>What a batch may hold.</summary>
/// <param name="RowsMax">Tasks at most, 1 or more.</param>
/// <param name="PaddedUnitsMax">Rows × the longest task at most; one longer task runs alone all the same. 1 or more.</param>
/// <param name="FixedRows">Rows that every batch has, where the graph fixes them; 0 elsewhere. The device runs them all anyway, so
/// <paramref name="PaddedUnitsMax"/> does not count then.</param>
/// <param name="BatchCostUnits">
/// What a batch costs before its first unit, in units: α ÷ β of the cost model. The larger, the more padding is worth one batch fewer:
/// 0 never pads, the default makes as few batches as can be.
/// </param>
internal readonly record struct BatchLimits(
    int RowsMax,
    long PaddedUnitsMax,
    int FixedRows = 0,
    double BatchCostUnits = BatchLimits.BatchCostUnitsDefault
)
{
    public const double BatchCostUnitsDefault = 1e12;

    /// <exception cref="ArgumentOutOfRangeException">A limit is out of its range.</exception>
    public void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(RowsMax, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(PaddedUnitsMax, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(FixedRows);
        ArgumentOutOfRangeException.ThrowIfNegative(BatchCostUnits);
    }
}

/// <summary>The tasks that run together.</summary>
/// <param name="Tasks">Indices into what was cut, shortest task first.</param>
/// <param name="Units">Units of the tasks themselves.</param>
/// <param name="PaddedUnits">Units of the device: rows × the longest task.</param>
internal sealed record CutBatch(int[] Tasks, long Units, long PaddedUnits);
