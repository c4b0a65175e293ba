using System.Buffers.Binary;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Models.Packing;

/// <summary>The bytes of the element that fills shorter tasks up.</summary>
internal static class PadElement
{
    /// <summary>True when the type can hold the value exactly enough: whole numbers in range, any real for the real types.</summary>
    public static bool Fits(TensorElementType type, double value) =>
        type switch
        {
            TensorElementType.Float32 or TensorElementType.Float64 or TensorElementType.Float16 or TensorElementType.BFloat16 => true,
            TensorElementType.Bool => value is 0 or 1,
            TensorElementType.UInt8 => Whole(value, byte.MinValue, byte.MaxValue),
            TensorElementType.Int8 => Whole(value, sbyte.MinValue, sbyte.MaxValue),
            TensorElementType.UInt16 => Whole(value, ushort.MinValue, ushort.MaxValue),
            TensorElementType.Int16 => Whole(value, short.MinValue, short.MaxValue),
            TensorElementType.UInt32 => Whole(value, uint.MinValue, uint.MaxValue),
            TensorElementType.Int32 => Whole(value, int.MinValue, int.MaxValue),
            // Doubles hold whole numbers exactly up to 2⁵³; nobody pads with more.
            TensorElementType.UInt64 => Whole(value, 0, 1L << 53),
            TensorElementType.Int64 => Whole(value, -(1L << 53), 1L << 53),
            _ => false,
        };

    /// <summary>True for the names of the types that scores and vectors come in.</summary>
    public static bool IsReal(string type) => type is "float32" or "float64" or "float16" or "bfloat16";

    /// <summary>One element, little-endian; empty for strings, whose pad is the empty text.</summary>
    public static byte[] Create(TensorElementType type, double value)
    {
        var bytes = new byte[type.Size()];
        switch (type)
        {
            case TensorElementType.Float32:
                BinaryPrimitives.WriteSingleLittleEndian(bytes, (float)value);
                break;
            case TensorElementType.Float64:
                BinaryPrimitives.WriteDoubleLittleEndian(bytes, value);
                break;
            case TensorElementType.Float16:
                BinaryPrimitives.WriteHalfLittleEndian(bytes, (Half)value);
                break;
            case TensorElementType.BFloat16:
                BinaryPrimitives.WriteUInt16LittleEndian(bytes, (ushort)(BitConverter.SingleToUInt32Bits((float)value) >> 16));
                break;
            case TensorElementType.String or TensorElementType.Complex64 or TensorElementType.Complex128:
                break;
            default:
                // Two's complement: the low bytes of the number are the number.
                Span<byte> whole = stackalloc byte[sizeof(long)];
                BinaryPrimitives.WriteInt64LittleEndian(whole, (long)value);
                whole[..bytes.Length].CopyTo(bytes);
                break;
        }
        return bytes;
    }

    /// <summary>Fills memory with an element, over and over.</summary>
    public static void Fill(Span<byte> memory, ReadOnlySpan<byte> element)
    {
        if (memory.Length == 0 || !element.ContainsAnyExcept((byte)0))
        {
            memory.Clear();
            return;
        }
        element.CopyTo(memory);
        for (var done = element.Length; done < memory.Length; )
        {
            var part = Math.Min(done, memory.Length - done);
            memory[..part].CopyTo(memory[done..]);
            done += part;
        }
    }

    private static bool Whole(double value, double min, double max) => value >= min && value <= max && Math.Truncate(value) == value;
}
