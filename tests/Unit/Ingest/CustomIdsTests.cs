using System.Text;
using Pipeline.Ingest.Tasks;
using Xunit;

namespace Pipeline.Tests.Unit.Ingest;

public sealed class CustomIdsTests
{
    [Fact]
    public void An_id_used_twice_is_found_with_the_place_of_its_first_use()
    {
        var ids = new CustomIds();
        Assert.True(ids.TryAdd("a"u8, 1, out _));
        Assert.True(ids.TryAdd("b"u8, 2, out _));
        Assert.False(ids.TryAdd("a"u8, 3, out var first));
        Assert.Equal(1, first);
        Assert.Equal(2, ids.Count);
    }

    [Fact]
    public void Hundreds_of_thousands_of_alike_ids_are_told_apart()
    {
        var ids = new CustomIds();
        const int Count = 300_000;
        for (var i = 0; i < Count; i++)
        {
            Assert.True(ids.TryAdd(Encoding.ASCII.GetBytes($"task-{i}"), i, out _));
        }

        for (var i = 0; i < Count; i += 1_000)
        {
            Assert.False(ids.TryAdd(Encoding.ASCII.GetBytes($"task-{i}"), Count, out var first));
            Assert.Equal(i, first);
        }

        Assert.Equal(Count, ids.Count);
    }

    [Fact]
    public void Ids_of_every_length_that_differ_in_one_bit_have_different_hashes()
    {
        var ids = new CustomIds();
        var seen = new HashSet<UInt128>();
        var count = 0;
        for (var length = 1; length <= 70; length++)
        {
            var id = new byte[length];
            seen.Add(ids.Hash(id));
            count++;
            for (var bit = 0; bit < length * 8; bit++)
            {
                id[bit / 8] ^= (byte)(1 << (bit % 8));
                seen.Add(ids.Hash(id));
                count++;
                id[bit / 8] = 0;
            }
        }

        Assert.Equal(count, seen.Count);
    }

    /// <summary>Each bit of the hash follows each bit of the id: turned over, it turns over half of the hash, in both halves of it.</summary>
    [Fact]
    public void One_bit_of_an_id_turns_over_half_of_the_hash()
    {
        var ids = new CustomIds();
        double turned = 0;
        var trials = 0;
        for (var i = 0; i < 200; i++)
        {
            var id = Encoding.ASCII.GetBytes($"id-{i:D20}");
            var before = ids.Hash(id);
            for (var bit = 0; bit < id.Length * 8; bit++, trials++)
            {
                id[bit / 8] ^= (byte)(1 << (bit % 8));
                turned += (int)UInt128.PopCount(before ^ ids.Hash(id));
                id[bit / 8] ^= (byte)(1 << (bit % 8));
            }
        }

        Assert.InRange(turned / trials, 62, 66);
    }
}
