namespace Pipeline.StarterModels;

/// <summary>
/// A seeded source of numbers that is the same on every machine and runtime (SplitMix64: Steele, Lea and Flood, 2014).
/// </summary>
internal sealed class Prng(ulong seed)
{
    private ulong _state = seed;

    /// <summary>A number from 0 up to, not including, <paramref name="bound"/>.</summary>
    public int Below(int bound) => (int)((Next() >> 32) * (ulong)bound >> 32);

    /// <summary>A number from −1 up to, not including, 1.</summary>
    public float Signed() => (int)(Next() >> 40) * (1f / (1 << 23)) - 1;

    /// <summary>Puts the items in random order.</summary>
    public void Shuffle<T>(T[] items)
    {
        for (var last = items.Length - 1; last > 0; last--)
        {
            var other = Below(last + 1);
            (items[last], items[other]) = (items[other], items[last]);
        }
    }

    private ulong Next()
    {
        _state += 0x9E3779B97F4A7C15;
        var mixed = (_state ^ _state >> 30) * 0xBF58476D1CE4E5B9;
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB;
        return mixed ^ mixed >> 31;
    }
}
