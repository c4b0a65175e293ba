using Pipeline.Contracts;
using Pipeline.GpuWorker.Stages;
using Xunit;

namespace Pipeline.Tests.Unit.Worker;

public sealed class UnwrittenTests : IDisposable
{
    private static readonly TimeSpan Ms = TimeSpan.FromMilliseconds(1);
    private readonly Clock _clock = new();
    private readonly Unwritten _unwritten;
    private readonly DeviceQueue _queue;

    public UnwrittenTests()
    {
        _unwritten = new Unwritten(100 * Ms, _clock);
        _queue = new DeviceQueue(batchesMax: 4, _unwritten, _clock);
    }

    public void Dispose() => _queue.Dispose();

    [Fact]
    public void There_is_room_for_what_can_be_written_in_time()
    {
        WritesAThousandIn(50 * Ms);
        _unwritten.ExpressCame();

        _unwritten.Add(1999);
        Assert.True(_unwritten.HasRoom);
        _unwritten.Add(1);
        Assert.False(_unwritten.HasRoom);

        _unwritten.Remove(1, took: null);
        Assert.True(_unwritten.HasRoom);
    }

    [Fact]
    public void Without_express_nothing_is_bounded()
    {
        WritesAThousandIn(50 * Ms);
        _unwritten.Add(1_000_000);
        Assert.True(_unwritten.HasRoom);

        _unwritten.ExpressCame();
        Assert.False(_unwritten.HasRoom);
        _clock.Pass(TimeSpan.FromSeconds(61));
        Assert.True(_unwritten.HasRoom);
    }

    [Fact]
    public void Small_commits_say_nothing_about_the_time_of_a_row()
    {
        _unwritten.ExpressCame();
        WritesAThousandIn(50 * Ms);
        _unwritten.Add(1);
        _unwritten.Remove(1, TimeSpan.FromSeconds(1));

        _unwritten.Add(1999);
        Assert.True(_unwritten.HasRoom);
    }

    [Fact]
    public void Small_commits_that_are_quicker_bring_a_slow_one_to_be_forgotten()
    {
        _unwritten.ExpressCame();
        WritesAThousandIn(TimeSpan.FromSeconds(20));
        _unwritten.Add(64);
        Assert.False(_unwritten.HasRoom);
        for (var i = 0; i < 30; i++)
        {
            _unwritten.Add(64);
            _unwritten.Remove(64, 5 * Ms);
        }

        Assert.True(_unwritten.HasRoom);
    }

    [Fact]
    public async Task While_writing_is_behind_the_device_takes_express_alone_and_bulk_when_it_has_caught_up()
    {
        WritesAThousandIn(50 * Ms);
        var (bulk, express) = (Work(Lane.Bulk), Work(Lane.Express));
        await _queue.AddAsync(bulk, TestContext.Current.CancellationToken);
        await _queue.AddAsync(express, TestContext.Current.CancellationToken);
        _unwritten.Add(2000);

        Assert.Same(express, _queue.Take(TestContext.Current.CancellationToken));
        var next = Task.Run(() => _queue.Take(TestContext.Current.CancellationToken), TestContext.Current.CancellationToken);
        var second = Work(Lane.Express);
        await _queue.AddAsync(second, TestContext.Current.CancellationToken);
        Assert.Same(second, await next);

        next = Task.Run(() => _queue.Take(TestContext.Current.CancellationToken), TestContext.Current.CancellationToken);
        _unwritten.Remove(1, took: null);
        Assert.Same(bulk, await next);
    }

    [Fact]
    public async Task Bulk_stands_back_for_express_that_has_reached_the_worker_until_it_is_packed()
    {
        var (bulk, express) = (Work(Lane.Bulk), Work(Lane.Express));
        await _queue.AddAsync(bulk, TestContext.Current.CancellationToken);
        _queue.ExpressComes();

        var next = Task.Run(() => _queue.Take(TestContext.Current.CancellationToken), TestContext.Current.CancellationToken);
        await _queue.AddAsync(express, TestContext.Current.CancellationToken);

        Assert.Same(express, await next);
        Assert.Same(bulk, _queue.Take(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Bulk_does_not_stand_back_for_long_for_express_that_does_not_come()
    {
        var bulk = Work(Lane.Bulk);
        await _queue.AddAsync(bulk, TestContext.Current.CancellationToken);
        _queue.ExpressComes();
        _clock.Pass(6 * Ms);

        Assert.Same(bulk, _queue.Take(TestContext.Current.CancellationToken));
    }

    private void WritesAThousandIn(TimeSpan time)
    {
        _unwritten.Add(1000);
        _unwritten.Remove(1000, time);
    }

    private static PackedWork Work(Lane lane) =>
        new(
            new DispatchRun(
                new Dispatch
                {
                    Id = DispatchId.New(DateTimeOffset.UnixEpoch),
                    Epoch = 1,
                    Worker = WorkerId.New(DateTimeOffset.UnixEpoch),
                    Lane = lane,
                    Model = new ModelRef("m", "1"),
                    Slices = [],
                    BatchTimeMax = TimeSpan.FromSeconds(1),
                    PaddedUnitsMax = 1,
                    Reason = "test",
                },
                DateTimeOffset.UnixEpoch
            ),
            Model: null!,
            Tasks: [],
            Batch: null!,
            Gate: null
        );
}
