using System.Text;
using Pipeline.Contracts;
using Xunit;

namespace Pipeline.Tests.Unit.Contracts;

public sealed class ChunkPayloadTests
{
    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 20)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void What_was_added_is_read_back(int seed)
    {
        var random = new Random(seed);
        var tasks = Tasks(random, random.Next(0, ChunkPayload.TasksMax + 1), compressible: seed % 2 == 0);
        var writer = new ChunkPayloadWriter();
        Array.ForEach(tasks, t => writer.Add(t.Id, t.Input, t.Units));

        Assert.Equal(tasks.Length, writer.Count);
        Assert.Equal(tasks.Sum(t => (long)t.Units), writer.Units);
        Assert.Equal(tasks.Select(t => t.Units).DefaultIfEmpty().Max(), writer.UnitsMax);

        using var payload = ChunkPayload.Read(writer.Finish());
        Assert.Equal(tasks.Length, payload.Count);
        for (var i = 0; i < tasks.Length; i++)
        {
            Assert.Equal(tasks[i].Id, payload.CustomId(i).ToArray());
            Assert.Equal(tasks[i].Input, payload.Input(i).ToArray());
            Assert.Equal(tasks[i].Units, payload.Units(i));
        }
    }

    [Fact]
    public void Copies_name_their_original_and_are_left_out_of_what_is_to_run()
    {
        var writer = new ChunkPayloadWriter();
        writer.Add("a"u8, "input"u8, 5);
        writer.Add("b"u8, "an older input"u8, 14, copyOf: 3);
        writer.Add("c"u8, "input"u8, 5, copyOf: 1000);

        Assert.Equal((3, 24L, 5L, 5), (writer.Count, writer.Units, writer.UnitsToRun, writer.UnitsMax));
        var packed = writer.Finish();
        using (var payload = ChunkPayload.Read(packed))
        {
            Assert.True(payload.HasCopies);
            Assert.Equal([null, 3, 1000], Enumerable.Range(0, 3).Select(payload.CopyOf));
            Assert.Equal("an older input", Encoding.UTF8.GetString(payload.Input(1).Span));
            Assert.Equal(14, payload.Units(1));
        }

        for (var length = 0; length < packed.Length; length++)
        {
            Assert.Throws<InvalidDataException>(() => ChunkPayload.Read(packed.AsSpan(0, length)));
        }

        // Of the next chunk nothing of this is left, and one of copies alone is still work of one unit.
        writer.Add("d"u8, "x"u8, 9, copyOf: 0);
        Assert.Equal((9L, 1L, 1), (writer.Units, writer.UnitsToRun, writer.UnitsMax));
        writer.Finish();
        writer.Add("e"u8, "x"u8, 9);
        using var next = ChunkPayload.Read(writer.Finish());
        Assert.False(next.HasCopies);
    }

    [Fact]
    public void A_writer_starts_anew_after_each_chunk()
    {
        var writer = new ChunkPayloadWriter();
        writer.Add("a"u8, "first"u8, 5);
        writer.Finish();
        writer.Add("b"u8, "second"u8, 6);

        Assert.Equal((1, 6L, 6), (writer.Count, writer.Units, writer.UnitsMax));
        using var payload = ChunkPayload.Read(writer.Finish());
        Assert.Equal("second", Encoding.UTF8.GetString(payload.Input(0).Span));
    }

    [Fact]
    public void Repeating_text_is_stored_small_and_noise_is_stored_as_it_is()
    {
        var text = new ChunkPayloadWriter();
        var noise = new ChunkPayloadWriter();
        var random = new byte[10_000];
        new Random(1).NextBytes(random);
        text.Add("a"u8, Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("the quick brown fox ", 500))), 1);
        noise.Add("a"u8, random, 1);

        Assert.InRange(text.Finish().Length, 1, 1000);
        Assert.InRange(noise.Finish().Length, random.Length, random.Length + 32);
    }

    [Fact]
    public void A_chunk_is_full_at_512_tasks()
    {
        var writer = new ChunkPayloadWriter();
        for (var i = 0; i < ChunkPayload.TasksMax; i++)
        {
            Assert.True(writer.Fits(1, 1));
            writer.Add("a"u8, "b"u8, 1);
        }

        Assert.False(writer.Fits(1, 1));
    }

    [Fact]
    public void A_chunk_is_full_at_one_mebibyte_but_an_empty_one_takes_any_one_task()
    {
        var writer = new ChunkPayloadWriter();
        Assert.True(writer.Fits(10, 4 * 1024 * 1024));

        writer.Add("a"u8, new byte[1024 * 1024 - 100], 1);
        Assert.True(writer.Fits(10, 40));
        Assert.False(writer.Fits(10, 100));
    }

    [Fact]
    public void A_payload_cut_anywhere_is_refused()
    {
        var packed = SmallChunk();

        for (var length = 0; length < packed.Length; length++)
        {
            Assert.Throws<InvalidDataException>(() => ChunkPayload.Read(packed.AsSpan(0, length)));
        }
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Corrupt_bytes_are_refused_or_read_as_tasks_but_never_break_the_reader(int seed)
    {
        var random = new Random(seed);
        var packed = SmallChunk();
        for (var i = 0; i < 200; i++)
        {
            var broken = packed.ToArray();
            for (var flips = random.Next(1, 4); flips > 0; flips--)
            {
                broken[random.Next(broken.Length)] ^= (byte)(1 << random.Next(8));
            }

            try
            {
                ChunkPayload.Read(broken).Dispose();
            }
            catch (InvalidDataException) { }
        }
    }

    [Fact]
    public void A_length_that_no_chunk_has_is_refused_before_memory_is_taken_for_it()
    {
        byte[] packed = [1, 1, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0, 0];

        Assert.Throws<InvalidDataException>(() => ChunkPayload.Read(packed));
    }

    [Fact]
    public void A_payload_that_was_given_back_is_not_read_again()
    {
        var payload = ChunkPayload.Read(SmallChunk());
        payload.Dispose();
        payload.Dispose();

        Assert.Throws<ObjectDisposedException>(() => payload.Input(0));
    }

    private static byte[] SmallChunk()
    {
        var writer = new ChunkPayloadWriter();
        for (var i = 0; i < 3; i++)
        {
            writer.Add(Encoding.UTF8.GetBytes($"task-{i}"), "some text, some text, some text, some text"u8, 42);
        }

        return writer.Finish();
    }

    private static (byte[] Id, byte[] Input, int Units)[] Tasks(Random random, int count, bool compressible)
    {
        var tasks = new (byte[], byte[], int)[count];
        for (var i = 0; i < count; i++)
        {
            var input = new byte[random.Next(0, 300)];
            if (!compressible)
            {
                random.NextBytes(input);
            }

            tasks[i] = (Encoding.UTF8.GetBytes($"id-{random.Next()}-é"), input, random.Next(1, int.MaxValue));
        }

        return tasks;
    }
}
