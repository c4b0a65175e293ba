namespace Pipeline.Scheduler.Policy.Index;

/// <summary>Walks over a heap in its order without changing it: O(log k) for the k-th record.</summary>
internal static class Ordered
{
    public static IEnumerable<int> Walk<TOrder>(IntHeap<TOrder> heap, Func<int, (long, long)> key)
        where TOrder : struct, IHeapOrder
    {
        var open = new PriorityQueue<int, (long, long)>();
        if (heap.Min is var root and not 0)
        {
            open.Enqueue(0, key(root));
        }

        while (open.TryDequeue(out var node, out _))
        {
            yield return heap.At(node);
            var (child, end) = IntHeap<TOrder>.Children(node);
            for (; child < end && heap.At(child) is var id and not 0; child++)
            {
                open.Enqueue(child, key(id));
            }
        }
    }
}
