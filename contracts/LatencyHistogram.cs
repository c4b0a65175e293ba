using System.Numerics;

namespace Pipeline.Contracts;

/// <summary>
/// How durations spread, in whole microseconds: counts in log-linear buckets, 64 to each doubling, and the exact sum and largest. Up to 127
/// a bucket is one value; above, it is at most 1/64 of its lowest value wide, so the middle of it is off by at most 1/128, 0.79 %
/// (<see cref="RelativeErrorMax"/>). Histograms of parts merge into that of the whole, exactly: in any order the bytes are the same.
/// </summary>
public sealed class LatencyHistogram
{
    /// <summary>By how much of its value a percentile may be off.</summary>
    public const double RelativeErrorMax = 1.0 / 128;

    private const byte Version = 1;
    private const int PageBits = 6;
    private const int PageSize = 1 << PageBits;

    // Two pages of single values, then one for each of the other 56 doublings of a long.
    private const int PagesMax = 58;

    private readonly long[]?[] _pages = new long[PagesMax][];

    /// <summary>How many durations.</summary>
    public long Count { get; private set; }

    /// <summary>Their exact sum, in microseconds.</summary>
    public Int128 Sum { get; private set; }

    /// <summary>The longest, exactly; 0 where there is none.</summary>
    public long Max { get; private set; }

    /// <summary>The exact mean in microseconds; null where there is none.</summary>
    public double? Mean => Count == 0 ? null : (double)Sum / Count;

    /// <param name="microseconds">At least 0; less counts as 0.</param>
    public void Add(long microseconds, long count = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (count == 0)
        {
            return;
        }

        microseconds = Math.Max(0, microseconds);
        AddToBucket(BucketOf(microseconds), count);
        Sum += (Int128)microseconds * count;
        Max = Math.Max(Max, microseconds);
    }

    public void Add(LatencyHistogram other)
    {
        for (var page = 0; page < PagesMax; page++)
        {
            if (other._pages[page] is { } theirs)
            {
                var ours = _pages[page] ??= new long[PageSize];
                for (var i = 0; i < PageSize; i++)
                {
                    ours[i] += theirs[i];
                }
            }
        }

        (Count, Sum, Max) = (Count + other.Count, Sum + other.Sum, Math.Max(Max, other.Max));
    }

    /// <summary>The percentile by nearest rank: the least value that so many percent do not exceed. Null where there is none.</summary>
    /// <param name="percent">More than 0, at most 100.</param>
    /// <returns>Microseconds, off by at most <see cref="RelativeErrorMax"/>.</returns>
    public double? Percentile(double percent)
    {
        if (Count == 0)
        {
            return null;
        }

        var rank = Math.Clamp((long)Math.Ceiling((decimal)percent * Count / 100), 1, Count);
        long seen = 0;
        foreach (var (bucket, count) in Buckets())
        {
            seen += count;
            if (seen >= rank)
            {
                var (low, high) = RangeOf(bucket);
                return Math.Min(low + ((high - low) / 2.0), Max);
            }
        }

        throw new InvalidOperationException($"The buckets sum to {seen}, the count is {Count}.");
    }

    /// <summary>
    /// How many are at most so long. Those of the bucket that the limit falls into count where the middle of it is within: a value near the
    /// limit may stand on either side, as far away as <see cref="RelativeErrorMax"/> reaches.
    /// </summary>
    public long CountWithin(long microseconds)
    {
        if (microseconds >= Max)
        {
            return Count;
        }

        long within = 0;
        foreach (var (bucket, count) in Buckets())
        {
            var (low, high) = RangeOf(bucket);
            if (low + ((high - low) / 2.0) > microseconds)
            {
                break;
            }

            within += count;
        }

        return within;
    }

    /// <summary>The buckets in use, in ascending order: the middle of each, in microseconds, and how many durations are in it.</summary>
    public IEnumerable<(double Microseconds, long Count)> Bins() =>
        Buckets().Select(b => (RangeOf(b.Bucket).Low + ((RangeOf(b.Bucket).High - RangeOf(b.Bucket).Low) / 2.0), b.Count));

    /// <summary>
    /// The compact form: version, count, sum (two halves), longest, then for each bucket in use how far it is from the one before, and
    /// its count; all as variable-length integers, 7 bits a byte. Empty where there is none.
    /// </summary>
    public byte[] ToBytes()
    {
        if (Count == 0)
        {
            return [];
        }

        var bytes = new List<byte>(64) { Version };
        Write(bytes, (ulong)Count);
        Write(bytes, (ulong)((UInt128)Sum >> 64));
        Write(bytes, (ulong)(UInt128)Sum);
        Write(bytes, (ulong)Max);
        var before = -1;
        foreach (var (bucket, count) in Buckets())
        {
            Write(bytes, (ulong)(bucket - before));
            Write(bytes, (ulong)count);
            before = bucket;
        }

        return [.. bytes];
    }

    public static LatencyHistogram FromBytes(ReadOnlySpan<byte> bytes)
    {
        var histogram = new LatencyHistogram();
        histogram.AddBytes(bytes);
        return histogram;
    }

    /// <summary>Adds a histogram in its compact form.</summary>
    /// <exception cref="InvalidDataException">It is of another version, or cut, or its counts do not agree.</exception>
    public void AddBytes(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty)
        {
            return;
        }

        if (bytes[0] != Version)
        {
            throw new InvalidDataException($"A latency histogram has version {bytes[0]}, expected {Version}.");
        }

        var rest = bytes[1..];
        var (count, sumHigh, sumLow, max) = (Read(ref rest), Read(ref rest), Read(ref rest), Read(ref rest));
        var expected = Count + (long)count;
        var bucket = -1L;
        while (!rest.IsEmpty)
        {
            bucket += (long)Read(ref rest);
            if (bucket is < 0 or >= PagesMax * PageSize)
            {
                throw new InvalidDataException($"A latency histogram has a bucket {bucket}, expected 0 to {(PagesMax * PageSize) - 1}.");
            }

            AddToBucket((int)bucket, (long)Read(ref rest));
        }

        if (Count != expected)
        {
            throw new InvalidDataException("The buckets of a latency histogram do not sum to its count.");
        }

        (Sum, Max) = (Sum + (Int128)new UInt128(sumHigh, sumLow), Math.Max(Max, (long)max));
    }

    private void AddToBucket(int bucket, long count)
    {
        (_pages[bucket >> PageBits] ??= new long[PageSize])[bucket & (PageSize - 1)] += count;
        Count += count;
    }

    private IEnumerable<(int Bucket, long Count)> Buckets()
    {
        for (var page = 0; page < PagesMax; page++)
        {
            if (_pages[page] is { } counts)
            {
                for (var i = 0; i < PageSize; i++)
                {
                    if (counts[i] > 0)
                    {
                        yield return ((page << PageBits) + i, counts[i]);
                    }
                }
            }
        }
    }

    // From 64 on the six bits below the leading one choose the place in the page, and how many more bits there are the page.
    private static int BucketOf(long value)
    {
        var shift = Math.Max(0, BitOperations.Log2((ulong)value) - PageBits);
        return (shift << PageBits) + (int)(value >> shift);
    }

    /// <summary>The lowest and the highest value of a bucket.</summary>
    private static (long Low, long High) RangeOf(int bucket)
    {
        var shift = Math.Max(0, (bucket >> PageBits) - 1);
        var low = (long)(bucket - (shift << PageBits)) << shift;
        return (low, low + (1L << shift) - 1);
    }

    private static void Write(List<byte> bytes, ulong value)
    {
        for (; value >= 0x80; value >>= 7)
        {
            bytes.Add((byte)(value | 0x80));
        }

        bytes.Add((byte)value);
    }

    private static ulong Read(ref ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        for (var (i, shift) = (0, 0); i < bytes.Length && shift < 64; i++, shift += 7)
        {
            value |= (ulong)(bytes[i] & 0x7F) << shift;
            if (bytes[i] < 0x80)
            {
                bytes = bytes[(i + 1)..];
                return value;
            }
        }

        throw new InvalidDataException("A latency histogram is cut off.");
    }
}
