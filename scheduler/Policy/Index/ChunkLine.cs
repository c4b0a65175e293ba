namespace Pipeline.Scheduler.Policy.Index;

/// <summary>
/// A job's standing chunks in order of their numbers, linked through their records. Chunks come, and come back, nearly always at an end
/// of the line; those that do not stand in a pairing heap beside it (Fredman et al., 1986), so that no order of arrival costs more
/// than the logarithm per chunk.
/// </summary>
internal static class ChunkLine
{
    public static bool IsEmpty(in JobRecord job) => (job.Head | job.Aside) == 0;

    public static void Add(Slab<ChunkRecord> chunks, ref JobRecord job, int id)
    {
        ref var chunk = ref chunks[id];
        (chunk.Next, chunk.Child) = (0, 0);
        if (job.Head == 0)
        {
            (job.Head, job.Tail) = (id, id);
        }
        else if (chunk.No > chunks[job.Tail].No)
        {
            chunks[job.Tail].Next = id;
            job.Tail = id;
        }
        else if (chunk.No < chunks[job.Head].No)
        {
            chunk.Next = job.Head;
            job.Head = id;
        }
        else
        {
            job.Aside = Meld(chunks, job.Aside, id);
        }
    }

    /// <summary>The chunk with the lowest number, or 0.</summary>
    public static int First(Slab<ChunkRecord> chunks, in JobRecord job) =>
        job.Aside != 0 && (job.Head == 0 || chunks[job.Aside].No < chunks[job.Head].No) ? job.Aside : job.Head;

    public static int Take(Slab<ChunkRecord> chunks, ref JobRecord job)
    {
        var id = First(chunks, job);
        if (id == 0)
        {
            return 0;
        }

        if (id == job.Aside)
        {
            job.Aside = MeldChildren(chunks, chunks[id].Child);
        }
        else
        {
            job.Head = chunks[id].Next;
            job.Tail = job.Head == 0 ? 0 : job.Tail;
        }

        (chunks[id].Next, chunks[id].Child) = (0, 0);
        return id;
    }

    /// <summary>All of them in order, without changing anything. The heap beside the line is sorted first; it is rarely there.</summary>
    public static IEnumerable<int> All(Slab<ChunkRecord> chunks, int job, Slab<JobRecord> jobs)
    {
        var aside = jobs[job].Aside == 0 ? [] : Sorted(chunks, jobs[job].Aside);
        var next = 0;
        for (var id = jobs[job].Head; id != 0; id = chunks[id].Next)
        {
            for (; next < aside.Count && chunks[aside[next]].No < chunks[id].No; next++)
            {
                yield return aside[next];
            }

            yield return id;
        }

        for (; next < aside.Count; next++)
        {
            yield return aside[next];
        }
    }

    private static List<int> Sorted(Slab<ChunkRecord> chunks, int root)
    {
        var all = new List<int> { root };
        for (var seen = 0; seen < all.Count; seen++)
        {
            for (var child = chunks[all[seen]].Child; child != 0; child = chunks[child].Next)
            {
                all.Add(child);
            }
        }

        all.Sort((a, b) => chunks[a].No.CompareTo(chunks[b].No) is var no and not 0 ? no : a.CompareTo(b));
        return all;
    }

    private static int Meld(Slab<ChunkRecord> chunks, int a, int b)
    {
        if (a == 0 || b == 0)
        {
            return a + b;
        }

        var (root, child) = chunks[b].No < chunks[a].No ? (b, a) : (a, b);
        chunks[child].Next = chunks[root].Child;
        chunks[root].Child = child;
        return root;
    }

    /// <summary>Melds siblings in pairs, then the pairs from the last to the first.</summary>
    private static int MeldChildren(Slab<ChunkRecord> chunks, int first)
    {
        var pairs = 0;
        while (first != 0)
        {
            var (a, b) = (first, chunks[first].Next);
            first = b == 0 ? 0 : chunks[b].Next;
            var pair = b == 0 ? a : Meld(chunks, Cut(chunks, a), Cut(chunks, b));
            chunks[pair].Next = pairs;
            pairs = pair;
        }

        var root = 0;
        while (pairs != 0)
        {
            var next = chunks[pairs].Next;
            root = Meld(chunks, root, Cut(chunks, pairs));
            pairs = next;
        }

        return root;
    }

    private static int Cut(Slab<ChunkRecord> chunks, int id)
    {
        chunks[id].Next = 0;
        return id;
    }
}
