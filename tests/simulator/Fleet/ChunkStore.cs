namespace Pipeline.Simulator.Fleet;

/// <summary>Chunks in slots of one array. A chunk that has wholly ended gives its slot back, so a day of ten million needs little memory.</summary>
internal sealed class ChunkStore
{
    private readonly Stack<int> _free = new();
    private SimChunk[] _slots = new SimChunk[1024];
    private int _used;

    public ref SimChunk this[int slot] => ref _slots[slot];

    /// <summary>The slots in use, of which some are free again.</summary>
    public int Slots => _used;

    /// <summary>Slots side by side for a job's chunks.</summary>
    public int Reserve(int chunks)
    {
        if (chunks == 1 && _free.TryPop(out var slot))
        {
            return slot;
        }

        while (_used + chunks > _slots.Length)
        {
            Array.Resize(ref _slots, 2 * _slots.Length);
        }

        (slot, _used) = (_used, _used + chunks);
        return slot;
    }

    /// <summary>The chunk's slot, or -1 when it has wholly ended.</summary>
    public int Find(uint job, int firstSlot, int no)
    {
        var slot = firstSlot + no;
        return slot < _used && _slots[slot].Job == job && _slots[slot].No == no ? slot : -1;
    }

    /// <summary>Gives the slot back if its chunk has ended and is nowhere on its way.</summary>
    public void FreeIfDone(int slot)
    {
        ref var chunk = ref _slots[slot];
        if (chunk.Job != 0 && chunk.EndedTasks == chunk.Tasks && !chunk.Live.Any)
        {
            chunk = default;
            _free.Push(slot);
        }
    }
}
