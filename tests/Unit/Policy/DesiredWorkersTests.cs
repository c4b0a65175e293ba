using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class DesiredWorkersTests
{
    /// <summary>A chunk of two million units: two seconds and 8 ms of device time.</summary>
    private const int UnitsPerTask = 4000;

    [Fact]
    public void Every_due_time_counts_with_the_work_before_it()
    {
        var world = new PolicyWorld().Knows();
        for (var i = 0; i < 100; i++)
        {
            world.Chunk(unitsPerTask: UnitsPerTask, deadline: TimeSpan.FromSeconds(i < 50 ? 100 : 50));
        }

        // 50 chunks of 2.056 s by 50 s, twice that by 100 s: both say 2.06 workers.
        Assert.Equal(3, world.Planner.DesiredWorkers(world.Now));
        world.Chunk(tasks: 500, unitsPerTask: 200_000, deadline: TimeSpan.FromSeconds(100));
        Assert.Equal(4, world.Planner.DesiredWorkers(world.Now));
    }

    [Fact]
    public void A_change_is_told_with_its_reason_and_only_once()
    {
        var world = new PolicyWorld().Knows();
        Fill(world, chunks: 50);
        var wish = Assert.Single(Wishes(world, seconds: 3));
        Assert.Equal(("", 3, Reasons.WantDeadline), (wish.Pool, wish.Workers, wish.Why.Code));
        Assert.Equal(50 * 512, wish.Why.Tasks);
        Assert.InRange(wish.Why.Estimated.TotalSeconds, 102, 104);
        Assert.Empty(Wishes(world, seconds: 1));
    }

    [Fact]
    public void More_is_wished_for_at_once_and_less_after_it_has_sufficed_for_long()
    {
        var world = new PolicyWorld().Knows();
        var jobs = Fill(world, chunks: 50, deadline: TimeSpan.FromHours(1));
        Assert.Equal(1, Wishes(world, seconds: 2)[^1].Workers);
        jobs.AddRange(Fill(world, chunks: 50, deadline: TimeSpan.FromSeconds(50)));
        Assert.Equal(3, Wishes(world, seconds: 2)[^1].Workers);

        jobs.ForEach(j => world.Observe(new JobCancelled(j)));
        var small = Fill(world, chunks: 1, deadline: TimeSpan.FromHours(24));
        Assert.Empty(Wishes(world, seconds: 200));
        small.ForEach(j => world.Observe(new JobCancelled(j)));
        Assert.Empty(Wishes(world, seconds: 95));

        // A little work was there in the first minutes: it goes down to what that needed, and to nothing five minutes later.
        Assert.Equal(1, Assert.Single(Wishes(world, seconds: 10)).Workers);
        Assert.Equal([0], Wishes(world, seconds: 310).Select(w => w.Workers));
        Assert.Equal(Reasons.WantNone, world.Planner.WantedWorkers[0].Why.Code);
    }

    [Fact]
    public void The_cheapest_pool_is_filled_first_and_the_rest_spills()
    {
        var world = new PolicyWorld(new PolicyOptions { PoolWorkersMax = 2 }).Knows();
        Beat(world, "dear", 10);
        Beat(world, "cheap", 1);
        Fill(world, chunks: 80);

        // 80 chunks of 2.056 s in 50 s keep 3.3 workers busy.
        var wishes = Wishes(world, seconds: 2, beat: Beats);
        Assert.Equal(
            [("cheap", 2, Reasons.WantDeadline), ("dear", 2, Reasons.WantSpill)],
            wishes.Select(w => (w.Pool, w.Workers, w.Why.Code)).Order()
        );

        void Beats()
        {
            Beat(world, "dear", 10);
            Beat(world, "cheap", 1);
        }
    }

    [Fact]
    public void A_dear_pool_that_is_quick_is_cheaper_by_the_task()
    {
        var costs = new CostBook();
        costs.Register(PolicyWorld.Model, PolicyWorld.Profile, new LimitSpec());
        costs.Of("slow", PolicyWorld.Model);
        for (var i = 0; i < 200; i++)
        {
            costs.Observe(
                "quick",
                PolicyWorld.Model,
                [new BatchFact(1, 100_000, 100_000, 5_000_000), new BatchFact(1, 10_000, 10_000, 600_000)]
            );
        }

        var backlog = new Backlog(costs);
        backlog.Add(Header(tasks: 512, units: 500_000_000));
        var fleet = new Fleet();
        See(fleet, "quick", price: 4);
        See(fleet, "slow", price: 1);

        var wishes = new DesiredWorkers(costs, new ExpressLoad()).Needs(
            backlog,
            fleet.Pools,
            new PolicyOptions { PoolWorkersMax = 1 },
            PolicyWorld.Start.UtcTicks
        );
        Assert.Equal("quick", wishes[0].Pool);
    }

    [Fact]
    public void Prices_of_zero_and_below_are_no_error()
    {
        var world = new PolicyWorld().Knows();
        Beat(world, "free", 0);
        Beat(world, "strange", -7);
        Fill(world, chunks: 50);
        Assert.Equal(3, Wishes(world, seconds: 1).Sum(w => w.Workers));
    }

    [Fact]
    public void Express_is_wished_for_in_proportion_to_what_comes()
    {
        var (costs, load, now) = (new CostBook(), new ExpressLoad(), PolicyWorld.Start.UtcTicks);
        costs.Register(PolicyWorld.Model, PolicyWorld.Profile, new LimitSpec { BatchRowsMax = 4096, PaddedUnitsMax = 1_000_000 });
        var desired = new DesiredWorkers(costs, load);
        var fleet = new Fleet();
        See(fleet, "p", price: 1);
        for (var second = 0; second < 120; second++, now += TimeSpan.TicksPerSecond)
        {
            load.Observe("p", 3.3e9, now);
        }

        // 3.3 devices busy, and a quarter more.
        var wish = Assert.Single(desired.Needs(new Backlog(costs), fleet.Pools, new PolicyOptions(), now));
        Assert.Equal((5, Reasons.WantExpress), (wish.Workers, wish.Why.Code));

        // What comes tells of overload, which what is served cannot.
        for (var second = 0; second < 120; second++, now += TimeSpan.TicksPerSecond)
        {
            load.Observe("p", 3.3e9, now);
            load.Arrive(PolicyWorld.Model, 8_000_000, 800, now);
        }

        Assert.InRange(desired.Needs(new Backlog(costs), fleet.Pools, new PolicyOptions(), now)[0].Workers, 10, 11);
        now += 3600 * TimeSpan.TicksPerSecond;
        Assert.Equal(0, desired.Needs(new Backlog(costs), fleet.Pools, new PolicyOptions(), now)[0].Workers);
    }

    [Fact]
    public void A_rate_is_the_average_of_the_last_minute_whenever_it_is_asked()
    {
        var (often, seldom) = (new Rate(), new Rate());
        var now = PolicyWorld.Start.UtcTicks;
        for (var second = 0; second < 100; second++, now += TimeSpan.TicksPerSecond)
        {
            often.Add(second % 2 == 0 ? 10 : 0, now);
            seldom.Add(second % 2 == 0 ? 10 : 0, now);
            often.PerSecond(now);
        }

        Assert.InRange(often.PerSecond(now), 4.8, 5.2);
        Assert.Equal(seldom.PerSecond(now), often.PerSecond(now));
        often.Add(double.NaN, now);
        often.Add(-1, now - TimeSpan.TicksPerDay);
        Assert.Equal(seldom.PerSecond(now), often.PerSecond(now));
        Assert.InRange(often.PerSecond(now + (60 * TimeSpan.TicksPerSecond)), 1.5, 2.2);
        Assert.Equal(0, often.PerSecond(now + TimeSpan.TicksPerDay));
    }

    private static List<JobId> Fill(PolicyWorld world, int chunks, TimeSpan? deadline = null) =>
        [
            .. Enumerable
                .Range(0, chunks)
                .Select(_ => world.Chunk(unitsPerTask: UnitsPerTask, deadline: deadline ?? TimeSpan.FromSeconds(50)).Job),
        ];

    private static List<WantWorkers> Wishes(PolicyWorld world, int seconds, Action? beat = null)
    {
        var wishes = new List<WantWorkers>();
        for (var i = 0; i < seconds; i++)
        {
            world.Wait(TimeSpan.FromSeconds(1));
            beat?.Invoke();
            foreach (var decision in world.Plan())
            {
                if (decision is WantWorkers wish)
                {
                    wishes.Add(wish);
                }
                else if (decision is EndChunks end)
                {
                    world.Observe(new ChunksEnded(end.Chunks));
                }
            }
        }

        return wishes;
    }

    private static void Beat(PolicyWorld world, string pool, long price) => world.Observe(new WorkerSeen(Heartbeat(pool, price)));

    private static void See(Fleet fleet, string pool, long price)
    {
        var heartbeat = Heartbeat(pool, price);
        fleet.See(fleet.Admit(heartbeat.Worker, PolicyWorld.Start.UtcTicks)!, heartbeat, PolicyWorld.Start.UtcTicks);
    }

    /// <summary>Of a worker that is draining: the pool is known, and takes nothing of what waits.</summary>
    private static WorkerHeartbeat Heartbeat(string pool, long price) =>
        new()
        {
            Worker = new WorkerId(new Guid($"00000000-0000-7000-9000-{pool.Length:d12}")),
            Name = "w",
            Pool = pool,
            Provider = "cpu",
            Device = "test",
            PricePerHourPico = price,
            UptimeNs = 1,
            Models = [],
            MemoryBudgetBytes = 1,
            Epoch = 1,
            Held = [],
            Draining = true,
        };

    private static ChunkHeader Header(int tasks, long units) =>
        new(
            new JobId(new Guid("00000000-0000-7000-8000-000000000001")),
            0,
            PolicyWorld.Tenant,
            PolicyWorld.Model,
            LatencyClass.Bulk,
            PolicyWorld.Start + TimeSpan.FromSeconds(100),
            PolicyWorld.Start,
            tasks,
            units,
            (int)(units / tasks),
            tasks,
            0
        );
}
