using Pipeline.Contracts;
using Pipeline.GpuWorker.Models.Packing;
using Pipeline.GpuWorker.OnnxRuntime;

namespace Pipeline.GpuWorker.Models.Results;

/// <summary>The outputs of a batch that ran, and where each task's part of them lies. They are read in place. Any thread may read.</summary>
internal sealed unsafe class BatchOutputs : IDisposable
{
    private readonly OutputPlan[] _plans;
    private readonly OrtValue[] _values;
    private readonly nint[] _data;
    private readonly long[][] _shapes;

    /// <summary>Bytes of a task's part where they lie in one piece, else −1.</summary>
    private readonly int[] _rowBytes;
    private readonly IReadOnlyList<ReadOnlyMemory<byte>>?[] _texts;
    private readonly long[] _sizes;
    private readonly int _symbols;

    /// <param name="plans">One an output.</param>
    /// <param name="values">The outputs, taken over.</param>
    /// <param name="rows">Tasks of the batch.</param>
    /// <param name="deviceRows">Rows that ran: as many, or more.</param>
    /// <param name="sizes">See <see cref="BatchTensors.Sizes"/>.</param>
    /// <exception cref="OnnxRuntimeException">An output does not have the batch's rows.</exception>
    public BatchOutputs(OutputPlan[] plans, OrtValue[] values, int rows, int deviceRows, long[] sizes)
    {
        _plans = plans;
        _values = values;
        _sizes = sizes;
        _symbols = sizes.Length / rows;
        _data = new nint[values.Length];
        _shapes = new long[values.Length][];
        _rowBytes = new int[values.Length];
        _texts = new IReadOnlyList<ReadOnlyMemory<byte>>?[values.Length];
        for (var i = 0; i < values.Length; i++)
        {
            _shapes[i] = values[i].Shape.ToArray();
            RequireRows(plans[i], _shapes[i], deviceRows);
            var inRows = plans[i] is { BatchAxis: 0, IsCut: false, Type: not TensorElementType.String };
            _rowBytes[i] = inRows ? checked(Elements(_shapes[i].AsSpan(1)) * plans[i].Type.Size()) : -1;
            if (plans[i].Type == TensorElementType.String)
                _texts[i] = values[i].Utf8Strings();
            else
                fixed (byte* data = values[i].Bytes)
                    _data[i] = (nint)data; // native memory: it stays where it is
        }
    }

    public int Count => _plans.Length;

    public OutputPlan Plan(int output) => _plans[output];

    /// <summary>Shape of one task's part of an output, padding cut off.</summary>
    /// <returns>Its dimensions in <paramref name="scratch"/>.</returns>
    public ReadOnlySpan<long> Shape(int output, int row, Span<long> scratch)
    {
        var (plan, whole) = (_plans[output], _shapes[output]);
        var rank = 0;
        for (var dim = 0; dim < whole.Length; dim++)
            if (dim != plan.BatchAxis)
                scratch[rank++] = CutBy(plan, dim) is >= 0 and var symbol
                    ? Math.Min(whole[dim], _sizes[(row * _symbols) + symbol])
                    : whole[dim];
        return scratch[..rank];
    }

    /// <summary>Dimensions of an output, the batch axis included.</summary>
    public int Rank(int output) => _shapes[output].Length;

    /// <summary>The most dimensions of any output.</summary>
    public int RankMax => _shapes.Max(shape => shape.Length);

    /// <summary>A task's own size of the first padded symbol (a text's tokens), or −1 where nothing is padded.</summary>
    public long Size(int row) => _symbols > 0 ? _sizes[row * _symbols] : -1;

    /// <summary>
    /// A task's part where it lies, if that is one piece: the batch is the first axis and nothing is cut. Valid until this is disposed.
    /// </summary>
    public bool TryGetRow(int output, int row, out ReadOnlySpan<byte> part)
    {
        var bytes = _rowBytes[output];
        part = bytes < 0 ? default : new ReadOnlySpan<byte>((byte*)_data[output] + ((long)row * bytes), bytes);
        return bytes >= 0;
    }

    /// <summary>Copies a task's part together.</summary>
    public void CopyTo(Span<byte> to, int output, int row, ReadOnlySpan<long> shape)
    {
        if (_plans[output].BatchAxis is not { } axis)
        {
            Whole(output).CopyTo(to);
            return;
        }
        var whole = Whole(output);
        var size = _plans[output].Type.Size();
        var scratch = (stackalloc long[2 * shape.Length]);
        var blocks = new TaskBlocks(shape, _shapes[output], axis, row, scratch);
        while (blocks.MoveNext())
            whole.Slice(blocks.InBatch * size, blocks.Length * size).CopyTo(to[(blocks.InTask * size)..]);
    }

    /// <summary>A task's part of an output of texts.</summary>
    public IEnumerable<ReadOnlyMemory<byte>> Texts(int output, int row, ReadOnlySpan<long> shape)
    {
        var all = _texts[output] ?? throw new InvalidOperationException($"The output {_plans[output].Name} has no texts.");
        if (_plans[output].BatchAxis is not { } axis)
            return all;
        var own = new ReadOnlyMemory<byte>[Elements(shape)];
        var scratch = (stackalloc long[2 * shape.Length]);
        var blocks = new TaskBlocks(shape, _shapes[output], axis, row, scratch);
        while (blocks.MoveNext())
            for (var i = 0; i < blocks.Length; i++)
                own[blocks.InTask + i] = all[blocks.InBatch + i];
        return own;
    }

    public static int Elements(ReadOnlySpan<long> shape)
    {
        var count = 1L;
        foreach (var dim in shape)
            count = checked(count * dim);
        return checked((int)count);
    }

    public void Dispose()
    {
        foreach (var value in _values)
            value.Dispose();
    }

    private ReadOnlySpan<byte> Whole(int output) =>
        new((void*)_data[output], checked(Elements(_shapes[output]) * _plans[output].Type.Size()));

    /// <summary>A graph may give an output more or fewer dimensions than it promised; those it did not name are not cut.</summary>
    private static int CutBy(OutputPlan plan, int dim) => dim < plan.CutBy.Length ? plan.CutBy[dim] : -1;

    private static void RequireRows(OutputPlan plan, long[] shape, int rows)
    {
        if (plan.BatchAxis is { } axis && (axis >= shape.Length || shape[axis] != rows))
            throw new OnnxRuntimeException(
                OrtErrorCode.RuntimeException,
                $"The output {plan.Name} came as [{string.Join(", ", shape)}]; expected {rows} rows along its batch axis {axis}."
            );
    }
}
