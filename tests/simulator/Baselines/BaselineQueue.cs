using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;

namespace Pipeline.Simulator.Baselines;

/// <summary>A chunk as a baseline has it: what of it waits, and what of it is sent. Times are UTC ticks.</summary>
/// <param name="due">When its tasks are due, by class target or deadline.</param>
/// <param name="arrival">Its number in order of arrival.</param>
internal sealed class BaselineChunk(in ChunkHeader header, long due, long arrival)
{
    private TaskRanges _rest = Whole(header.Tasks);

    public ChunkKey Key { get; } = header.Key;
    public ModelRef Model { get; } = header.Model;
    public LatencyClass Class { get; } = header.Class;
    public long Due { get; } = due;
    public long Deadline { get; } = header.Deadline.UtcTicks;
    public long QueuedAt { get; } = header.QueuedAt.UtcTicks;

    /// <summary>Units of one of its tasks, as estimated at the door.</summary>
    public double UnitsPerTask { get; } = (double)header.Units / Math.Max(1, header.Tasks);
    public long Arrival { get; } = arrival;

    /// <summary>Tasks that wait.</summary>
    public int Waiting { get; private set; } = header.Tasks;

    /// <summary>The queue it stands in while tasks of it wait; null otherwise.</summary>
    public BaselineQueue? Queue { get; set; }

    /// <summary>Tasks that are sent and not ended.</summary>
    public int Sent { get; set; }

    /// <summary>Set when it is given up: its rest ends as soon as nothing of it runs.</summary>
    public (TaskOutcome Outcome, FailureKind Kind, string Message)? GivenUp { get; set; }

    public TaskRange Take(int tasksMax)
    {
        var range = _rest.Take(tasksMax);
        Waiting -= range.Count;
        return range;
    }

    public void Return(TaskRange range)
    {
        _rest.Add(range);
        Waiting = _rest.Count;
    }

    private static TaskRanges Whole(int tasks)
    {
        var ranges = new TaskRanges();
        ranges.Add(new TaskRange(0, tasks));
        return ranges;
    }
}

/// <summary>What a queue is ordered by; arrival settles what is equal.</summary>
internal enum QueueOrder
{
    Due,
    Arrival,
}

/// <summary>
/// Waiting chunks of one model in a total order. Work comes nearly in order and leaves mostly from the head, so it is a sorted array with
/// a moving head: both take constant time then, and any place can be looked at.
/// </summary>
internal sealed class BaselineQueue(QueueOrder order)
{
    private const int GapMax = 1024;

    private readonly List<BaselineChunk?> _chunks = [];
    private int _head;

    /// <summary>Chunks that wait.</summary>
    public int Count => _chunks.Count - _head;

    /// <summary>Tasks that wait.</summary>
    public int Tasks { get; private set; }

    public bool IsEmpty => Count == 0;

    /// <summary>The chunk at a place, 0 being the head.</summary>
    public BaselineChunk this[int place] => _chunks[_head + place]!;

    public BaselineChunk Head => this[0];

    public BaselineChunk Last => this[Count - 1];

    /// <summary>When its first is due; <see cref="long.MaxValue"/> when nothing waits. Holds for queues in that order.</summary>
    public long Due => IsEmpty ? long.MaxValue : Head.Due;

    /// <summary>When its first was queued; <see cref="long.MaxValue"/> when nothing waits.</summary>
    public long QueuedAt => IsEmpty ? long.MaxValue : Head.QueuedAt;

    public void Add(BaselineChunk chunk)
    {
        chunk.Queue = this;
        Tasks += chunk.Waiting;
        if (IsEmpty || Compare(_chunks[^1]!, chunk) < 0)
        {
            _chunks.Add(chunk);
            return;
        }

        var place = PlaceOf(chunk);
        if (place == 0 && _head > 0)
        {
            _chunks[--_head] = chunk;
        }
        else
        {
            _chunks.Insert(_head + place, chunk);
        }
    }

    /// <summary>Puts tasks back that were taken.</summary>
    public void Return(BaselineChunk chunk, TaskRange range)
    {
        var waited = chunk.Waiting;
        chunk.Return(range);
        if (waited == 0)
        {
            Add(chunk);
        }
        else
        {
            Tasks += chunk.Waiting - waited;
        }
    }

    /// <summary>Takes tasks of the chunk at a place; the chunk leaves when nothing of it waits any more.</summary>
    public TaskRange TakeAt(int place, int tasksMax)
    {
        var chunk = this[place];
        var range = chunk.Take(tasksMax);
        Tasks -= range.Count;
        if (chunk.Waiting == 0)
        {
            Leave(place);
        }

        return range;
    }

    /// <summary>Takes the chunk out, whatever of it waits.</summary>
    public void Remove(BaselineChunk chunk)
    {
        if (chunk.Queue == this)
        {
            Tasks -= chunk.Waiting;
            Leave(PlaceOf(chunk));
        }
    }

    private void Leave(int place)
    {
        this[place].Queue = null;
        if (place > 0)
        {
            _chunks.RemoveAt(_head + place);
            return;
        }

        _chunks[_head++] = null;
        if (_head == _chunks.Count || (_head > GapMax && _head > _chunks.Count / 2))
        {
            _chunks.RemoveRange(0, _head);
            _head = 0;
        }
    }

    /// <summary>The first place whose chunk does not come before this one.</summary>
    private int PlaceOf(BaselineChunk chunk)
    {
        var (low, high) = (0, Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = Compare(this[middle], chunk) < 0 ? (middle + 1, high) : (low, middle);
        }

        return low;
    }

    private int Compare(BaselineChunk a, BaselineChunk b) =>
        order == QueueOrder.Due && a.Due.CompareTo(b.Due) is var due and not 0 ? due : a.Arrival.CompareTo(b.Arrival);
}
