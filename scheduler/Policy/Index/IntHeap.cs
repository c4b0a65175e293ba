namespace Pipeline.Scheduler.Policy.Index;

/// <summary>How numbered records stand in a heap. The order has to be total, or equal inputs could come out in different orders.</summary>
internal interface IHeapOrder
{
    bool Less(int a, int b);

    /// <summary>Where the record keeps its place in the heap, counted from 1; 0 while it is not in it.</summary>
    ref int Place(int id);
}

/// <summary>
/// A heap of four children a node over records that keep their own places, so any of them can be moved or removed in O(log n): what a
/// sorted tree does with ten times the memory.
/// </summary>
internal sealed class IntHeap<TOrder>(TOrder order)
    where TOrder : struct, IHeapOrder
{
    private const int Arity = 4;
    private readonly PagedInts _ids = new();

    public int Count { get; private set; }

    /// <summary>The first record, or 0.</summary>
    public int Min => Count > 0 ? _ids[0] : 0;

    /// <summary>The record at a node, for walks from node 0 to <see cref="Children"/>; 0 beyond the last.</summary>
    public int At(int node) => node < Count ? _ids[node] : 0;

    public static (int First, int End) Children(int node) => ((Arity * node) + 1, (Arity * node) + 1 + Arity);

    public bool Contains(int id) => order.Place(id) != 0;

    public void Add(int id)
    {
        _ids.Reserve(Count + 1);
        Put(Count++, id);
        Up(Count - 1);
    }

    /// <summary>The record's key has changed.</summary>
    public void Move(int id)
    {
        var node = order.Place(id) - 1;
        if (!Up(node))
        {
            Down(node);
        }
    }

    public void Remove(int id)
    {
        var node = order.Place(id) - 1;
        order.Place(id) = 0;
        var last = _ids[--Count];
        if (last == id)
        {
            return;
        }

        Put(node, last);
        Move(last);
    }

    private bool Up(int node)
    {
        var (id, start) = (_ids[node], node);
        while (node > 0 && order.Less(id, _ids[(node - 1) / Arity]))
        {
            Put(node, _ids[(node - 1) / Arity]);
            node = (node - 1) / Arity;
        }

        Put(node, id);
        return node != start;
    }

    private void Down(int node)
    {
        var id = _ids[node];
        while ((Arity * node) + 1 < Count)
        {
            var (best, end) = Children(node);
            end = Math.Min(end, Count);
            for (var child = best + 1; child < end; child++)
            {
                best = order.Less(_ids[child], _ids[best]) ? child : best;
            }

            if (!order.Less(_ids[best], id))
            {
                break;
            }

            Put(node, _ids[best]);
            node = best;
        }

        Put(node, id);
    }

    private void Put(int node, int id)
    {
        _ids[node] = id;
        order.Place(id) = node + 1;
    }
}
