namespace Pipeline.Simulator;

/// <summary>What can happen by itself at a known time.</summary>
internal enum EventKind : byte
{
    ChunkReaches,
    DispatchReaches,
    BatchEnds,
    FactReaches,
    Heartbeat,
    Crash,
    Restart,
}

/// <summary>Something that happens at a time (UTC ticks). What <paramref name="Subject"/> and <paramref name="Life"/> mean is the kind's.</summary>
/// <param name="Order">Events of one time happen in the order they were foreseen: the order is total.</param>
internal readonly record struct Event(long Time, long Order, EventKind Kind, int Subject, int Life);

/// <summary>What is foreseen, soonest first: a binary heap of structs, so that an event costs no allocation.</summary>
internal sealed class EventQueue
{
    private Event[] _heap = new Event[1024];
    private int _count;
    private long _order;

    /// <summary>When the next event happens; never, when none is foreseen.</summary>
    public long NextTime => _count == 0 ? long.MaxValue : _heap[0].Time;

    public void Add(long time, EventKind kind, int subject, int life = 0)
    {
        if (_count == _heap.Length)
        {
            Array.Resize(ref _heap, 2 * _count);
        }

        var added = new Event(time, ++_order, kind, subject, life);
        var at = _count++;
        while (at > 0)
        {
            var parent = (at - 1) / 2;
            if (!IsBefore(added, _heap[parent]))
            {
                break;
            }

            _heap[at] = _heap[parent];
            at = parent;
        }

        _heap[at] = added;
    }

    public Event Take()
    {
        var first = _heap[0];
        var moved = _heap[--_count];
        var at = 0;
        while ((2 * at) + 1 < _count)
        {
            var child = (2 * at) + 1;
            child += child + 1 < _count && IsBefore(_heap[child + 1], _heap[child]) ? 1 : 0;
            if (!IsBefore(_heap[child], moved))
            {
                break;
            }

            _heap[at] = _heap[child];
            at = child;
        }

        _heap[at] = moved;
        return first;
    }

    private static bool IsBefore(in Event a, in Event b) => a.Time < b.Time || (a.Time == b.Time && a.Order < b.Order);
}
