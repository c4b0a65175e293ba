using System.Runtime.InteropServices;
using System.Text;
using Pipeline.Contracts;

namespace Pipeline.StarterModels.Onnx;

/// <summary>
/// A constant of a graph: element type, dimensions, and the values as little-endian bytes (or as strings).
/// Field numbers: onnx.proto3, message TensorProto.
/// </summary>
internal sealed class OnnxTensor
{
    private readonly IReadOnlyList<string>? _strings;
    private readonly byte[] _raw;

    private OnnxTensor(TensorElementType type, long[] dims, byte[] raw, IReadOnlyList<string>? strings)
    {
        Type = type;
        Dims = dims;
        _raw = raw;
        _strings = strings;
    }

    public TensorElementType Type { get; }

    public IReadOnlyList<long> Dims { get; }

    /// <summary>A tensor of numbers or booleans; the element type follows from <typeparamref name="T"/>.</summary>
    public static OnnxTensor Of<T>(ReadOnlySpan<T> values, params long[] dims)
        where T : unmanaged
    {
        RequireCount(values.Length, dims);
        return new OnnxTensor(ElementTypeOf(typeof(T)), dims, MemoryMarshal.AsBytes(values).ToArray(), null);
    }

    /// <summary>A one-dimensional tensor, e.g. the axes of a reduction.</summary>
    public static OnnxTensor Vector<T>(params T[] values)
        where T : unmanaged => Of<T>(values, values.Length);

    /// <summary>A tensor without dimensions.</summary>
    public static OnnxTensor Scalar<T>(T value)
        where T : unmanaged => Of<T>([value]);

    /// <summary>A tensor of strings.</summary>
    public static OnnxTensor OfStrings(IReadOnlyList<string> values, params long[] dims)
    {
        RequireCount(values.Count, dims);
        return new OnnxTensor(TensorElementType.String, dims, [], values);
    }

    /// <summary>A tensor of a type C# has no word for (e.g. bfloat16), from its little-endian bytes.</summary>
    public static OnnxTensor OfBytes(TensorElementType type, byte[] raw, params long[] dims) => new(type, dims, raw, null);

    internal ProtoMessage ToProto(string name)
    {
        var proto = new ProtoMessage();
        foreach (var dim in Dims)
            proto.Varint(1, dim);
        proto.Varint(2, (int)Type);
        foreach (var value in _strings ?? [])
            proto.Bytes(6, Encoding.UTF8.GetBytes(value));
        if (name.Length > 0)
            proto.Text(8, name);
        return _strings is null ? proto.Bytes(9, _raw) : proto;
    }

    private static void RequireCount(int count, long[] dims)
    {
        var expected = dims.Aggregate(1L, (product, dim) => product * dim);
        if (count != expected)
            throw new ArgumentException($"{count} values for dimensions [{string.Join(", ", dims)}], which hold {expected}");
    }

    private static TensorElementType ElementTypeOf(Type type) =>
        type switch
        {
            _ when type == typeof(float) => TensorElementType.Float32,
            _ when type == typeof(byte) => TensorElementType.UInt8,
            _ when type == typeof(sbyte) => TensorElementType.Int8,
            _ when type == typeof(ushort) => TensorElementType.UInt16,
            _ when type == typeof(short) => TensorElementType.Int16,
            _ when type == typeof(int) => TensorElementType.Int32,
            _ when type == typeof(long) => TensorElementType.Int64,
            _ when type == typeof(bool) => TensorElementType.Bool,
            _ when type == typeof(Half) => TensorElementType.Float16,
            _ when type == typeof(double) => TensorElementType.Float64,
            _ when type == typeof(uint) => TensorElementType.UInt32,
            _ when type == typeof(ulong) => TensorElementType.UInt64,
            _ => throw new ArgumentException($"no tensor element type for {type.Name}"),
        };
}
