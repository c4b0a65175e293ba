namespace Pipeline.StarterModels.LanguageId;

/// <summary>
/// Which rows of the weight table a text touches: every run of bytes, folded and hashed. The ONNX graph does the same arithmetic
/// (<see cref="LanguageIdGraph"/>); what is changed here must be changed there, and the tests compare the two.
/// <para>
/// The text stands between zeros: one before, so that the first letter is seen to begin a word, and as many behind as the longest run needs.
/// A run counts when its first two bytes are not both zero; so padding adds nothing, however long.
/// </para>
/// </summary>
internal static class ByteRuns
{
    /// <summary>The row padding reads. It stays zero, and a run that happens to hash there counts for nothing.</summary>
    public const int NoRow = 0;

    /// <summary>Odd multiplier of the rolling hash (wrapping 32-bit arithmetic).</summary>
    public const int Roll = unchecked((int)0x9E3779B1);

    /// <summary>Spreads the rolled value over the high bits, which choose the bucket.</summary>
    public const int Spread = 0x2C1B3C6D;

    /// <summary>
    /// What each byte counts as: letters without case, one class for digits, a space for control characters, punctuation and padding,
    /// bytes of multi-byte characters as they are.
    /// </summary>
    public static readonly int[] Fold = [.. Enumerable.Range(0, 256).Select(FoldByte)];

    /// <summary>Adds the rows of a text to <paramref name="rows"/>; rows that come twice are listed twice.</summary>
    public static void Collect(LanguageIdSpec spec, ReadOnlySpan<byte> text, List<int> rows)
    {
        var shift = 32 - spec.BucketBits;
        for (var start = -1; start < text.Length; start++)
        {
            if (At(text, start) == 0 && At(text, start + 1) == 0)
                continue;
            var hash = 0;
            for (int length = 1, order = 0; length <= spec.LongestOrder; length++)
            {
                hash = unchecked(hash * Roll + Fold[At(text, start + length - 1)]);
                if (length != spec.Orders[order])
                    continue;
                rows.Add((int)((uint)unchecked(hash * Spread) >> shift) + (order << spec.BucketBits));
                order++;
            }
        }
    }

    private static byte At(ReadOnlySpan<byte> text, int position) => (uint)position < (uint)text.Length ? text[position] : (byte)0;

    private static int FoldByte(int value) =>
        value switch
        {
            >= 'A' and <= 'Z' => value + ('a' - 'A'),
            >= 'a' and <= 'z' or '\'' or >= 0x80 => value,
            >= '0' and <= '9' => '0',
            _ => ' ',
        };
}
