using Pipeline.Contracts;
using Pipeline.GpuWorker.Stages;
using Xunit;

namespace Pipeline.Tests.Unit.Worker;

public sealed class DispatchRunTests
{
    private readonly DispatchRun _run = new(
        new Dispatch
        {
            Id = DispatchId.New(DateTimeOffset.UnixEpoch),
            Epoch = 1,
            Worker = WorkerId.New(DateTimeOffset.UnixEpoch),
            Lane = Lane.Bulk,
            Model = new ModelRef("m", "1"),
            Slices = [new Slice(default, 0, 0, 2), new Slice(default, 1, 0, 1)],
            BatchTimeMax = TimeSpan.FromSeconds(1),
            PaddedUnitsMax = 1,
            Reason = "test",
        },
        DateTimeOffset.UnixEpoch
    );

    [Fact]
    public async Task Dropped_before_it_was_fetched_it_gives_back_all_slices()
    {
        _run.Drop();

        Assert.All((await _run.Finished)!.Slices, s => Assert.Equal(SliceOutcome.HandedBack, s.Outcome));
        Assert.False(_run.TryBegin());
    }

    [Fact]
    public void What_has_begun_is_not_dropped()
    {
        Assert.True(_run.TryBegin());

        _run.Drop();

        Assert.False(_run.Finished.IsCompleted);
    }

    [Fact]
    public async Task A_slice_is_done_with_its_last_task()
    {
        _run.Slices = [.. _run.Dispatch.Slices.Select(s => new SliceRun(s) { Open = s.Count })];
        _run.Tasks = [new(0, 0, "a", null), new(0, 1, "b", null), new(1, 2, "c", null)];

        Assert.False(_run.Committed([0, 2], new BatchFact(2, 2, 2, 1)));
        _run.Finish();

        var report = (await _run.Finished)!;
        Assert.Equal([SliceOutcome.HandedBack, SliceOutcome.Done], report.Slices.Select(s => s.Outcome));
        Assert.Single(report.Batches);
    }
}
