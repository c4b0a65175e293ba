namespace Pipeline.Ingest;

/// <summary>What a forecast said of a job that has ended, and what came of it, in one unit.</summary>
/// <param name="Wait">The part of the forecast that was spent on what is ahead; 0 or more.</param>
/// <param name="Own">The part of the work itself; 0 or more.</param>
/// <param name="Actual">More than 0.</param>
internal readonly record struct Sample(double Wait, double Own, double Actual);

/// <summary>
/// What forecasts of a kind leave out, learned from the last ones: <c>actual ≈ Fixed + WaitFactor · wait + OwnFactor · own</c>, and between which
/// parts of that nine of ten of them fell. A forecast knows the device and the queue before it; what every job takes beside them (commits, hops
/// of messages, work that comes later and goes first) shows in what happened. Waiting and work have factors of their own: a small job overtakes
/// some of what is ahead of it, and a large one shares the devices with what comes later.
/// </summary>
/// <param name="Fixed">In the unit of the forecast; 0 or more.</param>
/// <param name="WaitFactor">0 or more.</param>
/// <param name="OwnFactor">0 or more.</param>
/// <param name="Low">Actual ÷ corrected that few were below.</param>
/// <param name="High">Actual ÷ corrected that few were above.</param>
internal readonly record struct Correction(double Fixed, double WaitFactor, double OwnFactor, double Low, double High)
{
    /// <summary>Fewer tell too little: the forecast then stands as it is.</summary>
    public const int SamplesMin = 10;

    /// <summary>Rounds of weighing; the plane moves by less than a thousandth after about ten.</summary>
    private const int Rounds = 20;

    /// <summary>Relative errors below this weigh no more than it: the plane need not go through single points.</summary>
    private const double ErrorMin = 0.01;

    /// <summary>Weight of the assumption that a factor is 1: it decides where all forecasts were alike, and hardly elsewhere.</summary>
    private const double PriorWeight = 0.01;

    /// <summary>How far beyond the outermost error the band goes where that was not far enough of late.</summary>
    private const double Beyond = 1.5;

    /// <summary>Samples that <see cref="HighOfLast"/> is of.</summary>
    private const int LastMax = 50;

    /// <summary>Actual ÷ corrected that 19 of 20 of the last <see cref="LastMax"/> were not above, whatever was missed of late.</summary>
    public double HighOfLast { get; private init; } = High;

    /// <summary>What it was learned from.</summary>
    public int Samples { get; private init; }

    /// <summary>What is expected where the forecast is that much.</summary>
    public double At(double wait, double own) => Fixed + (WaitFactor * wait) + (OwnFactor * own);

    /// <summary>
    /// The plane with the least sum of relative errors, which is what predictions are scored by; single late ends do not bend it. Least squares,
    /// weighed anew by the errors that are left. Null for fewer than <see cref="SamplesMin"/> samples.
    /// </summary>
    /// <param name="samples">The last one last.</param>
    /// <param name="misses">Shares that the band may leave out on either side.</param>
    /// <param name="relativeTo">What an error is relative to.</param>
    public static Correction? Of(IReadOnlyCollection<Sample> samples, Misses misses, ErrorScale relativeTo = ErrorScale.Actual)
    {
        if (samples.Count < SamplesMin)
        {
            return null;
        }

        var plane = new Correction(0, 1, 1, 1, 1);
        for (var round = 0; round < Rounds; round++)
        {
            plane = Fit(samples, round == 0 ? null : plane, relativeTo);
        }

        var ratios = samples.Select(s => s.Actual / Math.Max(plane.At(s.Wait, s.Own), double.Epsilon)).ToArray();
        var last = ratios.TakeLast(LastMax).Order().ToArray();
        Array.Sort(ratios);
        return plane with
        {
            Low = Math.Min(1, 1 / Outer([.. ratios.Select(ratio => 1 / ratio).Order()], misses.Below)),
            High = Math.Max(1, Outer(ratios, misses.Above)),
            HighOfLast = Math.Max(1, last[Math.Min(last.Length, Rank(last.Length, 0.05)) - 1]),
            Samples = samples.Count,
        };
    }

    /// <summary>The rising ratio that the next one exceeds in this share of cases at most, as split conformal prediction takes it.</summary>
    private static double Outer(double[] ratios, double share) =>
        Rank(ratios.Length, share) is var rank && rank <= ratios.Length ? ratios[rank - 1] : ratios[^1] * (share < 0 ? Beyond : 1);

    /// <summary>Which of n, counted from 1: the quantile of n + 1. More than n where none is far enough.</summary>
    private static int Rank(int n, double share) => Math.Max(1, (int)Math.Ceiling((1 - share) * (n + 1)));

    /// <summary>
    /// Minimises Σ w · ((a + b·wait + c·own − actual) ÷ scale)², none of the three below 0: what would be is left out, the lowest first.
    /// </summary>
    private static Correction Fit(IReadOnlyCollection<Sample> samples, Correction? before, ErrorScale relativeTo)
    {
        Span<double> sums = stackalloc double[9];
        Span<double> ones = stackalloc double[3];
        Span<double> of = stackalloc double[3];
        // Where the larger counts it begins at the mean: from below it would stay at the few small ones.
        var mean = samples.Average(s => s.Actual);
        sums.Clear();
        ones.Clear();
        foreach (var (wait, own, actual) in samples)
        {
            var at = before?.At(wait, own);
            var scale =
                relativeTo == ErrorScale.Actual ? actual
                : at is { } expected ? Math.Max(expected, actual)
                : mean;
            var weight = at is { } told ? 1 / Math.Max(Math.Abs(told - actual) / scale, ErrorMin) : 1;
            (of[0], of[1], of[2]) = (1 / scale, wait / scale, own / scale);
            for (var i = 0; i < 3; i++)
            {
                ones[i] += weight * of[i] * (actual / scale);
                for (var j = 0; j < 3; j++)
                {
                    sums[(3 * i) + j] += weight * of[i] * of[j];
                }
            }
        }

        for (var i = 1; i < 3; i++)
        {
            // Where all were 0 the factor is 1.
            var prior = sums[4 * i] > 0 ? PriorWeight * sums[4 * i] : 1;
            sums[4 * i] += prior;
            ones[i] += prior;
        }

        Span<bool> used = [true, true, true];
        while (true)
        {
            Solve(sums, ones, used, of);
            var lowest = of[0] <= of[1] ? (of[0] <= of[2] ? 0 : 2) : (of[1] <= of[2] ? 1 : 2);
            if (of[lowest] >= 0)
            {
                return new Correction(of[0], of[1], of[2], 1, 1);
            }

            used[lowest] = false;
        }
    }

    /// <summary>Solves the symmetric system of those that are used, by Gauss and Jordan; the others are 0.</summary>
    private static void Solve(ReadOnlySpan<double> sums, ReadOnlySpan<double> ones, ReadOnlySpan<bool> used, Span<double> solution)
    {
        Span<double> rows = stackalloc double[12];
        for (var i = 0; i < 3; i++)
        {
            for (var j = 0; j < 3; j++)
            {
                rows[(4 * i) + j] = used[i] && used[j] ? sums[(3 * i) + j] : (i == j ? 1 : 0);
            }

            rows[(4 * i) + 3] = used[i] ? ones[i] : 0;
        }

        for (var pivot = 0; pivot < 3; pivot++)
        {
            // Positive definite: the priors keep the diagonal above 0.
            var by = Math.Max(rows[5 * pivot], double.Epsilon);
            for (var i = 0; i < 3; i++)
            {
                var times = i == pivot ? 0 : rows[(4 * i) + pivot] / by;
                for (var j = pivot; j < 4 && times != 0; j++)
                {
                    rows[(4 * i) + j] -= times * rows[(4 * pivot) + j];
                }
            }
        }

        for (var i = 0; i < 3; i++)
        {
            solution[i] = rows[(4 * i) + 3] / Math.Max(rows[5 * i], double.Epsilon);
        }
    }
}

/// <summary>What errors are relative to.</summary>
internal enum ErrorScale
{
    /// <summary>What came, as the mean absolute percentage error is.</summary>
    Actual,

    /// <summary>
    /// The larger of what was expected and what came. Relative to what came, a few that took next to nothing outweigh all others: after
    /// express tasks had shared one batch behind a stall, the next ones were told a twentieth of their cost.
    /// </summary>
    Larger,
}

/// <summary>
/// The shares that a band leaves out on either side, moved by what it missed: after a miss the next bands are wider, after a hit a little narrower,
/// so that the share of misses comes to <see cref="Aim"/> in the long run, whatever the load does (adaptive conformal inference, Gibbs and Candès
/// 2021). Quantiles of the last errors alone covered 85 % in place of 90: jobs that are late are known late.
/// </summary>
internal readonly record struct Misses(double Below, double Above)
{
    /// <summary>One of 20 is told; those of which nothing is known yet have no such band, and are made up for.</summary>
    private const double Aim = 0.04;

    /// <summary>How far one outcome moves a share.</summary>
    private const double Step = 0.05;

    private const double Most = 0.2;
    private const double Least = -0.1;

    public static Misses None => new(Aim, Aim);

    public Misses After(bool below, bool above) => new(Moved(Below, below), Moved(Above, above));

    private static double Moved(double share, bool missed) => Math.Clamp(share + (Step * (Aim - (missed ? 1 : 0))), Least, Most);
}
