using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// Device time of a batch as a curve: never falling, straight between a few knots of padded units. It follows what a line cannot: the
/// flat foot where launches bound a small batch, and the step where transfers saturate. Knots come from the points of a profile; what
/// is measured later moves all of them together (the device as a whole is slower) and the two around a batch a little further.
/// A measurement costs one pass over the knots and no memory.
/// </summary>
internal sealed class CostShape
{
    /// <summary>
    /// Knots at most. Profiles by rows keep fewer than a dozen; a profile by tokens climbs in steps of the device's tiles, and is within
    /// 3 % only from some 48 on. Those are a kilobyte.
    /// </summary>
    private const int KnotsMax = 48;

    /// <summary>A point is left out where the curve without it is this close, relative to its time.</summary>
    private const double ThinError = 0.005;

    /// <summary>Knots beyond the largest point, as multiples of it: a batch may be larger than any that was measured.</summary>
    private static readonly double[] Beyond = [2, 4, 16];

    /// <summary>From one unit up to the smallest point there is a knot at every so many-fold size: they come on top of the others.</summary>
    private const double Below = 4;

    /// <summary>Gains: of the level, of a knot, least and at first. A new level takes half of the first error, a third of the second.</summary>
    private const double LevelGainMin = 0.03;
    private const int LevelFirst = 8; // batches that move the level alone, or the knots would take its error for their own
    private const double KnotGainMin = 0.07;
    private const double KnotGainMax = 0.5;

    /// <summary>Batches from which on a knot counts as measured.</summary>
    private const float SeenMin = 3;

    /// <summary>So many batches in a row, all far off to one side, tell what a size takes that was not measured before.</summary>
    private const int SizeRun = 3;

    private readonly double[] _units;
    private readonly double[] _ns;
    private readonly float[] _seen;
    private readonly sbyte[] _runs; // far off in a row, at a knot that was not measured
    private double _level = 1; // what all of _ns is multiplied by
    private int _levelSeen;
    private bool _levelled; // enough batches have moved the level, be it before the device changed

    private CostShape(List<(double Units, double Ns)> knots)
    {
        _units = [.. knots.Select(k => k.Units)];
        _ns = [.. knots.Select(k => k.Ns)];
        _seen = new float[_units.Length];
        _runs = new sbyte[_units.Length];
    }

    /// <summary>The curve through a profile's points; null when there are fewer than two different sizes.</summary>
    public static CostShape? Of(IReadOnlyList<ProfilePoint> points)
    {
        var bySize = points
            .Where(p => p is { PaddedUnits: > 0, DeviceNs: > 0 })
            .GroupBy(p => p.PaddedUnits)
            .OrderBy(g => g.Key)
            .Select(g => (Units: (double)g.Key, Ns: g.Average(p => (double)p.DeviceNs)))
            .ToList();
        return bySize.Count < 2 ? null : new CostShape(Extend(Thin(Rising(bySize))));
    }

    /// <summary>A curve that begins as a line, with knots at every doubling of the sizes in use.</summary>
    public static CostShape OfLine(double alphaNs, double betaNs, double unitsMin, double unitsMax)
    {
        var knots = new List<(double Units, double Ns)>();
        for (var units = Math.Max(1, unitsMin); knots.Count < KnotsMax - 1 && units < unitsMax * 2; units *= 2)
        {
            knots.Add((units, alphaNs + (betaNs * units)));
        }

        knots.Add((knots[^1].Units * 2, alphaNs + (betaNs * knots[^1].Units * 2)));
        return new CostShape([.. Smaller(knots), .. knots]);
    }

    public double Ns(double units)
    {
        if (units < _units[0])
        {
            return Math.Max(1, _level * (_ns[0] - (SlopeBelow * (_units[0] - units))));
        }

        var (k, share) = Place(units);
        return Math.Max(1, _level * (_ns[k] + (share * (_ns[k + 1] - _ns[k]))));
    }

    /// <summary>The largest batch within a device time.</summary>
    public double UnitsWithin(double ns)
    {
        ns /= _level;
        if (ns < _ns[0])
        {
            return SlopeBelow > 0 ? _units[0] - ((_ns[0] - ns) / SlopeBelow) : _units[0] * ns / _ns[0];
        }

        var k = Array.BinarySearch(_ns, ns);
        k = k < 0 ? ~k : k;
        while (k < _ns.Length && _ns[k] <= ns)
        {
            k++;
        }

        k = Math.Clamp(k - 1, 0, _ns.Length - 2);
        var rise = _ns[k + 1] - _ns[k];
        return rise <= 0 ? _units[k + 1] : _units[k] + ((ns - _ns[k]) * (_units[k + 1] - _units[k]) / rise);
    }

    /// <summary>
    /// The largest batch within this share of the best rate; <see cref="long.MaxValue"/> when that is the largest of the profile. Only
    /// sizes that were run count: the others moved with the level, for better or worse. Null while the largest was not run.
    /// </summary>
    public long? UnitsEfficient(double share)
    {
        var largest = _units.Length - Beyond.Length - 1;
        if (_seen[largest] < SeenMin)
        {
            return null;
        }

        var best = 0.0;
        for (var k = 0; k <= largest; k++)
        {
            best = _seen[k] >= SeenMin ? Math.Max(best, _units[k] / _ns[k]) : best;
        }

        var at = largest;
        while (_seen[at] < SeenMin || _units[at] / _ns[at] < share * best)
        {
            at--;
        }

        return at == largest ? long.MaxValue : (long)_units[at];
    }

    /// <summary>Learns from a batch whose time was off by this error, relative to what the curve said.</summary>
    public void Learn(double units, double error)
    {
        var levelGain = Math.Max(LevelGainMin, 1.0 / (_levelSeen + 2));
        _levelSeen++;
        var factor = Math.Max(0.01, 1 + (levelGain * error));
        _level = Math.Clamp(_level * factor, 1e-9, 1e9);

        if (_levelSeen < LevelFirst)
        {
            return;
        }

        _levelled = true;

        // What the level took of the error the knots no longer have to. Below the first knot the first alone stands for the batch.
        var rest = ((1 + error) / factor) - 1;
        var (from, share) = Place(units);
        share = Math.Clamp(share, 0, 1);
        var norm = ((1 - share) * (1 - share)) + (share * share);
        Move(from, (1 - share) / norm, rest);
        Move(from + 1, share / norm, rest);
        KeepRising(from, from + 1);
    }

    /// <summary>False for a size that was not run while others were: when it is far off, that says nothing of the device.</summary>
    public bool Knows(double units) => !_levelled || _seen[Nearest(units)] >= SeenMin;

    /// <summary>
    /// Learns from a batch of a size it does not know, and that was far off: what others of its size take, once several in a row were
    /// off to the same side. One alone may be a paused process.
    /// </summary>
    /// <returns>True when it was learned from.</returns>
    public bool LearnSize(double units, double error)
    {
        var knot = Nearest(units);
        var sign = Math.Sign(error);
        _runs[knot] = (sbyte)(Math.Sign(_runs[knot]) == sign ? Math.Clamp(_runs[knot] + sign, -SizeRun, SizeRun) : sign);
        if (Math.Abs(_runs[knot]) < SizeRun)
        {
            return false;
        }

        var (from, share) = Place(units);
        var off = error * Ns(units) / _level / Math.Abs(share - (from == knot ? 1 : 0));
        _ns[knot] = Math.Max(0.01 * _ns[knot], _ns[knot] + (off / (_seen[knot] + 1)));
        _seen[knot]++;
        KeepRising(knot, knot);
        return true;
    }

    /// <summary>The device has changed: the next batches count as the first ones did.</summary>
    public void Reopen() => _levelSeen = 0;

    private void Move(int knot, double weight, double error)
    {
        if (weight > 0)
        {
            var gain = Math.Clamp(1.0 / (_seen[knot] + 2), KnotGainMin, KnotGainMax);
            _seen[knot] += (float)Math.Min(1, weight);
            _ns[knot] *= Math.Max(0.01, 1 + (gain * weight * error));
        }
    }

    /// <summary>What was just measured pushes what was not: smaller batches take no longer, larger ones no less.</summary>
    private void KeepRising(int first, int last)
    {
        for (var k = first; k > 0 && _ns[k - 1] > _ns[k]; k--)
        {
            _ns[k - 1] = _ns[k];
        }

        for (var k = first; k < _ns.Length - 1 && (k < last || _ns[k + 1] < _ns[k]); k++)
        {
            _ns[k + 1] = Math.Max(_ns[k + 1], _ns[k]);
        }
    }

    private int Nearest(double units)
    {
        var (from, share) = Place(units);
        return share < 0.5 ? from : from + 1;
    }

    private double SlopeBelow => Slope((_units[0], _ns[0]), (_units[1], _ns[1]));

    /// <summary>The segment a size falls into, and how far; the last goes on beyond the largest size, the first below the smallest.</summary>
    private (int Knot, double Share) Place(double units)
    {
        var k = Array.BinarySearch(_units, units);
        k = Math.Clamp(k < 0 ? ~k - 1 : k, 0, _units.Length - 2);
        return (k, (units - _units[k]) / (_units[k + 1] - _units[k]));
    }

    private static IEnumerable<(double Units, double Ns)> Smaller(List<(double Units, double Ns)> points)
    {
        var (smallest, slope) = (points[0], Slope(points[0], points[1]));
        for (var units = 1.0; units <= smallest.Units / 2; units *= Below)
        {
            yield return (units, smallest.Ns - (slope * (smallest.Units - units)));
        }
    }

    /// <summary>
    /// By how much a unit less is quicker below the smallest size: as over the first segment, but no more than in proportion. Steeper, a
    /// small batch would take less than no time, and its real time be taken for a device a million times slower.
    /// </summary>
    private static double Slope((double Units, double Ns) smallest, (double Units, double Ns) next) =>
        Math.Min((next.Ns - smallest.Ns) / (next.Units - smallest.Units), smallest.Ns / smallest.Units);

    /// <summary>Points that fall are averaged with those before them until none does (pool adjacent violators).</summary>
    private static List<(double Units, double Ns)> Rising(List<(double Units, double Ns)> points)
    {
        var blocks = new List<(double Sum, int Count)>();
        foreach (var (_, ns) in points)
        {
            var block = (Sum: ns, Count: 1);
            while (blocks.Count > 0 && blocks[^1].Sum / blocks[^1].Count > block.Sum / block.Count)
            {
                block = (block.Sum + blocks[^1].Sum, block.Count + blocks[^1].Count);
                blocks.RemoveAt(blocks.Count - 1);
            }

            blocks.Add(block);
        }

        var level = blocks.SelectMany(b => Enumerable.Repeat(b.Sum / b.Count, b.Count));
        return [.. points.Zip(level, (p, ns) => (p.Units, ns))];
    }

    /// <summary>Keeps the ends, then again and again the point the curve through the kept ones misses most (Douglas and Peucker, 1973).</summary>
    private static List<(double Units, double Ns)> Thin(List<(double Units, double Ns)> points)
    {
        var kept = new SortedSet<int> { 0, points.Count - 1 };
        while (kept.Count < KnotsMax - Beyond.Length)
        {
            var (worst, error) = (-1, ThinError);
            var from = 0;
            foreach (var to in kept)
            {
                for (var i = from + 1; i < to; i++)
                {
                    var share = (points[i].Units - points[from].Units) / (points[to].Units - points[from].Units);
                    var told = points[from].Ns + (share * (points[to].Ns - points[from].Ns));
                    var off = Math.Abs(told - points[i].Ns) / points[i].Ns;
                    (worst, error) = off > error ? (i, off) : (worst, error);
                }

                from = to;
            }

            if (worst < 0)
            {
                break;
            }

            kept.Add(worst);
        }

        return [.. kept.Select(i => points[i])];
    }

    /// <summary>
    /// Goes on below the smallest point as over the first segment, but no steeper than in proportion; and beyond the largest as over the
    /// last doubling of size: two points close together would tell their noise.
    /// </summary>
    private static List<(double Units, double Ns)> Extend(List<(double Units, double Ns)> points)
    {
        var last = points[^1];
        var before = points.FindLast(p => p.Units <= last.Units / 2);
        before = before.Units > 0 ? before : points[0];
        var slope = (last.Ns - before.Ns) / (last.Units - before.Units);
        return
        [
            .. Smaller(points),
            .. points,
            .. Beyond.Select(times => (last.Units * times, last.Ns + (slope * last.Units * (times - 1)))),
        ];
    }
}
