namespace Pipeline.Contracts;

/// <summary>What one element of a tensor is. The numbers are ONNX's own (<c>TensorProto.DataType</c>, onnx.proto).</summary>
public enum TensorElementType
{
    Undefined = 0,
    Float32 = 1,
    UInt8 = 2,
    Int8 = 3,
    UInt16 = 4,
    Int16 = 5,
    Int32 = 6,
    Int64 = 7,
    String = 8,
    Bool = 9,
    Float16 = 10,
    Float64 = 11,
    UInt32 = 12,
    UInt64 = 13,
    Complex64 = 14,
    Complex128 = 15,
    BFloat16 = 16,
}

/// <summary>Names and sizes of tensor elements.</summary>
public static class TensorElementTypes
{
    /// <summary>Bytes of one element; 0 for strings, whose elements have lengths of their own.</summary>
    public static int Size(this TensorElementType type) =>
        type switch
        {
            TensorElementType.UInt8 or TensorElementType.Int8 or TensorElementType.Bool => 1,
            TensorElementType.UInt16 or TensorElementType.Int16 or TensorElementType.Float16 or TensorElementType.BFloat16 => 2,
            TensorElementType.Float32 or TensorElementType.Int32 or TensorElementType.UInt32 => 4,
            TensorElementType.Int64 or TensorElementType.UInt64 or TensorElementType.Float64 or TensorElementType.Complex64 => 8,
            TensorElementType.Complex128 => 16,
            TensorElementType.String => 0,
            _ => throw new ArgumentOutOfRangeException(nameof(type), type, "An undefined element type has no size."),
        };

    /// <summary>The name used in manifests and in answers, as in NumPy: <c>float32</c>, <c>int64</c>, <c>string</c>.</summary>
    public static string Name(this TensorElementType type) => type.ToString().ToLowerInvariant();

    /// <summary>Reads a name written by <see cref="Name"/>; false when no such type exists.</summary>
    public static bool TryParse(string name, out TensorElementType type) =>
        Enum.TryParse(name, ignoreCase: true, out type)
        && Enum.IsDefined(type)
        && type != TensorElementType.Undefined
        // The framework also takes numbers, lists and padding.
        && type.Name().Equals(name, StringComparison.OrdinalIgnoreCase);
}
