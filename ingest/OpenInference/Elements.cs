using System.Buffers;
using System.Buffers.Binary;
using Pipeline.Contracts;

namespace Pipeline.Ingest.OpenInference;

/// <summary>The elements of one tensor as <see cref="PackedTensors"/> stores them, cut into rows and stacked again along a batch axis.</summary>
internal readonly struct Elements
{
    private readonly ReadOnlyMemory<byte> _data;
    private readonly int _size;

    /// <summary>Where each text begins and the last one ends; null where all elements have one size.</summary>
    private readonly int[]? _starts;

    public Elements(TensorElementType type, long count, ReadOnlyMemory<byte> data)
    {
        _data = data;
        _size = type.Size();
        if (type == TensorElementType.String)
        {
            _starts = new int[count + 1];
            for (var i = 0; i < count; i++)
            {
                var at = _starts[i];
                _starts[i + 1] = Varint.TryRead(data.Span, ref at, out var length) ? at + (int)length : throw new InvalidDataException();
            }
        }
    }

    /// <summary>Elements from <paramref name="first"/> on, as they are stored.</summary>
    public ReadOnlySpan<byte> Slice(int first, int count) => _data.Span[Start(first)..Start(first + count)];

    /// <summary>One text, without its length.</summary>
    public ReadOnlySpan<byte> Text(int element)
    {
        var at = Start(element);
        Varint.TryRead(_data.Span, ref at, out var length);
        return _data.Span.Slice(at, (int)length);
    }

    /// <summary>Copies one row of a batch of the shape <paramref name="batch"/>; everything where there is no batch axis.</summary>
    public void CopyRow(IBufferWriter<byte> to, long[] batch, int? batchAxis, int row)
    {
        var (outer, rows, inner) = Blocks(batch, batchAxis);
        var own = batchAxis is null ? 0 : row;
        for (var block = 0; block < outer; block++)
        {
            to.Write(Slice(((block * rows) + own) * inner, inner));
        }
    }

    /// <summary>Stacks rows of one shape into a batch.</summary>
    public static void Stack(IBufferWriter<byte> to, IReadOnlyList<PackedTensor> rows, int batchAxis)
    {
        var shape = rows[0].Shape;
        var (outer, _, inner) = Blocks([.. shape[..batchAxis], rows.Count, .. shape[batchAxis..]], batchAxis);
        var elements = rows.Select(row => new Elements(row.Type, row.Elements, row.Data)).ToArray();
        for (var block = 0; block < outer; block++)
        {
            foreach (var row in elements)
            {
                to.Write(row.Slice(block * inner, inner));
            }
        }
    }

    /// <summary>Elements as the binary extension sends them: numbers as they are, texts behind their length in four bytes, little-endian.</summary>
    public static void WriteBinary(IBufferWriter<byte> to, PackedTensor tensor)
    {
        if (tensor.Type != TensorElementType.String)
        {
            to.Write(tensor.Data.Span);
            return;
        }

        var elements = new Elements(tensor.Type, tensor.Elements, tensor.Data);
        for (var i = 0; i < tensor.Elements; i++)
        {
            var text = elements.Text(i);
            BinaryPrimitives.WriteInt32LittleEndian(to.GetSpan(sizeof(int)), text.Length);
            to.Advance(sizeof(int));
            to.Write(text);
        }
    }

    private int Start(int element) => _starts is null ? element * _size : _starts[element];

    private static (int Outer, int Rows, int Inner) Blocks(long[] batch, int? batchAxis) =>
        batchAxis is { } axis ? (Product(batch[..axis]), (int)batch[axis], Product(batch[(axis + 1)..])) : (1, 1, Product(batch));

    private static int Product(long[] dims) => (int)dims.Aggregate(1L, static (product, dim) => product * dim);
}
