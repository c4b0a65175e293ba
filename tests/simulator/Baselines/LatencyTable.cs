using Pipeline.Contracts;

namespace Pipeline.Simulator.Baselines;

/// <summary>
/// A model's batch latency as its profile was measured: padded units to ticks (100 ns), linear between the points and going on at the
/// slope of the last two; below the first point it is what the first takes. Without points it is the profile's affine fit.
/// </summary>
internal sealed class LatencyTable
{
    private readonly double[] _units;
    private readonly double[] _ticks;

    public LatencyTable(ModelProfile? profile)
    {
        var points = (profile?.Points ?? [])
            .Where(p => p is { PaddedUnits: > 0, DeviceNs: > 0 })
            .GroupBy(p => p.PaddedUnits)
            .OrderBy(g => g.Key)
            .Select(g => (Units: (double)g.Key, Ticks: g.Average(p => (double)p.DeviceNs) / TimeSpan.NanosecondsPerTick))
            .ToArray();
        if (points.Length < 2)
        {
            // A model that nobody measured is taken to cost 1 ms and 0.1 ms a unit.
            var alpha = (profile?.AlphaNs ?? 1e6) / TimeSpan.NanosecondsPerTick;
            var beta = Math.Max(profile?.BetaNs ?? 1e5, 1e-3) / TimeSpan.NanosecondsPerTick;
            points = [(1, alpha + beta), (1e6, alpha + (beta * 1e6))];
        }

        _units = [.. points.Select(p => p.Units)];
        _ticks = [.. points.Select(p => p.Ticks)];
        for (var i = 1; i < _ticks.Length; i++)
        {
            // A larger batch never counts as quicker, or a latency would have no one size.
            _ticks[i] = Math.Max(_ticks[i], _ticks[i - 1] + 1e-6);
        }
    }

    /// <summary>Largest batch that was measured, in padded units.</summary>
    public double UnitsMeasuredMax => _units[^1];

    /// <summary>Ticks that a batch of so many padded units takes.</summary>
    public double Ticks(double units)
    {
        var i = Segment(_units, units);
        return Math.Max(_ticks[0], Along(_units[i], _ticks[i], _units[i + 1], _ticks[i + 1], units));
    }

    /// <summary>Padded units that a batch of so many ticks holds; 0 or less when not even the smallest fits.</summary>
    public double Units(double ticks)
    {
        var i = Segment(_ticks, ticks);
        return Along(_ticks[i], _units[i], _ticks[i + 1], _units[i + 1], ticks);
    }

    /// <summary>The place of the last point at or below the value that has a successor.</summary>
    private static int Segment(double[] xs, double x)
    {
        var at = Array.BinarySearch(xs, x);
        return Math.Clamp((at >= 0 ? at : ~at) - (at >= 0 ? 0 : 1), 0, xs.Length - 2);
    }

    private static double Along(double x0, double y0, double x1, double y1, double x) => y0 + ((y1 - y0) * (x - x0) / (x1 - x0));
}
