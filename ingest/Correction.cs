namespace Pipeline.Ingest;

/// <summary>
/// What forecasts of a kind leave out, learned from the last ones: <c>actual ≈ Fixed + Factor · forecast</c>, and between which parts of that
/// nine of ten of them fell. A forecast knows the device and the queue before it; what every job takes beside them (commits, hops
/// of messages, work that comes later and goes first) shows in what happened.
/// </summary>
/// <param name="Fixed">In the unit of the forecast; 0 or more.</param>
/// <param name="Factor">0 or more.</param>
/// <param name="Low">Actual ÷ corrected that 19 of 20 were not below.</param>
/// <param name="High">Actual ÷ corrected that 19 of 20 were not above.</param>
internal readonly record struct Correction(double Fixed, double Factor, double Low, double High)
{
    /// <summary>Fewer tell too little: the forecast then stands as it is.</summary>
    public const int SamplesMin = 10;

    /// <summary>Rounds of weighing; the line moves by less than a thousandth after about ten.</summary>
    private const int Rounds = 20;

    /// <summary>Relative errors below this weigh no more than it: the line need not go through single points.</summary>
    private const double ErrorMin = 0.01;

    /// <summary>Weight of the assumption that the factor is 1: it decides where all forecasts were alike, and hardly elsewhere.</summary>
    private const double PriorWeight = 0.01;

    /// <summary>What is expected where the forecast is that much.</summary>
    public double At(double forecast) => Fixed + (Factor * forecast);

    /// <summary>
    /// The line with the least sum of relative errors, which is what predictions are scored by; single late ends do not bend it. Least squares,
    /// weighed anew by the errors that are left. Null for fewer than <see cref="SamplesMin"/> samples.
    /// </summary>
    /// <param name="samples">Forecasts, 0 or more, and what came of them, more than 0.</param>
    public static Correction? Of(IReadOnlyCollection<(double Forecast, double Actual)> samples)
    {
        if (samples.Count < SamplesMin)
        {
            return null;
        }

        var line = new Correction(0, 1, 1, 1);
        for (var round = 0; round < Rounds; round++)
        {
            line = Fit(samples, round == 0 ? null : line);
        }

        var ratios = samples.Select(sample => sample.Actual / Math.Max(line.At(sample.Forecast), double.Epsilon)).Order().ToArray();
        return line with { Low = Math.Min(1, ratios[^Rank(ratios.Length)]), High = Math.Max(1, ratios[Rank(ratios.Length) - 1]) };
    }

    /// <summary>
    /// Which of n, counted from 1, the next one exceeds in one of 20 cases at most: the 19/20 quantile of n + 1, as split conformal prediction
    /// takes it; the outermost where n is less than 19.
    /// </summary>
    private static int Rank(int n) => Math.Min(n, (int)Math.Ceiling(0.95 * (n + 1)));

    /// <summary>Minimises Σ w · ((a + b·x) ÷ y − 1)².</summary>
    private static Correction Fit(IReadOnlyCollection<(double Forecast, double Actual)> samples, Correction? before)
    {
        double uu = 0,
            uv = 0,
            vv = 0,
            u1 = 0,
            v1 = 0;
        foreach (var (forecast, actual) in samples)
        {
            var (u, v) = (1 / actual, forecast / actual);
            var weight = before is { } line ? 1 / Math.Max(Math.Abs((line.At(forecast) * u) - 1), ErrorMin) : 1;
            (uu, uv, vv) = (uu + (weight * u * u), uv + (weight * u * v), vv + (weight * v * v));
            (u1, v1) = (u1 + (weight * u), v1 + (weight * v));
        }

        var prior = PriorWeight * vv;
        (vv, v1) = (vv + prior, v1 + prior);
        var determinant = (uu * vv) - (uv * uv);
        if (vv <= 0 || determinant <= 0)
        {
            return new Correction(u1 / uu, 1, 1, 1);
        }

        var (a, b) = (((u1 * vv) - (v1 * uv)) / determinant, ((v1 * uu) - (u1 * uv)) / determinant);
        return a < 0 ? new Correction(0, v1 / vv, 1, 1)
            : b < 0 ? new Correction(u1 / uu, 0, 1, 1)
            : new Correction(a, b, 1, 1);
    }
}
