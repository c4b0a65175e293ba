using System.Buffers.Binary;

namespace Pipeline.Contracts;

/// <summary>
/// A text that came as the ids of its tokens, as it is stored in place of its UTF-8: a byte that begins no text, and four bytes an id, little-endian.
/// Whether the ids are in the vocabulary only the worker knows.
/// </summary>
public static class TokenIds
{
    /// <summary>UTF-8 has no such byte.</summary>
    private const byte Mark = 0xFF;

    public static bool AreIn(ReadOnlySpan<byte> input) => input is [Mark, ..];

    public static byte[] Pack(ReadOnlySpan<int> ids)
    {
        var packed = new byte[PackedBytes(ids.Length)];
        packed[0] = Mark;
        for (var i = 0; i < ids.Length; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(packed.AsSpan(1 + (sizeof(int) * i)), ids[i]);
        }

        return packed;
    }

    /// <summary>The ids of an input that has some.</summary>
    public static int[] Unpack(ReadOnlySpan<byte> input)
    {
        var ids = new int[(input.Length - 1) / sizeof(int)];
        for (var i = 0; i < ids.Length; i++)
        {
            ids[i] = BinaryPrimitives.ReadInt32LittleEndian(input[(1 + (sizeof(int) * i))..]);
        }

        return ids;
    }

    public static int PackedBytes(int ids) => 1 + (sizeof(int) * ids);
}
