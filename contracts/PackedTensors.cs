using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using System.Text.Json;

namespace Pipeline.Contracts;

/// <summary>
/// Named tensors in a compact form, used for a tensor task's input and for raw outputs. Little-endian, no alignment:
/// <code>
/// varint count, then per tensor: varint length + UTF-8 name, byte element type, byte rank, varint dims…,
///   data: elements × size bytes; for strings per element varint length + UTF-8 bytes
/// </code>
/// </summary>
public static class PackedTensors
{
    public const string ContentType = "application/vnd.pipeline.tensors";

    /// <summary>Starts a pack of <paramref name="count"/> tensors.</summary>
    public static void WriteCount(IBufferWriter<byte> to, int count) => Varint.Write(to, (ulong)count);

    /// <summary>Adds one tensor; string data is given already packed (varint length + bytes an element).</summary>
    public static void WriteTensor(
        IBufferWriter<byte> to,
        string name,
        TensorElementType type,
        ReadOnlySpan<long> shape,
        ReadOnlySpan<byte> data
    )
    {
        WriteHeader(to, name, type, shape);
        to.Write(data);
    }

    /// <summary>Writes what stands before the data, for callers that write the data themselves.</summary>
    public static void WriteHeader(IBufferWriter<byte> to, string name, TensorElementType type, ReadOnlySpan<long> shape)
    {
        var bytes = Encoding.UTF8.GetByteCount(name);
        Varint.Write(to, (ulong)bytes);
        Encoding.UTF8.GetBytes(name, to.GetSpan(bytes));
        to.Advance(bytes);
        var span = to.GetSpan(2);
        span[0] = (byte)type;
        span[1] = (byte)shape.Length;
        to.Advance(2);
        foreach (var dim in shape)
        {
            Varint.Write(to, (ulong)dim);
        }
    }

    /// <summary>Adds one element of a string tensor.</summary>
    public static void WriteString(IBufferWriter<byte> to, ReadOnlySpan<byte> utf8)
    {
        Varint.Write(to, (ulong)utf8.Length);
        to.Write(utf8);
    }

    /// <summary>Finds the tensors in a pack without copying their data.</summary>
    /// <exception cref="InvalidDataException">The bytes are not such a pack.</exception>
    public static IReadOnlyList<PackedTensor> Read(ReadOnlyMemory<byte> pack)
    {
        var span = pack.Span;
        var at = 0;
        var tensors = new PackedTensor[ReadLength(span, ref at, max: 1024)];
        for (var i = 0; i < tensors.Length; i++)
        {
            var nameLength = ReadLength(span, ref at, span.Length - at);
            if (nameLength + 2 > span.Length - at)
            {
                throw Broken();
            }

            var name = Encoding.UTF8.GetString(span.Slice(at, nameLength));
            at += nameLength;
            var type = (TensorElementType)span[at];
            var shape = new long[span[at + 1]];
            at += 2;
            var elements = ReadShape(span, ref at, shape);
            var start = at;
            SkipData(span, ref at, type, elements);
            tensors[i] = new PackedTensor(name, type, shape, pack[start..at]);
        }

        return at == span.Length ? tensors : throw Broken();
    }

    /// <summary>
    /// Renders a pack as JSON: <c>{"name": {"type": "float32", "shape": […], "data": […]}}</c>. NaN and infinities, which JSON has
    /// no numbers for, become the strings "NaN", "Infinity" and "-Infinity".
    /// </summary>
    public static void WriteJson(Utf8JsonWriter json, ReadOnlyMemory<byte> pack)
    {
        json.WriteStartObject();
        foreach (var tensor in Read(pack))
        {
            json.WriteStartObject(tensor.Name);
            json.WriteString("type", tensor.Type.Name());
            json.WriteStartArray("shape");
            foreach (var dim in tensor.Shape)
            {
                json.WriteNumberValue(dim);
            }

            json.WriteEndArray();
            json.WriteStartArray("data");
            WriteElements(json, tensor);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }

    /// <summary>Reads the dimensions and returns their product; no pack that fits in memory has more elements than an int counts.</summary>
    private static long ReadShape(ReadOnlySpan<byte> span, ref int at, long[] shape)
    {
        Int128 elements = 1;
        for (var d = 0; d < shape.Length; d++)
        {
            shape[d] = ReadLength(span, ref at, int.MaxValue);
            elements = elements <= int.MaxValue ? elements * shape[d] : throw Broken();
        }

        return elements <= int.MaxValue ? (long)elements : throw Broken();
    }

    private static void SkipData(ReadOnlySpan<byte> span, ref int at, TensorElementType type, long elements)
    {
        if (type == TensorElementType.String)
        {
            for (long e = 0; e < elements; e++)
            {
                // In two steps: "at += Read(ref at)" would add to the position from before the length was read.
                var length = ReadLength(span, ref at, span.Length - at);
                at = length <= span.Length - at ? at + length : throw Broken();
            }

            return;
        }

        if (!Enum.IsDefined(type) || type == TensorElementType.Undefined || elements * type.Size() > span.Length - at)
        {
            throw Broken();
        }

        at += (int)(elements * type.Size());
    }

    /// <summary>Writes a tensor's elements one after the other, without the brackets around them.</summary>
    public static void WriteElements(Utf8JsonWriter json, PackedTensor tensor)
    {
        var data = tensor.Data.Span;
        if (tensor.Type == TensorElementType.String)
        {
            for (var at = 0; at < data.Length; )
            {
                var length = ReadLength(data, ref at, data.Length - at);
                json.WriteStringValue(data.Slice(at, length));
                at += length;
            }

            return;
        }

        var size = tensor.Type.Size();
        for (; data.Length > 0; data = data[size..])
        {
            switch (tensor.Type)
            {
                case TensorElementType.Float32:
                    WriteReal(json, BinaryPrimitives.ReadSingleLittleEndian(data));
                    break;
                case TensorElementType.Float64:
                    WriteReal(json, BinaryPrimitives.ReadDoubleLittleEndian(data));
                    break;
                case TensorElementType.Float16:
                    WriteReal(json, (float)BinaryPrimitives.ReadHalfLittleEndian(data));
                    break;
                case TensorElementType.BFloat16:
                    WriteReal(json, BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(data) << 16));
                    break;
                case TensorElementType.Complex64:
                    json.WriteStartArray();
                    WriteReal(json, BinaryPrimitives.ReadSingleLittleEndian(data));
                    WriteReal(json, BinaryPrimitives.ReadSingleLittleEndian(data[4..]));
                    json.WriteEndArray();
                    break;
                case TensorElementType.Complex128:
                    json.WriteStartArray();
                    WriteReal(json, BinaryPrimitives.ReadDoubleLittleEndian(data));
                    WriteReal(json, BinaryPrimitives.ReadDoubleLittleEndian(data[8..]));
                    json.WriteEndArray();
                    break;
                case TensorElementType.Bool:
                    json.WriteBooleanValue(data[0] != 0);
                    break;
                case TensorElementType.UInt8:
                    json.WriteNumberValue((uint)data[0]);
                    break;
                case TensorElementType.Int8:
                    json.WriteNumberValue((int)(sbyte)data[0]);
                    break;
                case TensorElementType.UInt16:
                    json.WriteNumberValue((uint)BinaryPrimitives.ReadUInt16LittleEndian(data));
                    break;
                case TensorElementType.Int16:
                    json.WriteNumberValue((int)BinaryPrimitives.ReadInt16LittleEndian(data));
                    break;
                case TensorElementType.UInt32:
                    json.WriteNumberValue(BinaryPrimitives.ReadUInt32LittleEndian(data));
                    break;
                case TensorElementType.Int32:
                    json.WriteNumberValue(BinaryPrimitives.ReadInt32LittleEndian(data));
                    break;
                case TensorElementType.UInt64:
                    json.WriteNumberValue(BinaryPrimitives.ReadUInt64LittleEndian(data));
                    break;
                default:
                    json.WriteNumberValue(BinaryPrimitives.ReadInt64LittleEndian(data));
                    break;
            }
        }
    }

    private static void WriteReal(Utf8JsonWriter json, double value)
    {
        if (double.IsFinite(value))
        {
            json.WriteNumberValue(value);
        }
        else
        {
            json.WriteStringValue(
                double.IsNaN(value) ? "NaN"
                : value > 0 ? "Infinity"
                : "-Infinity"
            );
        }
    }

    private static void WriteReal(Utf8JsonWriter json, float value)
    {
        if (float.IsFinite(value))
        {
            json.WriteNumberValue(value);
        }
        else
        {
            WriteReal(json, (double)value);
        }
    }

    private static int ReadLength(ReadOnlySpan<byte> span, ref int at, int max) =>
        Varint.TryRead(span, ref at, out var value) && value <= (ulong)Math.Max(0, max) ? (int)value : throw Broken();

    private static InvalidDataException Broken() => new("These bytes are not a pack of tensors.");
}

/// <summary>One tensor of a pack.</summary>
/// <param name="Data">Elements, little-endian; strings as varint length + UTF-8 bytes each.</param>
public sealed record PackedTensor(string Name, TensorElementType Type, long[] Shape, ReadOnlyMemory<byte> Data)
{
    /// <summary>Number of elements.</summary>
    public long Elements => Shape.Aggregate(1L, static (product, dim) => product * dim);
}

/// <summary>Unsigned LEB128 numbers.</summary>
public static class Varint
{
    public const int BytesMax = 10;

    public static void Write(IBufferWriter<byte> to, ulong value)
    {
        var span = to.GetSpan(BytesMax);
        to.Advance(Write(span, value));
    }

    /// <returns>How many bytes were written.</returns>
    public static int Write(Span<byte> span, ulong value)
    {
        var count = 0;
        for (; value >= 0x80; value >>= 7)
        {
            span[count++] = (byte)(value | 0x80);
        }

        span[count++] = (byte)value;
        return count;
    }

    /// <summary>Reads the number at <paramref name="at"/> and moves past it; false when the bytes end too soon.</summary>
    public static bool TryRead(ReadOnlySpan<byte> span, ref int at, out ulong value)
    {
        value = 0;
        for (var shift = 0; shift < 64 && at < span.Length; shift += 7)
        {
            var next = span[at++];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80)
            {
                return true;
            }
        }

        return false;
    }
}
