namespace Pipeline.Simulator;

/// <summary>
/// Chance with a seed: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Every purpose draws from a stream of its own, so that a policy
/// that runs other batches still meets the same arrivals.
/// </summary>
internal sealed class Chance(ulong seed)
{
    private ulong _state = seed;
    private double _spareNormal = double.NaN;

    /// <summary>A stream of its own for this purpose.</summary>
    public static Chance For(ulong seed, ulong purpose) => new(Mix(seed + (0x9E3779B97F4A7C15 * (purpose + 1))));

    public ulong Next() => Mix(_state += 0x9E3779B97F4A7C15);

    /// <summary>Uniform in (0, 1): never 0, so that its logarithm is finite.</summary>
    public double Uniform() => ((Next() >> 11) + 0.5) * (1.0 / (1UL << 53));

    /// <summary>Exponential with mean 1.</summary>
    public double Exponential() => -Math.Log(Uniform());

    /// <summary>Normal with mean 0 and deviation 1 (Box and Muller, 1958).</summary>
    public double Normal()
    {
        if (!double.IsNaN(_spareNormal))
        {
            var spare = _spareNormal;
            _spareNormal = double.NaN;
            return spare;
        }

        var radius = Math.Sqrt(-2 * Math.Log(Uniform()));
        var (sin, cos) = Math.SinCos(2 * Math.PI * Uniform());
        _spareNormal = radius * sin;
        return radius * cos;
    }

    /// <summary>Log-normal with mean 1; <paramref name="sigma"/> is the deviation of its logarithm.</summary>
    public double LogNormal(double sigma) => sigma <= 0 ? 1 : Math.Exp((sigma * Normal()) - (sigma * sigma / 2));

    /// <summary>Gamma with mean 1 and this shape (Marsaglia and Tsang, 2000).</summary>
    public double Gamma(double shape)
    {
        if (shape < 1)
        {
            // Gamma(k) = Gamma(k + 1) × U^(1/k), here with means of 1: the mean of the first factor is (k + 1).
            return Gamma(shape + 1) * (shape + 1) * Math.Pow(Uniform(), 1 / shape) / shape;
        }

        var d = shape - (1.0 / 3);
        var c = 1 / Math.Sqrt(9 * d);
        while (true)
        {
            var x = Normal();
            var v = 1 + (c * x);
            if (v > 0 && Math.Log(Uniform()) < (0.5 * x * x) + d - (d * v * v * v) + (d * Math.Log(v * v * v)))
            {
                return d * v * v * v / shape;
            }
        }
    }

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
