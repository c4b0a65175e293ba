using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// What a model's batches take on a pool's device: <c>l ≈ α + β · padded units</c>. Learned from measured batches by recursive least
/// squares with forgetting, on relative errors (a batch of 1 ms matters as much as one of 250 ms), seeded from the profile of the
/// model's registration. Outliers are cut at a few error bands, so one paused process does not bend the line.
/// </summary>
internal sealed class CostModel
{
    /// <summary>Weight of the past per batch: about the last 50 batches count.</summary>
    private const double Forgetting = 0.98;

    /// <summary>Residuals are cut at this many error bands.</summary>
    private const double OutlierBands = 4;

    /// <summary>The share of batches the error band holds, and how quickly it moves.</summary>
    private const double BandQuantile = 0.95;
    private const double BandStep = 0.02;

    /// <summary>Padded units are counted in thousands inside, so that both parameters have like sizes.</summary>
    private const double Scale = 1000;

    /// <summary>Variances (relative) of a parameter nobody measured, and of one a profile measured.</summary>
    private const double VarianceUnknown = 100;
    private const double VarianceProfiled = 0.1;
    private const double VarianceMax = 1000;

    /// <summary>A model nobody measured: dear enough that the first dispatch to it stays small.</summary>
    private const double AlphaUnknownNs = 2_000_000;
    private const double BetaUnknownNs = 10_000;

    /// <summary>A batch this close to the best rate counts as efficient; measuring it is no more exact.</summary>
    private const double EfficientShare = 0.97;

    private double _alpha;
    private double _beta; // per Scale units
    private double _p11;
    private double _p12;
    private double _p22;

    /// <param name="profile">Seeds the fit; null when nobody measured the model.</param>
    /// <param name="onItsDevice">True when the profile was measured on the pool's kind of device: then its best batch size holds too.</param>
    public CostModel(ModelProfile? profile = null, bool onItsDevice = false)
    {
        PaddedUnitsEfficient = onItsDevice && profile is not null ? EfficientUnits(profile.Points) : long.MaxValue;
        var seeded = profile is { BetaNs: > 0 } && double.IsFinite(profile.AlphaNs + profile.BetaNs);
        _alpha = seeded ? Math.Max(0, profile!.AlphaNs) : AlphaUnknownNs;
        _beta = (seeded ? profile!.BetaNs : BetaUnknownNs) * Scale;
        var variance = seeded ? VarianceProfiled : VarianceUnknown;
        _p11 = variance * Square(Math.Max(_alpha, 1));
        _p22 = variance * Square(_beta);
        IsKnown = seeded;
        ErrorBand = seeded ? 0.2 : 1;
    }

    /// <summary>False while it rests on a guess alone.</summary>
    public bool IsKnown { get; private set; }

    /// <summary>α: fixed device time of a batch.</summary>
    public double AlphaNs => _alpha;

    /// <summary>β: device time of one padded unit.</summary>
    public double BetaNs => _beta / Scale;

    /// <summary>
    /// Padded units beyond which a batch gets dearer by the unit. A line has no such point, devices do: on a CPU an encoder's batch that
    /// outgrew the cache ran 40 % slower by the unit (./pipeline bench limit).
    /// </summary>
    public long PaddedUnitsEfficient { get; }

    /// <summary>Relative error that 95 % of the batches stay within.</summary>
    public double ErrorBand { get; private set; }

    /// <summary>Batches it learned from.</summary>
    public long Batches { get; private set; }

    /// <summary>Padded units per unit as estimated at the door: padding, and what the door estimated too low.</summary>
    public double PaddingRatio { get; private set; } = 1;

    /// <summary>Device time of a batch.</summary>
    public double BatchNs(double paddedUnits) => _alpha + (BetaNs * paddedUnits);

    /// <summary>Padded units a batch may hold within a device time: <c>(time − α) / β</c>, at least 1.</summary>
    public long PaddedUnitsWithin(TimeSpan time) => (long)Math.Clamp(((time.TotalNanoseconds) - _alpha) / BetaNs, 1, 1e15);

    /// <summary>
    /// The largest batch within a few percent of the best rate, for each length measured; of those the smallest, since a batch mixes
    /// lengths. No bound where the largest measured is as good as any.
    /// </summary>
    private static long EfficientUnits(IReadOnlyList<ProfilePoint> points)
    {
        var bound = long.MaxValue;
        foreach (var series in points.Where(p => p is { Rows: > 0, DeviceNs: > 0 }).GroupBy(p => p.PaddedUnits / p.Rows))
        {
            var best = series.Max(Rate);
            var largest = series.Max(p => p.PaddedUnits);
            var efficient = series.Where(p => Rate(p) >= EfficientShare * best).Max(p => p.PaddedUnits);
            bound = efficient == largest ? bound : Math.Min(bound, efficient);
        }

        return bound;

        static double Rate(ProfilePoint point) => (double)point.PaddedUnits / point.DeviceNs;
    }

    /// <summary>Learns from one batch. Measurements that cannot be (zero, negative) are passed over.</summary>
    public void Observe(BatchFact batch)
    {
        if (batch.DeviceNs <= 0 || batch.PaddedUnits <= 0)
        {
            return;
        }

        var x = batch.PaddedUnits / Scale;
        var predicted = Math.Max(_alpha + (_beta * x), 1);
        var relative = (batch.DeviceNs - predicted) / predicted;
        var cut = Batches < 3 ? relative : Math.Clamp(relative, -OutlierBands * ErrorBand, OutlierBands * ErrorBand);
        Move(x, cut * predicted, predicted);
        ErrorBand = Math.Clamp(ErrorBand + (BandStep * (Math.Abs(relative) > ErrorBand ? BandQuantile : BandQuantile - 1)), 0.01, 10);
        IsKnown = true;
        Batches++;
    }

    /// <summary>Learns how the door's units relate to what the device ran.</summary>
    public void ObservePadding(long unitsAtDoor, long paddedUnits)
    {
        if (unitsAtDoor > 0 && paddedUnits > 0)
        {
            var ratio = Math.Clamp((double)paddedUnits / unitsAtDoor, 0.01, 100);
            PaddingRatio += (Batches < 10 ? 0.5 : 0.1) * (ratio - PaddingRatio);
        }
    }

    /// <summary>One step of recursive least squares, weighted by 1 / predicted².</summary>
    private void Move(double x, double error, double predicted)
    {
        var px1 = _p11 + (_p12 * x);
        var px2 = _p12 + (_p22 * x);
        var gain = 1 / ((Forgetting * Square(predicted)) + px1 + (px2 * x));
        // Neither time can be negative; a floor on β keeps the batch bound finite.
        _alpha = Math.Max(0, _alpha + (px1 * gain * error));
        _beta = Math.Max(1e-3 * Scale, _beta + (px2 * gain * error));
        var (p11, p12, p22) = (_p11 - (px1 * gain * px1), _p12 - (px1 * gain * px2), _p22 - (px2 * gain * px2));
        // Forgetting inflates what is not measured (all batches of one size); without a bound the next one would throw the line over.
        var bounded =
            p11 < VarianceMax * Square(Math.Max(predicted, 1)) && p22 < VarianceMax * Square(Math.Max(predicted, 1) / Math.Max(x, 1e-3));
        var growth = bounded ? 1 / Forgetting : 1;
        (_p11, _p12, _p22) = (Math.Max(p11 * growth, 1e-9), p12 * growth, Math.Max(p22 * growth, 1e-9));
    }

    private static double Square(double value) => value * value;
}
