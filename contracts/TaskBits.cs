namespace Pipeline.Contracts;

/// <summary>
/// Some tasks of a run, as a bitmap: bit <c>i % 8</c> of byte <c>i / 8</c> stands for the run's task <c>i</c>, so that PostgreSQL's
/// <c>get_bit</c> reads it. Null stands for all of them.
/// </summary>
public static class TaskBits
{
    /// <param name="places">Places in the run, from 0.</param>
    /// <param name="count">Tasks of the run.</param>
    public static byte[] Of(IEnumerable<int> places, int count)
    {
        var bits = new byte[(count + 7) / 8];
        foreach (var place in places)
        {
            bits[place / 8] |= (byte)(1 << (place % 8));
        }

        return bits;
    }

    public static bool Has(byte[] bits, int place) => (bits[place / 8] & (1 << (place % 8))) != 0;

    /// <summary>The places in order; null for all.</summary>
    public static int[]? Places(byte[]? bits) =>
        bits is null ? null : [.. Enumerable.Range(0, bits.Length * 8).Where(place => Has(bits, place))];
}
