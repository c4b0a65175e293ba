namespace Pipeline.ResultsApi.Alerts;

/// <summary>
/// Where the level of a series changed: the split whose two sides differ most, measured in standard errors (the CUSUM statistic for one change
/// of the mean; E. S. Page, 1954). The noise is taken from the differences of neighbours, which a step hardly changes.
/// </summary>
/// <param name="At">Index of the first value at the new level.</param>
/// <param name="Before">Median of the values before.</param>
/// <param name="After">Median of the values from there on.</param>
/// <param name="Z">The difference of the two means in standard errors; positive when the level rose.</param>
public sealed record ChangePoint(int At, double Before, double After, double Z)
{
    /// <summary>Half the spread of a normal distribution lies within this many standard deviations of its middle.</summary>
    private const double DeviationsInMad = 0.67449;

    /// <summary>By how much the level changed (0.2: a fifth higher); 0 when it was not positive before.</summary>
    public double Shift => Before > 0 ? (After / Before) - 1 : 0;

    /// <summary>
    /// The clearest change of a series with at least <paramref name="sideMin"/> values on either side; null when it is too short. It is always
    /// found: <see cref="Z"/> and <see cref="Shift"/> say whether it means anything. Work is linear but for two medians.
    /// </summary>
    public static ChangePoint? Clearest(IReadOnlyList<double> values, int sideMin)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(sideMin, 1);
        var n = values.Count;
        if (n < 2 * sideMin || n < 3)
        {
            return null;
        }

        var mean = values.Average();
        var (sum, best, at) = (0.0, -1.0, sideMin);
        for (var k = 1; k <= n - sideMin; k++)
        {
            sum += values[k - 1] - mean;
            if (k < sideMin)
            {
                continue;
            }

            var weight = Math.Abs(sum) / Math.Sqrt((double)k * (n - k) / n);
            if (weight > best)
            {
                (best, at) = (weight, k);
            }
        }

        var (before, after) = (values.Take(at).ToArray(), values.Skip(at).ToArray());
        var rise = after.Average() - before.Average();
        var z = rise / (Noise(values) * Math.Sqrt((1.0 / at) + (1.0 / (n - at))));
        return new ChangePoint(at, Median(before), Median(after), double.IsNaN(z) ? 0 : z);
    }

    /// <summary>Standard deviation of the noise. Where most neighbours are equal, the mean difference stands in: it is zero only when all are.</summary>
    private static double Noise(IReadOnlyList<double> values)
    {
        var steps = values.Skip(1).Zip(values, (b, a) => Math.Abs(b - a)).ToArray();
        var typical = Median(steps);
        return (typical > 0 ? typical / DeviationsInMad : steps.Average()) / Math.Sqrt(2);
    }

    internal static double Median(double[] values)
    {
        Array.Sort(values);
        var half = values.Length / 2;
        return values.Length % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
    }
}
