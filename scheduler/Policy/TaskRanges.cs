namespace Pipeline.Scheduler.Policy;

/// <summary>Tasks <c>[First, First + Count)</c> of a chunk.</summary>
internal readonly record struct TaskRange(int First, int Count)
{
    public int End => First + Count;
}

/// <summary>
/// A set of tasks of a chunk, as sorted ranges that neither touch nor overlap. Almost always one range, which lives in the struct
/// itself; only a chunk that came back in pieces needs a list.
/// </summary>
internal struct TaskRanges
{
    private TaskRange _one;
    private List<TaskRange>? _many;

    /// <summary>The set of one range.</summary>
    public static TaskRanges Of(TaskRange range) => new() { _one = range.Count > 0 ? range : default };

    public readonly bool IsEmpty => Count == 0;

    /// <summary>Tasks in the set.</summary>
    public readonly int Count
    {
        get
        {
            if (_many is null)
            {
                return _one.Count;
            }

            var count = 0;
            foreach (var range in _many)
            {
                count += range.Count;
            }

            return count;
        }
    }

    /// <summary>The lowest range; empty when the set is.</summary>
    public readonly TaskRange First => _many is null ? _one : _many[0];

    /// <summary>Takes tasks off the lowest range, at most <paramref name="countMax"/>.</summary>
    public TaskRange Take(int countMax)
    {
        var first = First;
        var taken = first with { Count = Math.Min(first.Count, countMax) };
        Subtract(taken);
        return taken;
    }

    /// <summary>Puts tasks into the set; those that are in it already stay once.</summary>
    public void Add(TaskRange range)
    {
        if (range.Count <= 0)
        {
            return;
        }

        if (IsEmpty)
        {
            (_one, _many) = (range, null);
            return;
        }

        var ranges = ToList();
        ranges.Add(range);
        ranges.Sort(static (a, b) => a.First.CompareTo(b.First));
        var merged = new List<TaskRange>(ranges.Count) { ranges[0] };
        foreach (var next in ranges.Skip(1))
        {
            var last = merged[^1];
            if (next.First <= last.End)
            {
                merged[^1] = last with { Count = Math.Max(last.End, next.End) - last.First };
            }
            else
            {
                merged.Add(next);
            }
        }

        Set(merged);
    }

    /// <summary>Takes tasks out of the set; those that are not in it do not matter.</summary>
    public void Subtract(TaskRange range)
    {
        if (range.Count <= 0 || IsEmpty)
        {
            return;
        }

        var left = new List<TaskRange>();
        foreach (var have in ToList())
        {
            var before = Math.Min(have.End, range.First) - have.First;
            if (before > 0)
            {
                left.Add(have with { Count = before });
            }

            var from = Math.Max(have.First, range.End);
            if (from < have.End)
            {
                left.Add(new TaskRange(from, have.End - from));
            }
        }

        Set(left);
    }

    public void Clear() => (_one, _many) = (default, null);

    /// <summary>The ranges in order.</summary>
    public readonly List<TaskRange> ToList() =>
        _many is not null ? [.. _many]
        : _one.Count > 0 ? [_one]
        : [];

    private void Set(List<TaskRange> ranges)
    {
        _one = ranges.Count == 1 ? ranges[0] : default;
        _many = ranges.Count > 1 ? ranges : null;
    }
}
