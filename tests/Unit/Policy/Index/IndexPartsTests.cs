using Pipeline.Scheduler.Policy.Index;
using Xunit;

namespace Pipeline.Tests.Unit.Policy.Index;

public class IndexPartsTests
{
    [Fact]
    public void A_slab_gives_numbers_out_again_and_its_records_stay_where_they_are()
    {
        var slab = new Slab<long>();
        var first = slab.Add();
        ref var record = ref slab[first];
        record = 7;
        for (var i = 0; i < 100_000; i++)
        {
            slab[slab.Add()] = i;
        }

        slab.Free(500);

        Assert.Equal(1, first);
        Assert.True(System.Runtime.CompilerServices.Unsafe.AreSame(ref record, ref slab[first]));
        Assert.Equal(100_000, slab.Count);
        Assert.Equal(500, slab.Add());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_heap_keeps_the_least_first_whatever_moves_and_leaves(int seed)
    {
        var random = new Random(seed);
        var records = new Slab<Keyed>();
        var heap = new IntHeap<ByKey>(new ByKey(records));
        var all = new List<int>();
        for (var step = 0; step < 20_000; step++)
        {
            if (all.Count == 0 || random.Next(5) < 2)
            {
                var id = records.Add();
                records[id] = new Keyed { Key = random.Next(1000) };
                all.Add(id);
                heap.Add(id);
            }
            else if (random.Next(3) == 0)
            {
                var at = random.Next(all.Count);
                heap.Remove(all[at]);
                Assert.False(heap.Contains(all[at]));
                records.Free(all[at]);
                all.RemoveAt(at);
            }
            else
            {
                var id = all[random.Next(all.Count)];
                records[id].Key = random.Next(1000);
                heap.Move(id);
            }

            Assert.Equal(all.Count, heap.Count);
        }

        var walked = Ordered.Walk(heap, id => (records[id].Key, id)).ToList();
        Assert.Equal(all.OrderBy(id => (records[id].Key, id)), walked);
        foreach (var id in walked)
        {
            Assert.Equal(id, heap.Min);
            heap.Remove(id);
        }

        Assert.Equal(0, heap.Min);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_key_index_finds_what_is_in_it_and_nothing_else(int seed)
    {
        var random = new Random(seed);
        var records = new Slab<Keyed>();
        var index = new KeyIndex<long, Keys>(new Keys(records));
        var known = new Dictionary<long, int>();
        for (var step = 0; step < 50_000; step++)
        {
            var key = random.Next(20_000);
            Assert.Equal(known.GetValueOrDefault(key), index.Find(key));
            if (!known.TryGetValue(key, out var id))
            {
                id = records.Add();
                records[id] = new Keyed { Key = key };
                index.Add(id);
                known.Add(key, id);
            }
            else if (random.Next(2) == 0)
            {
                index.Remove(id);
                records.Free(id);
                known.Remove(key);
            }

            Assert.Equal(known.Count, index.Count);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_line_of_chunks_comes_out_in_order_of_number(int seed)
    {
        var random = new Random(seed);
        var chunks = new Slab<ChunkRecord>();
        var jobs = new Slab<JobRecord>();
        var job = jobs.Add();
        var numbers = new SortedSet<int>();
        for (var step = 0; step < 5000; step++)
        {
            if (random.Next(2) == 0)
            {
                var no = random.Next(1000);
                if (numbers.Add(no))
                {
                    var id = chunks.Add();
                    chunks[id] = new ChunkRecord { No = no };
                    ChunkLine.Add(chunks, ref jobs[job], id);
                }
            }
            else if (ChunkLine.Take(chunks, ref jobs[job]) is var id and not 0)
            {
                Assert.Equal(numbers.Min, chunks[id].No);
                numbers.Remove(chunks[id].No);
                chunks.Free(id);
            }

            Assert.Equal(numbers.Count == 0, ChunkLine.IsEmpty(jobs[job]));
        }

        Assert.Equal(numbers, ChunkLine.All(chunks, job, jobs).Select(id => chunks[id].No));
    }

    [Fact]
    public void Records_are_as_small_as_they_are_said_to_be()
    {
        Assert.Equal(48, System.Runtime.CompilerServices.Unsafe.SizeOf<ChunkRecord>());
        Assert.Equal(128, System.Runtime.CompilerServices.Unsafe.SizeOf<JobRecord>());
    }

    private struct Keyed
    {
        public long Key;
        public int Place;
    }

    private readonly struct ByKey(Slab<Keyed> records) : IHeapOrder
    {
        public bool Less(int a, int b) => (records[a].Key, a).CompareTo((records[b].Key, b)) < 0;

        public ref int Place(int id) => ref records[id].Place;
    }

    /// <summary>A poor hash on purpose: many keys share a bucket.</summary>
    private readonly struct Keys(Slab<Keyed> records) : IKeys<long>
    {
        public uint Hash(in long key) => (uint)key / 3;

        public uint HashOf(int id) => Hash(records[id].Key);

        public bool Has(int id, in long key) => records[id].Key == key;
    }
}
