using System.Text;
using Pipeline.Contracts;
using Pipeline.Ingest;
using Pipeline.Ingest.Express;
using Pipeline.Ingest.Tasks;
using Xunit;
using static Pipeline.Tests.Support.Models.Manifests;

namespace Pipeline.Tests.Unit.Ingest;

public sealed class ExpressTasksTests
{
    [Fact]
    public void More_inputs_than_a_chunk_holds_make_more_chunks()
    {
        var tasks = Tasks(new IngestOptions());
        for (var i = 0; i < 2048; i++)
        {
            Assert.True(tasks.TryAddStored($"{i}", Encoding.ASCII.GetBytes($"{i:0000}"), units: 4));
        }

        var chunks = tasks.Finish();
        Assert.Equal((2048, 4 * 2048), (tasks.Count, tasks.Units));
        Assert.Equal([0, 1, 2, 3], chunks.Select(c => c.Header.No));
        Assert.Equal([0, 512, 1024, 1536], chunks.Select(c => c.Header.FirstSeq));
        Assert.All(chunks, c => Assert.Equal((512, 4 * 512, 4), (c.Header.Tasks, c.Header.Units, c.Header.UnitsMax)));
        using var last = ChunkPayload.Read(chunks[3].Payload);
        Assert.Equal("2047"u8, last.CustomId(511).Span);
    }

    [Fact]
    public void An_input_that_came_before_is_a_copy_also_in_a_later_chunk()
    {
        var tasks = Tasks(new IngestOptions());
        for (var i = 0; i < 600; i++)
        {
            Assert.True(tasks.TryAddStored($"{i}", Encoding.ASCII.GetBytes($"{i % 512:0000}"), units: 4));
        }

        var chunks = tasks.Finish();
        Assert.Equal((4 * 600, 4 * 512), (tasks.Units, tasks.Size.Units));
        Assert.Equal([4 * 512, 1], chunks.Select(c => c.Header.Units));
        using var last = ChunkPayload.Read(chunks[1].Payload);
        Assert.Equal(Enumerable.Range(0, 88), Enumerable.Range(0, 88).Select(i => last.CopyOf(i)!.Value));
    }

    [Fact]
    public void Long_inputs_make_more_chunks_up_to_the_bytes_of_a_request()
    {
        var tasks = Tasks(new IngestOptions { ExpressBodyBytesMax = 2_000_000 });
        var text = new byte[600_000];

        Assert.True(tasks.TryAddStored("0", text, 1));
        Assert.True(tasks.TryAddStored("1", text, 1));
        Assert.True(tasks.TryAddStored("2", text, 1));
        Assert.False(tasks.TryAddStored("3", text, 1));
        Assert.Equal([1, 1, 1], tasks.Finish().Select(c => c.Header.Tasks));
    }

    private static ExpressTasks Tasks(IngestOptions options) =>
        new(
            Describe(
                ModelKind.Text,
                new() { ["bytes"] = Along(0) },
                new() { ["probabilities"] = Along(0) },
                new TokenizerSpec { Type = TokenizerType.Bytes, MaxLength = 64 },
                new ResultSpec(),
                new LimitSpec(),
                "texts"
            ),
            options,
            new Mistakes(1)
        );
}
