namespace Pipeline.Scheduler.Policy.Index;

/// <summary>
/// The jobs of a class queue by tenant. The tenant that is least far in virtual time comes next, and of its jobs the one that is due
/// first. A tenant that comes back starts where the queue is, so nobody saves up a share by being away.
/// </summary>
internal sealed class FairLines
{
    /// <summary>Lines that are kept though they are empty, before those that the queue has passed are forgotten.</summary>
    private const int IdleMin = 64;

    private readonly Slab<JobRecord> _jobs;
    private readonly DueOrder _order;
    private readonly Dictionary<int, int> _byTenant = [];
    private readonly List<TenantLine?> _lines = [null];
    private readonly Stack<int> _free = new();
    private readonly IntHeap<LinesByTime> _byTime;
    private readonly IntHeap<LinesByDue> _byDue;
    private int _sweepAt = IdleMin;

    /// <summary>The virtual time of what was taken last.</summary>
    private double _time;

    public FairLines(Slab<JobRecord> jobs)
    {
        _jobs = jobs;
        _order = new DueOrder(jobs);
        _byTime = new IntHeap<LinesByTime>(new LinesByTime(_lines, _order));
        _byDue = new IntHeap<LinesByDue>(new LinesByDue(_lines, _order));
    }

    /// <summary>Jobs in all lines.</summary>
    public int Count { get; private set; }

    /// <summary>The job that comes next, or 0.</summary>
    public int Next => _byTime.Min is var line and not 0 ? _lines[line]!.Jobs.Min : 0;

    /// <summary>The job that is due first, whoever's it is, or 0.</summary>
    public int FirstDue => _byDue.Min is var line and not 0 ? _lines[line]!.Jobs.Min : 0;

    public void Add(int job)
    {
        var number = LineOf(_jobs[job].Tenant);
        var line = _lines[number]!;
        if (line.Jobs.Count == 0)
        {
            line.VirtualTime = Math.Max(line.VirtualTime, _time);
            line.Jobs.Add(job);
            _byTime.Add(number);
            _byDue.Add(number);
        }
        else
        {
            line.Jobs.Add(job);
            Settle(number);
        }

        Count++;
    }

    /// <summary>The job's due time has changed.</summary>
    public void Move(int job)
    {
        var number = _byTenant[_jobs[job].Tenant];
        _lines[number]!.Jobs.Move(job);
        Settle(number);
    }

    public void Remove(int job)
    {
        var number = _byTenant[_jobs[job].Tenant];
        var line = _lines[number]!;
        if (line.Jobs.Count == 1)
        {
            // The lines are compared by their first jobs, so a line leaves while it still has one.
            _byTime.Remove(number);
            _byDue.Remove(number);
            line.Jobs.Remove(job);
        }
        else
        {
            line.Jobs.Remove(job);
            Settle(number);
        }

        Count--;
    }

    /// <summary>The tenant took units, or gave some back (negative); both over its weight.</summary>
    public void Charge(int tenant, double units)
    {
        var number = LineOf(tenant);
        var line = _lines[number]!;
        if (units > 0 && _byTime.Min == number)
        {
            _time = Math.Max(_time, line.VirtualTime);
        }

        line.VirtualTime = Math.Max(0, line.VirtualTime + units);
        if (line.PlaceByTime != 0)
        {
            _byTime.Move(number);
        }
    }

    /// <summary>Jobs in order of when they are due. A small heap of what may come next walks over the large ones.</summary>
    public IEnumerable<int> InOrder()
    {
        var open = new PriorityQueue<(int Line, int Node), (long Due, long Arrival)>();
        OpenLine(open, 0);
        while (open.TryDequeue(out var next, out _))
        {
            if (next.Line < 0)
            {
                // The first job of a line: the lines below it may come next, and its own second ones.
                var (first, end) = IntHeap<LinesByDue>.Children(-next.Line - 1);
                for (var node = first; node < end; node++)
                {
                    OpenLine(open, node);
                }
            }

            var number = next.Line < 0 ? _byDue.At(-next.Line - 1) : next.Line;
            var jobs = _lines[number]!.Jobs;
            yield return jobs.At(next.Node);
            var (child, last) = IntHeap<DueOrder>.Children(next.Node);
            for (; child < last && jobs.At(child) is var job and not 0; child++)
            {
                open.Enqueue((number, child), (_jobs[job].Due, _jobs[job].Arrival));
            }
        }
    }

    private void OpenLine(PriorityQueue<(int Line, int Node), (long Due, long Arrival)> open, int node)
    {
        if (_byDue.At(node) is var number and not 0)
        {
            ref var job = ref _jobs[_lines[number]!.Jobs.Min];
            open.Enqueue((-node - 1, 0), (job.Due, job.Arrival));
        }
    }

    private void Settle(int line)
    {
        _byTime.Move(line);
        _byDue.Move(line);
    }

    private int LineOf(int tenant)
    {
        if (_byTenant.TryGetValue(tenant, out var number))
        {
            return number;
        }

        if (_byTenant.Count >= _sweepAt)
        {
            ForgetIdle();
        }

        if (!_free.TryPop(out number))
        {
            number = _lines.Count;
            _lines.Add(null);
        }

        _lines[number] = new TenantLine(tenant, _order);
        _byTenant.Add(tenant, number);
        return number;
    }

    /// <summary>A tenant that waits for nothing, and that the queue has passed, would start at the queue's time anyway.</summary>
    private void ForgetIdle()
    {
        for (var number = 1; number < _lines.Count; number++)
        {
            if (_lines[number] is { Jobs.Count: 0 } line && line.VirtualTime <= _time)
            {
                _byTenant.Remove(line.Tenant);
                _lines[number] = null;
                _free.Push(number);
            }
        }

        _sweepAt = Math.Max(IdleMin, 2 * _byTenant.Count);
    }
}
