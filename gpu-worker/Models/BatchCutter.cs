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
        var order = Order(tasks);
        var batches = new List<CutBatch>();
        for (var start = 0; start < order.Length; )
        {
            var key = tasks[order[start]].ShapeKey;
            var end = start + 1;
            while (end < order.Length && tasks[order[end]].ShapeKey == key)
                end++;
            CutGroup(tasks, order.AsMemory(start, end - start), limits, batches);
            start = end;
        }
        return batches;
    }

    private static int[] Order(IReadOnlyList<PreparedTask> tasks)
    {
        var order = new int[tasks.Count];
        var keys = new (long Shape, int Units, int Arrival)[tasks.Count];
        for (var i = 0; i < order.Length; i++)
        {
            order[i] = i;
            keys[i] = (tasks[i].ShapeKey, tasks[i].Units, i);
        }
        Array.Sort(keys, order);
        return order;
    }

    /// <summary>
    /// Finds the cheapest cuts of one group: a batch costs its fixed part and its padded units, and the cheapest way to run the first n
    /// tasks is the cheapest of all ways to choose the last batch of them. That looks at tasks × rows pairs: a millisecond for a
    /// thousand tasks in batches of 512.
    /// </summary>
    private static void CutGroup(IReadOnlyList<PreparedTask> tasks, ReadOnlyMemory<int> order, BatchLimits limits, List<CutBatch> batches)
    {
        var units = new long[order.Length];
        for (var i = 0; i < units.Length; i++)
            units[i] = tasks[order.Span[i]].Units;

        var rowsMax = limits.FixedRows > 0 ? limits.FixedRows : limits.RowsMax;
        var starts = new int[units.Length + 1];
        var costs = new double[units.Length + 1];
        for (var end = 1; end <= units.Length; end++)
        {
            var longest = units[end - 1];
            var rowsEnd = Math.Min(rowsMax, end);
            if (limits.FixedRows == 0)
                rowsEnd = (int)Math.Clamp(limits.PaddedUnitsMax / longest, 1, rowsEnd);
            costs[end] = double.PositiveInfinity;
            for (var rows = 1; rows <= rowsEnd; rows++)
            {
                // Of equally cheap ways the last one found, with the larger last batch.
                var cost = costs[end - rows] + ((limits.FixedRows > 0 ? limits.FixedRows : rows) * longest);
                if (cost > costs[end])
                    continue;
                costs[end] = cost;
                starts[end] = end - rows;
            }
            costs[end] += limits.BatchCostUnits;
        }

        var first = batches.Count;
        for (var end = units.Length; end > 0; end = starts[end])
            batches.Add(Batch(units, order, starts[end], end, limits.FixedRows));
        batches.Reverse(first, batches.Count - first);
    }

    private static CutBatch Batch(long[] units, ReadOnlyMemory<int> order, int start, int end, int fixedRows) =>
        new(order[start..end], units[start..end].Sum(), (fixedRows > 0 ? fixedRows : end - start) * units[end - 1]);
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
internal readonly record struct BatchLimits(int RowsMax, long PaddedUnitsMax, int FixedRows = 0, double BatchCostUnits = 1e12)
{
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
internal sealed record CutBatch(ReadOnlyMemory<int> Tasks, long Units, long PaddedUnits);
