using Pipeline.Contracts;

namespace Pipeline.Scheduler.Policy;

/// <summary>
/// A binary heap of workers by key, then by id: the order is total. Every entry knows its place, so that changing a key or leaving costs
/// the logarithm of the number of workers, and no memory.
/// </summary>
internal sealed class WorkerHeap
{
    private readonly List<WorkerNode> _nodes = [];

    /// <summary>The entry with the least key, or null.</summary>
    public WorkerNode? First => _nodes.Count > 0 ? _nodes[0] : null;

    public int Count => _nodes.Count;

    /// <summary>All entries; the sooner ones tend to stand further ahead.</summary>
    public ReadOnlySpan<WorkerNode> Nodes => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_nodes);

    /// <summary>Lets the node stand here with this key, wherever it stood before.</summary>
    public void Put(WorkerNode node, long key)
    {
        if (node.Heap != this)
        {
            node.Leave();
            (node.Heap, node.Place) = (this, _nodes.Count);
            _nodes.Add(node);
        }

        node.Key = key;
        Sink(node, Rise(node));
    }

    public void Remove(WorkerNode node)
    {
        var last = _nodes[^1];
        _nodes.RemoveAt(_nodes.Count - 1);
        if (last != node)
        {
            (_nodes[node.Place], last.Place) = (last, node.Place);
            Sink(last, Rise(last));
        }

        (node.Heap, node.Place) = (null, -1);
    }

    private int Rise(WorkerNode node)
    {
        var place = node.Place;
        while (place > 0 && _nodes[(place - 1) / 2] is var parent && Precedes(node, parent))
        {
            (_nodes[place], parent.Place) = (parent, place);
            place = (place - 1) / 2;
        }

        (_nodes[place], node.Place) = (node, place);
        return place;
    }

    private void Sink(WorkerNode node, int place)
    {
        while ((2 * place) + 1 < _nodes.Count)
        {
            var child = (2 * place) + 1;
            if (child + 1 < _nodes.Count && Precedes(_nodes[child + 1], _nodes[child]))
            {
                child++;
            }

            if (!Precedes(_nodes[child], node))
            {
                break;
            }

            (_nodes[place], _nodes[child].Place) = (_nodes[child], place);
            place = child;
        }

        (_nodes[place], node.Place) = (node, place);
    }

    private static bool Precedes(WorkerNode a, WorkerNode b) => a.Key < b.Key || (a.Key == b.Key && a.Worker.Id < b.Worker.Id);
}

/// <summary>A worker's entry in a heap; it stands in one at a time.</summary>
internal sealed class WorkerNode(FleetWorker worker)
{
    public FleetWorker Worker { get; } = worker;
    public long Key { get; set; }

    /// <summary>Where it stands, kept by the heap.</summary>
    public WorkerHeap? Heap { get; set; }
    public int Place { get; set; } = -1;

    public void Leave() => Heap?.Remove(this);
}
