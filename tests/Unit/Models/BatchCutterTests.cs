using Pipeline.GpuWorker.Models;
using Xunit;

namespace Pipeline.Tests.Unit.Models;

public sealed class BatchCutterTests
{
    [Fact]
    public void Puts_tasks_of_like_length_together()
    {
        var batches = Cut([9, 1, 8, 2], new BatchLimits(RowsMax: 2, PaddedUnitsMax: 100));

        Assert.Equal(
            [
                [1, 3],
                [2, 0],
            ],
            batches.Select(batch => batch.Tasks)
        );
        Assert.Equal([(3, 4), (17, 18)], batches.Select(batch => (batch.Units, batch.PaddedUnits)));
    }

    [Fact]
    public void Runs_a_task_beyond_the_budget_alone()
    {
        var batches = Cut([5, 500, 5], new BatchLimits(RowsMax: 10, PaddedUnitsMax: 100));

        Assert.Equal(
            [
                [0, 2],
                [1],
            ],
            batches.Select(batch => batch.Tasks)
        );
    }

    [Fact]
    public void Keeps_shapes_apart()
    {
        var tasks = new[] { Task(4, key: 7), Task(4, key: -3), Task(4, key: 7) };

        var batches = BatchCutter.Cut(tasks, new BatchLimits(10, 1000));

        Assert.Equal(
            [
                [1],
                [0, 2],
            ],
            batches.Select(batch => batch.Tasks)
        );
    }

    [Fact]
    public void Counts_the_rows_that_a_fixed_batch_runs_anyway()
    {
        var batches = Cut([3, 3, 3, 3, 3], new BatchLimits(RowsMax: 256, PaddedUnitsMax: 1, FixedRows: 4));

        // Two batches of four rows each, whichever of them is full.
        Assert.Equal(2, batches.Count);
        Assert.All(batches, batch => Assert.Equal(12, batch.PaddedUnits));
    }

    [Theory]
    [InlineData(0, 3)] // every length alone: nothing is padded
    [InlineData(50, 2)] // a batch costs as much as 50 units: worth padding 10 to 11, not to 100
    [InlineData(1e12, 1)] // as few batches as can be
    public void Pads_as_far_as_a_batch_saved_is_worth_it(double batchCostUnits, int batches)
    {
        var limits = new BatchLimits(RowsMax: 100, PaddedUnitsMax: 100_000, BatchCostUnits: batchCostUnits);

        Assert.Equal(batches, Cut([10, 10, 11, 11, 100], limits).Count);
    }

    [Fact]
    public void Cuts_nothing_into_nothing() => Assert.Empty(Cut([], new BatchLimits(1, 1)));

    [Theory]
    [InlineData(0, 1, 0, 0)]
    [InlineData(1, 0, 0, 0)]
    [InlineData(1, 1, -1, 0)]
    [InlineData(1, 1, 0, -1)]
    public void Refuses_limits_out_of_range(int rowsMax, long paddedUnitsMax, int fixedRows, double batchCostUnits) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Cut([1], new BatchLimits(rowsMax, paddedUnitsMax, fixedRows, batchCostUnits)));

    [Fact]
    public void Holds_its_promises_whatever_comes()
    {
        var random = new Random(20261121);
        for (var round = 0; round < 300; round++)
        {
            PreparedTask[] tasks = [.. Enumerable.Range(0, random.Next(60)).Select(_ => Task(random.Next(1, 40), random.Next(3)))];
            var limits = new BatchLimits(
                random.Next(1, 12),
                random.Next(1, 200),
                random.Next(4) == 0 ? random.Next(1, 6) : 0,
                random.Next(3) == 0 ? random.Next(100) : 1e12
            );

            var batches = BatchCutter.Cut(tasks, limits);

            Assert.Equal(Enumerable.Range(0, tasks.Length), batches.SelectMany(batch => batch.Tasks).Order());
            Assert.All(batches, batch => AssertWithin(limits, batch, tasks));
            Assert.Equal(Show(batches), Show(BatchCutter.Cut(tasks, limits)));
            Assert.Equal(LeastCost(tasks, limits), Cost(batches, limits), tolerance: 1e-3);
        }
    }

    private static void AssertWithin(BatchLimits limits, CutBatch batch, PreparedTask[] tasks)
    {
        var members = batch.Tasks;
        var longest = members.Max(i => tasks[i].Units);
        Assert.NotEmpty(members);
        Assert.Single(members.Select(i => tasks[i].ShapeKey).Distinct());
        Assert.True(members.Length <= (limits.FixedRows > 0 ? limits.FixedRows : limits.RowsMax));
        Assert.True(members.Length == 1 || limits.FixedRows > 0 || members.Length * longest <= limits.PaddedUnitsMax);
        Assert.Equal(members.Sum(i => (long)tasks[i].Units), batch.Units);
        Assert.Equal((limits.FixedRows > 0 ? limits.FixedRows : members.Length) * (long)longest, batch.PaddedUnits);
    }

    /// <summary>The least that any cutting costs: every batch of neighbours by length is tried.</summary>
    private static double LeastCost(PreparedTask[] tasks, BatchLimits limits)
    {
        var total = 0.0;
        foreach (var group in tasks.GroupBy(task => task.ShapeKey))
        {
            long[] units = [.. group.Select(task => (long)task.Units).Order()];
            var least = new double[units.Length + 1];
            for (var end = 1; end <= units.Length; end++)
            {
                least[end] = double.PositiveInfinity;
                for (var start = end - 1; start >= 0 && Fits(end - start, units[end - 1]); start--)
                {
                    var rows = limits.FixedRows > 0 ? limits.FixedRows : end - start;
                    least[end] = Math.Min(least[end], least[start] + limits.BatchCostUnits + (rows * units[end - 1]));
                }
            }
            total += least[^1];
        }
        return total;

        bool Fits(int rows, long longest) =>
            limits.FixedRows > 0
                ? rows <= limits.FixedRows
                : rows == 1 || (rows <= limits.RowsMax && rows * longest <= limits.PaddedUnitsMax);
    }

    private static double Cost(IReadOnlyList<CutBatch> batches, BatchLimits limits) =>
        batches.Sum(batch => limits.BatchCostUnits + batch.PaddedUnits);

    private static string Show(IReadOnlyList<CutBatch> batches) =>
        string.Join(" | ", batches.Select(batch => string.Join(",", batch.Tasks)));

    private static IReadOnlyList<CutBatch> Cut(int[] units, BatchLimits limits) =>
        BatchCutter.Cut([.. units.Select(unit => Task(unit))], limits);

    private static SizedTask Task(int units, long key = 0) => new() { Units = units, ShapeKey = key };

    private sealed class SizedTask : PreparedTask;
}
