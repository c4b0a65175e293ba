namespace Pipeline.ResultsApi.Alerts;

/// <summary>
/// The line through a series that no few outliers bend: its slope is the median of the slopes of all pairs (H. Theil, 1950; P. K. Sen, 1968).
/// </summary>
/// <param name="PerStep">Rise from one value to the next.</param>
/// <param name="Now">Height of the line at the last value.</param>
/// <param name="LowPerStep">The slope that 95 % of the pairs' slopes lie above: a rise that is hardly one has it below zero.</param>
public sealed record Trend(double PerStep, double Now, double LowPerStep)
{
    /// <summary>The line through these values, in order and evenly spaced; null for fewer than three.</summary>
    public static Trend? Of(IReadOnlyList<double> values)
    {
        if (values.Count < 3)
        {
            return null;
        }

        var slopes = new List<double>(values.Count * (values.Count - 1) / 2);
        for (var i = 0; i < values.Count; i++)
        {
            for (var j = i + 1; j < values.Count; j++)
            {
                slopes.Add((values[j] - values[i]) / (j - i));
            }
        }

        slopes.Sort();
        var slope = ChangePoint.Median([.. slopes]);
        var start = ChangePoint.Median([.. values.Select((v, i) => v - (slope * i))]);
        return new Trend(slope, start + (slope * (values.Count - 1)), slopes[(int)(0.05 * slopes.Count)]);
    }

    /// <summary>Steps from the last value until the line reaches this height; null when it does not rise, 0 when it is there.</summary>
    public double? StepsUntil(double height) =>
        Now >= height ? 0
        : PerStep > 0 ? (height - Now) / PerStep
        : null;
}
