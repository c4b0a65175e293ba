using System.Runtime.InteropServices;
using Pipeline.Contracts;

namespace Pipeline.GpuWorker.Models.Results;

/// <summary>Scores and vectors as float32, whatever real type they came in.</summary>
internal static class Reals
{
    public static void Read(TensorElementType type, ReadOnlySpan<byte> from, Span<float> to)
    {
        switch (type)
        {
            case TensorElementType.Float32:
                MemoryMarshal.Cast<byte, float>(from).CopyTo(to);
                break;
            case TensorElementType.Float64:
                var doubles = MemoryMarshal.Cast<byte, double>(from);
                for (var i = 0; i < doubles.Length; i++)
                    to[i] = (float)doubles[i];
                break;
            case TensorElementType.Float16:
                var halves = MemoryMarshal.Cast<byte, Half>(from);
                for (var i = 0; i < halves.Length; i++)
                    to[i] = (float)halves[i];
                break;
            case TensorElementType.BFloat16:
                var tops = MemoryMarshal.Cast<byte, ushort>(from);
                for (var i = 0; i < tops.Length; i++)
                    to[i] = BitConverter.UInt32BitsToSingle((uint)tops[i] << 16);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Expected a real type.");
        }
    }
}
