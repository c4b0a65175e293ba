using Pipeline.Contracts;

namespace Pipeline.Simulator.Fleet;

/// <summary>
/// What batches really take on a device: a table of padded units and nanoseconds, a line between its points, the last segment's line
/// beyond. Below the first point a batch takes what the first point takes. In row-based profiles one task is one unit.
/// </summary>
internal sealed class DeviceProfile
{
    private const int TableUnits = 4096;
    private readonly (long Units, double Ns)[] _points;
    private readonly double[] _table = new double[TableUnits + 1];

    public DeviceProfile(string name, IEnumerable<(long Units, double Ns)> points)
    {
        Name = name;
        _points = [.. points.OrderBy(p => p.Units)];
        ArgumentOutOfRangeException.ThrowIfZero(_points.Length);
        for (var units = 0; units <= TableUnits; units++)
        {
            _table[units] = Between(units);
        }

        (AlphaNs, BetaNs) = Fit(_points);
    }

    /// <summary>A pure line, with points at powers of two.</summary>
    public static DeviceProfile Line(string name, double alphaNs, double betaNs) =>
        new(name, Enumerable.Range(0, 9).Select(i => (1L << i, alphaNs + (betaNs * (1L << i)))));

    public string Name { get; }

    /// <summary>The best line through its points by relative squares: what a scheduler that fits a line would learn.</summary>
    public double AlphaNs { get; }
    public double BetaNs { get; }

    public IReadOnlyList<(long Units, double Ns)> Points => _points;

    /// <summary>Nanoseconds of device time of a batch, without jitter.</summary>
    public double Ns(long paddedUnits) => paddedUnits <= TableUnits ? _table[paddedUnits] : Between(paddedUnits);

    /// <summary>The best rate any batch of at most so many units reaches, in units per second.</summary>
    public double UnitsPerSecond(long paddedUnitsMax)
    {
        var ends = _points.Select(p => p.Units).Where(u => u <= paddedUnitsMax).Append(paddedUnitsMax);
        return ends.Max(u => u * 1e9 / Ns(u));
    }

    /// <summary>The same device, uniformly slower or faster.</summary>
    public DeviceProfile Times(double factor, string? name = null) => new(name ?? Name, _points.Select(p => (p.Units, p.Ns * factor)));

    /// <summary>What registration would have measured of it.</summary>
    /// <param name="unitsPerRow">Units of the tasks it was measured with.</param>
    /// <param name="error">Measured too long (above 1) or too short by this factor.</param>
    public ModelProfile Measured(string provider, double error = 1, long unitsPerRow = 1) =>
        new()
        {
            Provider = provider,
            Device = Name,
            Points = [.. _points.Select(p => new ProfilePoint((int)Math.Max(1, p.Units / unitsPerRow), p.Units, (long)(p.Ns * error)))],
            AlphaNs = AlphaNs * error,
            BetaNs = BetaNs * error,
            BatchDrift = 0,
            MemoryBytes = 1 << 28,
        };

    private double Between(long units)
    {
        if (_points.Length == 1 || units <= _points[0].Units)
        {
            return _points[0].Ns;
        }

        var next = 1;
        while (next < _points.Length - 1 && _points[next].Units < units)
        {
            next++;
        }

        var (from, to) = (_points[next - 1], _points[next]);
        return from.Ns + ((to.Ns - from.Ns) * (units - from.Units) / (to.Units - from.Units));
    }

    /// <summary>Least squares of relative errors: weights 1 / ns². Neither part is negative.</summary>
    private static (double Alpha, double Beta) Fit((long Units, double Ns)[] points)
    {
        double w = 0,
            wx = 0,
            wxx = 0,
            wy = 0,
            wxy = 0;
        foreach (var (x, y) in points)
        {
            var weight = 1 / (y * y);
            (w, wx, wxx, wy, wxy) = (w + weight, wx + (weight * x), wxx + (weight * x * x), wy + (weight * y), wxy + (weight * x * y));
        }

        var determinant = (w * wxx) - (wx * wx);
        if (points.Length < 2 || determinant <= 0)
        {
            return (0, points[0].Ns / Math.Max(1, points[0].Units));
        }

        var beta = ((w * wxy) - (wx * wy)) / determinant;
        var alpha = (wy - (beta * wx)) / w;
        return alpha < 0 ? (0, wxy / wxx) : (alpha, Math.Max(beta, 1e-3));
    }
}
