using Pipeline.GpuWorker.Models;

namespace Pipeline.GpuWorker.Stages;

/// <summary>Cuts tasks into batches: those of one shape, sorted by length, as many as the padded units and the model allow.</summary>
internal static class BatchCut
{
    /// <returns>Batches as places in <paramref name="tasks"/>, shortest tasks first.</returns>
    public static List<int[]> ByLength(PreparedTask[] tasks, IModel model, long paddedUnitsMax)
    {
        var order = Enumerable.Range(0, tasks.Length).ToArray();
        Array.Sort(
            order,
            (a, b) =>
                tasks[a].ShapeKey != tasks[b].ShapeKey ? tasks[a].ShapeKey.CompareTo(tasks[b].ShapeKey)
                : tasks[a].Units != tasks[b].Units ? tasks[a].Units.CompareTo(tasks[b].Units)
                : a.CompareTo(b)
        );
        var limits = model.Manifest.Limits;
        var rowsMax = model.FixedRows > 0 ? model.FixedRows : limits.BatchRowsMax;
        var unitsMax = Math.Min(paddedUnitsMax, limits.PaddedUnitsMax);
        var batches = new List<int[]>();
        var from = 0;
        for (var at = 1; at <= order.Length; at++)
        {
            // Sorted, so the next task is the longest of the batch it would join.
            if (
                at == order.Length
                || at - from >= rowsMax
                || tasks[order[at]].ShapeKey != tasks[order[from]].ShapeKey
                || (long)tasks[order[at]].Units * (at - from + 1) > unitsMax
            )
            {
                batches.Add(order[from..at]);
                from = at;
            }
        }

        return batches;
    }
}
