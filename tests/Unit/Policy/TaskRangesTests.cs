using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class TaskRangesTests
{
    [Fact]
    public void Taking_from_the_front_leaves_the_rest()
    {
        var ranges = new TaskRanges();
        ranges.Add(new TaskRange(0, 10));

        Assert.Equal(new TaskRange(0, 4), ranges.Take(4));
        Assert.Equal(new TaskRange(4, 6), ranges.Take(100));
        Assert.True(ranges.IsEmpty);
    }

    [Fact]
    public void Ranges_that_touch_or_overlap_become_one()
    {
        var ranges = new TaskRanges();
        ranges.Add(new TaskRange(10, 5));
        ranges.Add(new TaskRange(0, 5));
        ranges.Add(new TaskRange(5, 5));
        ranges.Add(new TaskRange(3, 4));

        Assert.Equal([new TaskRange(0, 15)], ranges.ToList());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Behaves_as_a_set_of_numbers(int seed)
    {
        var random = new Random(seed);
        var ranges = new TaskRanges();
        var set = new SortedSet<int>();
        for (var step = 0; step < 500; step++)
        {
            var range = new TaskRange(random.Next(100), random.Next(20));
            if (random.Next(2) == 0)
            {
                ranges.Add(range);
                set.UnionWith(Enumerable.Range(range.First, range.Count));
            }
            else
            {
                ranges.Subtract(range);
                set.ExceptWith(Enumerable.Range(range.First, range.Count));
            }

            Assert.Equal(set, ranges.ToList().SelectMany(r => Enumerable.Range(r.First, r.Count)));
            Assert.Equal(set.Count, ranges.Count);
        }
    }
}
