using Pipeline.Contracts;
using Pipeline.GpuWorker.Models;

namespace Pipeline.Simulator.Fleet;

/// <summary>
/// Cuts a dispatch into batches as the worker does, with the worker's own <see cref="BatchCutter"/> where lengths differ. Where all
/// tasks are equally long there is nothing to choose, and rows are counted off. Tasks that have a result already are left out.
/// </summary>
internal sealed class Cutting(ChunkStore chunks, IReadOnlyList<ModelSpec> models)
{
    /// <summary>A dispatch with so large a bound wants to run as one batch, whatever the model's rows.</summary>
    private const long Unbounded = long.MaxValue / 8;

    private readonly Dictionary<int, Length> _lengths = [];
    private readonly List<PreparedTask> _tasks = [];
    private readonly List<(int Slot, int Task)> _places = [];

    public void Cut(SimDispatch dispatch)
    {
        var limits = Limits(dispatch);
        if (IsUniform(dispatch, out var tasks, out var units))
        {
            var rowsMax = (int)Math.Clamp(limits.PaddedUnitsMax / Math.Max(1, units), 1, limits.RowsMax);
            for (var first = 0; first < tasks; first += rowsMax)
            {
                var rows = Math.Min(rowsMax, tasks - first);
                dispatch.Batches.Add(new SimBatch(first, rows, (long)rows * units, (long)rows * units));
            }

            return;
        }

        CutByLength(dispatch, limits);
    }

    private BatchLimits Limits(SimDispatch dispatch)
    {
        var message = dispatch.Message;
        var model = models[dispatch.Model].Limits;
        return message.PaddedUnitsMax >= Unbounded
            ? new BatchLimits(int.MaxValue, long.MaxValue / 4)
            : new BatchLimits(
                model.BatchRowsMax,
                Math.Max(1, Math.Min(message.PaddedUnitsMax, model.PaddedUnitsMax)),
                BatchCostUnits: message.Lane == Lane.Express ? BatchLimits.BatchCostUnitsDefault
                    : message.BatchCostUnits is { } cost && double.IsFinite(cost) ? Math.Max(0, cost)
                    : BatchLimits.BatchCostUnitsDefault
            );
    }

    private bool IsUniform(SimDispatch dispatch, out int tasks, out int units)
    {
        (tasks, units) = (0, 0);
        for (var i = 0; i < dispatch.Slots.Length; i++)
        {
            if (dispatch.Slots[i] < 0)
            {
                return false;
            }

            ref var chunk = ref chunks[dispatch.Slots[i]];
            var slice = dispatch.Message.Slices[i];
            if (chunk.Lengths is not null || (i > 0 && chunk.UnitsEach != units) || chunk.Ended.Count(slice.First, slice.Count) > 0)
            {
                return false;
            }

            units = chunk.UnitsEach;
            tasks += slice.Count;
        }

        return true;
    }

    private void CutByLength(SimDispatch dispatch, BatchLimits limits)
    {
        _tasks.Clear();
        _places.Clear();
        for (var i = 0; i < dispatch.Slots.Length; i++)
        {
            if (dispatch.Slots[i] < 0)
            {
                continue;
            }

            ref var chunk = ref chunks[dispatch.Slots[i]];
            var slice = dispatch.Message.Slices[i];
            for (var task = slice.First; task < slice.First + slice.Count; task++)
            {
                if (!chunk.Ended.Has(task))
                {
                    _tasks.Add(Of(chunk.UnitsOf(task)));
                    _places.Add((dispatch.Slots[i], task));
                }
            }
        }

        var order = new (int Slot, int Task)[_tasks.Count];
        var at = 0;
        foreach (var batch in BatchCutter.Cut(_tasks, limits))
        {
            dispatch.Batches.Add(new SimBatch(at, batch.Tasks.Length, batch.Units, batch.PaddedUnits));
            foreach (var task in batch.Tasks)
            {
                order[at++] = _places[task];
            }
        }

        dispatch.Order = order;
    }

    private Length Of(int units)
    {
        if (!_lengths.TryGetValue(units, out var length))
        {
            _lengths[units] = length = new Length { Units = units };
        }

        return length;
    }

    /// <summary>A task that is nothing but long.</summary>
    private sealed class Length : PreparedTask;
}
