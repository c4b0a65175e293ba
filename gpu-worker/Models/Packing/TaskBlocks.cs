namespace Pipeline.GpuWorker.Models.Packing;

/// <summary>
/// Where one task's elements lie inside a batch's tensor. The task's own tensor is contiguous; in the batch's, the batch axis may stand
/// anywhere and the other dimensions may be longer (padded). This walks the two side by side, one contiguous run after another:
/// <code>
/// var blocks = new TaskBlocks(taskShape, batchShape, axis, row);
/// while (blocks.MoveNext()) task.Slice(blocks.InTask, blocks.Length).CopyTo(batch[blocks.InBatch..]);
/// </code>
/// All numbers count elements.
/// </summary>
internal ref struct TaskBlocks
{
    private readonly ReadOnlySpan<long> _taskShape;

    /// <summary>Batch stride of each of the task's dimensions, then the place in each of the outer ones.</summary>
    private readonly Span<long> _strides;
    private readonly Span<long> _places;
    private readonly int _outer;
    private readonly int _total;
    private int _next;

    /// <param name="taskShape">The task's shape, without the batch axis.</param>
    /// <param name="batchShape">The batch's shape, with it; nowhere smaller than the task's.</param>
    /// <param name="axis">The batch axis.</param>
    /// <param name="row">The task's place along it.</param>
    /// <param name="scratch">Room for twice the task's dimensions.</param>
    public TaskBlocks(ReadOnlySpan<long> taskShape, ReadOnlySpan<long> batchShape, int axis, int row, Span<long> scratch)
    {
        _taskShape = taskShape;
        _strides = scratch[..taskShape.Length];
        _places = scratch.Slice(taskShape.Length, taskShape.Length);
        _places.Clear();

        var stride = 1L;
        for (int dim = batchShape.Length - 1, own = taskShape.Length - 1; dim >= 0; dim--)
        {
            if (dim == axis)
                InBatch = checked((int)(row * stride));
            else
                _strides[own--] = stride;
            stride *= batchShape[dim];
        }

        var run = 1L;
        _outer = taskShape.Length;
        while (_outer > 0 && _strides[_outer - 1] == run)
            run *= taskShape[--_outer];
        Length = checked((int)run);
        _total = Length;
        for (var dim = 0; dim < _outer; dim++)
            _total = checked((int)(_total * taskShape[dim]));
    }

    /// <summary>Elements of each run.</summary>
    public int Length { get; }

    /// <summary>Where the run starts in the task's tensor.</summary>
    public int InTask { get; private set; }

    /// <summary>Where the run starts in the batch's tensor.</summary>
    public int InBatch { get; private set; }

    /// <summary>True when the task's elements lie in the batch's tensor just as in its own.</summary>
    public readonly bool OneRun => _outer == 0;

    public bool MoveNext()
    {
        if (_next >= _total)
            return false;
        InTask = _next;
        if (_next > 0)
            Advance();
        _next += Length;
        return true;
    }

    /// <summary>Counts the places of the outer dimensions up by one, the last one fastest.</summary>
    private void Advance()
    {
        for (var dim = _outer - 1; dim >= 0; dim--)
        {
            InBatch += (int)_strides[dim];
            if (++_places[dim] < _taskShape[dim])
                return;
            InBatch -= (int)(_strides[dim] * _taskShape[dim]);
            _places[dim] = 0;
        }
    }
}
