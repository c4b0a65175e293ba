using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Pipeline.Ingest.Tasks;

/// <summary>
/// The custom_ids of a job, to find one that is used twice: 128 bits of hash and the place of first use (<see cref="FirstPlaces"/>).
/// Two different ids are taken for one with a chance of n²/2¹²⁹: 10⁻²⁷ for a million ids, 10⁻²⁵ for ten million. The hash is seeded at
/// random for every job, so nobody can prepare ids that collide.
/// </summary>
internal sealed class CustomIds
{
    private readonly FirstPlaces _places = new();
    private readonly ulong _seedA;
    private readonly ulong _seedB;
    private readonly ulong _seedC;

    public CustomIds()
    {
        Span<byte> seed = stackalloc byte[24];
        RandomNumberGenerator.Fill(seed);
        var words = MemoryMarshal.Cast<byte, ulong>(seed);
        (_seedA, _seedB, _seedC) = (words[0] | 1, words[1] | 1, words[2] | 1);
    }

    public int Count => _places.Count;

    /// <summary>Takes the id, or says where it was used first.</summary>
    /// <param name="customId">UTF-8.</param>
    /// <param name="place">Line or index, as the caller counts.</param>
    public bool TryAdd(ReadOnlySpan<byte> customId, int place, out int firstPlace) => _places.TryAdd(Hash(customId), place, out firstPlace);

    /// <summary>
    /// Two lanes that each fold 64 × 64 → 128-bit products over the input, 16 bytes a step (the mixing of wyhash), with different seeds;
    /// never 0, which marks a free slot.
    /// </summary>
    internal UInt128 Hash(ReadOnlySpan<byte> id)
    {
        var high = _seedA;
        var low = _seedB ^ ((ulong)id.Length * _seedC);
        for (; id.Length >= 16; id = id[16..])
        {
            Mix(ref high, ref low, BinaryPrimitives.ReadUInt64LittleEndian(id), BinaryPrimitives.ReadUInt64LittleEndian(id[8..]));
        }

        Span<byte> rest = stackalloc byte[16];
        rest.Clear();
        id.CopyTo(rest);
        Mix(ref high, ref low, BinaryPrimitives.ReadUInt64LittleEndian(rest), BinaryPrimitives.ReadUInt64LittleEndian(rest[8..]));
        Mix(ref high, ref low, _seedC, (ulong)id.Length);
        var hash = new UInt128(high, low);
        return hash == UInt128.Zero ? UInt128.One : hash;
    }

    private void Mix(ref ulong high, ref ulong low, ulong first, ulong second)
    {
        var nextHigh = Fold(first ^ high ^ _seedB, second ^ _seedC);
        var nextLow = Fold(second ^ low ^ _seedA, first + _seedC);
        (high, low) = (nextHigh ^ ulong.RotateLeft(low, 23), nextLow + ulong.RotateLeft(high, 41));
    }

    private static ulong Fold(ulong a, ulong b)
    {
        var high = Math.BigMul(a, b, out var low);
        return high ^ low;
    }
}
