using Pipeline.Contracts;
using Pipeline.Scheduler.Policy;
using Xunit;

namespace Pipeline.Tests.Unit.Policy;

public class FleetTests
{
    private static readonly ModelRef A = new("a", "1.0.0");
    private static readonly ModelRef B = new("b", "1.0.0");
    private const long Ms = TimeSpan.TicksPerMillisecond;
    private static readonly TimeSpan LostAfter = TimeSpan.FromSeconds(3);
    private readonly Fleet _fleet = new();
    private long _now = PolicyWorld.Start.UtcTicks;
    private int _ids;

    [Fact]
    public void A_worker_that_has_the_model_and_nothing_to_do_is_first_and_ties_go_to_the_lower_id()
    {
        Worker(models: B);
        var low = Worker();
        Worker();
        Assert.Same(low, Soonest(Lane.Bulk));
        Assert.Same(low, Soonest(Lane.Express));
    }

    [Fact]
    public void The_worker_that_ends_first_is_the_soonest_free()
    {
        var (slow, quick) = (Worker(), Worker());
        Send(slow, Lane.Bulk, 500);
        Send(quick, Lane.Bulk, 200);
        Assert.Same(quick, Soonest(Lane.Bulk));

        Send(quick, Lane.Bulk, 400);
        Assert.Same(slow, Soonest(Lane.Bulk));
        Send(slow, Lane.Bulk, 1);
        Assert.Null(Soonest(Lane.Bulk));
    }

    [Fact]
    public void Each_change_of_a_lane_moves_its_worker()
    {
        var (first, second) = (Worker(), Worker());
        var flight = Send(first, Lane.Bulk, 500);
        Send(second, Lane.Bulk, 900);
        Assert.Same(first, Soonest(Lane.Bulk));

        _fleet.Remove(flight, _now);
        Assert.Same(first, Soonest(Lane.Bulk));
        Assert.Equal(1, _fleet.EmptyCount(Lane.Bulk, _now));

        _fleet.Refuse(first, Lane.Bulk, _now);
        Assert.Same(second, Soonest(Lane.Bulk));
        Assert.Equal(0, _fleet.EmptyCount(Lane.Bulk, _now));
        Assert.Same(first, Soonest(Lane.Express));

        Wait(ms: 250);
        Assert.Same(first, Soonest(Lane.Bulk));
    }

    [Fact]
    public void A_pause_tells_when_it_ends()
    {
        var worker = Worker();
        Assert.Equal(long.MaxValue, _fleet.NextOpening(_now));
        _fleet.Shun(worker, _now + (2000 * Ms), _now);
        Assert.Null(Soonest(Lane.Express));
        Assert.Equal(0, worker.Home!.Pool.Workers);
        Assert.Equal(_now + (2000 * Ms), _fleet.NextOpening(_now));
        Assert.Equal(_now + (2000 * Ms), worker.Home.Pool.NextExpressFreeAt(_now));

        Wait(ms: 2000);
        Assert.Same(worker, Soonest(Lane.Express));
        Assert.Equal(1, worker.Home.Pool.Workers);
        Assert.Equal(long.MaxValue, _fleet.NextOpening(_now));
    }

    [Fact]
    public void A_dispatch_that_takes_a_hundred_times_its_estimate_does_not_make_its_worker_look_free()
    {
        var (stuck, busy) = (Worker(), Worker());
        Send(stuck, Lane.Express, 10);
        Send(busy, Lane.Express, 1200);
        Wait(ms: 1000);

        Assert.Equal(0, stuck.Lane(Lane.Express).Ahead(_now));
        Assert.Same(busy, Soonest(Lane.Express));
        Assert.Null(stuck.Home!.Pool.FreeExpress(A, _now, lead: 100 * Ms));
        Assert.InRange(stuck.Home.Pool.NextExpressFreeAt(_now), _now + (150 * Ms), _now + (250 * Ms));

        Send(busy, Lane.Express, 1);
        Assert.Same(stuck, Soonest(Lane.Express));
        Send(stuck, Lane.Express, 1);
        Assert.Null(Soonest(Lane.Express));
    }

    [Fact]
    public void Express_goes_to_an_idle_device_then_to_where_a_batch_ends_first()
    {
        var (bulk, idle) = (Worker(), Worker());
        Send(bulk, Lane.Bulk, 1000, batch: 100);
        Assert.Same(idle, FreeExpress());
        Send(idle, Lane.Bulk, 1000, batch: 250);
        Assert.Same(bulk, FreeExpress());
        Assert.Equal(_now + (100 * Ms), bulk.ExpressStart(_now));

        // Batches of the one end at 100, 200, 300 ms, of the other at 250 and 500.
        Wait(ms: 210);
        Assert.Same(idle, FreeExpress());
        Wait(ms: 50);
        Assert.Same(bulk, FreeExpress());
        Assert.Equal(_now + (40 * Ms), bulk.ExpressStart(_now));
    }

    [Fact]
    public void An_express_lane_counts_as_free_a_little_before_it_is()
    {
        var worker = Worker();
        var pool = worker.Home!.Pool;
        Send(worker, Lane.Express, 50);
        Assert.Null(pool.FreeExpress(A, _now, lead: 49 * Ms));
        Assert.Same(worker, pool.FreeExpress(A, _now, lead: 50 * Ms));
        Assert.Equal(_now + (50 * Ms), pool.NextExpressFreeAt(_now));
    }

    [Fact]
    public void What_express_takes_of_the_device_bulk_ends_later()
    {
        var worker = Worker();
        var bulk = Send(worker, Lane.Bulk, 1000, batch: 250);
        Wait(ms: 100);
        var express = Send(worker, Lane.Express, 50);
        Assert.Equal(_now + (150 * Ms), express.StartedAt);
        Assert.Equal(_now + (950 * Ms), bulk.EndsAt);

        // It took 30 ms in the end.
        Wait(ms: 180);
        _fleet.Remove(express, _now);
        Assert.Equal(_now + (750 * Ms), bulk.EndsAt);
    }

    [Fact]
    public void A_model_is_loaded_elsewhere_only_when_that_is_sooner()
    {
        var has = Worker();
        var lacks = Worker(models: B);
        Send(has, Lane.Bulk, 1500);
        Assert.Same(has, Soonest(Lane.Bulk));

        _fleet.LearnLoad("p", A, 1e9);
        Assert.Same(lacks, Soonest(Lane.Bulk));
        var flight = Send(lacks, Lane.Bulk, 100);
        Assert.Equal(1000 * Ms, flight.LoadTicks);
        Assert.Equal(1100 * Ms, flight.EstimatedTicks);

        // It is loading it now: nothing more has to be counted for that.
        Assert.Equal(0, Send(lacks, Lane.Bulk, 100).LoadTicks);
    }

    [Fact]
    public void Two_models_with_much_work_do_not_take_each_others_workers()
    {
        var (a, b) = (Worker(models: A), Worker(models: B));
        Send(a, Lane.Bulk, 900);
        Send(a, Lane.Bulk, 900);
        Send(b, Lane.Bulk, 100, model: B);
        Assert.Null(Soonest(Lane.Bulk));
        Assert.Same(b, Soonest(Lane.Bulk, B));

        // One that lies idle is another matter.
        var idle = Worker(models: B);
        Assert.Same(idle, Soonest(Lane.Bulk));
    }

    [Fact]
    public void A_suspect_has_its_worker_for_itself_and_is_waited_for()
    {
        var (first, second) = (Worker(), Worker());
        Send(first, Lane.Bulk, 100);
        Send(second, Lane.Bulk, 900);
        Assert.Null(_fleet.Reserve(A, _now));
        Assert.True(first.Reserved);
        Assert.Same(second, Soonest(Lane.Express));

        _fleet.Release(_now);
        Assert.Same(first, Soonest(Lane.Express));
        Send(first, Lane.Express, 10, apart: true);
        Assert.Same(second, Soonest(Lane.Express));
    }

    [Fact]
    public void Pools_stand_by_name_with_their_workers_and_prices()
    {
        var dear = Worker("z", price: 100);
        Worker("a", price: 0);
        Worker("a", price: -5);
        Send(dear, Lane.Bulk, 100);

        Assert.Equal([("a", 0L, 2, 2), ("z", 100L, 1, 0)], _fleet.Pools.Select(p => (p.Name, p.PricePerHourPico, p.Workers, p.IdleCount)));
        Assert.Same(dear, _fleet.SoonestFree(Lane.Bulk, A, "z", _now));
        Assert.Null(_fleet.SoonestFree(Lane.Bulk, A, "nowhere", _now));
    }

    [Fact]
    public void A_worker_that_changes_its_pool_takes_its_dispatches_along()
    {
        var worker = Worker("old");
        var flight = Send(worker, Lane.Bulk, 100);
        Beat(worker.Id, "new");

        Assert.Equal([("new", 1), ("old", 0)], _fleet.Pools.Select(p => (p.Name, p.Workers)));
        Assert.Same(worker, _fleet.SoonestFree(Lane.Bulk, A, "new", _now));
        Assert.Null(_fleet.SoonestFree(Lane.Bulk, A, "old", _now));
        _fleet.Remove(flight, _now);
        Assert.Equal(1, _fleet.FindPool("new")!.IdleCount);
    }

    [Fact]
    public void Draining_workers_get_nothing_and_may_come_back()
    {
        var worker = Worker();
        Beat(worker.Id, draining: true);
        Assert.Null(Soonest(Lane.Express));
        Assert.Equal(0, worker.Home!.Pool.Workers);
        Beat(worker.Id);
        Assert.Same(worker, Soonest(Lane.Express));
    }

    [Fact]
    public void Who_falls_silent_is_told_once_in_the_order_they_were_last_heard()
    {
        var (a, b, c) = (Worker(), Worker(), Worker());
        Wait(ms: 1000);
        Beat(a.Id);
        Wait(ms: 1000);
        Beat(c.Id);
        Assert.Equal(b.SeenAt + LostAfter.Ticks + 1, _fleet.NextSilent(LostAfter));

        Wait(ms: 2001);
        Assert.Equal([b, a], new[] { _fleet.TakeSilent(_now, LostAfter), _fleet.TakeSilent(_now, LostAfter) });
        Assert.Null(_fleet.TakeSilent(_now, LostAfter));
        Assert.Same(c, Soonest(Lane.Bulk));
        Beat(b.Id);
        Assert.True(b.Declared);
        Assert.Same(c, Soonest(Lane.Bulk));
    }

    [Fact]
    public void The_schedulers_own_sleep_is_no_silence()
    {
        var worker = Worker();
        Wait(ms: 60_000);
        _fleet.Forgive(60_000 * Ms);
        Assert.Null(_fleet.TakeSilent(_now, LostAfter));
        Assert.Equal(_now + LostAfter.Ticks + 1, _fleet.NextSilent(LostAfter));
        Assert.False(worker.Declared);
    }

    [Fact]
    public void Heartbeats_twice_late_and_with_clocks_that_run_back_change_nothing()
    {
        var worker = Worker();
        var flight = Send(worker, Lane.Bulk, 100);
        Beat(worker.Id, uptimeNs: 10_000_000_000);
        Beat(worker.Id, uptimeNs: 10_000_000_000);
        _now -= 2000 * Ms;
        Beat(worker.Id, uptimeNs: -5);
        _fleet.Listed(flight, begun: true, _now);
        _now += 2000 * Ms;

        Assert.Equal(_now, worker.SeenAt);
        Assert.Equal(_now, flight.ListedAt);
        Assert.Equal((1, 0), (worker.Home!.Pool.Workers, worker.Home.Pool.IdleCount));
        Assert.Same(worker, Soonest(Lane.Bulk));
    }

    [Fact]
    public void A_closed_life_does_not_come_back_and_what_is_unknown_is_no_error()
    {
        var worker = Worker();
        var flight = Send(worker, Lane.Bulk, 100);
        _fleet.Remove(worker.Id);
        _fleet.Remove(worker.Id);
        Assert.Null(_fleet.Admit(worker.Id, _now));
        Assert.Null(_fleet.Remove(flight, _now));
        _fleet.Listed(flight, begun: true, _now);
        Assert.Null(Soonest(Lane.Bulk));
        Assert.Equal(long.MaxValue, _fleet.NextSilent(LostAfter));
    }

    [Fact]
    public void A_heartbeat_that_was_sent_before_a_dispatch_began_does_not_push_its_end_out_for_ever()
    {
        var worker = Worker();
        var flight = Send(worker, Lane.Bulk, 1000);
        Wait(ms: 400);
        _fleet.Listed(flight, begun: true, _now);
        Assert.Equal(_now + (600 * Ms), flight.EndsAt);
        Wait(ms: 400);
        _fleet.Listed(flight, begun: false, _now);
        Assert.Equal(_now + (200 * Ms), flight.EndsAt);
    }

    [Fact]
    public void Ten_thousand_workers_come_and_go_and_nothing_is_left()
    {
        for (var i = 0; i < 10_000; i++)
        {
            var worker = Worker($"pool-{i % 500}", models: i % 2 == 0 ? A : B);
            var flight = Send(worker, i % 3 == 0 ? Lane.Express : Lane.Bulk, 100);
            if (i % 5 == 0)
            {
                _fleet.Refuse(worker, Lane.Bulk, _now);
            }

            if (i % 7 > 0)
            {
                _fleet.Remove(flight, _now);
            }

            _fleet.Remove(worker.Id);
            Wait(ms: 1);
        }

        Assert.Empty(_fleet.Workers);
        Assert.InRange(_fleet.Pools.Count, 1, 64);
        Assert.All(
            _fleet.Pools,
            p => Assert.Equal((0, 0, 0, 0, 0), (p.Workers, p.IdleCount, p.Members, p.Sets.Count, p.EmptyCount(Lane.Bulk)))
        );
        Assert.Equal(long.MaxValue, _fleet.NextOpening(_now));
        Assert.Equal(long.MaxValue, _fleet.NextSilent(LostAfter));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void The_soonest_is_the_one_that_a_look_at_every_worker_finds(int seed)
    {
        var random = new Random(seed);
        var flights = new List<Flight>();
        for (var i = 0; i < 20; i++)
        {
            Worker();
        }

        for (var step = 0; step < 3000; step++)
        {
            var worker = _fleet.Workers.ElementAt(random.Next(_fleet.Workers.Count));
            var lane = (Lane)random.Next(2);
            switch (random.Next(8))
            {
                case < 3 when worker.HasRoom(lane, 2, _now):
                    flights.Add(Send(worker, lane, random.Next(1, 500), batch: random.Next(1, 200)));
                    break;
                case < 5 when flights.Count > 0:
                    var ended = flights[random.Next(flights.Count)];
                    flights.Remove(ended);
                    _fleet.Remove(ended, _now);
                    break;
                case 5:
                    _fleet.Refuse(worker, lane, _now);
                    break;
                case 6:
                    _fleet.Accept(worker, lane, _now);
                    break;
                default:
                    Wait(ms: random.Next(100));
                    break;
            }

            foreach (var asked in (ReadOnlySpan<Lane>)[Lane.Express, Lane.Bulk])
            {
                var open = _fleet.Workers.Where(w => w.HasRoom(asked, 2, _now)).ToList();
                var expected =
                    open.Count == 0 ? null : open.OrderBy(w => StartOf(w, asked)).ThenBy(w => !w.IsIdle).ThenBy(w => w.Id).First();
                Assert.Same(expected, Soonest(asked));
                Assert.Equal(open.Count(w => w.Lane(asked).Flights.Count == 0), _fleet.EmptyCount(asked, _now));
            }

            Assert.Equal(_fleet.Workers.Count(w => w.IsIdle), _fleet.Pools[0].IdleCount);
        }

        long StartOf(FleetWorker worker, Lane lane) =>
            lane == Lane.Express ? worker.ExpressStart(_now)
            : worker.Lane(Lane.Bulk).Flights.Count > 0 ? worker.Lane(Lane.Bulk).FreeAt(_now)
            : worker.Lane(Lane.Express).FreeAt(_now);
    }

    private FleetWorker Worker(string pool = "p", long price = 1, params ModelRef[] models)
    {
        var id = new WorkerId(new Guid($"00000000-0000-7000-9000-{++_ids:d12}"));
        Beat(id, pool, price, models: models);
        return _fleet.Find(id)!;
    }

    private FleetWorker Worker(ModelRef models) => Worker("p", 1, models);

    private void Beat(
        WorkerId id,
        string pool = "p",
        long price = 1,
        bool draining = false,
        long uptimeNs = 1,
        IReadOnlyList<ModelRef>? models = null
    ) =>
        _fleet.See(
            _fleet.Admit(id, _now)!,
            new WorkerHeartbeat
            {
                Worker = id,
                Name = "w",
                Pool = pool,
                Provider = "cpu",
                Device = "test",
                PricePerHourPico = price,
                UptimeNs = uptimeNs,
                Models = [.. (models is { Count: > 0 } ? models : [A]).Select(m => new LoadedModel(m, "cpu", 1))],
                MemoryBudgetBytes = 1,
                Epoch = 1,
                Held = [],
                Draining = draining,
            },
            _now
        );

    private Flight Send(FleetWorker worker, Lane lane, int ms, int batch = 0, ModelRef? model = null, bool apart = false)
    {
        var id = new DispatchId(new Guid($"00000000-0000-8000-9000-{++_ids:d12}"));
        var flight = new Flight(id, 1, worker.Id, worker.Pool, lane, model ?? A, _now)
        {
            EstimatedTicks = ms * Ms,
            BatchTicks = batch * Ms,
            Apart = apart,
        };
        _fleet.Add(worker, flight, _now);
        return flight;
    }

    private FleetWorker? Soonest(Lane lane, ModelRef? model = null) => _fleet.SoonestFree(lane, model ?? A, null, _now);

    private FleetWorker? FreeExpress() => _fleet.Pools[0].FreeExpress(A, _now, lead: 0);

    private void Wait(int ms) => _now += ms * Ms;
}
