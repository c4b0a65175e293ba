namespace Pipeline.Ingest.Tasks;

/// <summary>
/// The place at which each hash came first, in flat memory: open addressing, 20 bytes an entry and at most twice that with free slots
/// (42 MB for a million).
/// </summary>
internal sealed class FirstPlaces
{
    private const int CapacityFirst = 64;
    private UInt128[] _hashes = new UInt128[CapacityFirst];
    private int[] _places = new int[CapacityFirst];

    public int Count { get; private set; }

    /// <summary>Takes the hash, or says where it came first.</summary>
    /// <param name="hash">Not 0, which marks a free slot.</param>
    public bool TryAdd(UInt128 hash, int place, out int firstPlace)
    {
        if ((Count + 1) * 4L > _hashes.Length * 3L)
        {
            Grow();
        }

        if (TryFind(hash, out var slot))
        {
            firstPlace = _places[slot];
            return false;
        }

        _hashes[slot] = hash;
        _places[slot] = firstPlace = place;
        Count++;
        return true;
    }

    /// <summary>Where the hash came first, if it came.</summary>
    public bool TryGet(UInt128 hash, out int firstPlace)
    {
        var found = TryFind(hash, out var slot);
        firstPlace = _places[slot];
        return found;
    }

    private bool TryFind(UInt128 hash, out int slot)
    {
        slot = FindSlot(_hashes, hash);
        return _hashes[slot] == hash;
    }

    private static int FindSlot(UInt128[] hashes, UInt128 hash)
    {
        var mask = hashes.Length - 1;
        var slot = (int)(ulong)hash & mask;
        while (hashes[slot] != UInt128.Zero && hashes[slot] != hash)
        {
            slot = (slot + 1) & mask;
        }

        return slot;
    }

    private void Grow()
    {
        var hashes = new UInt128[_hashes.Length * 2];
        var places = new int[hashes.Length];
        for (var i = 0; i < _hashes.Length; i++)
        {
            if (_hashes[i] != UInt128.Zero)
            {
                var slot = FindSlot(hashes, _hashes[i]);
                (hashes[slot], places[slot]) = (_hashes[i], _places[i]);
            }
        }

        (_hashes, _places) = (hashes, places);
    }
}
