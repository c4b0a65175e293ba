namespace Pipeline.Simulator;

/// <summary>A 64-bit hash of everything that was decided and everything that ended, in order. Equal hashes, equal lives.</summary>
internal sealed class TraceHash
{
    public ulong Value { get; private set; } = 0xCBF29CE484222325;

    public void Fold(long time, uint a, int b, int c, long d)
    {
        Fold((ulong)time);
        Fold(((ulong)a << 32) | (uint)b);
        Fold(((ulong)(uint)c << 32) ^ (ulong)d);
    }

    private void Fold(ulong word)
    {
        Value = (Value ^ word) * 0x9E3779B97F4A7C15;
        Value ^= Value >> 32;
    }
}
