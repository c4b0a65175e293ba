namespace Pipeline.ResultsApi.Sla;

/// <summary>What making one stage faster would do for the whole (Amdahl's law).</summary>
internal static class Amdahl
{
    /// <summary>How many times as fast the whole would be, on average, if a stage with this share of its time were so many times as fast.</summary>
    /// <param name="share">From 0 to 1.</param>
    /// <param name="factor">At least 1; infinity takes the stage away.</param>
    /// <returns>At least 1; null where nothing would be left of the whole.</returns>
    public static double? Gain(double share, double factor)
    {
        var left = 1 - share + (double.IsPositiveInfinity(factor) ? 0 : share / factor);
        return left > 0 ? 1 / left : null;
    }
}
