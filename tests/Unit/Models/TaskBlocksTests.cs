using Pipeline.GpuWorker.Models.Packing;
using Xunit;

namespace Pipeline.Tests.Unit.Models;

public sealed class TaskBlocksTests
{
    [Fact]
    public void A_task_along_the_first_axis_is_one_run()
    {
        var blocks = new TaskBlocks([3, 4], [5, 3, 4], axis: 0, row: 2, new long[4]);

        Assert.True(blocks.OneRun);
        Assert.True(blocks.MoveNext());
        Assert.Equal((0, 24, 12), (blocks.InTask, blocks.InBatch, blocks.Length));
        Assert.False(blocks.MoveNext());
    }

    [Fact]
    public void A_scalar_task_is_one_element()
    {
        var blocks = new TaskBlocks([], [7], axis: 0, row: 6, []);

        Assert.True(blocks.MoveNext());
        Assert.Equal((0, 6, 1), (blocks.InTask, blocks.InBatch, blocks.Length));
        Assert.False(blocks.MoveNext());
    }

    [Fact]
    public void An_empty_task_has_no_runs()
    {
        var blocks = new TaskBlocks([0, 4], [2, 3, 4], axis: 0, row: 1, new long[4]);

        Assert.False(blocks.MoveNext());
    }

    [Fact]
    public void Every_element_finds_its_place_whatever_the_shape()
    {
        var random = new Random(7);
        for (var round = 0; round < 500; round++)
        {
            var rank = random.Next(1, 5);
            long[] task = [.. Enumerable.Range(0, rank).Select(_ => (long)random.Next(1, 4))];
            long[] padded = [.. task.Select(size => size + random.Next(2))];
            var axis = random.Next(rank + 1);
            var rows = random.Next(1, 4);
            var row = random.Next(rows);
            long[] batch = [.. padded[..axis], rows, .. padded[axis..]];

            var places = new Dictionary<int, int>();
            var blocks = new TaskBlocks(task, batch, axis, row, new long[2 * rank]);
            while (blocks.MoveNext())
                for (var i = 0; i < blocks.Length; i++)
                    places.Add(blocks.InTask + i, blocks.InBatch + i);

            Assert.Equal(Expected(task, batch, axis, row), places);
        }
    }

    /// <summary>Index arithmetic the slow way: unravel in the task's shape, insert the row, ravel in the batch's.</summary>
    private static Dictionary<int, int> Expected(long[] task, long[] batch, int axis, int row)
    {
        var places = new Dictionary<int, int>();
        for (var element = 0; element < task.Aggregate(1L, (product, size) => product * size); element++)
        {
            var rest = element;
            var indices = new List<long>();
            foreach (var size in task.Reverse())
            {
                indices.Insert(0, rest % size);
                rest /= (int)size;
            }
            indices.Insert(axis, row);
            places[element] = (int)indices.Zip(batch).Aggregate(0L, (place, next) => (place * next.Second) + next.First);
        }
        return places;
    }
}
