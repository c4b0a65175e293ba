using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// What a model's batches take on a pool's device, by padded units. Two estimates learn side by side and the one whose recent errors
/// are smaller answers: a line <c>l ≈ α + β · padded units</c> (recursive least squares with forgetting, on relative errors: a batch of
/// 1 ms matters as much as one of 250 ms), and a curve through the points of the registration's profile (<see cref="CostShape"/>).
/// One batch far off is not learned from, so a paused process does not bend the line; several in a row to the same side are taken for a
/// change of the device, and learned from as quickly as the first batches, or where their size was never measured, for what it takes. A model takes about 1.5 kB and allocates nothing per batch.
/// </summary>
internal sealed class CostModel
{
    /// <summary>Weight of the past per batch: about the last 50 batches count.</summary>
    private const double Forgetting = 0.98;

    /// <summary>A batch is far off beyond this many error bands, and never within <see cref="FarMin"/>.</summary>
    private const double FarBands = 4;
    private const double FarMin = 0.2;

    /// <summary>
    /// So many batches in a row beyond the band and to one side are a change: with 2.5 % of batches beyond each side that happens by
    /// chance once in 2.5 million batches.
    /// </summary>
    private const int ChangeRun = 4;
    private const double ChangeBands = 1.5;
    private const double ChangeMin = 0.08;

    /// <summary>The error band is a quantile of so many last batches, all but three of 64; it is found again every few batches, and never told smaller than 1 %.</summary>
    private const int Window = 64;
    private const int BandEvery = 8;
    private const double BandShare = 0.95;
    private const double BandMin = 0.01;
    private const double BandMax = 10;

    /// <summary>Batches before the band is believed over what was assumed at first.</summary>
    private const int BandBatchesMin = 20;

    /// <summary>Weight of a batch in the recent errors that choose between line and curve, and by how much the other must be better.</summary>
    private const double ChoiceWeight = 0.05;
    private const double ChoiceShare = 0.8;

    /// <summary>A model without a profile gets its curve when so many batches have shown which sizes are in use.</summary>
    private const int CurveBatches = 32;

    /// <summary>Longer than any batch: a measurement beyond it is a broken clock.</summary>
    private const long DeviceNsMax = 86_400L * 1_000_000_000;
    private const long PaddedUnitsMax = 1_000_000_000_000_000;

    /// <summary>Padded units are counted in thousands inside, so that both parameters have like sizes.</summary>
    private const double Scale = 1000;

    private const double BetaMin = 1e-3 * Scale;
    private const double CorrelationMax = 1 - 1e-12;

    /// <summary>Variances (relative) of a parameter nobody measured, and of one a profile measured.</summary>
    private const double VarianceUnknown = 100;
    private const double VarianceProfiled = 0.1;
    private const double VarianceMax = 1000;

    /// <summary>Variance (relative) of the device as a whole, when it was profiled elsewhere or has changed.</summary>
    private const double VarianceLevel = 0.5;

    /// <summary>A model nobody measured: dear enough that the first dispatch to it stays small.</summary>
    private const double AlphaUnknownNs = 2_000_000;
    private const double BetaUnknownNs = 10_000;

    /// <summary>Bounds of <see cref="PaddingRatio"/>, and by what factor one dispatch may be off and be believed.</summary>
    private const double RatioMin = 0.01;
    private const double RatioMax = 100;
    private const double RatioFar = 2;

    /// <summary>A batch this close to the best rate counts as efficient; measuring it is no more exact.</summary>
    private const double EfficientShare = 0.97;

    private readonly float[] _errors = new float[Window];
    private readonly bool _seeded;
    private readonly bool _followsShape;
    private CostShape? _shape;
    private bool _byShape;
    private double _lineError = 0.1;
    private double _shapeError = 0.1;
    private int _run;
    private double _unitsSeenMin = double.MaxValue;
    private double _unitsSeenMax;

    private double _alpha;
    private double _beta; // per Scale units
    private double _p11;
    private double _p12;
    private double _p22;

    /// <param name="profile">Seeds both estimates; null when nobody measured the model.</param>
    /// <param name="onItsDevice">True when the profile was measured on the pool's kind of device: then its best batch size holds too.</param>
    public CostModel(ModelProfile? profile = null, bool onItsDevice = false)
    {
        _seeded = profile is { BetaNs: > 0 } && double.IsFinite(profile.AlphaNs + profile.BetaNs);
        _alpha = _seeded ? Math.Max(0, profile!.AlphaNs) : AlphaUnknownNs;
        _beta = (_seeded ? profile!.BetaNs : BetaUnknownNs) * Scale;
        var variance = _seeded ? VarianceProfiled : VarianceUnknown;
        _p11 = variance * Square(Math.Max(_alpha, 1));
        _p22 = variance * Square(_beta);
        _shape = _seeded ? CostShape.Of(profile!.Points) : null;
        _byShape = _shape is not null;
        IsKnown = _seeded;
        ErrorBand = UpperBand = LowerBand = BandAssumed;
        PaddedUnitsEfficient = onItsDevice && profile is not null ? EfficientUnits(profile.Points) : long.MaxValue;
        _followsShape = onItsDevice && _byShape && OneLength(profile!.Points);
    }

    /// <summary>False while it rests on a guess alone.</summary>
    public bool IsKnown { get; private set; }

    /// <summary>α of the line: fixed device time of a batch.</summary>
    public double AlphaNs => _alpha;

    /// <summary>β of the line: device time of one padded unit.</summary>
    public double BetaNs => _beta / Scale;

    /// <summary>
    /// Padded units beyond which a batch gets dearer by the unit. A line has no such point, devices do: on a CPU an encoder's batch that
    /// outgrew the cache ran 40 % slower by the unit (./pipeline bench limit).
    /// </summary>
    public long PaddedUnitsEfficient { get; private set; }

    /// <summary>Relative error that 95 % of the last batches stayed within.</summary>
    public double ErrorBand { get; private set; }

    /// <summary>By how much 95 % of the last batches took longer at most; never negative.</summary>
    public double UpperBand { get; private set; }

    /// <summary>By how much 95 % of the last batches were quicker at most; never negative.</summary>
    public double LowerBand { get; private set; }

    /// <summary>Units that were real of those the device ran: what is not padding, and the tasks' part of what batches cost.</summary>
    public double RealShare { get; private set; } = 1;

    /// <summary>Batches it was told of.</summary>
    public long Batches { get; private set; }

    /// <summary>Padded units per unit as estimated at the door: padding, and what the door estimated too low.</summary>
    public double PaddingRatio { get; private set; } = 1;

    /// <summary>Device time of a batch.</summary>
    public double BatchNs(double paddedUnits) => _byShape ? _shape!.Ns(paddedUnits) : _alpha + (BetaNs * paddedUnits);

    /// <summary>Device time that 95 % of such batches stay below: what a latest start must allow for.</summary>
    public double HighNs(double paddedUnits) => BatchNs(paddedUnits) * (1 + UpperBand);

    /// <summary>Padded units a batch may hold within a device time, the inverse of <see cref="BatchNs"/>; at least 1.</summary>
    public long PaddedUnitsWithin(TimeSpan time)
    {
        var units = _byShape ? _shape!.UnitsWithin(time.TotalNanoseconds) : (time.TotalNanoseconds - _alpha) / BetaNs;
        return (long)Math.Clamp(units, 1, PaddedUnitsMax);
    }

    /// <summary>Learns from one batch. Measurements that cannot be (zero, negative, longer than a day) are passed over.</summary>
    public void Observe(BatchFact batch)
    {
        if (batch.DeviceNs is <= 0 or > DeviceNsMax || batch.PaddedUnits is <= 0 or > PaddedUnitsMax)
        {
            return;
        }

        RealShare += (Batches < 10 ? 0.5 : 0.1) * (Math.Clamp((double)batch.Units / batch.PaddedUnits, 0, 1) - RealShare);
        var x = batch.PaddedUnits / Scale;
        var line = Math.Max(_alpha + (_beta * x), 1);
        var lineError = (batch.DeviceNs - line) / line;
        var shapeError = _shape is null ? 0 : (batch.DeviceNs / _shape.Ns(batch.PaddedUnits)) - 1;
        var error = _byShape ? shapeError : lineError;
        var far = Math.Abs(error) > Math.Max(FarMin, FarBands * ErrorBand) && (_seeded || Batches >= 3);
        var ofItsSize = far && _shape?.Knows(batch.PaddedUnits) == false;
        var changed = !ofItsSize && Count(error);
        Widen(error);
        IsKnown = true;
        if (ofItsSize ? !_shape!.LearnSize(batch.PaddedUnits, shapeError) : far && !changed)
        {
            return;
        }

        if (changed)
        {
            Reopen();
        }

        Move(x, batch.DeviceNs - line, line);
        if (!ofItsSize)
        {
            _shape?.Learn(batch.PaddedUnits, shapeError);
        }

        Choose(lineError, shapeError);
        See(batch.PaddedUnits);
    }

    /// <summary>
    /// Learns how the door's units relate to what the device ran, from tasks that all ran. One that is far off moves it by no more than one
    /// that is off by <see cref="RatioFar"/>.
    /// </summary>
    public void ObservePadding(long unitsAtDoor, long paddedUnits)
    {
        if (unitsAtDoor > 0 && paddedUnits > 0)
        {
            var ratio = Math.Clamp((double)paddedUnits / unitsAtDoor, PaddingRatio / RatioFar, PaddingRatio * RatioFar);
            PaddingRatio = Math.Clamp(PaddingRatio + ((Batches < 10 ? 0.5 : 0.1) * (ratio - PaddingRatio)), RatioMin, RatioMax);
        }
    }

    /// <summary>What is taken for the band while few batches were measured.</summary>
    private double BandAssumed => _seeded ? 0.2 : 1;

    /// <summary>Counts errors in a row to one side.</summary>
    /// <returns>True when the device has changed.</returns>
    private bool Count(double error)
    {
        if (Math.Abs(error) <= Math.Max(ChangeMin, ChangeBands * ErrorBand))
        {
            _run = 0;
            return false;
        }

        var sign = Math.Sign(error);
        _run = Math.Sign(_run) == sign ? _run + sign : sign;
        var changed = Math.Abs(_run) >= ChangeRun;
        _run = changed ? 0 : _run;
        return changed;
    }

    /// <summary>Enters an error among the last ones and takes the band from them, in one pass: the few largest are enough.</summary>
    private void Widen(double error)
    {
        _errors[Batches % Window] = (float)Math.Clamp(error, -1, BandMax);
        Batches++;
        if (Batches > Window && Batches % BandEvery != 0)
        {
            return;
        }

        var count = (int)Math.Min(Batches, Window);
        var rank = (int)(count * (1 - BandShare)) + 1;
        Span<float> absolute = stackalloc float[4];
        Span<float> upper = stackalloc float[4];
        Span<float> lower = stackalloc float[4];
        for (var i = 0; i < count; i++)
        {
            Enter(absolute[..rank], Math.Abs(_errors[i]));
            Enter(upper[..rank], _errors[i]);
            Enter(lower[..rank], -_errors[i]);
        }

        var assumed = BandAssumed * Math.Max(0, 1 - ((double)Batches / BandBatchesMin));
        ErrorBand = Math.Max(BandMin, Math.Max(assumed, absolute[rank - 1]));
        UpperBand = Math.Max(BandMin, Math.Max(assumed, upper[rank - 1]));
        LowerBand = Math.Max(BandMin, Math.Max(assumed, lower[rank - 1]));

        static void Enter(Span<float> largest, float value)
        {
            for (var i = 0; i < largest.Length; i++)
            {
                if (value > largest[i])
                {
                    (largest[i], value) = (value, largest[i]);
                }
            }
        }
    }

    /// <summary>Both estimates may move as quickly as at first, as a whole rather than in their form: slower devices are slower all over.</summary>
    private void Reopen()
    {
        _shape?.Reopen();
        _p11 += VarianceLevel * Square(_alpha);
        _p12 += VarianceLevel * _alpha * _beta;
        _p22 += VarianceLevel * Square(_beta);
    }

    private void Choose(double lineError, double shapeError)
    {
        _lineError += ChoiceWeight * (Math.Min(1, Math.Abs(lineError)) - _lineError);
        _shapeError += ChoiceWeight * (Math.Min(1, Math.Abs(shapeError)) - _shapeError);
        _byShape = _shape is not null && (_byShape ? _lineError >= ChoiceShare * _shapeError : _shapeError < ChoiceShare * _lineError);
        if (_followsShape && _byShape && _shape!.UnitsEfficient(EfficientShare) is { } efficient)
        {
            PaddedUnitsEfficient = efficient;
        }
    }

    private void See(long units)
    {
        (_unitsSeenMin, _unitsSeenMax) = (Math.Min(_unitsSeenMin, units), Math.Max(_unitsSeenMax, units));
        if (_shape is null && Batches >= CurveBatches)
        {
            _shape = CostShape.OfLine(_alpha, BetaNs, _unitsSeenMin, _unitsSeenMax);
            _shapeError = _lineError;
        }
    }

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

    private static bool OneLength(IReadOnlyList<ProfilePoint> points) =>
        points.Where(p => p.Rows > 0).Select(p => p.PaddedUnits / p.Rows).Distinct().Count() == 1;

    /// <summary>
    /// One step of recursive least squares, weighted by 1 / predicted². Where it would leave what times can be (α negative, β below a
    /// floor that keeps the batch bound finite), the other parameter follows as it is correlated with the one held back: sizes close
    /// together leave the two almost free against each other, and held back alone it would take the line away from all that was measured.
    /// </summary>
    private void Move(double x, double error, double predicted)
    {
        var px1 = _p11 + (_p12 * x);
        var px2 = _p12 + (_p22 * x);
        var gain = 1 / ((Forgetting * Square(predicted)) + px1 + (px2 * x));
        var (alpha, beta) = (_alpha + (px1 * gain * error), _beta + (px2 * gain * error));
        var (p11, p12, p22) = (_p11 - (px1 * gain * px1), _p12 - (px1 * gain * px2), _p22 - (px2 * gain * px2));
        // Forgetting inflates what is not measured (all batches of one size); without a bound the next one would throw the line over.
        var bounded =
            p11 < VarianceMax * Square(Math.Max(predicted, 1)) && p22 < VarianceMax * Square(Math.Max(predicted, 1) / Math.Max(x, 1e-3));
        var growth = bounded ? 1 / Forgetting : 1;
        (_p11, _p22) = (Math.Max(p11 * growth, 1e-9), Math.Max(p22 * growth, 1e-9));
        // Rounding must not make a correlation of more than one: no variances are like that, and a step could be without bounds.
        var most = CorrelationMax * Math.Sqrt(_p11 * _p22);
        _p12 = Math.Clamp(p12 * growth, -most, most);
        if (alpha < 0)
        {
            (alpha, beta) = (0, beta - (_p12 / _p11 * alpha));
        }

        if (beta < BetaMin)
        {
            (alpha, beta) = (alpha + (_p12 / _p22 * (BetaMin - beta)), BetaMin);
        }

        (_alpha, _beta) = (Math.Clamp(alpha, 0, DeviceNsMax), Math.Min(beta, DeviceNsMax));
    }

    private static double Square(double value) => value * value;
}
