using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Pipeline.Simulator;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public sealed class CostBookTests
{
    private static readonly ModelRef Model = new("m", "1");

    [Fact]
    public void Each_pool_learns_for_itself_and_the_last_one_to_learn_is_the_reference()
    {
        var book = new CostBook();
        book.Register(Model, PolicyWorld.Profile, new LimitSpec());
        book.Observe("slow", Model, [.. Enumerable.Repeat(new BatchFact(1, 1000, 1000, 4_000_000), 50)]);

        Assert.Equal(4_000_000, book.Of("slow", Model).BatchNs(1000), 100_000.0);
        Assert.Equal(2_000_000, book.Of("quick", Model).BatchNs(1000), 1.0);
        book.Observe("slow", Model, []);
        Assert.Same(book.Of("slow", Model), book.Reference(Model));
    }

    [Fact]
    public void Work_in_full_batches_takes_what_the_curve_says_of_them()
    {
        var device = Profiles.Find("resnet50-pyt-v100");
        var book = new CostBook();
        book.Register(Model, device.Measured("test"), new LimitSpec { BatchRowsMax = 32, PaddedUnitsMax = 1_000_000 });
        var cost = book.Of("default", Model);
        var pace = book.Pace(cost, Model, TimeSpan.FromMilliseconds(16));

        // 15.8 ms at 32, the line through all points says 18.8.
        Assert.Equal(32, pace.PaddedUnitsMax, 1.0);
        Assert.Equal(10 * device.Ns(32), pace.Ns(320, 320), device.Ns(32) / 10);
    }

    [Fact]
    public void Work_alone_takes_full_batches_and_one_of_what_is_left()
    {
        var device = Profiles.Find("resnet50-pyt-v100");
        var book = new CostBook();
        book.Register(Model, device.Measured("test"), new LimitSpec { BatchRowsMax = 64, PaddedUnitsMax = 64 });
        var pace = book.Pace(book.Of("default", Model), Model, TimeSpan.FromSeconds(1));

        Assert.Equal(device.Ns(5), pace.AloneNs(5, 5), 1000.0);
        Assert.Equal(device.Ns(64), pace.AloneNs(64, 64), 1000.0);
        Assert.Equal(2 * device.Ns(64) + device.Ns(16), pace.AloneNs(144, 144), 1000.0);
    }
}
