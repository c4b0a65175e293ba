namespace Pipeline.Scheduler.Policy.Index;

/// <summary>How numbered records are found by a key that stands in the record.</summary>
internal interface IKeys<TKey>
{
    uint Hash(in TKey key);
    uint HashOf(int id);
    bool Has(int id, in TKey key);
}

/// <summary>
/// Finds a record by its key in eight bytes a record. The table grows by one bucket at a time (linear hashing, Litwin, VLDB'80), so no
/// single insert ever pays for copying the whole table, as it would when a table doubles.
/// </summary>
internal sealed class KeyIndex<TKey, TKeys>(TKeys keys)
    where TKeys : struct, IKeys<TKey>
{
    private const int BucketsMin = 16;

    private readonly PagedInts _heads = new();
    private readonly PagedInts _next = new();

    /// <summary>Buckets when the present round of splitting began, and buckets that were split in it.</summary>
    private uint _round;
    private uint _split;

    public int Count { get; private set; }

    /// <summary>The record with this key, or 0.</summary>
    public int Find(in TKey key)
    {
        if (_round == 0)
        {
            return 0;
        }

        var id = _heads[BucketOf(keys.Hash(key))];
        while (id != 0 && !keys.Has(id, key))
        {
            id = _next[id];
        }

        return id;
    }

    /// <summary>Adds a record whose key is not in the index.</summary>
    public void Add(int id)
    {
        if (_round == 0)
        {
            _round = BucketsMin;
            _heads.Reserve(BucketsMin);
        }

        _next.Reserve(id + 1);
        Link(id, BucketOf(keys.HashOf(id)));
        if (++Count > _round + _split)
        {
            Split();
        }
    }

    public void Remove(int id)
    {
        ref var link = ref _heads[BucketOf(keys.HashOf(id))];
        while (link != id)
        {
            link = ref _next[link];
        }

        link = _next[id];
        _next[id] = 0;
        Count--;
    }

    private int BucketOf(uint hash)
    {
        var bucket = hash & ((2 * _round) - 1);
        return (int)(bucket < _round + _split ? bucket : bucket & (_round - 1));
    }

    private void Split()
    {
        var old = (int)_split++;
        _heads.Reserve((int)(_round + _split));
        var id = _heads[old];
        _heads[old] = 0;
        while (id != 0)
        {
            var next = _next[id];
            Link(id, BucketOf(keys.HashOf(id)));
            id = next;
        }

        if (_split == _round)
        {
            (_round, _split) = (2 * _round, 0);
        }
    }

    private void Link(int id, int bucket)
    {
        _next[id] = _heads[bucket];
        _heads[bucket] = id;
    }
}

/// <summary>Spreads the bits of what is hashed (the finaliser of MurmurHash3): identifiers that count up must not share buckets.</summary>
internal static class Bits
{
    public static uint Spread(uint value)
    {
        value ^= value >> 16;
        value *= 0x85ebca6b;
        value ^= value >> 13;
        value *= 0xc2b2ae35;
        return value ^ (value >> 16);
    }
}
