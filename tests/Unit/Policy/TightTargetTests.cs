using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

/// <summary>
/// Express with a target of 25 ms on devices whose batches take 5 ms and 1 ms a unit: a bulk batch that is efficient by itself (25 ms) would
/// take all of it.
/// </summary>
public sealed class TightTargetTests
{
    private static readonly TimeSpan Target = TimeSpan.FromMilliseconds(25);

    private static readonly ModelProfile Slow = PolicyWorld.Profile with { AlphaNs = 5_000_000, BetaNs = 1_000_000 };

    [Fact]
    public void Bulk_travels_with_express_where_it_finds_no_efficient_place_alone()
    {
        var world = Busy(Target);
        world.Chunk(unitsPerTask: 1);
        world.Chunk(tasks: 1, unitsPerTask: 1, latencyClass: LatencyClass.Express);

        var sent = Assert.Single(world.Sends());

        Assert.Equal(Lane.Express, sent.Lane);
        Assert.Equal(2, sent.Slices.Count);
        // With four devices the next comes free in a quarter of a batch: 1.25 batches of 13, and a tenth to spare, fit 25 ms; fewer
        // while nobody knows how much they scatter.
        Assert.InRange(sent.Slices[1].Count, 6, 13 - 1);
    }

    [Fact]
    public void Tasks_longer_than_the_express_ones_do_not_join_them()
    {
        var world = Busy(Target);
        world.Chunk(unitsPerTask: 2);
        world.Chunk(tasks: 1, unitsPerTask: 1, latencyClass: LatencyClass.Express);

        Assert.Single(Assert.Single(world.Sends()).Slices);
    }

    [Fact]
    public void Bulk_goes_alone_where_the_target_leaves_room_for_it()
    {
        var world = Busy(TimeSpan.FromMilliseconds(250));
        world.Chunk(unitsPerTask: 1);
        world.Chunk(tasks: 1, unitsPerTask: 1, latencyClass: LatencyClass.Express);

        var sent = world.Sends();

        Assert.Single(sent[0].Slices);
        Assert.All(sent.Skip(1), s => Assert.Equal(Lane.Bulk, s.Lane));
        Assert.NotEmpty(sent.Skip(1));
    }

    [Fact]
    public void Bulk_that_waits_for_express_in_vain_is_promoted_before_it_is_too_late()
    {
        var world = Busy(Target);
        world.Chunk(tasks: 4, unitsPerTask: 1, deadline: TimeSpan.FromMilliseconds(500));

        var decisions = world.Plan();

        Assert.Single(decisions.OfType<PromoteJob>());
        Assert.Equal(4, Assert.Single(decisions.OfType<SendDispatch>()).Dispatch.Slices.Sum(s => s.Count));
    }

    [Fact]
    public void Express_that_two_pools_share_does_not_keep_bulk_out_of_either()
    {
        // 150 a second, mostly alone: 0.9 of one device's time, which is too much for one pool and well within two.
        var world = new PolicyWorld(Options(TimeSpan.FromMilliseconds(250))).Knows(profile: Slow);
        world.Worker();
        world.Beat(new WorkerId(new Guid("00000000-0000-7000-9000-00000000ffff")), pool: "other");
        Arrive(world, every: TimeSpan.FromMilliseconds(1.2), count: 800);
        world.Chunk(unitsPerTask: 1);

        Assert.Contains(world.Sends(), s => s.Lane == Lane.Bulk);
    }

    [Fact]
    public void Bulk_takes_a_device_beside_express_that_comes_evenly_and_not_beside_express_in_bunches()
    {
        // 0.85 of one device's time: a quarter more would not find room, a twentieth more does.
        Assert.Contains(BesideExpress(TimeSpan.FromMilliseconds(1.22), bunch: 1).Sends(), s => s.Lane == Lane.Bulk);
        Assert.DoesNotContain(BesideExpress(TimeSpan.FromMilliseconds(1.22), bunch: 300).Sends(), s => s.Lane == Lane.Bulk);
    }

    [Fact]
    public void Bulk_is_given_one_batch_at_a_time_where_express_takes_most_of_a_device()
    {
        // A quarter and 0.85 of one device's time; a third of the target is 83 ms, which 78 tasks take.
        var calm = BesideExpress(TimeSpan.FromMilliseconds(4));
        var busy = BesideExpress(TimeSpan.FromMilliseconds(1.22));

        Assert.Equal(512, calm.Sends().Sum(s => s.Slices.Sum(slice => slice.Count)));
        Assert.InRange(Assert.Single(busy.Sends()).Slices.Sum(slice => slice.Count), 1, 78);
        Assert.Empty(busy.Sends());
    }

    [Fact]
    public void A_dearer_pool_joins_where_express_leaves_the_cheaper_one_too_little_for_what_is_due()
    {
        // Express takes half of both; a minute's work due in 100 s would fit one device that had nothing else to do.
        var world = new PolicyWorld(Options(TimeSpan.FromMilliseconds(250))).Knows(profile: Slow);
        var dearer = new WorkerId(new Guid("00000000-0000-7000-9000-00000000ffff"));
        world.Worker();
        world.Beat(dearer, pool: "other");
        Arrive(world, every: TimeSpan.FromMilliseconds(1.04), count: 2000);
        for (var no = 0; no < 118; no++)
        {
            world.Chunk(unitsPerTask: 1, deadline: TimeSpan.FromSeconds(100));
        }

        var first = world.Sends();
        world.Wait(TimeSpan.FromMilliseconds(300));
        var then = world.Sends();

        Assert.DoesNotContain(first, s => s.Worker == dearer);
        Assert.Contains(then, s => s.Worker == dearer && s.Lane == Lane.Bulk);
    }

    [Fact]
    public void In_a_rush_that_lasts_a_batch_waits_until_it_is_worth_a_device()
    {
        // Twice what a device can serve: batches of thirty take 35 of 62 ms.
        var world = new PolicyWorld(Options(TimeSpan.FromMilliseconds(62))).Knows(profile: Slow);
        world.Worker();
        Arrive(world, TimeSpan.FromMilliseconds(0.5), count: 2000);
        world.Wait(TimeSpan.FromMilliseconds(0.5));
        world.Chunk(tasks: 1, unitsPerTask: 1, latencyClass: LatencyClass.Express);

        Assert.Empty(world.Sends());
        var wake = world.Planner.NextWake(world.Now);
        Assert.InRange((wake - world.Now).TotalMilliseconds, 1, 62 - 7);
        world.Wait(wake - world.Now);
        Assert.Single(world.Sends());
    }

    [Fact]
    public void What_calm_arrivals_leave_behind_is_sent_at_once()
    {
        var world = Busy(TimeSpan.FromMilliseconds(62));
        world.Chunk(tasks: 1, unitsPerTask: 1, latencyClass: LatencyClass.Express);

        Assert.Single(world.Sends());
    }

    /// <summary>Four devices, all free, that express has come to at 250 tasks a second.</summary>
    private static PolicyWorld Busy(TimeSpan target)
    {
        var world = new PolicyWorld(Options(target)).Knows(profile: Slow);
        for (var i = 0; i < 4; i++)
        {
            world.Worker();
        }

        Arrive(world, TimeSpan.FromMilliseconds(4), count: 600);
        return world;
    }

    private static void Arrive(PolicyWorld world, TimeSpan every, int count)
    {
        for (var i = 0; i < count; i++)
        {
            world.Chunk(tasks: 1, unitsPerTask: 1, latencyClass: LatencyClass.Express);
            foreach (var sent in world.Sends())
            {
                world.Finish(sent);
            }

            world.Wait(every);
        }
    }

    /// <summary>One device that has served express for a while, evenly or in bunches, and a chunk of bulk that has come just now.</summary>
    private static PolicyWorld BesideExpress(TimeSpan every, int bunch = 1)
    {
        var world = new PolicyWorld(Options(TimeSpan.FromMilliseconds(250))).Knows(profile: Slow);
        world.Worker();
        for (var i = 0; i < 4000; i += bunch)
        {
            for (var j = 0; j < bunch; j++)
            {
                world.Chunk(tasks: 1, unitsPerTask: 1, latencyClass: LatencyClass.Express);
            }

            for (var sent = world.Sends(); sent.Count > 0; sent = world.Sends())
            {
                sent.ToList().ForEach(s => world.Finish(s, SliceOutcome.Done, Batch(s.Slices.Count)));
            }

            world.Wait(bunch * every);
        }

        world.Chunk(unitsPerTask: 1);
        return world;

        static BatchFact Batch(int tasks) => new(tasks, tasks, tasks, (5 + tasks) * 1_000_000L);
    }

    private static PolicyOptions Options(TimeSpan target)
    {
        var options = new PolicyOptions { ExpressLead = TimeSpan.Zero, WorkerLostAfter = TimeSpan.FromMinutes(1) };
        var classes = new Dictionary<LatencyClass, LatencyClassOptions>(options.Classes);
        classes[LatencyClass.Express] = classes[LatencyClass.Express] with { Target = target };
        return options with { Classes = classes };
    }
}
