namespace Pipeline.ResultsApi.Alerts;

/// <summary>A value and how often it was seen: a bin of a histogram.</summary>
public readonly record struct Weighted(double Value, long Count);

/// <summary>
/// Whether one sample tends to be larger than another, whatever their distributions: the Mann–Whitney U test with its normal approximation,
/// corrected for ties (H. B. Mann, D. R. Whitney, 1947; the tie term after E. L. Lehmann, Nonparametrics, 1975). It takes bins, so that
/// histograms of millions of tasks cost no more than their bins.
/// </summary>
/// <param name="Superiority">
/// The chance that a value of the second sample is larger than one of the first, ties counted half (A of A. Vargha, H. D. Delaney, 2000): 0.5
/// is no effect, 0.56 a small one, 0.64 a medium, 0.71 a large.
/// </param>
/// <param name="Z">Standard score of U under no difference; positive when the second sample tends to be larger.</param>
/// <param name="FirstMedian">Of the first sample; of an even number of values the lower of the two in the middle.</param>
public sealed record RankComparison(long First, long Second, double Superiority, double Z, double FirstMedian, double SecondMedian)
{
    /// <summary>By how much the second median differs from the first (0.2: a fifth larger); 0 when the first is not positive.</summary>
    public double Shift => FirstMedian > 0 ? (SecondMedian / FirstMedian) - 1 : 0;

    /// <summary>Compares two samples given as bins in ascending order of value; null when one of them is empty.</summary>
    public static RankComparison? Of(IReadOnlyList<Weighted> first, IReadOnlyList<Weighted> second)
    {
        var (m, n) = (Sum(first), Sum(second));
        if (m == 0 || n == 0)
        {
            return null;
        }

        // U counts, for each value of the second sample, the values of the first below it, and half of those equal to it.
        var (u, ties, below, i, j) = (0.0, 0.0, 0L, 0, 0);
        while (j < second.Count || i < first.Count)
        {
            var value = Math.Min(
                i < first.Count ? first[i].Value : double.PositiveInfinity,
                j < second.Count ? second[j].Value : double.PositiveInfinity
            );
            var (inFirst, inSecond) = (Take(first, ref i, value), Take(second, ref j, value));
            u += inSecond * (below + (inFirst / 2.0));
            below += inFirst;
            var tied = (double)(inFirst + inSecond);
            ties += tied * ((tied * tied) - 1);
        }

        var all = (double)(m + n);
        var variance = (double)m * n / 12 * (all + 1 - (all > 1 ? ties / (all * (all - 1)) : 0));
        var z = variance > 0 ? (u - ((double)m * n / 2)) / Math.Sqrt(variance) : 0;
        return new RankComparison(m, n, u / ((double)m * n), z, Median(first, m), Median(second, n));
    }

    private static long Sum(IReadOnlyList<Weighted> bins)
    {
        var sum = 0L;
        foreach (var bin in bins)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(bin.Count);
            sum += bin.Count;
        }

        return sum;
    }

    /// <summary>Counts the bins of this value, and goes past them.</summary>
    private static long Take(IReadOnlyList<Weighted> bins, ref int at, double value)
    {
        var taken = 0L;
        for (; at < bins.Count && bins[at].Value <= value; at++)
        {
            if (bins[at].Value < value)
            {
                throw new ArgumentException($"Expected bins in ascending order, given {bins[at].Value} after {value}.", nameof(bins));
            }

            taken += bins[at].Count;
        }

        return taken;
    }

    private static double Median(IReadOnlyList<Weighted> bins, long count)
    {
        var left = (count + 1) / 2;
        foreach (var bin in bins)
        {
            left -= bin.Count;
            if (left <= 0)
            {
                return bin.Value;
            }
        }

        return bins[^1].Value;
    }
}
