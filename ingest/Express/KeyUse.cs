using Pipeline.Migrations;

namespace Pipeline.Ingest.Express;

/// <summary>What a key may ask: its own limits, and the options where it has none.</summary>
internal readonly record struct KeyLimit(int RatePerSecond, int BurstMax, int ConcurrentMax)
{
    public static KeyLimit Of(ApiKeyLimits? own, IngestOptions options) =>
        new(
            own?.RatePerSecond ?? options.KeyRatePerSecond,
            own?.BurstMax ?? Burst(own?.RatePerSecond, options),
            own?.ConcurrentMax ?? options.KeyConcurrentMax
        );

    /// <summary>As many seconds' worth of a rate of its own as the option is of the options' rate.</summary>
    private static int Burst(int? rate, IngestOptions options) =>
        rate is { } own
            ? (int)Math.Clamp((long)own * options.KeyBurstMax / options.KeyRatePerSecond, 1, ApiKeyLimits.Most)
            : options.KeyBurstMax;
}

/// <summary>Whether a request of a key was let in.</summary>
internal enum KeyVerdict
{
    Entered,
    TooOften,
    TooManyAtOnce,
}

/// <param name="Left">Requests that the rate leaves for now.</param>
/// <param name="After">For a refusal: when another is worth a try.</param>
internal readonly record struct KeyEntry(KeyVerdict Verdict, int Left, TimeSpan After);

/// <summary>
/// The use of one key: a bucket that time fills and every request takes one out of, and the requests under way. The limits come with each
/// request, so others hold from the next one on; what was taken and what is under way stays counted.
/// </summary>
internal sealed class KeyUse
{
    private static readonly TimeSpan ConcurrentAfter = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private KeyLimit _limit;
    private double _left;
    private int _underWay;
    private TimeSpan? _at;

    /// <param name="now">On a clock that never goes back.</param>
    public KeyEntry Enter(KeyLimit limit, TimeSpan now)
    {
        lock (_lock)
        {
            _left = Filled(limit, now);
            (_limit, _at) = (limit, now);
            if (_left < 1 - Rounding(limit))
            {
                return new(KeyVerdict.TooOften, 0, TimeSpan.FromSeconds((1 - _left) / limit.RatePerSecond));
            }

            _left = Math.Max(0, _left - 1);
            if (_underWay >= limit.ConcurrentMax)
            {
                return new(KeyVerdict.TooManyAtOnce, (int)_left, ConcurrentAfter);
            }

            _underWay++;
            return new(KeyVerdict.Entered, (int)_left, TimeSpan.Zero);
        }
    }

    /// <summary>A request that was let in has been answered.</summary>
    public void Leave()
    {
        lock (_lock)
        {
            _underWay--;
        }
    }

    /// <summary>True when a key that was never seen would be let in just so: nothing is lost with it.</summary>
    public bool IsLikeNew(TimeSpan now)
    {
        lock (_lock)
        {
            return _underWay == 0 && Filled(_limit, now) >= _limit.BurstMax - Rounding(_limit);
        }
    }

    /// <summary>What a clock of whole ticks may lose: who waits as long as was told is not refused for a rounding.</summary>
    private static double Rounding(KeyLimit limit) => 1e-9 + (1.5 * limit.RatePerSecond / TimeSpan.TicksPerSecond);

    /// <summary>What time has put in since, at the rate that holds now.</summary>
    private double Filled(KeyLimit limit, TimeSpan now) =>
        _at is { } at ? Math.Min(limit.BurstMax, _left + ((now - at).TotalSeconds * limit.RatePerSecond)) : limit.BurstMax;
}
